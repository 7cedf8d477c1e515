"""Pages that show the findings of scans, readable offline in a browser."""

from .list_page import write_list_page, write_thumbnail
from .page import (
    WINDOWS,
    initial_window,
    page_content,
    write_assets,
    write_page,
)

__all__ = [
    'WINDOWS',
    'initial_window',
    'page_content',
    'write_assets',
    'write_list_page',
    'write_page',
    'write_thumbnail',
]
