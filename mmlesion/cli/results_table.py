"""Print a table with one row per experiment.

The cells of a cross-validation are the mean ± standard deviation over folds.

Examples for Table 1 of the NODE21 paper and for the results of SAPSAM:
    mmlesion results-table work_dirs/maps_{deit,densenet121,patchconvnet}_node21
    mmlesion results-table work_dirs/psam_*
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument(
        'folders',
        nargs='+',
        metavar='WORK_DIR',
        help='work directories of mmlesion cross-validate or of mmlesion test, one '
        'for each row',
    )
    parser.add_argument(
        '--columns',
        nargs='+',
        metavar='METRIC',
        help="metrics such as binary/auc (default: 'table' of the configs)",
    )


def run(args: argparse.Namespace) -> None:
    """Print the table.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import results_table

    columns = args.columns and dict(zip(args.columns, args.columns))
    print(results_table(args.folders, columns))
