"""Evaluate a file of predicted boxes of any detector by a FROC curve.

The truth is COCO JSON or DeepLesion's DL_info.csv; the predictions are COCO results, or
a csv with file_name (or image_id), x1, y1, x2, y2 and score. Corners are outer edges in
pixels, as in COCO.

  mmlesion froc predictions.csv --truth data/DeepLesion/DL_info.csv --split test
  mmlesion froc results.bbox.json --truth test.json --out froc.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_bootstrap_arguments

if TYPE_CHECKING:
    from mmlesion.datasets.sources.box_files import ImageBoxes

FPS = (0.5, 1, 2, 4, 8, 16)
MEAN_FPS = (0.5, 1, 2, 4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('predictions', help='COCO results (.json) or a table (.csv)')
    parser.add_argument(
        '--truth', required=True, help='COCO file (.json) or DL_info.csv'
    )
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test', 'all'],
        default='all',
        help='official split of DL_info.csv (default: %(default)s)',
    )
    parser.add_argument(
        '--corners',
        choices=['edges', 'pixels'],
        default='edges',
        help='corners of the predictions: the outer edges of a box, or its first and '
        'last pixel, counted from 0 (default: %(default)s)',
    )
    parser.add_argument(
        '--iou-thr',
        type=float,
        default=0.5,
        help='minimum IoU of a true positive (default: %(default)s)',
    )
    add_bootstrap_arguments(parser, 'patients')


def run(args: argparse.Namespace) -> None:
    """Evaluate the boxes.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.datasets.sources.box_files import read_box_files
    from mmlesion.files import counted, write_json

    if args.resamples < 1:
        raise ValueError(f'--resamples must be 1 or more, but is {args.resamples}')
    images = read_box_files(args.predictions, args.truth, args.split, args.corners)
    found = _evaluate(images, args)
    print(
        f'Sensitivity at false positives per image (IoU >= {args.iou_thr:g}; '
        f'{counted(found["num_images"], "image")}, '
        f'{counted(found["num_lesions"], "lesion")}, '
        f'{counted(found["num_patients"], "patient")}) with 95 % interval'
    )
    rows = [
        *zip([f'{fp:g}' for fp in FPS], found['sensitivity'], found['interval']),
        (
            f'mean {MEAN_FPS[0]:g}-{MEAN_FPS[-1]:g}',
            found['mean'],
            found['mean_interval'],
        ),
    ]
    for name, value, (low, high) in rows:
        print(f'{name:>10}  {100 * value:5.1f} %  ({100 * low:.1f} - {100 * high:.1f})')
    if found['num_images_without_boxes']:
        number = found['num_images_without_boxes']
        print(f'note: {counted(number, "image has", "images have")} no predicted box')
    if found['last_fp'] < FPS[-1]:
        print(
            f'note: the curve ends at {found["last_fp"]:.3g} false positives per '
            'image; beyond, the sensitivity at the end is used'
        )
    if args.out:
        write_json(Path(args.out), found, indent=1)


def _evaluate(images: list[ImageBoxes], args: argparse.Namespace) -> dict:
    """Return the sensitivities, their intervals and the curve."""
    import numpy as np

    from mmlesion.evaluation.functional import (
        bootstrap_froc,
        match_boxes,
        percentile_interval,
    )

    matches = match_boxes(
        [image.boxes for image in images],
        [image.scores for image in images],
        [image.true_boxes for image in images],
        args.iou_thr,
    )
    curve = matches.curve()
    # An image without a patient is treated as a separate patient.
    patients = [
        f'image {place}' if image.patient is None else f'patient {image.patient}'
        for place, image in enumerate(images)
    ]
    samples = bootstrap_froc(
        matches, np.array(patients), FPS, num_resamples=args.resamples, seed=args.seed
    )
    means = samples[:, [FPS.index(fp) for fp in MEAN_FPS]].mean(1)
    return dict(
        iou_thr=args.iou_thr,
        num_images=len(images),
        num_lesions=curve.num_lesions,
        num_patients=len(set(patients)),
        num_images_without_boxes=sum(not image.boxes for image in images),
        fps=FPS,
        sensitivity=curve.sensitivity_at(FPS).tolist(),
        interval=np.stack(percentile_interval(samples), axis=1).tolist(),
        mean=curve.mean_sensitivity(MEAN_FPS),
        mean_interval=[float(bound) for bound in percentile_interval(means)],
        num_resamples=args.resamples,
        seed=args.seed,
        last_fp=curve.last_fp,
        curve=curve.vertices().to_dict(),
    )
