"""Locate a pathological sign in 3-D from networks of several views.

Example with the masks of generated scans as truth:
    mmlesion sign-maps --out work_dirs/cavity_maps \\
        configs/phantom/phantom_psam_cavity_vgg19_axial.py AXIAL.pth \\
        configs/phantom/phantom_psam_cavity_vgg19_coronal.py CORONAL.pth \\
        configs/phantom/phantom_psam_cavity_vgg19_sagittal.py SAGITTAL.pth \\
        --truth data/phantom/signs/masks
"""

import argparse

from .arguments import add_model_pairs, config_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    add_model_pairs(parser, 'config and checkpoint of each view, alternating')
    parser.add_argument('--out', required=True, help='output folder')
    parser.add_argument(
        '--split',
        default='test',
        choices=['train', 'val', 'test', 'all'],
        help="scans of this split; 'all' includes scans without a label",
    )
    parser.add_argument(
        '--scans',
        metavar='DIR',
        help='root of the paths of the scans in the index (default: the folder of the '
        'index)',
    )
    parser.add_argument(
        '--truth',
        metavar='DIR',
        help='folder of true masks, <scan>_<sign>.nii.gz, on the grids of the scans',
    )
    parser.add_argument(
        '--combination',
        default='product',
        choices=('product', 'mean', 'min'),
        help='combination of the views (default: %(default)s)',
    )
    parser.add_argument(
        '--layer',
        help='layer for the maps of all networks (default: layer of the last feature '
        'maps)',
    )
    parser.add_argument(
        '--threshold',
        type=float,
        default=0.5,
        help='mean probability above which a lung region is positive, for the rates '
        'and the pictures of regions without a label, e.g. the best threshold of '
        '--split val (default: %(default)s)',
    )
    parser.add_argument(
        '--max-scans', type=int, metavar='N', help='maximum number of scans'
    )


def run(args: argparse.Namespace) -> None:
    """Locate the signs and print the distances to the truth.

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
