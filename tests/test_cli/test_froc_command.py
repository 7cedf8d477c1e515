"""Predictions from files by FROC, against FROCMetric on the same boxes."""

import csv
import json

import numpy as np
import pytest
import torch

from mmlesion.cli.main import main
from mmlesion.datasets.sources.deeplesion_csv import REQUIRED_COLUMNS

pytest.importorskip('mmdet')

NUMBER, SIZE = 12, 64


@pytest.fixture
def case(tmp_path):
    """Samples of FROCMetric, and the same lesions as DL_info.csv."""
    generator = np.random.default_rng(0)
    samples, rows = [], []
    for number in range(NUMBER):
        corner = generator.uniform(5, 30, (2, 2))
        lesions = np.hstack([corner, corner + generator.uniform(6, 25, (2, 2))]).round(
            2
        )
        near = lesions + generator.normal(0, 2, lesions.shape)
        far = generator.uniform(0, 30, (number % 5, 2))
        boxes = np.vstack([near, np.hstack([far, far + 20])]).round(2)
        # Rounded scores: several boxes have the same score.
        scores = generator.uniform(0, 1, len(boxes)).round(1)
        series, patient = f'{number // 2 + 1:06d}_01_01', number // 2 + 1
        samples.append(
            dict(
                img_id=number,
                name=f'{series}_{number:03d}.png',
                ori_shape=(SIZE, SIZE),
                patient=patient,
                instances=[
                    dict(bbox=list(box), bbox_label=0, ignore_flag=0)
                    for box in lesions.tolist()
                ],
                pred_instances=dict(
                    bboxes=torch.tensor(boxes, dtype=torch.float64),
                    scores=torch.tensor(scores, dtype=torch.float64),
                    labels=torch.zeros(len(boxes), dtype=torch.long),
                ),
            )
        )
        for lesion in lesions:
            rows.append(
                dict(
                    File_name=samples[-1]['name'],
                    Patient_index=patient,
                    Key_slice_index=number,
                    Bounding_boxes=', '.join(
                        str(round(v + first, 2))
                        for v, first in zip(lesion, (1, 1, 0, 0))
                    ),
                    Lesion_diameters_Pixel_='5, 4',
                    Coarse_lesion_type=-1,
                    Possibly_noisy=0,
                    Slice_range=f'{number}, {number}',
                    Spacing_mm_px_='1, 1, 1',
                    Image_size=f'{SIZE}, {SIZE}',
                    Train_Val_Test=3,
                )
            )
    write_table(tmp_path / 'DL_info.csv', REQUIRED_COLUMNS, rows)
    return samples


def write_table(path, columns, rows):
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def predictions(samples):
    for sample in samples:
        found = sample['pred_instances']
        for box, score in zip(found['bboxes'].tolist(), found['scores'].tolist()):
            yield sample, box, score


def write_csv(path, samples, key='file_name'):
    write_table(
        path,
        [key, 'x1', 'y1', 'x2', 'y2', 'score'],
        [
            {
                key: sample['name'] if key == 'file_name' else sample['img_id'] + 1,
                **dict(zip(('x1', 'y1', 'x2', 'y2'), box)),
                'score': score,
            }
            for sample, box, score in predictions(samples)
        ],
    )


def write_json(path, samples):
    content = [
        dict(
            image_id=sample['img_id'] + 1,
            category_id=1,
            bbox=[x1, y1, x2 - x1, y2 - y1],
            score=score,
        )
        for sample, (x1, y1, x2, y2), score in predictions(samples)
    ]
    path.write_text(json.dumps(content))


def expected(samples, folder):
    """What FROCMetric writes for the same boxes."""
    from mmlesion.evaluation.metrics import FROCMetric

    metric = FROCMetric(outfile_prefix=str(folder / 'metric'), num_resamples=50)
    metric.process({}, samples)
    metric.evaluate(len(samples))
    return json.loads((folder / 'metric.froc.json').read_text())


def measured(folder, *arguments):
    out = folder / 'out.json'
    command = ['froc', *map(str, arguments), '--resamples', '50', '--out', str(out)]
    assert main(command) == 0
    return json.loads(out.read_text())


def compare(found, wanted):
    overall = wanted['overall']
    assert found['num_lesions'] == wanted['num_lesions'] == 2 * NUMBER
    assert 0.2 < found['sensitivity'][0] < found['sensitivity'][1] <= 1
    for key in ('sensitivity', 'interval', 'mean', 'mean_interval'):
        np.testing.assert_allclose(found[key], overall[key], atol=1e-12)
    assert found['curve'] == wanted['curve']


@pytest.mark.parametrize(
    'form', ['csv', 'csv pixels', 'csv ids', 'json', 'json against csv']
)
def test_equal_to_the_metric(case, tmp_path, form, capsys):
    wanted = expected(case, tmp_path)
    truth = tmp_path / 'DL_info.csv'
    coco = tmp_path / 'truth.json'
    assert main(['deeplesion-to-coco', str(truth), str(coco)]) == 0
    results = tmp_path / ('results.json' if form == 'json' else 'results.csv')
    if form == 'csv':
        write_csv(results, case)
        found = measured(tmp_path, results, '--truth', truth, '--split', 'test')
    elif form == 'csv pixels':
        for sample in case:  # from outer edges to the last pixel
            sample['pred_instances']['bboxes'][:, 2:] -= 1
        write_csv(results, case)
        options = ['--split', 'test', '--corners', 'pixels']
        found = measured(tmp_path, results, '--truth', truth, *options)
    elif form == 'csv ids':
        write_csv(results, case, 'image_id')
        found = measured(tmp_path, results, '--truth', coco)
    elif form == 'json':
        write_json(results, case)
        found = measured(tmp_path, results, '--truth', coco)
    else:
        results = tmp_path / 'named.json'
        content = [
            dict(
                file_name=f'{s["name"][:12]}/{s["name"][13:]}',
                bbox=[b[0], b[1], b[2] - b[0], b[3] - b[1]],
                score=score,
            )
            for s, b, score in predictions(case)
        ]
        results.write_text(json.dumps(content))
        found = measured(tmp_path, results, '--truth', truth)
    compare(found, wanted)
    printed = capsys.readouterr().out
    assert f'{100 * wanted["overall"]["sensitivity"][0]:5.1f} %' in printed
    assert '12 images, 24 lesions, 6 patients' in printed
    assert 'the curve ends at' in printed


def test_files_that_mmdet_writes(case, tmp_path):
    from mmdet.evaluation import CocoMetric

    metric = CocoMetric(
        metric='bbox', outfile_prefix=str(tmp_path / 'mmdet'), format_only=False
    )
    metric.dataset_meta = dict(classes=('lesion',))
    metric.process({}, case)
    metric.evaluate(len(case))
    found = measured(
        tmp_path, tmp_path / 'mmdet.bbox.json', '--truth', tmp_path / 'mmdet.gt.json'
    )
    # mmdet's files do not have the patients.
    wanted = expected([dict(sample, patient=None) for sample in case], tmp_path)
    np.testing.assert_allclose(found['sensitivity'], wanted['overall']['sensitivity'])


def test_images_without_predictions_count_and_are_reported(case, tmp_path, capsys):
    write_csv(tmp_path / 'results.csv', case[:6])
    found = measured(
        tmp_path, tmp_path / 'results.csv', '--truth', tmp_path / 'DL_info.csv'
    )
    assert found['num_images'] == NUMBER
    assert 'note: 6 images have no predicted box' in capsys.readouterr().out


@pytest.mark.parametrize(
    'line, sentence',
    [
        ('unknown.png,1,2,3,4,.5', "row 2 belongs to file_name 'unknown.png', which"),
        ('000001_01_01_000.png,1,2,3,x,.5', 'row 2: x1, y1, x2, y2, score must be'),
        ('000001_01_01_000.png,1,2,3,nan,.5', 'row 2: box and score must be finite'),
        ('000001_01_01_000.png,1,2,3,4,', 'row 2: x1, y1, x2, y2, score must be'),
        ('000001_01_01_000.png,9,2,3,4,.5', 'must have x1 <= x2'),
        ('000001_01_01_000.png,90,2,93,4,.5', 'be inside 000001_01_01_000.png of 64 x'),
        (',1,2,3,4,.5', "row 2 needs 'file_name' or 'image_id'"),
    ],
)
def test_malformed_predictions(case, tmp_path, capsys, line, sentence):
    path = tmp_path / 'results.csv'
    path.write_text(f'file_name,x1,y1,x2,y2,score\n{line}\n')
    truth = str(tmp_path / 'DL_info.csv')
    assert main(['froc', str(path), '--truth', truth]) == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert f'{path}: ' in error and sentence in error


def test_ids_without_names_are_refused_for_the_csv(case, tmp_path, capsys):
    """Numbers of images have no meaning in DL_info.csv."""
    write_json(tmp_path / 'results.json', case)
    truth = str(tmp_path / 'DL_info.csv')
    assert main(['froc', str(tmp_path / 'results.json'), '--truth', truth]) == 1
    assert 'entry 0 belongs to image_id 1, which' in capsys.readouterr().err
