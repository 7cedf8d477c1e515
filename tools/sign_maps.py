"""Find where a pathological sign lies, in 3-D, by networks of several views.

Example, measured against the masks of generated scans:
    python tools/sign_maps.py --out work_dirs/cavity_maps \
        configs/phantom/psam_cavity_axial.py AXIAL.pth \
        configs/phantom/psam_cavity_coronal.py CORONAL.pth \
        configs/phantom/psam_cavity_sagittal.py SAGITTAL.pth \
        --truth data/phantom/signs/masks
"""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction

from mmlesion.apis import end_with_one_sentence, position_table, sign_maps
from mmlesion.ct import COMBINATIONS


def parse_args():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'models',
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='config and checkpoint of each view, in turn',
    )
    parser.add_argument('--out', required=True, help='folder of the results')
    parser.add_argument(
        '--split',
        default='test',
        choices=['train', 'val', 'test', 'all'],
        help='scans of this split; all: also those without a label',
    )
    parser.add_argument(
        '--scans',
        metavar='DIR',
        help='what the paths of the scans in the index are '
        'relative to (default: the folder of the index)',
    )
    parser.add_argument(
        '--truth',
        metavar='DIR',
        help='folder of true masks, <scan>_<sign>.nii.gz, to measure against',
    )
    parser.add_argument(
        '--combination',
        default='product',
        choices=COMBINATIONS,
        help='of the views (default: %(default)s)',
    )
    parser.add_argument(
        '--layer',
        help='layer to map in all networks (default: that of the last feature maps)',
    )
    parser.add_argument('--max-scans', type=int, metavar='N', help='the first N only')
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
    """Find the signs, and say how near the maps come."""
    args = parse_args()
    configs = []
    for name in args.models[::2]:
        if not Path(name).is_file():
            raise FileNotFoundError(f'Config {name} does not exist.')
        configs.append(Config.fromfile(name))
        configs[-1].merge_from_dict(args.cfg_options or {})
        configs[-1].trust_checkpoint = args.trust_checkpoint
    summary = sign_maps(
        configs,
        args.models[1::2],
        args.out,
        args.split,
        args.scans,
        args.truth,
        args.combination,
        args.layer,
        args.max_scans,
    )
    print(position_table(summary))


if __name__ == '__main__':
    main()
