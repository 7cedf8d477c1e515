"""The sub-groups of lesions that DeepLesion is reported by."""

import numpy as np

# Coarse_lesion_type of DL_info.csv; the order is that of the paper's Table 2.
LESION_TYPES = dict(LU=5, ME=3, LV=4, ST=7, PV=8, AB=2, KD=6, BN=1)


def deeplesion_subgroups(lesion_type=None, diameter_mm=None, interval_mm=None):
    """Masks of the lesions in each column of the paper's Table 2.

    Source: Q. Tao et al., Improving deep lesion detection using 3D contextual
    and spatial attention, MICCAI 2019, Table 2.
    Differs from it in: a slice interval of exactly 2.5 mm, which the paper
    leaves out (3 of the 4,912 lesions of the test set), is with the wide ones.

    Args:
        lesion_type (array, optional): Coarse type, 1 bone, 2 abdomen,
            3 mediastinum, 4 liver, 5 lung, 6 kidney, 7 soft tissue, 8 pelvis;
            anything else is in no group.
        diameter_mm (array, optional): Long diameter in mm. NaN is in no group.
        interval_mm (array, optional): Slice interval of the lesion's scan in mm.
            NaN and values <= 0 are in no group.

    Returns:
        dict[str, ndarray]: Boolean masks, in the order of the table: 'LU', 'ME',
        'LV', 'ST', 'PV', 'AB', 'KD', 'BN', '<10 mm', '10-30 mm', '>30 mm',
        'interval <2.5 mm', 'interval >=2.5 mm'. What is not given is left out.

    Shape:
        - arguments and masks: (L,)
    """
    groups = {}
    if lesion_type is not None:
        lesion_type = np.asarray(lesion_type)
        for name, number in LESION_TYPES.items():
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
