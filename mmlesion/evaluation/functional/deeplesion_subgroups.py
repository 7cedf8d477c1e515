"""Subgroups of lesions in the tables of DeepLesion."""

import numpy as np
import numpy.typing as npt

#: Coarse_lesion_type of DL_info.csv, in the order of Table 2 of the paper.
TABLE2_TYPES = dict(LU=5, ME=3, LV=4, ST=7, PV=8, AB=2, KD=6, BN=1)


def deeplesion_subgroups(
    lesion_type: npt.ArrayLike | None = None,
    diameter_mm: npt.ArrayLike | None = None,
    interval_mm: npt.ArrayLike | None = None,
) -> dict[str, np.ndarray]:
    """Return masks of the lesions in each column of Table 2 of the paper.

    Source: Q. Tao et al., Improving deep lesion detection using 3D contextual
    and spatial attention, MICCAI 2019, Table 2.
    Differs from it in: a slice interval of exactly 2.5 mm, which the paper omits
    (3 of the 4,912 lesions of the test set), counts as a wide interval.

    Args:
        lesion_type: Coarse type: 1 bone, 2 abdomen, 3 mediastinum, 4 liver, 5 lung,
            6 kidney, 7 soft tissue, 8 pelvis. Other values belong to no group.
        diameter_mm: Long diameter in mm. NaN belongs to no group.
        interval_mm: Slice interval of the lesion's scan in mm. NaN and values <= 0 are
            belong to no group.

    Returns:
        Boolean masks in the order of the table: 'LU', 'ME', 'LV', 'ST', 'PV', 'AB',
        'KD', 'BN', '<10 mm', '10-30 mm', '>30 mm', 'interval <2.5 mm', 'interval
        >=2.5 mm'. Groups of missing properties are omitted.

    Shape:
        - arguments and masks: (L,)
    """
    groups = {}
    if lesion_type is not None:
        lesion_type = np.asarray(lesion_type)
        for name, number in TABLE2_TYPES.items():
            groups[name] = lesion_type == number
    if diameter_mm is not None:
        diameter_mm = np.asarray(diameter_mm, dtype=np.float64)
        groups['<10 mm'] = diameter_mm < 10
        groups['10-30 mm'] = (diameter_mm >= 10) & (diameter_mm <= 30)
        groups['>30 mm'] = diameter_mm > 30
    if interval_mm is not None:
        interval_mm = np.asarray(interval_mm, dtype=np.float64)
        groups['interval <2.5 mm'] = (interval_mm > 0) & (interval_mm < 2.5)
        groups['interval >=2.5 mm'] = interval_mm >= 2.5
    return groups
