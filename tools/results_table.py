"""Print one table of several experiments: mean ± deviation over folds, or a test.

Examples, Table 1 of the NODE21 paper and the numbers of SAPSAM:
    python tools/results_table.py work_dirs/maps_{deit,densenet121,patchconvnet}_node21
    python tools/results_table.py work_dirs/psam_*
"""

import argparse

from mmlesion.apis import end_with_one_sentence, results_table


def parse_args():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'folders',
        nargs='+',
        metavar='WORK_DIR',
        help='work directory of tools/cross_validate.py or of tools/test.py; a row '
        'each',
    )
    parser.add_argument(
        '--columns',
        nargs='+',
        metavar='METRIC',
        help='metrics such as binary/auc; by default those that the configs '
        "name in 'table'",
    )
    return parser.parse_args()


@end_with_one_sentence
def main():
    """Print the table."""
    args = parse_args()
    columns = args.columns and dict(zip(args.columns, args.columns))
    print(results_table(args.folders, columns))


if __name__ == '__main__':
    main()
