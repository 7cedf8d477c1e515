"""Paths outside of a folder, decompression bombs, and repeated rows."""

import csv
import json
import time
from dataclasses import replace

import numpy as np
import pytest

from mmlesion.ct import CTVolume, write_volume
from mmlesion.datasets.node21 import read_node21_csv
from mmlesion.datasets.prepare import prepare_lidc_slices, prepare_signs
from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv
from mmlesion.datasets.sources.lidc_xml import parse_lidc_xml
from mmlesion.datasets.sources.nodule_crops import read_nodule_crop
from mmlesion.evaluation.metrics import (
    ActivationMapMetric,
    BinaryClassificationMetric,
    FROCMetric,
)
from mmlesion.files import is_file_name, path_in
from mmlesion.phantom import write_deeplesion, write_lidc, write_signs

NAMESPACE = 'http://www.nih.gov'


def _xml(sessions, header='<SeriesInstanceUid>1.2</SeriesInstanceUid>'):
    return (
        f'<LidcReadMessage xmlns="{NAMESPACE}"><ResponseHeader>{header}'
        f'</ResponseHeader>{sessions}</LidcReadMessage>'
    ).encode()


def _session(points=((1, 1), (1, 9), (9, 9)), outlines=1, attributes='', extra=''):
    edges = ''.join(
        f'<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>'
        for x, y in points
    )
    rois = ''.join(
        f'<roi><imageZposition>{z}</imageZposition><inclusion>TRUE</inclusion>'
        f'{edges}</roi>'
        for z in range(outlines)
    )
    ratings = ''.join(
        f'<{name}>1</{name}>'
        for name in (
            'subtlety internalStructure calcification sphericity margin lobulation '
            'spiculation texture malignancy'
        ).split()
    )
    return (
        f'<readingSession{attributes}><unblindedReadNodule><noduleID>1</noduleID>'
        f'<characteristics>{ratings}</characteristics>{rois}{extra}'
        '</unblindedReadNodule></readingSession>'
    )


@pytest.mark.parametrize(
    'sessions, message',
    [
        ('', r'a\.xml: there is no readingSession'),
        (_session(attributes=' xmlns="http://other"'), 'readingSession is in another'),
        (_session() + _session(attributes=' xmlns=""'), 'readingSession is in another'),
        (_session(extra='<rois/>'), 'unblindedReadNodule has an element rois'),
    ],
)
def test_sessions_that_would_be_passed_over_are_named(sessions, message):
    assert parse_lidc_xml(_xml(_session()), 'a.xml').num_readers == 1
    with pytest.raises(ValueError, match=message):
        parse_lidc_xml(_xml(sessions), 'a.xml')


def test_a_small_xml_of_huge_outlines_is_refused_at_once():
    corners = ((0, 0), (0, 4095), (4095, 4095), (4095, 0))
    content = _xml(_session(corners, outlines=250))
    assert len(content) < 100_000
    started = time.monotonic()
    with pytest.raises(ValueError, match='MMLESION_MAX_OUTLINE_MPX'):
        parse_lidc_xml(content, 'a.xml')
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    'name', ['../../escaped', '..', '.', '', 'a/b', 'a\\b', '/etc/x', 'a\0', 'x' * 300]
)
def test_a_name_that_leads_out_of_a_folder(tmp_path, name):
    assert not is_file_name(name)
    with pytest.raises(ValueError, match='cannot be the name of a file'):
        path_in(tmp_path, name)
    assert path_in(tmp_path, '1.2.3', '.json') == str(tmp_path / '1.2.3.json')


def test_a_series_uid_that_is_a_path_writes_nothing_outside(tmp_path):
    pydicom = pytest.importorskip('pydicom')
    data = write_lidc(tmp_path / 'in' / 'data', 1, size=128)
    for path in data.rglob('*.dcm'):
        slice_ = pydicom.dcmread(path)
        slice_.data_element('SeriesInstanceUID').value = '../../../escaped'
        slice_.save_as(path)
    xml = next(data.rglob('*.xml'))
    text = xml.read_text()
    uid = text.split('SeriesInstanceUid>')[1].split('<')[0]
    xml.write_text(text.replace(uid, '../../../escaped'))
    with pytest.raises(ValueError, match='cannot be the name of a file'):
        prepare_lidc_slices(
            str(data), str(tmp_path / 'a' / 'b' / 'out'), progress=False
        )
    assert not list(tmp_path.rglob('*escaped*'))


def test_a_mask_of_another_geometry_is_refused(tmp_path):
    volume = CTVolume(np.zeros((4, 8, 8), np.int16), (2.0, 0.7, 0.7))
    mask = replace(volume, array=np.ones((4, 8, 8), np.int16))
    write_volume(tmp_path / 'image.nii.gz', volume)
    for name, other in (
        ('spacing', replace(mask, spacing_mm=(2.0, 0.8, 0.8))),
        ('origin', replace(mask, origin=(5.0, 0.0, 0.0))),
    ):
        write_volume(tmp_path / 'mask.nii.gz', other)
        with pytest.raises(ValueError, match=f'the {name} of the mask'):
            read_nodule_crop(tmp_path / 'image.nii.gz', tmp_path / 'mask.nii.gz')


def test_rows_of_dl_info_that_cannot_be_meant(tmp_path):
    data = write_deeplesion(tmp_path / 'data', 1, 0, 0, size=96)
    path = data / 'DL_info.csv'
    lines = path.read_text().splitlines()
    path.write_text('\n'.join([*lines, lines[1]]) + '\n')
    with pytest.raises(ValueError, match=r'row \d+ repeats row 2'):
        read_deeplesion_csv(path)
    name = lines[1].split(',')[0]
    number = name.rsplit('_', 1)[1]
    path.write_text('\n'.join([lines[0], lines[1].replace(name, f'.._{number}')]))
    with pytest.raises(
        ValueError, match='row 2: File_name .* does not name a series folder'
    ):
        read_deeplesion_csv(path)
    rows = list(csv.DictReader(lines))
    cells = rows[0]['Spacing_mm_px_'].split(',')
    rows[0]['Spacing_mm_px_'] = ','.join([*cells[:2], ' 0.001'])
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:1])
    with pytest.raises(ValueError, match='row 2: .* slice distance'):
        read_deeplesion_csv(path)


@pytest.mark.parametrize(
    'content, message',
    [
        (b'a.mha,1,2,3,4,1\xff\n', 'metadata.csv: the file is not a csv file'),
        (b'a.mha,1,2,3,4,1,9\n', 'row 2: expected one cell per column'),
        (b'a.mha,1e10,2,3,4,1\n', 'row 2: x, y, width and height'),
        (b'..,1,2,3,4,1\n', 'row 2: img_name must be a file name'),
    ],
)
def test_rows_of_node21_that_cannot_be_meant(tmp_path, content, message):
    path = tmp_path / 'metadata.csv'
    path.write_bytes(b'img_name,x,y,width,height,label\n' + content)
    with pytest.raises(ValueError, match=message):
        read_node21_csv(path)


def test_prepared_signs_follow_their_scans(tmp_path):
    scans = write_signs(tmp_path / 'signs', 0, 2, size=64)
    options = dict(grid_shape=(32, 48, 48), rotations=1, workers=1, progress=False)

    def run():
        return prepare_signs(str(scans / 'scans.csv'), str(tmp_path / 'out'), **options)

    first = run()
    assert run().already_there == 2
    picture = next((tmp_path / 'out').glob(f'{first.rows[0].folder}/*.png'))
    picture.unlink()
    assert run().already_there == 1 and picture.exists()
    for wrong in ('[]', '1', 'null', '{', '{"settings": 3}'):
        (picture.parent / 'scan.json').write_text(wrong)
        assert run().already_there == 1
    assert json.loads((picture.parent / 'scan.json').read_text())['source']
    paths = sorted((scans / 'scans').glob('*.nii.gz'))
    paths[0].write_bytes(paths[1].read_bytes())
    assert run().already_there == 1


@pytest.mark.parametrize('scores, label', [([0.2, 0.8], 2), ([0.1, 0.2, 0.7], 1)])
def test_a_binary_metric_takes_two_classes_only(scores, label):
    sample = dict(img_path='a.png', pred_score=np.array(scores), gt_label=[label])
    with pytest.raises(ValueError, match=r'a\.png: expected two classes'):
        BinaryClassificationMetric().process(None, [sample])


def test_a_mask_with_nan_is_no_mask():
    sample = dict(img_path='a.png', heatmap=np.ones((4, 4), np.float32))
    metric = ActivationMapMetric()
    sample[metric.map_key] = np.ones((4, 4), np.float32)
    sample[metric.mask_key] = np.full((4, 4), np.nan)
    with pytest.raises(ValueError, match=r'a\.png: .* NaN'):
        metric.process(None, [sample])


def test_a_lesion_that_is_no_box_names_its_file():
    sample = dict(
        img_path='a.png',
        img_id=0,
        pred_instances=dict(
            bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0)
        ),
        instances=[dict(bbox=[9, 9, 1, 1], bbox_label=0, ignore_flag=0)],
    )
    with pytest.raises(ValueError, match=r'a\.png: boxes of lesions'):
        FROCMetric().process(None, [sample])
