"""Draw the maps of several classifiers side by side on the same nodules or images.

For classifiers of nodules (LIDC-IDRI), the columns are single slices and the whole
volume. For other classifiers, such as those of radiographs, the columns are images and
the rows are the maps of the ActivationMapHook of each config.

Example with networks that were not trained on the nodules of fold 0:
    mmlesion compare-maps --out work_dirs/maps \\
        work_dirs/cam_lidc_11c/fold0/cam_lidc_11c.py \\
        work_dirs/cam_lidc_11c/fold0/epoch_10.pth \\
        work_dirs/hesam_lidc_11c/fold0/hesam_lidc_11c.py \\
        work_dirs/hesam_lidc_11c/fold0/epoch_10.pth
"""

import argparse

from .arguments import add_model_pairs, config_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    add_model_pairs(parser, 'config and checkpoint of each network, alternating')
    parser.add_argument('--out', required=True, help='output folder of the figures')
    parser.add_argument(
        '--nodules',
        nargs='+',
        help='nodule_id of nodules, or file names of images (default: a random sample)',
    )
    parser.add_argument(
        '--num', type=int, default=6, help='number of nodules or images'
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed of the sample')
    parser.add_argument(
        '--slices',
        type=int,
        default=5,
        help='number of single slices shown for each nodule',
    )


def run(args: argparse.Namespace) -> None:
    """Draw the maps.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import compare_image_maps, compare_maps
    from mmlesion.files import counted

    configs, checkpoints = config_pairs(args)
    chosen = (configs, checkpoints, args.out, args.nodules, args.num, args.seed)
    if 'Nodule' in str(configs[0].test_dataloader.dataset.type):
        paths = compare_maps(*chosen, args.slices)
    else:
        paths = compare_image_maps(*chosen)
    print(f'{counted(len(paths), "picture")}: {args.out}')
