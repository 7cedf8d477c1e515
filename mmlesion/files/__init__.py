"""Reading and writing of files: atomic writes, csv rows, locks, process pools.

Plain Python: no torch and no OpenMMLab package. This package imports nothing else of
mmlesion.
"""

from .atomic import (
    PARTIAL_SUFFIX,
    atomic_file,
    atomic_path,
    plain_json,
    sync_folder,
    write_json,
    write_text,
)
from .csv_rows import read_csv_rows, write_csv_rows, write_csv_table
from .folder_lock import keep_lock, lock_folder, release_lock, remove_partial
from .limits import check_limit
from .made_from import describe_files, files_match, list_files
from .names import is_file_name, path_in
from .parallel import map_ahead, run_in_parallel
from .phrases import counted
from .problems import write_problems
from .tables import markdown_table, plain_table
from .text import read_text

__all__ = [
    'PARTIAL_SUFFIX',
    'atomic_file',
    'atomic_path',
    'check_limit',
    'counted',
    'describe_files',
    'files_match',
    'is_file_name',
    'keep_lock',
    'list_files',
    'lock_folder',
    'map_ahead',
    'markdown_table',
    'path_in',
    'plain_json',
    'plain_table',
    'read_csv_rows',
    'read_text',
    'release_lock',
    'remove_partial',
    'run_in_parallel',
    'sync_folder',
    'write_csv_rows',
    'write_csv_table',
    'write_json',
    'write_problems',
    'write_text',
]
