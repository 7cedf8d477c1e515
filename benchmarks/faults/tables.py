"""Tables, lists and XML, each with a valid file, a reader and a check."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import contents
from .formats import Format, always, never, new_folder

_ROOT = Path(__file__).resolve().parents[2]
_OVERRIDES = (
    'train_cfg.max_epochs=2',
    'optim_wrapper.optimizer.lr=0.1',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.dataset.pipeline.0.num_slices=9',
    'model.roi_head.bbox_head.num_classes=1',
    'model.test_cfg.rcnn.score_thr=0.1',
    'randomness.seed=3',
    'default_hooks.checkpoint.interval=1',
)


def make_tables(root: Path) -> list[Format]:
    """Write a valid file of each kind.

    Args:
        root: Folder; a subfolder is made for each format.

    Returns:
        The formats.
    """
    return [
        *_indices(root),
        *_phantom(root),
        *_lists(root),
        *_boxes(root),
        *_results(root),
        *_overrides(root),
    ]


def _indices(root: Path) -> list[Format]:
    from mmlesion.datasets.indices.nodule_index import (
        NoduleRow,
        read_nodule_index,
        write_nodule_index,
    )
    from mmlesion.datasets.indices.slice_index import (
        SliceRow,
        read_slice_index,
        write_slice_index,
    )
    from mmlesion.datasets.node21 import read_node21_csv

    nodules, slices, node21 = (
        new_folder(root, n) for n in ('nodules', 'rows', 'node21')
    )
    write_nodule_index(
        nodules / 'nodules.csv',
        [
            NoduleRow(
                f'a{n}',
                f'P{n}',
                '1.2',
                n % 2,
                2.0 + 2 * (n % 2),
                4,
                8.5,
                0.0,
                5.0,
                1.0,
                6.0,
                3.5,
                2.0,
                1.0,
                4.0,
                5.0,
            )
            for n in range(6)
        ],
    )
    write_slice_index(
        slices / 'slices.csv',
        [SliceRow('P1', '1.2', n, n % 3, 0.7, 0.7, -3, 4) for n in range(6)],
    )
    (node21 / 'metadata.csv').write_text(
        'img_name,x,y,width,height,label\n'
        + ''.join(f'n{n}.mha,{n},20,30,40,{n % 2}\n' for n in range(8))
    )
    return [
        Format(
            'nodules.csv',
            nodules / 'nodules.csv',
            lambda f: repr(read_nodule_index(f / 'nodules.csv')),
            never,
            True,
        ),
        Format(
            'slices.csv',
            slices / 'slices.csv',
            lambda f: repr(read_slice_index(f / 'slices.csv')),
            never,
            True,
        ),
        Format(
            'metadata.csv',
            node21 / 'metadata.csv',
            lambda f: repr(read_node21_csv(f / 'metadata.csv')),
            never,
            True,
        ),
    ]


def _phantom(root: Path) -> list[Format]:
    from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv
    from mmlesion.datasets.sources.lidc_xml import read_lidc_xml
    from mmlesion.phantom import write_deeplesion, write_lidc

    write_lidc(root / 'lidc_phantom', 1, size=128)
    xml = next((root / 'lidc_phantom').rglob('*.xml'))
    folder = new_folder(root, 'xml')
    (folder / 'a.xml').write_bytes(xml.read_bytes())

    def read_xml(folder: Path) -> Any:
        found = read_lidc_xml(folder / 'a.xml')
        assert found is not None
        outlines = [
            (one.z_mm, one.included, one.points_px.tolist())
            for nodule in found.nodules
            for one in nodule.contours
        ]
        return found.num_readers, repr((found.series_uid, outlines))

    write_deeplesion(root / 'deeplesion_phantom', 3, 1, 1, size=96)
    csv = new_folder(root, 'dl_info')
    (csv / 'DL_info.csv').write_bytes(
        (root / 'deeplesion_phantom' / 'DL_info.csv').read_bytes()
    )

    def read_csv(folder: Path) -> Any:
        rows = read_deeplesion_csv(folder / 'DL_info.csv')
        boxes = [(row.file_name, row.box_px) for row in rows if not row.noisy]
        return len(boxes) - len(set(boxes)), repr(rows)

    def fewer_readers(_: int, whole: Any, found: Any) -> bool:
        return found[0] < 1

    def twice(_: int, whole: Any, found: Any) -> bool:
        return found[0] > 0

    return [
        Format('LIDC xml', folder / 'a.xml', read_xml, fewer_readers, True),
        Format('DL_info.csv', csv / 'DL_info.csv', read_csv, twice, True),
    ]


def _text(
    root: Path, name: str, content: str, read: Callable, file: str | None = None
) -> Format:
    """Return a text format of one file without checksums."""
    folder = new_folder(root, name)
    path = folder / (file or name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    above = len(path.relative_to(folder).parts)
    return Format(name, path, read, never, True, above)


def _lists(root: Path) -> list[Format]:
    """Return the lists of scans, projections and key slices."""
    from mmlesion.ct import REGIONS, CTVolume, write_volume
    from mmlesion.datasets import DeepLesionDataset
    from mmlesion.datasets.indices.scan_list import read_scan_list
    from mmlesion.datasets.sources.deeplesion_csv import (
        read_background_csv,
        read_deeplesion_csv,
        write_background_csv,
    )
    from mmlesion.scan.find_scans import find_scans

    regions = [f'{region}_cavity' for region in REGIONS]
    head = ','.join(['scan', 'patient', 'disease', 'survival', *regions])
    rows = [f'scans/{n}.nii.gz,P{n},{n % 2},1,0,1,0,,1,0' for n in range(5)]
    scans = '\n'.join([head, *rows])
    extra = [f'{row},projections/s{n},4,' for n, row in enumerate(rows)]
    projections = '\n'.join([f'{head},folder,rotations,empty', *extra])
    data = root / 'deeplesion_phantom'

    def read_split(folder: Path) -> str:
        dataset = DeepLesionDataset(
            ann_file=str(data / 'DL_info.csv'),
            data_root=str(data),
            split='own',
            split_files=dict(own=str(folder / 'own.txt')),
            pipeline=[],
        )
        return repr([dataset.get_data_info(n)['img_path'] for n in range(len(dataset))])

    key_slices = [
        line.split(',')[0]
        for line in (data / 'DL_info.csv').read_text().splitlines()[1:4]
    ]
    split = _text(root, 'split list', '\n'.join(key_slices), read_split, 'own.txt')
    listed = _text(
        root,
        'list of scans',
        'a.nii\nb.nii\n',
        lambda f: repr(
            {name: path.name for name, path in find_scans(f / 'a.txt').items()}
        ),
        'a.txt',
    )
    rows_by_file = {
        row.file_name: row for row in read_deeplesion_csv(data / 'DL_info.csv')
    }
    background = new_folder(root, 'background') / 'background.csv'
    write_background_csv(background, rows_by_file.values())
    for name in 'ab':
        write_volume(listed.folder / f'{name}.nii', CTVolume(np.zeros((1, 1, 1))))
    return [
        _text(
            root, 'scans.csv', scans, lambda f: repr(read_scan_list(f / 'scans.csv'))
        ),
        _text(
            root,
            'projections.csv',
            projections,
            lambda f: repr(read_scan_list(f / 'projections.csv', True)),
        ),
        split,
        listed,
        Format(
            'background.csv',
            background,
            lambda f: repr(read_background_csv(f / 'background.csv')),
            never,
            True,
        ),
    ]


def _boxes(root: Path) -> list[Format]:
    """Return the formats for lesions and predicted boxes of other programs."""
    from mmlesion.datasets.sources.box_files import read_box_files
    from mmlesion.datasets.sources.deeplesion_coco import (
        read_deeplesion_coco,
        write_deeplesion_coco,
    )
    from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv

    rows = read_deeplesion_csv(root / 'deeplesion_phantom' / 'DL_info.csv')
    coco = new_folder(root, 'coco') / 'coco.json'
    write_deeplesion_coco(coco, rows)
    truth = str(coco)
    boxes = [(row.file_name, *row.box_px, 0.5) for row in rows]
    table = 'file_name,x1,y1,x2,y2,score\n' + '\n'.join(
        ','.join(map(str, box)) for box in boxes
    )
    images = json.loads(coco.read_text())['images']
    entries = [
        dict(image_id=image['id'], bbox=[10, 10, 20, 20], score=0.25)
        for image in images
    ]
    return [
        Format(
            'COCO json',
            coco,
            lambda f: repr(read_deeplesion_coco(f / 'coco.json')),
            never,
            True,
        ),
        _text(
            root,
            'predicted csv',
            table,
            lambda f: repr(
                read_box_files(f / 'a.csv', root / 'deeplesion_phantom' / 'DL_info.csv')
            ),
            'a.csv',
        ),
        _text(
            root,
            'predicted json',
            json.dumps(entries),
            lambda f: repr(read_box_files(f / 'a.json', truth)),
            'a.json',
        ),
    ]


def _results(root: Path) -> list[Format]:
    """Return results that other programs of the package read."""
    from mmlesion.apis.studies import results_table
    from mmlesion.ct import CTVolume
    from mmlesion.scan import Box3D, Finding, ScanResult, SliceBox
    from mmlesion.scan.evaluation import read_results, read_truth

    truth = (
        'scan,center_x_mm,center_y_mm,center_z_mm,long_diameter_mm,excluded\n'
        'a,50,50,50,10,0\na,20,20,20,10,1\n1.2.3,70,70,70,8,0\nc,,,,,\n'
    )
    box = Box3D((1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    finding = Finding(
        1,
        0.5,
        box,
        (3.0, 4.0, 5.0),
        ((1.0, 2.0, 3.0), (5.0, 6.0, 7.0)),
        4,
        [SliceBox(4, 0.5, box)],
        4.0,
        4.0,
    )
    found = ScanResult(
        'a',
        'nifti',
        '',
        CTVolume(np.zeros((1, 1, 1))).grid,
        2,
        (1.0, 1.0, 1.0),
        1.0,
        {},
        [finding],
    )
    metrics = dict(mean=0.76, std=0.01, values=[0.75, 0.77])
    summary = dict(
        metrics={'binary/auc': metrics}, num_folds=2, table=dict(AUC='binary/auc')
    )
    return [
        _text(root, 'truth.csv', truth, lambda f: repr(read_truth(f / 'truth.csv'))),
        _text(
            root,
            'findings.json',
            json.dumps(found.to_dict()),
            lambda f: repr(read_results(f)),
            'a/findings.json',
        ),
        _text(
            root,
            'cross_validation.json',
            json.dumps(summary),
            lambda f: results_table([f]).replace(f.name, ''),
        ),
    ]


def _overrides(root: Path) -> list[Format]:
    """Return formats for overrides of a config on the command line."""
    from mmlesion.cli.arguments import read_config

    config = str(_ROOT / 'configs' / '3dce_csatt_15slice.py')
    made = []

    def read(folder: Path) -> str:
        line = (folder / 'a.txt').read_bytes().decode()
        return (
            '' if line == _OVERRIDES[0] else repr(read_config(config, [line]).to_dict())
        )

    def choose(damage: Callable) -> Callable:
        def chosen(content: bytes, rng: random.Random, text: bool) -> bytes:
            return damage(rng.choice(_OVERRIDES).encode(), rng, text)

        return chosen

    words = ('--cfg-options', ' must be ')
    for name, damage, knowable in (
        ('override keys', contents.misspelled_override, always),
        ('override values', contents.odd_override, never),
    ):
        path = new_folder(root, name) / 'a.txt'
        path.write_text(_OVERRIDES[0])
        form = Format(name, path, read, knowable, True, damage=choose(damage))
        made.append(replace(form, words=words, batch=8))
    return made
