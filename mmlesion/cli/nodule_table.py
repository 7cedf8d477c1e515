"""Train and test nodule classifiers: a table of methods x inputs x folds.

After an interruption, the same command resumes. table.csv and table.md in the output
folder are updated after each cell; paired differences between methods and between
inputs follow at the end (differences.csv). The whole table (16 methods, 4 inputs, 5
folds) takes hours on a GPU and days on a CPU core. --methods, --inputs, --epochs and
--width shorten the runs.
"""

import argparse

from .arguments import add_amp_argument, add_config_options, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument(
        '--methods',
        nargs='+',
        metavar='METHOD',
        help='rows, e.g. hesam cam vgg16_sam, or files of configs (default: all 16)',
    )
    parser.add_argument(
        '--inputs',
        nargs='+',
        default=['1c', '3c', '11c', '21c'],
        metavar='1c|3c|11c|21c',
        help='slices or scales of each nodule (default: all)',
    )
    parser.add_argument('--folds', type=int, default=5, help='number of folds')
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0], help='random seeds (default: 0)'
    )
    parser.add_argument(
        '--recipe',
        choices=('ours', 'paper'),
        default='ours',
        help='schedule of the configs, or SGD without augmentation as in the paper',
    )
    parser.add_argument('--epochs', type=int, help='number of epochs')
    parser.add_argument(
        '--width',
        type=float,
        default=1.0,
        help='share of the feature maps of cam, sam and hesam (default: 1)',
    )
    parser.add_argument(
        '--common-extent',
        action='store_true',
        help='show the same surroundings of all nodules',
    )
    parser.add_argument(
        '--out', default='work_dirs/nodule_table', help='folder of the results'
    )
    add_amp_argument(parser)
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Train the table and print it.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import METHODS, TableOptions, train_nodule_table

    from .arguments import use_mixed_precision

    configs = []
    for method in args.methods or METHODS:
        if method.endswith('.py'):
            path = method
        elif method in METHODS:
            folder = '' if method == 'hesam' else 'hesam/'
            path = f'mmlesion::{folder}{method}_lidc_11c.py'
        else:
            raise ValueError(
                f'there is no method {method!r}; expected a config or one of '
                f'{", ".join(METHODS)}'
            )
        configs.append(read_config(path, args.cfg_options, args.trust_checkpoint))
    options = TableOptions(
        args.inputs,
        args.folds,
        args.seeds,
        args.recipe,
        args.epochs,
        args.width,
        args.common_extent,
        use_mixed_precision if args.amp else None,
    )
    print(train_nodule_table(configs, args.out, options))
