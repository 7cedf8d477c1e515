"""Find pathological signs in one chest CT without prepared data.

Example:
    mmlesion find-signs SCAN --out work_dirs/signs --report --models \\
        configs/psam_cavity_vgg19_axial.py AXIAL.pth \\
        configs/sapsam/psam_cavity_vgg19_coronal.py CORONAL.pth \\
        configs/sapsam/psam_cavity_vgg19_sagittal.py SAGITTAL.pth
"""

import argparse

from .arguments import (
    add_config_options,
    add_lung_mask_argument,
    add_scan_arguments,
    config_pairs,
)
from .scan_outputs import add_output_arguments, outputs_from_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    add_scan_arguments(parser)
    parser.add_argument(
        '--models',
        nargs='+',
        required=True,
        metavar='CONFIG CHECKPOINT',
        help='config and checkpoint of each sign and view, alternating',
    )
    add_config_options(parser)
    add_lung_mask_argument(parser)
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.5,
        help='minimum probability of a finding (default: %(default)s)',
    )
    parser.add_argument(
        '--combination',
        default='product',
        choices=('product', 'mean', 'min'),
        help='combination of the views (default: %(default)s)',
    )
    parser.add_argument(
        '--grid',
        dest='grid_shape',
        type=int,
        nargs=3,
        default=(216, 256, 256),
        metavar=('Z', 'Y', 'X'),
        help='size to which the training scans were scaled (default: 216 256 256)',
    )
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Find the signs and print their probabilities.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import find_signs, signs_table

    result = find_signs(
        args.scan,
        *config_pairs(args),
        args.out,
        lung_mask=args.lung_mask,
        score_thr=args.score_thr,
        combination=args.combination,
        grid_shape=args.grid_shape,
        outputs=outputs_from_arguments(args, 'Pathological signs'),
    )
    for warning in result.warnings:
        print(f'warning: {warning}')
    print(signs_table(result))
