"""Measure label leaks of nodule patches and the agreement of the readers.

A leak is information about the label in the number of repeated slices, rows and
columns of a patch. Models are trained with only these numbers. Without a leak, their
AUC is 0.5. The agreement of the readers is an upper bound for the accuracy of a
network.
"""

import argparse

from .arguments import (
    add_config_options,
    add_inputs_argument,
    apply_inputs_arguments,
    read_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('config', help='config of a nodule classifier')
    parser.add_argument(
        '--runs',
        nargs='+',
        default=[],
        metavar='WORK_DIR',
        help='work directories of mmlesion cross-validate, to print their accuracy '
        'by the certainty of the readers',
    )
    parser.add_argument(
        '--xml',
        help='folder or tar archive of the official XML; the agreement of the readers '
        'is then measured on all nodules instead of the prepared nodules',
    )
    parser.add_argument('--folds', type=int, default=5, help='number of folds')
    parser.add_argument('--seed', type=int, default=0, help='random seed of the folds')
    parser.add_argument('--out', help='JSON file for all numbers')
    add_inputs_argument(parser)
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Print the tables.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import audit_nodules, audit_table

    cfg = read_config(args.config, args.cfg_options, args.trust_checkpoint)
    apply_inputs_arguments(cfg, args)
    result = audit_nodules(cfg, args.runs, args.xml, args.folds, args.seed, args.out)
    print(audit_table(result))
