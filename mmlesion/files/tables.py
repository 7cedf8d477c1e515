"""Tables as text."""

from collections.abc import Sequence

from tabulate import tabulate


def plain_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align cells for a terminal: the first column to the left, others to the right.

    Args:
        rows: Cells of each row, the header included.

    Returns:
        The lines.
    """
    if not rows:
        return []
    sides = ['left', *['right'] * (len(rows[0]) - 1)]
    text = tabulate(rows, tablefmt='plain', colalign=sides, disable_numparse=True)
    return text.splitlines()


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table.

    Args:
        rows: Cells of each row, the header first.
    """
    header, *others = rows
    return tabulate(others, header, tablefmt='github', disable_numparse=True)
