"""Oracle of the generated scans with signs: what the labels allow at best.

``survival`` is predicted from the total volume of the signs in a scan, which the image
shows, and from the severity of the patient, which is the ceiling. ``disease`` is
predicted from other diseases and mimics, which must not tell patients from controls.
"""

import csv
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from mmlesion.evaluation.functional import binary_areas, group_bootstrap
from mmlesion.phantom import MIMICS, write_signs
from mmlesion.phantom.pathology import BACKGROUNDS


def oracle(folder, resamples=1000):
    """Return the AUC of each oracle with its 95 % interval over patients.

    Args:
        folder (str | Path): Output of :func:`mmlesion.phantom.write_signs`.
        resamples (int): Number of bootstrap resamples of patients.

    Returns:
        dict[str, tuple]: For each oracle, AUC, lower and upper limit, number of scans.
    """
    scans, truth, patients = (
        _table(Path(folder) / f'{name}.csv') for name in ('scans', 'truth', 'patients')
    )
    severity = {row['patient']: float(row['severity']) for row in patients}
    volume, others, mimics = Counter(), Counter(), Counter()
    for row in truth:
        if row['sign'] in ('cavity', 'pleural_thickening'):  # a ball is in a cavity
            volume[row['scan']] += float(row['volume_mm3'])
        others[row['scan']] += row['sign'] in BACKGROUNDS
        mimics[row['scan']] += row['sign'] in MIMICS
    last = [row for row in scans if row['survival']]
    first = [row for row in scans if row['scan'].endswith('_1.nii.gz')]
    return {
        name: _auc(rows, label, [score(row) for row in rows], resamples)
        for name, rows, label, score in (
            (
                'survival by severity',
                last,
                'survival',
                lambda r: severity[r['patient']],
            ),
            ('survival by volume', last, 'survival', lambda r: volume[r['scan']]),
            ('disease by diseases', first, 'disease', lambda r: others[r['scan']]),
            ('disease by mimics', first, 'disease', lambda r: mimics[r['scan']]),
        )
    }


def run():
    """Return the rows of the table, see ``benchmarks/__init__.py``."""
    with tempfile.TemporaryDirectory() as folder:
        found = oracle(
            write_signs(Path(folder) / 'signs', 150, 60, size=64, max_visits=2)
        )
    targets = {'survival by severity': '>= 0.9', 'survival by volume': '>= 0.85'}
    return [
        dict(
            what=f'AUC of {name}, generated scans',
            ours=auc,
            peer=None,
            unit='',
            ratio=None,
            target=targets.get(name, '<= 0.6'),
            note=f'95 % interval {low:.2f} to {high:.2f}, {count} scans',
        )
        for name, (auc, low, high, count) in found.items()
    ]


def _auc(rows, label, scores, resamples):
    scores, labels = np.array(scores, float), np.array([int(r[label]) for r in rows])

    def auc(cases):
        return binary_areas(scores[cases], labels[cases])['auc']

    patients = [row['patient'] for row in rows]
    low, high = group_bootstrap(auc, patients, num_resamples=resamples)
    return auc(np.arange(len(rows))), float(low), float(high), len(rows)


def _table(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))
