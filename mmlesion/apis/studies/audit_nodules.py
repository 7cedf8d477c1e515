"""Label leaks of nodule patches, and the agreement of the readers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.datasets import LIDCNoduleDataset, patient_folds, read_lidc_readings
from mmlesion.datasets.indices.nodule_index import NoduleRow, read_nodule_index
from mmlesion.datasets.sources.lidc_consensus import MIN_READERS, match_readers
from mmlesion.evaluation.functional import (
    CERTAINTY_BINS,
    accuracy_by_certainty,
    binary_areas,
    geometry_baseline,
    one_against_rest,
    patch_geometry,
    reader_accuracy_by_certainty,
    two_against_two,
)
from mmlesion.files import write_json


def audit_nodules(
    cfg: Config,
    runs: Sequence[str | Path] = (),
    xml: str | Path | None = None,
    num_folds: int = 5,
    seed: int = 0,
    out_file: str | Path | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure the label leaks of nodule patches and the agreement of the readers.

    Args:
        cfg: Config of a nodule classifier. The first step of its test pipeline
            loads the patches of all nodules.
        runs: Work directories of :func:`mmlesion.apis.cross_validate`, whose accuracy
            is computed by the certainty of the readers.
        xml: Folder or archive of the official XML. If it is given, the agreement of
            the readers is measured on all its nodules with at least three readers,
            instead of the nodules of the index.
        num_folds: Number of folds with disjoint patients.
        seed: Random seed of the folds.
        out_file: Output JSON file.
        progress: Show a progress bar.

    Returns:
        ``cases`` and ``malignant``, numbers of nodules; ``geometry``, the AUC by fold
        of :func:`~mmlesion.evaluation.functional.geometry_baseline`; ``diameter``, the
        AUC of the diameter by definition of the label; ``readers``, see
        :func:`~mmlesion.evaluation.functional.one_against_rest`; and ``certainty``,
        the results of
        :func:`~mmlesion.evaluation.functional.accuracy_by_certainty` by run.

    Raises:
        ValueError: If the config reads no nodules, the index has no ratings by reader,
            or a run has no scores.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset: Any = DATASETS.build(dict(cfg.test_dataloader.dataset, split='all'))
    if not isinstance(dataset, LIDCNoduleDataset):
        raise ValueError(
            f'{cfg.filename}: expected mmlesion.LIDCNoduleDataset as test data, got '
            f'{type(dataset).__name__}.'
        )
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    labels = np.array([sample['gt_label'] for sample in samples])
    # The loaded HU are used, because saturated pixels of a window would be equal.
    loader: Any = dataset.pipeline.transforms[0]
    num_stacks = 1 + getattr(loader, 'physical', False)
    features = [
        patch_geometry(
            loader(dataset.get_data_info(index))['img'].transpose(2, 0, 1), num_stacks
        )
        for index in tqdm(
            range(len(dataset)), desc='Patches', unit='nodule', disable=not progress
        )
    ]
    folds = patient_folds(
        [sample['patient'] for sample in samples], labels.tolist(), num_folds, seed
    )
    rows = {row.nodule_id: row for row in read_nodule_index(dataset.ann_file)}
    result = dict(
        cases=len(samples),
        malignant=int(labels.sum()),
        geometry=geometry_baseline(features, labels, folds, seed),
        diameter=_diameter_areas([row for row in rows.values() if row.label != -1]),
        readers=_readers(list(rows.values()), xml, progress),
        certainty={
            str(run): accuracy_by_certainty(*_scores(Path(run), rows)) for run in runs
        },
    )
    if out_file is not None:
        write_json(out_file, result, indent=1)
    return result


def audit_table(result: dict[str, Any]) -> str:
    """Format the result of :func:`audit_nodules` as Markdown tables."""
    lines = [
        f'{result["cases"]} nodules, {result["malignant"]} malignant (mean rating of '
        'three readers or more above 3)',
        '',
        '| without the image | AUC |',
        '|---|---|',
    ]
    for name, areas in result['geometry'].items():
        spread = f'{np.mean(areas):.3f} ± {np.std(areas, ddof=1):.3f}'
        lines.append(f'| geometry of the patches, {name} | {spread} |')
    for name, (area, count) in result['diameter'].items():
        lines.append(f'| diameter, label: {name} ({count} nodules) | {area:.3f} |')
    lines += ['', '| readers | AUC | accuracy | comparisons |', '|---|---|---|---|']
    for name in ('one against the others', 'two against two'):
        row = result['readers'][name]
        lines.append(
            f'| {name} | {row["auc"]:.3f} | {row["accuracy"]:.3f} | {row["pairs"]} |'
        )
    titles = [f'{low:g} to {high:g}' for low, high in CERTAINTY_BINS]
    lines += [
        '',
        f'| accuracy by distance of the mean rating from 3 | {" | ".join(titles)} |',
        '|---' * (1 + len(titles)) + '|',
    ]
    certainty = {
        'one reader, by the others': result['readers']['certainty'],
        **result['certainty'],
    }
    for name, bins in certainty.items():
        cells = [f'{accuracy:.3f} ({count})' for count, accuracy in bins]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _diameter_areas(rows: Sequence[NoduleRow]) -> dict[str, tuple[float, int]]:
    """AUC of the diameter and number of nodules, by definition of the label."""
    found = {
        'mean above 3': (
            binary_areas(
                [row.diameter_mm for row in rows], [row.label for row in rows]
            )['auc'],
            len(rows),
        )
    }
    voted = []
    for row in rows:
        counts = np.bincount([int(each) for each in row.ratings.split()], minlength=6)
        winners = np.flatnonzero(counts == counts.max())
        if len(winners) == 1 and winners[0] not in (0, 3):
            voted.append((row.diameter_mm, winners[0] > 3))
    if voted:
        area = binary_areas(*zip(*voted))['auc']
        found['most frequent rating above 3'] = area, len(voted)
    return found


def _readers(
    rows: Sequence[NoduleRow], xml: str | Path | None, progress: bool
) -> dict[str, Any]:
    """Agreement of the readers, of the index or of the whole XML."""
    if xml is None:
        ratings = [[int(each) for each in row.ratings.split()] for row in rows]
        if not all(ratings):
            raise ValueError(
                'the index has no ratings by reader; prepare the data again with '
                'mmlesion prepare lidc, or give the XML'
            )
    else:
        readings = read_lidc_readings(str(xml), progress)
        ratings = [
            [one.ratings['malignancy'] for one in group]
            for reading in readings.values()
            for group in match_readers(reading.nodules)
            if len(group) >= MIN_READERS
        ]
    return {
        'nodules': len(ratings),
        'one against the others': one_against_rest(ratings),
        'two against two': two_against_two(ratings),
        'certainty': reader_accuracy_by_certainty(ratings),
    }


def _scores(run: Path, rows: dict[str, NoduleRow]) -> tuple[list[float], list[float]]:
    """Scores and mean ratings of the tested nodules of a cross-validation."""
    paths = sorted(run.glob('fold*/test.scores.json'))
    if not paths:
        raise ValueError(
            f'{run}: no fold has test.scores.json; expected the work directory of '
            'mmlesion cross-validate'
        )
    scores, means = [], []
    for path in paths:
        for case in json.loads(path.read_text()):
            if case['case'] not in rows:
                raise ValueError(
                    f'{path}: nodule {case["case"]} is not in the index of the config'
                )
            scores.append(case['score'])
            means.append(rows[case['case']].malignancy)
    return scores, means
