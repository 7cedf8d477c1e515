"""Convert COCO JSON from deeplesion-to-coco to the format of DeepLesion's DL_info.csv.

The boxes are those of bbox in the COCO file, even if another tool has changed them.

  mmlesion coco-to-deeplesion test.json DL_info.csv
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('coco', help='COCO file')
    parser.add_argument('csv', help='output csv')


def run(args: argparse.Namespace) -> None:
    """Convert the file.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.datasets.sources.deeplesion_coco import read_deeplesion_coco
    from mmlesion.datasets.sources.deeplesion_csv import write_deeplesion_csv

    rows = read_deeplesion_coco(args.coco)
    write_deeplesion_csv(args.csv, rows)
    print(f'{args.csv}: {len(rows)} lesions')
