"""Segment nodule crops inside scopes of several sizes and compare them with masks.

A scope is a circle around the mask, which replaces the region of the activation map.
The command runs the steps of mmlesion.NAMSegmentor that need no network.

Example:
    mmlesion segment-crops IMAGES MASKS --scopes 1.2 1.5 2
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('image_dir', metavar='IMAGES', help='crops in HU')
    parser.add_argument(
        'mask_dir', metavar='MASKS', help='masks with the same file names'
    )
    parser.add_argument(
        '--scopes',
        nargs='+',
        type=float,
        default=[1.0, 1.2, 1.5, 2.0],
        metavar='FACTOR',
        help='radii of the scopes, in radii of the circle around '
        'the mask (default: 1 1.2 1.5 2)',
    )
    parser.add_argument(
        '--smoothness',
        type=float,
        default=100.0,
        metavar='HU',
        help='square root of the weight of neighboring pixels (default: 100)',
    )
    parser.add_argument(
        '--refine',
        choices=('opening', 'random_walker'),
        help='refinement of the largest candidate (default: none)',
    )
    parser.add_argument(
        '--out', metavar='CSV', help='output file with one row per crop and scope'
    )


def run(args: argparse.Namespace) -> None:
    """Print mean and deviation of Dice for each scope.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import crop_table, segment_nodule_crops

    rows = segment_nodule_crops(
        args.image_dir,
        args.mask_dir,
        args.scopes,
        args.smoothness,
        args.out,
        args.refine,
    )
    print(crop_table(rows))
