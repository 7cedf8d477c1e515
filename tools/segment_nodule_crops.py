"""Segment crops around nodules inside scopes of several sizes, compare with masks.

This is the fine segmentation of mmlesion.NAMSegmentor as far as it needs no network.

Example:
    python tools/segment_nodule_crops.py IMAGES MASKS --scopes 1.2 1.5 2
"""

import argparse

from mmlesion.apis import crop_table, end_with_one_sentence, segment_nodule_crops


def parse_args():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('image_dir', metavar='IMAGES', help='crops in HU')
    parser.add_argument('mask_dir', metavar='MASKS', help='masks by the same names')
    parser.add_argument(
        '--scopes',
        nargs='+',
        type=float,
        default=[1.0, 1.2, 1.5, 2.0],
        metavar='FACTOR',
        help='radii of the scopes, in radii of the circle around '
        'the mask (default: 1 1.2 1.5 2)',
    )
    parser.add_argument(
        '--smoothness',
        type=float,
        default=100.0,
        metavar='HU',
        help='square root of the weight of neighbours (default: 100)',
    )
    parser.add_argument('--out', metavar='CSV', help='a row for each crop and scope')
    return parser.parse_args()


@end_with_one_sentence
def main():
    """Print mean and deviation of Dice for each scope."""
    args = parse_args()
    print(
        crop_table(
            segment_nodule_crops(
                args.image_dir, args.mask_dir, args.scopes, args.smoothness, args.out
            )
        )
    )


if __name__ == '__main__':
    main()
