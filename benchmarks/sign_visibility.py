"""Visibility of the generated signs in the projections of the lung regions.

For each sign and view, a positive lung region counts as visible if the sign fills more
than a fifth of a ray inside the lung mask. Negative regions contain no sign, so the AUC
of this oracle follows from the share of visible regions. Needs the prepared scans in
``data/phantom/signs`` (commands in data/README.md) and uses their test patients.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mmlesion.ct import VIEWS, read_volume, region_slices, resample_to_grid
from mmlesion.datasets import LungProjectionDataset
from mmlesion.datasets.prepare import read_refined_lung
from mmlesion.phantom.pathology import SIGNS

ROOT = Path('data/phantom/signs')
_SMALLEST_SHARE = 0.2


def visibility(root, sign):
    """Return the share of the sign inside the mask and the largest share of a ray.

    Args:
        root (Path): Folder of a phantom with prepared scans.
        sign (str): Name of the sign.

    Returns:
        list[dict]: For each positive lung region of the test scans: ``inside``, and
        the largest share of a ray for each view.
    """
    data = LungProjectionDataset(
        sign,
        data_root=str(root),
        split='test',
        balance=False,
        lazy_init=True,
        pipeline=[],
    )
    found = []
    for row in data.split_rows():
        positive = [area for area, label in row.signs[sign].items() if label]
        if not positive:
            continue
        stem = Path(row.scan).name.split('.')[0]
        mask = read_volume(root / 'masks' / f'{stem}_{sign}.nii.gz')
        lung = read_refined_lung(str(root / row.folder))
        mask = replace(mask, array=(mask.array > 0).astype(np.float32))
        truth = resample_to_grid(mask, lung.shape, outside=0).array
        inside = lung.array > 0
        for area, place in region_slices(lung.shape).items():
            if area not in positive:
                continue
            drawn, kept = truth[place], inside[place]
            shares = {
                view: (drawn * kept).sum(axis) / np.maximum(kept.sum(axis), 1)
                for axis, view in enumerate(VIEWS)
            }
            found.append(
                dict(
                    inside=float((drawn * kept).sum() / max(drawn.sum(), 1e-6)),
                    **{view: float(share.max()) for view, share in shares.items()},
                )
            )
    return found


def run():
    """Return the rows of the table, see ``benchmarks/__init__.py``."""
    rows = []
    for sign in SIGNS:
        found = visibility(ROOT, sign)
        inside = np.median([each['inside'] for each in found])
        for view in VIEWS:
            seen = np.mean([each[view] > _SMALLEST_SHARE for each in found])
            rows.append(
                dict(
                    what=f'visible {sign} regions, {view}',
                    ours=float(seen),
                    peer=None,
                    unit='',
                    ratio=None,
                    note=f'oracle AUC {0.5 + seen / 2:.2f}; {len(found)} regions, '
                    f'median share inside the mask {inside:.2f}',
                )
            )
    return rows
