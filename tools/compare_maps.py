"""Draw the maps of several nodule classifiers side by side on the same nodules.

Example, of networks that were not trained on the nodules of fold 0:
    python tools/compare_maps.py --out work_dirs/maps \
        work_dirs/cam_lidc_11c/fold0/cam_lidc_11c.py \
        work_dirs/cam_lidc_11c/fold0/epoch_10.pth \
        work_dirs/hesam_lidc_11c/fold0/hesam_lidc_11c.py \
        work_dirs/hesam_lidc_11c/fold0/epoch_10.pth
"""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction

from mmlesion.apis import compare_maps, end_with_one_sentence


def parse_args():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'models',
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='config and checkpoint of each network, in turn',
    )
    parser.add_argument('--out', required=True, help='folder of the pictures')
    parser.add_argument(
        '--nodules', nargs='+', help='by their nodule_id; by default some are drawn'
    )
    parser.add_argument('--num', type=int, default=6, help='how many are drawn')
    parser.add_argument('--seed', type=int, default=0, help='of the choice')
    parser.add_argument(
        '--slices', type=int, default=5, help='single slices shown of each nodule'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of all configs',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='let checkpoints run the code they carry',
    )
    args = parser.parse_args()
    if len(args.models) % 2:
        parser.error('a checkpoint for each config is needed')
    return args


@end_with_one_sentence
def main():
    """Draw, and say where."""
    args = parse_args()
    configs = []
    for name in args.models[::2]:
        if not Path(name).is_file():
            raise FileNotFoundError(f'Config {name} does not exist.')
        configs.append(Config.fromfile(name))
        configs[-1].merge_from_dict(args.cfg_options or {})
        configs[-1].trust_checkpoint = args.trust_checkpoint
    paths = compare_maps(
        configs,
        args.models[1::2],
        args.out,
        args.nodules,
        args.num,
        args.seed,
        args.slices,
    )
    print(f'{len(paths)} pictures: {args.out}')


if __name__ == '__main__':
    main()
