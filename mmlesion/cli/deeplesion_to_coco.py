"""Convert the lesions of DeepLesion's DL_info.csv to COCO JSON.

The COCO file contains all columns of the csv. coco-to-deeplesion converts it back.

  mmlesion deeplesion-to-coco data/DeepLesion/DL_info.csv test.json --split test
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('csv', help='DL_info.csv, or a csv with its columns')
    parser.add_argument('coco', help='output COCO file')
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test', 'all'],
        default='all',
        help='official split (default: %(default)s)',
    )
    parser.add_argument(
        '--drop-noisy',
        action='store_true',
        help='omit lesions that are flagged as noisy, and key slices without '
        'other lesions',
    )


def run(args: argparse.Namespace) -> None:
    """Convert the file.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.datasets.sources.deeplesion_coco import write_deeplesion_coco
    from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv
    from mmlesion.datasets.sources.deeplesion_row import SPLITS

    rows = [
        row
        for row in read_deeplesion_csv(args.csv)
        if SPLITS.get(args.split, row.split) == row.split
        and not (args.drop_noisy and row.noisy)
    ]
    if not rows:
        raise ValueError(f'{args.csv}: no lesion of split {args.split!r}')
    write_deeplesion_coco(args.coco, rows)
    images = len({row.file_name for row in rows})
    print(f'{args.coco}: {len(rows)} lesions on {images} key slices')
