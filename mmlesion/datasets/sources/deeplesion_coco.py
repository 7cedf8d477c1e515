"""Conversion of DeepLesion to COCO JSON and back."""

import os
from collections.abc import Sequence

from mmlesion.files import write_json

from .coco import read_coco, xyxy
from .deeplesion_csv import REQUIRED_COLUMNS, check_lesion_rows, lesion_cells
from .deeplesion_row import LesionRow, parse_lesion_row

#: Columns that are stored in fields of COCO instead of attributes.
_COCO_COLUMNS = ('File_name', 'Key_slice_index', 'Bounding_boxes', 'Image_size')


def write_deeplesion_coco(path: str | os.PathLike, rows: Sequence[LesionRow]) -> None:
    """Write rows of DeepLesion as COCO JSON, atomically.

    An image is one key slice. Its ``file_name`` is relative to ``Images_png``, and
    ``patient`` is the number of the patient. An annotation is one row of the csv file,
    with the number of the row as id. ``bbox`` is (x, y, width, height) of the outer
    edges in pixels. ``attributes`` contains the text of the other columns under their
    official names, with pixel centers counted from 1 as in the csv file.
    Noisy lesions have ``ignore`` 1, so that ``mmdet.CocoDataset`` ignores them.

    Args:
        path: The COCO file. An existing file is replaced.
        rows: Rows of :func:`read_deeplesion_csv`.

    Raises:
        ValueError: If two rows give a key slice different sizes, or there are no rows.
        OSError: If the file cannot be written.
    """
    if not rows:
        raise ValueError(f'{os.fspath(path)}: no lesions to write')
    images: dict[str, dict] = {}
    annotations = []
    for row in rows:
        slice_name = row.file_name[len(row.series) + 1 :]
        width, height = row.image_size
        image = images.setdefault(
            row.file_name,
            dict(
                id=len(images) + 1,
                file_name=f'{row.series}/{slice_name}',
                width=width,
                height=height,
                patient=row.patient,
            ),
        )
        if (image['width'], image['height']) != row.image_size:
            raise ValueError(
                f'row {row.row} gives {row.file_name} the size {width} x {height}, but '
                f'another row {image["width"]} x {image["height"]}'
            )
        x1, y1, x2, y2 = row.box_px
        cells = lesion_cells(row)
        annotations.append(
            dict(
                id=row.row,
                image_id=image['id'],
                category_id=1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=(x2 - x1) * (y2 - y1),
                iscrowd=0,
                ignore=int(row.noisy),
                attributes={
                    name: cell
                    for name, cell in cells.items()
                    if name not in _COCO_COLUMNS
                },
            )
        )
    content = dict(
        info=dict(description='DeepLesion'),
        images=list(images.values()),
        annotations=annotations,
        categories=[dict(id=1, name='lesion')],
    )
    write_json(path, content)


def read_deeplesion_coco(path: str | os.PathLike) -> list[LesionRow]:
    """Read a COCO file written by :func:`write_deeplesion_coco`.

    The rows are in the order of the annotations, and ``row`` is the id of the
    annotation.

    Args:
        path: The COCO file. Boxes and attributes may have been changed by other tools.

    Returns:
        The rows, with the same checks as for the official csv file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a COCO file, an annotation lacks an attribute, or
            a value is malformed. The message names the annotation.
    """
    path = os.fspath(path)
    coco = read_coco(path)
    needed = [name for name in REQUIRED_COLUMNS if name not in _COCO_COLUMNS]
    rows = []
    for annotation in coco.annotations:
        where = f'{path}: annotation {annotation["id"]!r}'
        attributes = annotation.get('attributes')
        if not isinstance(attributes, dict):
            attributes = {}
        for name in needed:
            if name not in attributes:
                raise ValueError(
                    f"{where} lacks {name!r} in its 'attributes'; expected the text of "
                    'this column of DL_info.csv'
                )
        image = coco.images[annotation['image_id']]
        series, _, slice_name = str(image.get('file_name')).rpartition('/')
        slice_number = slice_name.removesuffix('.png')
        if not series or '/' in series or not slice_number.isdecimal():
            raise ValueError(
                f'{path}: file_name of image {image["id"]!r} must have the form '
                f"'<series>/<slice>.png', but is {image.get('file_name')!r}"
            )
        cells = {name: str(cell) for name, cell in attributes.items()}
        x, y, x2, y2 = xyxy(annotation['bbox'], where)
        cells.update(
            File_name=f'{series}_{slice_name}',
            Key_slice_index=str(int(slice_number)),
            Bounding_boxes=', '.join(
                f'{value:.10g}' for value in (x + 1, y + 1, x2, y2)
            ),
            Image_size=f'{image["width"]}, {image["height"]}',
        )
        row = annotation['id']
        number = row if isinstance(row, int) else 0
        rows.append((parse_lesion_row(cells, number, where), where))
    if not rows:
        raise ValueError(f'{path}: expected at least one annotation')
    return check_lesion_rows(rows)
