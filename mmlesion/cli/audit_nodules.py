"""Find leaks of the label in nodule patches, and measure the readers' own ceiling.

Models that know only how many slices and borders of a patch are repeated should not
predict the label (AUC 0.5). The agreement of the readers bounds what a network can
reach.
"""

import argparse

from .arguments import (
    add_config_options,
    add_inputs_argument,
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
        help='work directories of tools/cross_validate.py, for the accuracy by the '
        'certainty of the readers',
    )
    parser.add_argument(
        '--xml',
        help='folder or tar archive of the official XML, for the agreement of the '
        'readers on all nodules instead of the prepared nodules',
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
    from mmlesion.apis import set_nodule_extent, set_nodule_inputs
    from mmlesion.apis.studies import audit_nodules, audit_table

    cfg = read_config(args.config, args.cfg_options, args.trust_checkpoint)
    if args.inputs is not None:
        set_nodule_inputs(cfg, args.inputs)
    if args.common_extent:
        set_nodule_extent(cfg)
    result = audit_nodules(cfg, args.runs, args.xml, args.folds, args.seed, args.out)
    print(audit_table(result))
