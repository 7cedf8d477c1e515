"""Cases that two data sets have in common."""

from collections.abc import Sequence
from typing import Any

#: Keys that name a patient or a case in all data sets, in the order of preference.
CASE_KEYS = ('patient', 'nodule_id', 'img_path', 'img_id')


def shared_cases(
    first: Any, second: Any, keys: Sequence[str] = CASE_KEYS
) -> tuple[str, list[str]]:
    """Find the patients (or cases) that are in two data sets.

    Args:
        first: Data set of MMEngine, or a wrapper such as ``RepeatDataset``.
        second: The other data set.
        keys: Keys of a sample; the first that all samples have is compared.

    Returns:
        The compared key and the sorted values that both data sets have. Without a
        common key, the key is empty, and so is the list.
    """
    rows = [
        [data.get_data_info(index) for index in range(len(data))]
        for data in (first, second)
    ]
    for key in keys:
        if all(row.get(key) is not None for part in rows for row in part):
            names = [{str(row[key]) for row in part} for part in rows]
            return key, sorted(names[0] & names[1])
    return '', []
