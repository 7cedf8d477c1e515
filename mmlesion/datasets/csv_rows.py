"""Rows of one kind in a csv: written whole or not at all, checked when read."""

import csv
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields

from mmlesion.ct import PARTIAL_SUFFIX


def write_csv_rows(path: str | os.PathLike, row_type: type, rows: Sequence) -> None:
    """Write rows, all of them or nothing.

    Args:
        path (str | os.PathLike): The csv; replaced if it exists.
        row_type (type): A dataclass; its fields become the columns.
        rows (Sequence): Its instances.

    Raises:
        OSError: If it cannot be written.
    """
    path = os.fspath(path)
    descriptor, partial = tempfile.mkstemp(
        PARTIAL_SUFFIX, os.path.basename(path) + '.', os.path.dirname(path) or '.'
    )
    try:
        with open(descriptor, 'w', newline='', encoding='utf-8') as file:
            os.chmod(partial, 0o644)  # mkstemp hides the file from others
            writer = csv.DictWriter(
                file, [one.name for one in fields(row_type)], lineterminator='\n'
            )
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def read_csv_rows(
    path: str | os.PathLike, row_type: type, what: str, made_by: str, check: Callable
) -> list:
    """Read rows and check them.

    Args:
        path (str | os.PathLike): A file of :func:`write_csv_rows`; other columns
            are passed over.
        row_type (type): A dataclass with fields of type str, int and float.
        what (str): What the rows are, for messages (``'nodules'``).
        made_by (str): The command that makes the file, likewise.
        check (Callable): Gets a row; says what is wrong with it, or None.

    Returns:
        list: Instances of ``row_type``, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: On missing columns, a value of another type, one that is not
            finite, or what ``check`` says; names the row (the header is row 1).
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; make it by {made_by}')
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file, strict=True)
            absent = [
                one.name
                for one in fields(row_type)
                if one.name not in (reader.fieldnames or ())
            ]
            if absent:
                raise ValueError(
                    f'{path}: expected an index of {what}, but '
                    'there is no column ' + ', '.join(absent)
                )
            return [
                _parse_row(cells, row_type, check, f'{path}: row {reader.line_num}')
                for cells in reader
            ]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: the file is no csv ({error})') from None


def _parse_row(cells: dict[str, str], row_type: type, check: Callable, where: str):
    values = {}
    for one in fields(row_type):
        cell = cells[one.name]
        try:
            values[one.name] = one.type(cell)
        except (TypeError, ValueError):
            raise ValueError(
                f'{where}: {one.name} must be of type '
                f'{one.type.__name__}, but is {cell!r}'
            ) from None
        if one.type is float and not math.isfinite(values[one.name]):
            raise ValueError(f'{where}: {one.name} must be finite, but is {cell!r}')
    row = row_type(**values)
    wrong = check(row)
    if wrong:
        raise ValueError(f'{where}: {wrong}')
    return row
