"""Find where a pathological sign lies, in 3-D, by networks of several views.

Example, measured against the masks of generated scans:
    python tools/sign_maps.py --out work_dirs/cavity_maps \
        configs/phantom/phantom_psam_cavity_vgg19_axial.py AXIAL.pth \
        configs/phantom/phantom_psam_cavity_vgg19_coronal.py CORONAL.pth \
        configs/phantom/phantom_psam_cavity_vgg19_sagittal.py SAGITTAL.pth \
        --truth data/phantom/signs/masks
"""

import argparse

from .arguments import add_model_pairs, config_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Gets the arguments.
    """
    add_model_pairs(parser, 'config and checkpoint of each view, in turn')
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
        choices=('product', 'mean', 'min'),
        help='of the views (default: %(default)s)',
    )
    parser.add_argument(
        '--layer',
        help='layer to map in all networks (default: that of the last feature maps)',
    )
    parser.add_argument(
        '--threshold',
        type=float,
        default=0.5,
        help='mean probability above which a sub-region is called positive; take it '
        'from the best threshold of --split val (default: %(default)s)',
    )
    parser.add_argument('--max-scans', type=int, metavar='N', help='the first N only')


def run(args: argparse.Namespace) -> None:
    """Locate the signs, print the distances to the truth.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import position_table, sign_maps

    summary = sign_maps(
        *config_pairs(args),
        args.out,
        args.split,
        args.scans,
        args.truth,
        args.combination,
        args.layer,
        args.max_scans,
        threshold=args.threshold,
    )
    print(position_table(summary))
