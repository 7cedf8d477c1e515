"""Evaluate findings of whole scans against a list of lesions by a 3-D FROC curve.

The list is a csv, or a pickle of re-annotated sub-volumes of DeepLesion. Code in a
pickle is never run.

  mmlesion evaluate-scans OUT truth.csv
  mmlesion evaluate-scans OUT DeepLesion_manual_1K_test_release.pkl --format manual-1k
  mmlesion evaluate-scans OUT 3D-Box.pkl --format lesion-harvester --rule iou
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_bootstrap_arguments

if TYPE_CHECKING:
    from mmlesion.evaluation.functional import FROC3D
    from mmlesion.scan import ScanResult

_RULES = dict(iou='IoU', iobb='IoBB', p3d='IoU in the annotated slice')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('results', help='output folder of mmlesion detect')
    parser.add_argument(
        'truth',
        help='csv of the lesions: scan, center_x_mm, center_y_mm, center_z_mm, '
        "long_diameter_mm, or LUNA16's annotations.csv; or a pickle, see --format",
    )
    parser.add_argument(
        '--format',
        choices=['csv', 'manual-1k', 'lesion-harvester'],
        default='csv',
        help='format of the list (default: %(default)s)',
    )
    parser.add_argument(
        '--split',
        choices=['val', 'test'],
        default='test',
        help='split of the manual 1K set (default: %(default)s)',
    )
    parser.add_argument(
        '--rule',
        choices=['center', 'iou', 'iobb', 'p3d'],
        help='definition of a true positive: center closer than the radius (LUNA16); '
        'IoU of the 3-D boxes; intersection over the box of the finding; 2-D IoU in '
        'the annotated slice (default: center for csv, iobb for pickles)',
    )
    parser.add_argument(
        '--iou-thr',
        type=float,
        help='minimum overlap (default: 0.1 for csv, 0.3 for pickles)',
    )
    parser.add_argument(
        '--per',
        choices=['volume', 'scan'],
        default='volume',
        help='only for pickles: false positives per sub-volume or per scan; several '
        'sub-volumes of a scan may be annotated (default: %(default)s)',
    )
    parser.add_argument(
        '--excluded',
        metavar='CSV',
        help='csv of findings that are neither hits nor false positives, such as '
        "LUNA16's annotations_excluded.csv; only for csv",
    )
    parser.add_argument(
        '--unlisted-are-empty',
        action='store_true',
        help='treat scans that are not in the csv as scans without lesions',
    )
    parser.add_argument(
        '--best-slice-only',
        action='store_true',
        help='evaluate the box of the best slice instead of the 3-D box',
    )
    add_bootstrap_arguments(parser, 'scans')


def run(args: argparse.Namespace) -> None:
    """Evaluate the findings.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.files import write_json
    from mmlesion.scan.evaluation import read_results

    results = read_results(args.results)
    is_csv = args.format == 'csv'
    rule = args.rule or ('center' if is_csv else 'iobb')
    threshold = args.iou_thr
    if threshold is None:
        threshold = 0.1 if is_csv else 0.3
    found = _evaluate(args, results, rule, threshold)
    curve = found.curve
    shown = rule if rule == 'center' else f'{_RULES[rule]} >= {threshold:g}'
    unit = 'scan' if is_csv else args.per
    print(
        f'Sensitivity at false positives per {unit} ({shown}; {curve.num_images} '
        f'{unit}s, {curve.num_lesions} lesions)'
    )
    rows = [
        *zip([f'{fp:g}' for fp in found.fps], found.sensitivity, found.interval.T),
        ('CPM', found.cpm, found.cpm_interval),
    ]
    for name, value, (low, high) in rows:
        print(f'{name:>6}  {100 * value:5.1f} %  ({100 * low:.1f} - {100 * high:.1f})')
    if args.out:
        content = dict(
            rule=rule,
            iou_thr=None if rule == 'center' else threshold,
            per=unit,
            fps=found.fps.tolist(),
            sensitivity=found.sensitivity.tolist(),
            interval=found.interval.T.tolist(),
            cpm=found.cpm,
            cpm_interval=found.cpm_interval.tolist(),
            curve=curve.vertices().to_dict(),
            scans=sorted(results),
        )
        write_json(Path(args.out), content, indent=1)


def _evaluate(
    args: argparse.Namespace,
    results: dict[str, ScanResult],
    rule: str,
    threshold: float,
) -> FROC3D:
    if args.format != 'csv':
        from mmlesion.datasets.sources.deeplesion_volumes import read_sub_volumes
        from mmlesion.scan.volume_protocol import evaluate_sub_volumes

        if args.best_slice_only or args.unlisted_are_empty or args.excluded:
            raise ValueError(
                '--best-slice-only, --unlisted-are-empty and --excluded need a csv of '
                'lesions'
            )
        truth = read_sub_volumes(args.truth, args.format, args.split)
        return evaluate_sub_volumes(
            results,
            truth,
            rule,
            threshold,
            args.per,
            num_resamples=args.resamples,
            seed=args.seed,
        )
    from mmlesion.scan.evaluation import evaluate_results, read_truth

    return evaluate_results(
        results,
        read_truth(args.truth, args.excluded),
        rule,
        threshold,
        args.unlisted_are_empty,
        args.best_slice_only,
        num_resamples=args.resamples,
        seed=args.seed,
    )
