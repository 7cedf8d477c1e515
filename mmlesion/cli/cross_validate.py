"""Train and test a config on each fold of a cross-validation.

After an interruption, the same command resumes. Output files:
cross_validation.json, roc.png and epochs.png in the work directory.
"""

import argparse

from .arguments import (
    add_amp_argument,
    add_common_arguments,
    add_inputs_argument,
    training_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument(
        'config',
        help='config whose data sets have the arguments fold, num_folds and seed',
    )
    parser.add_argument('--folds', type=int, default=5, help='number of folds')
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='random seed of the folds, the initial weights and the training',
    )
    add_inputs_argument(parser)
    add_amp_argument(parser)
    parser.add_argument(
        '--test-only',
        action='store_true',
        help='test the complete folds of the work directory again with the current '
        'metrics of the config, e.g. to compare the maps with the nodules',
    )
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Run the cross-validation.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis import (
        cross_validate,
        cross_validation_table,
    )

    cfg = training_config(args)
    summary = cross_validate(cfg, args.folds, args.seed, args.test_only)
    print(cross_validation_table(summary))
