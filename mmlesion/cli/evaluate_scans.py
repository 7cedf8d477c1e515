"""Measure findings of whole scans against a list of lesions by a 3-D FROC curve."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('results', help='folder of the results of detect_scan.py')
    parser.add_argument(
        'truth',
        help='csv of the lesions: scan, center_x_mm, center_y_mm, center_z_mm, '
        "long_diameter_mm, or LUNA16's annotations.csv",
    )
    parser.add_argument(
        '--rule',
        choices=['center', 'iou'],
        default='center',
        help='a hit: center closer than the radius (LUNA16), or IoU of the boxes '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--iou-thr', type=float, default=0.1, help='lowest IoU (default: %(default)s)'
    )
    parser.add_argument(
        '--unlisted-are-empty',
        action='store_true',
        help='scans that the csv does not name have no lesions',
    )
    parser.add_argument(
        '--best-slice-only',
        action='store_true',
        help='measure the box of the best slice in place of the 3-D box',
    )
    parser.add_argument(
        '--resamples', type=int, default=1000, help='bootstrap resamples of scans'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of the bootstrap'
    )
    parser.add_argument(
        '--out', metavar='JSON', help='write the curve and the table to a file'
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.files import write_json
    from mmlesion.scan.evaluation import evaluate_results, read_results, read_truth

    results = read_results(args.results)
    found = evaluate_results(
        results,
        read_truth(args.truth),
        args.rule,
        args.iou_thr,
        args.unlisted_are_empty,
        args.best_slice_only,
        num_resamples=args.resamples,
        seed=args.seed,
    )
    curve = found.curve
    rule = 'center' if args.rule == 'center' else f'IoU >= {args.iou_thr:g}'
    print(
        f'Sensitivity at false positives per scan ({rule}; {curve.num_images} scans, '
        f'{curve.num_lesions} lesions)'
    )
    rows = [
        *zip([f'{fp:g}' for fp in found.fps], found.sensitivity, found.interval.T),
        ('CPM', found.cpm, found.cpm_interval),
    ]
    for name, value, (low, high) in rows:
        print(f'{name:>6}  {100 * value:5.1f} %  ({100 * low:.1f} - {100 * high:.1f})')
    if args.out:
        content = dict(
            rule=args.rule,
            iou_thr=args.iou_thr if args.rule == 'iou' else None,
            fps=found.fps.tolist(),
            sensitivity=found.sensitivity.tolist(),
            interval=found.interval.T.tolist(),
            cpm=found.cpm,
            cpm_interval=found.cpm_interval.tolist(),
            curve=curve.vertices().to_dict(),
            scans=sorted(results),
        )
        write_json(Path(args.out), content, indent=1)
