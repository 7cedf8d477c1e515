"""Reader of ground-truth and predicted boxes from files of other tools."""

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .coco import is_number, read_coco, read_json, xyxy
from .deeplesion_csv import read_deeplesion_csv
from .deeplesion_row import SPLITS

#: Columns of predictions in a csv file, in addition to ``file_name`` or ``image_id``.
FILE_COLUMNS = ('x1', 'y1', 'x2', 'y2', 'score')


@dataclass
class ImageBoxes:
    """Ground-truth and predicted boxes of one image.

    Attributes:
        name: Name for error messages.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        patient: Patient identifier, None if unknown.
        true_boxes: Lesions, (x1, y1, x2, y2), outer edges in pixels.
        boxes: Predictions in the same format.
        scores: Scores of the predictions.
    """

    name: str
    width: int
    height: int
    patient: Any = None
    true_boxes: list[tuple[float, ...]] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


def read_box_files(
    predictions: str | os.PathLike,
    truth: str | os.PathLike,
    split: str = 'all',
    corners: str = 'edges',
) -> list[ImageBoxes]:
    """Read predicted boxes and the lesions of the same images.

    The ground truth is COCO JSON (lesions with ``iscrowd`` or ``ignore`` are omitted)
    or DeepLesion's csv file (noisy lesions are omitted). Predictions are a JSON list of
    COCO results (``image_id`` or ``file_name``, ``bbox`` as (x, y, width, height),
    ``score``), or a csv file with the columns ``file_name`` or ``image_id``, ``x1``,
    ``y1``, ``x2``, ``y2`` and ``score``. ``image_id`` is the id in the
    COCO file. ``file_name`` is the name in the COCO file, or for DeepLesion
    ``<series>_<slice>.png`` or ``<series>/<slice>.png``. All categories are lesions.

    Args:
        predictions: File of the predictions (``.json`` or ``.csv``).
        truth: File of the lesions (``.json`` or ``.csv``).
        split: ``'train'``, ``'val'``, ``'test'`` or ``'all'`` of DeepLesion's csv.
        corners: Corners of the predictions. ``'edges'``: outer edges in pixels, where
            pixel n covers n to n + 1. ``'pixels'``: the first and the last pixel,
            counted from 0.

    Returns:
        All images of the ground truth in its order. All boxes have outer edges.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is malformed, a prediction belongs to an unknown image, or
            a predicted box is not finite or is outside its image. The message names
            the file and the entry.
    """
    predictions, truth = os.fspath(predictions), os.fspath(truth)
    if truth.lower().endswith('.csv'):
        images, by_key = _read_deeplesion(truth, split)
    elif split != 'all':
        raise ValueError(
            f'{truth}: split {split!r} is only available for a csv of DeepLesion'
        )
    else:
        images, by_key = _read_coco(truth)
    if predictions.lower().endswith('.csv'):
        entries = _csv_entries(predictions)
    else:
        entries = _json_entries(predictions)
    beyond = 1 if corners == 'pixels' else 0  # from the last pixel to the outer edge
    for where, key, (x1, y1, x2, y2), score in entries:
        box = (x1, y1, x2 + beyond, y2 + beyond)
        image = by_key.get(key)
        if image is None:
            raise ValueError(
                f'{where} belongs to {key[0]} {key[1]!r}, which is not in {truth}'
                + ('' if split == 'all' else f' in split {split!r}')
            )
        if not is_number(score) or not all(map(math.isfinite, box)):
            raise ValueError(
                f'{where}: box and score must be finite, but are {box} and {score!r}'
            )
        outside = x1 >= image.width or y1 >= image.height or x2 < 0 or y2 < 0
        if x2 < x1 or y2 < y1 or outside:
            raise ValueError(
                f'{where}: the box {box} must have x1 <= x2 and y1 <= y2 and be inside '
                f'{image.name} of {image.width} x {image.height} pixels'
            )
        image.boxes.append(box)
        image.scores.append(float(score))
    return images


def _read_deeplesion(path: str, split: str) -> tuple[list[ImageBoxes], dict]:
    images: dict[str, ImageBoxes] = {}
    by_key: dict[tuple[str, Any], ImageBoxes] = {}
    for row in read_deeplesion_csv(path):
        if row.noisy or SPLITS.get(split, row.split) != row.split:
            continue
        if row.file_name not in images:
            image = ImageBoxes(row.file_name, *row.image_size, row.patient)
            images[row.file_name] = image
            by_key['file_name', row.file_name] = image
            name = row.file_name[len(row.series) + 1 :]
            by_key['file_name', f'{row.series}/{name}'] = image
        images[row.file_name].true_boxes.append(row.box_px)
    if not images:
        raise ValueError(f'{path}: no lesion of split {split!r}')
    return list(images.values()), by_key


def _read_coco(path: str) -> tuple[list[ImageBoxes], dict]:
    coco = read_coco(path)
    by_key: dict[tuple[str, Any], ImageBoxes] = {}
    repeated = set()
    for key, entry in coco.images.items():
        name = entry.get('file_name')
        patient = entry.get('patient')
        image = ImageBoxes(
            str(name or f'image {key!r}'), entry['width'], entry['height'], patient
        )
        by_key['image_id', key] = image
        if isinstance(name, str) and name:
            if ('file_name', name) in by_key:
                repeated.add(name)
            by_key['file_name', name] = image
    for name in repeated:
        # A name that several images share is ambiguous.
        del by_key['file_name', name]
    ignored = set()
    for annotation in coco.annotations:
        image = by_key['image_id', annotation['image_id']]
        if annotation.get('iscrowd') or annotation.get('ignore'):
            ignored.add(annotation['image_id'])
        else:
            image.true_boxes.append(xyxy(annotation['bbox'], path))
    # A box on an ignored lesion would be a false positive in an image without others
    return [
        image
        for key in coco.images
        if (image := by_key['image_id', key]).true_boxes or key not in ignored
    ], by_key


def _json_entries(path: str) -> Iterator[tuple[str, tuple, tuple, Any]]:
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(
            f'{path}: expected a list of COCO results, but found a '
            f'{type(content).__name__}'
        )
    for place, entry in enumerate(content):
        where = f'{path}: entry {place}'
        if not isinstance(entry, dict):
            raise ValueError(f'{where} must be an object, but is {entry!r}')
        yield (
            where,
            _key(entry, where),
            xyxy(entry.get('bbox'), where),
            entry.get('score'),
        )


def _csv_entries(path: str) -> Iterator[tuple[str, tuple, tuple, Any]]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a csv of predictions')
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f'{path}: not a csv text file ({error})') from None
    missing = [name for name in FILE_COLUMNS if name not in header]
    if missing:
        raise ValueError(f'{path}: row 1: missing column(s) ' + ', '.join(missing))
    for number, row in rows:
        where = f'{path}: row {number}'
        try:
            *box, score = (float(row[name]) for name in FILE_COLUMNS)
        except (TypeError, ValueError):
            raise ValueError(
                f'{where}: {", ".join(FILE_COLUMNS)} must be numeric, but are '
                f'{[row[name] for name in FILE_COLUMNS]}'
            ) from None
        kind, key = _key(row, where)
        if kind == 'image_id' and key.isdecimal():
            key = int(key)
        yield where, (kind, key), tuple(box), score


def _key(entry: dict, where: str) -> tuple[str, Any]:
    """Return the key that identifies the image of a prediction."""
    for name in ('file_name', 'image_id'):
        value = entry.get(name)
        if isinstance(value, (int, str)) and value != '':
            return name, value
    raise ValueError(f"{where} needs 'file_name' or 'image_id' as number or text")
