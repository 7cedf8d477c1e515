"""Make a simulated data set in the layout of a public one.

Example:
    python tools/make_phantom.py deeplesion --out data/phantom/DeepLesion \
        --train 400 --val 60 --test 150 --size 160 --seed 0 --workers 2
"""
import argparse
import sys

from mmlesion.phantom import write_deeplesion


def parse_args():
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a simulated data set in the layout of a public one')
    parser.add_argument('dataset', choices=['deeplesion'], help='layout to write')
    parser.add_argument('--out', required=True, help='folder to make')
    parser.add_argument('--train', type=int, default=400, help='training key slices')
    parser.add_argument('--val', type=int, default=60, help='validation key slices')
    parser.add_argument('--test', type=int, default=150, help='test key slices')
    parser.add_argument(
        '--size', type=int, default=512,
        help='pixels per side; below 512 only a part of the body is reconstructed')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=1, help='number of processes')
    parser.add_argument(
        '--context-mm', type=float, default=20.0,
        help='neighbours reach this far to both sides of the key slice, in mm')
    return parser.parse_args()


def main():
    """Simulate and write."""
    args = parse_args()
    try:
        out = write_deeplesion(
            args.out, args.train, args.val, args.test, size=args.size, seed=args.seed,
            workers=args.workers, context_mm=args.context_mm)
    except (ValueError, OSError) as error:
        sys.exit(f'make_phantom: {error}')
    print(f'Written: {out}')


if __name__ == '__main__':
    main()
