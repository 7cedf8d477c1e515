"""Csv tables: atomic writing, and reading with checks of every cell."""

import csv
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import Any, cast

from .atomic import atomic_file


def write_csv_rows(path: str | os.PathLike, row_type: type, rows: Sequence) -> None:
    """Write a csv file of dataclass rows atomically.

    Args:
        path: Output csv file; replaced if it exists.
        row_type: A dataclass; its fields become the columns.
        rows: Instances of ``row_type``.

    Raises:
        OSError: If the file cannot be written.
    """
    columns = [field.name for field in fields(row_type)]
    write_csv_table(path, columns, (asdict(row) for row in rows))


def write_csv_table(
    path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping]
) -> None:
    """Write a csv file of dicts atomically.

    Args:
        path: Output csv file; replaced if it exists.
        columns: Names of the columns.
        rows: One dict per row, with the columns as keys.

    Raises:
        OSError: If the file cannot be written.
    """
    with atomic_file(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(columns), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def read_csv_rows(
    path: str | os.PathLike, row_type: type, what: str, made_by: str, check: Callable
) -> list:
    """Read the rows of a csv file and check them.

    Args:
        path: A file of :func:`write_csv_rows`. Other columns are ignored.
        row_type: A dataclass with fields of type str, int and float. A column may
            be absent if its field has a default.
        what: What the rows are, for error messages (``'nodules'``).
        made_by: The command that makes the file, for error messages.
        check: Takes a row; returns what is wrong with the row, or None.

    Returns:
        Instances of ``row_type`` in the order of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a column is missing, a cell has another type or is not
            finite, or ``check`` finds an error. The message names the row; the
            header is row 1.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; create it with {made_by}')
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file, strict=True)
            absent = [
                column.name
                for column in fields(row_type)
                if column.name not in (reader.fieldnames or ())
                and column.default is MISSING
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
        raise ValueError(f'{path}: the file is not a csv file ({error})') from None


def _parse_row(
    cells: dict[str, str], row_type: type, check: Callable, where: str
) -> Any:
    if None in cells or None in cells.values():
        raise ValueError(f'{where}: expected one cell per column')
    values = {}
    for column in fields(row_type):
        name, kind = column.name, cast(type, column.type)
        if name not in cells:
            continue
        cell = cells[name]
        try:
            if kind is not str and ('_' in cell or not cell.isascii()):
                raise ValueError  # Python also accepts 1_0 and digits of other scripts
            values[name] = kind(cell)
        except (TypeError, ValueError):
            raise ValueError(
                f'{where}: {name} must be of type {kind.__name__}, but is {cell!r}'
            ) from None
        if kind is float and not math.isfinite(values[name]):
            raise ValueError(f'{where}: {name} must be finite, but is {cell!r}')
    row = row_type(**values)
    wrong = check(row)
    if wrong:
        raise ValueError(f'{where}: {wrong}')
    return row
