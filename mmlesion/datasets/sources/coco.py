"""Reader of boxes in COCO JSON."""

import json
import math
import os
from dataclasses import dataclass
from typing import Any

from .deeplesion_row import check_box


@dataclass(frozen=True)
class COCOBoxes:
    """Images and boxes of a COCO file.

    Attributes:
        images: Entries of ``images`` by id, in the order of the file.
        annotations: Entries of ``annotations`` in the order of the file.
        categories: Names of the categories by id.
    """

    images: dict[Any, dict]
    annotations: list[dict]
    categories: dict[Any, str]


def read_coco(path: str | os.PathLike) -> COCOBoxes:
    """Read and check a COCO file of boxes.

    Args:
        path: JSON file with ``images``, ``annotations`` and ``categories``.

    Returns:
        The content.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a COCO file, an id is repeated, an annotation
            belongs to an unknown image or category, or a box is malformed or extends
            beyond its image by more than 10 pixels.
    """
    path = os.fspath(path)
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected a COCO file with 'images' and 'annotations', but found "
            f'a {type(content).__name__}'
        )
    images = _by_id(content, 'images', path)
    for key, image in images.items():
        where = f'{path}: image {key!r}'
        for side in ('width', 'height'):
            value = image.get(side)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f'{where}: {side} must be a positive integer, but is {value!r}'
                )
    categories = _by_id(content, 'categories', path)
    annotations = _by_id(content, 'annotations', path)
    for key, annotation in annotations.items():
        where = f'{path}: annotation {key!r}'
        image = images.get(_hashable(annotation.get('image_id')))
        if image is None:
            raise ValueError(
                f'{where} belongs to the unknown image {annotation.get("image_id")!r}'
            )
        category = _hashable(annotation.get('category_id'))
        if category not in categories:
            raise ValueError(f'{where} has the unknown category {category!r}')
        box = xyxy(annotation.get('bbox'), where)
        check_box(box, image['width'], image['height'], where)
    return COCOBoxes(
        images,
        list(annotations.values()),
        {key: str(entry.get('name')) for key, entry in categories.items()},
    )


def read_json(path: str) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a JSON file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a JSON file')
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f'{path}: not a JSON file ({error})') from None


def xyxy(bbox: Any, where: str) -> tuple[float, float, float, float]:
    """Return the corners (x1, y1, x2, y2) of a COCO box (x, y, width, height).

    Args:
        bbox: The box.
        where: Prefix of error messages.

    Raises:
        ValueError: If the box is not four finite numbers, or a side is negative.
    """
    if (
        not isinstance(bbox, list)
        or len(bbox) != 4
        or not all(is_number(value) for value in bbox)
        or min(bbox[2:]) < 0
    ):
        raise ValueError(
            f'{where}: bbox must be [x, y, width, height] in pixels, but is {bbox!r}'
        )
    x, y, width, height = map(float, bbox)
    return x, y, x + width, y + height


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the range of floats
        return False


def _by_id(content: dict, name: str, path: str) -> dict[Any, dict]:
    """Return the entries of a list by their ids."""
    entries = content.get(name)
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ValueError(f'{path}: {name!r} must be a list of objects')
    found: dict[Any, dict] = {}
    for place, entry in enumerate(entries):
        key = _hashable(entry.get('id'))
        if key is None:
            raise ValueError(f'{path}: {name}[{place}] needs a number or text as id')
        if key in found:
            raise ValueError(f'{path}: {name} has the id {key!r} twice')
        found[key] = entry
    return found


def _hashable(key: Any) -> int | str | None:
    return key if isinstance(key, (int, str)) else None
