"""Evaluate networks of signs, disease and survival on whole scans.

The metrics include all labeled lung regions of the test scans, without balancing.
The views are also combined, and the signs predict disease and survival. Several
networks of a view, such as those of several seeds, are averaged.

Example:
    mmlesion evaluate-signs --out work_dirs/signs \\
        configs/phantom/phantom_psam_cavity_vgg19_axial.py AXIAL.pth \\
        configs/phantom/phantom_psam_cavity_vgg19_coronal.py CORONAL.pth \\
        configs/phantom/phantom_psam_disease_vgg19_axial.py DISEASE.pth
"""

import argparse

from .arguments import add_model_pairs, config_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    add_model_pairs(parser, 'config and checkpoint of each task and view, alternating')
    parser.add_argument('--out', required=True, help='output folder')
    parser.add_argument(
        '--resamples',
        type=int,
        default=1000,
        help='bootstrap resamples of patients (default: %(default)s)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='random seed of the resamples (default: %(default)s)',
    )
    parser.add_argument(
        '--balanced',
        action='store_true',
        help='choose thresholds for equal class frequencies, as in the paper (default: '
        'frequencies of the validation scans)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        metavar='P',
        help='threshold of the networks; 0.5 is the decision of a network that was '
        'trained with balanced classes (default: chosen on the validation scans)',
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate the networks and print the table.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import evaluate_signs, signs_evaluation_table

    table = evaluate_signs(
        *config_pairs(args),
        args.out,
        args.resamples,
        args.seed,
        args.balanced,
        args.score_thr,
    )
    print(signs_evaluation_table(table))
