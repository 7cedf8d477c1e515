"""Nodules of a scan in 3-D: place, size, files, truth; read back by SimpleITK."""

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='a model of classifiers of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402

from mmlesion.apis.studies.segment_nodules import fill_gaps  # noqa: E402
from mmlesion.cli import main  # noqa: E402

MEAN, STD = 127.5, 63.75
SPACING = (0.8, 0.7, 2.0)  # x, y, z
CENTERS = {1: (20, 60, 5), 2: (70, 30, 8)}  # x, y, z
RADII_MM = {1: 6.0, 2: 4.5}

CONFIG = """
default_scope = 'mmpretrain'
model = dict(
    type='mmlesion.NAMSegmentor',
    classifier=dict(
        type='ImageClassifier',
        backbone=dict(
            type='mmlesion.MultiGAPVGG', num_gaps=1, depth=11, num_stages=3, width=4,
            branch_channels=4,
        ),
        head=dict(type='mmlesion.MultiGAPHead', num_classes=2, in_channels=[4]),
    ),
    data_preprocessor=dict(
        type='ClsDataPreprocessor', num_classes=2, mean=[127.5] * 3, std=[63.75] * 3
    ),
    num_nodules=2,
    several='repeat',
    level=0.2,
    scope_margin_px=4,
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='mmlesion.LoadLIDCSlice', with_mask=True),
            dict(type='mmlesion.WindowHU', window=(-1000, 400)),
            dict(type='PackInputs'),
        ]
    )
)
scan_slices = dict(size=96, zoom=1)
"""


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Config and checkpoint of a network that passes on brightness above lung."""
    folder = tmp_path_factory.mktemp('model')
    path = folder / 'nam.py'
    path.write_text(CONFIG)
    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        network = MODELS.build(cfg.model)
    with torch.no_grad():
        for name, parameter in network.classifier.named_parameters():
            parameter.zero_()
            if name.endswith('conv.weight'):
                parameter[0, 0, 1, 1] = 1.0
            if name == 'backbone.features.0.conv.bias':
                parameter[0] = -(60 - MEAN) / STD
        network.classifier.head.fc.weight[:, 0] = torch.tensor([-1.0, 1.0])
    torch.save(dict(state_dict=network.state_dict()), folder / 'nam.pth')
    return str(path), str(folder / 'nam.pth')


def draw():
    """Lung in a frame of soft tissue; two balls. HU and truth, (z, y, x)."""
    shape = (14, 90, 84)
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    truth = np.zeros(shape, np.uint8)
    for number, center in CENTERS.items():
        steps = [(axis - at) * mm for axis, at, mm in zip((x, y, z), center, SPACING)]
        truth[np.sqrt(sum(step**2 for step in steps)) <= RADII_MM[number]] = number
    hu = np.where(truth > 0, 40, -860).astype(np.int16)
    return hu, truth


@pytest.fixture(params=['plain', 'flipped', 'turned'])
def scan(request, tmp_path):
    """Files of scan, truth and lung mask, stored in several orders of the voxels."""
    paths = []
    hu, truth = draw()
    for name, array in dict(scan=hu, truth=truth, lung=np.uint8(truth >= 0)).items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        image.SetOrigin((-30.0, 12.0, 100.0))
        if request.param == 'flipped':
            image = sitk.Flip(image, (True, False, True))
        if request.param == 'turned':
            image = sitk.PermuteAxes(image, (2, 0, 1))
        paths.append(tmp_path / f'{name}.nii.gz')
        sitk.WriteImage(image, str(paths[-1]))
    return paths


def test_nodules_are_found_in_3d_in_any_order_of_the_voxels(
    scan, model, tmp_path, capsys
):
    out = tmp_path / 'out'
    words = [str(scan[0]), '--out', str(out), '--model', *model]
    words += ['--truth', str(scan[1]), '--report', 'html', '--lung-mask', str(scan[2])]
    assert main(['segment-nodules', *words]) == 0
    printed = capsys.readouterr().out
    out = out / 'scan'
    assert '2 nodules' in printed and f'Findings: {out / "report.html"}' in printed
    assert (out / 'report.html').is_file()
    labels = sitk.ReadImage(str(out / 'findings.nii.gz'))
    truth = sitk.ReadImage(str(scan[1]))
    assert labels.GetSize() == truth.GetSize()
    np.testing.assert_allclose(labels.GetDirection(), truth.GetDirection(), atol=1e-6)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.Cast(labels > 0, sitk.sitkUInt8), sitk.Cast(truth > 0, 1))
    content = json.loads((out / 'findings.json').read_text())
    known = content['extras']['truth']
    assert overlap.GetDiceCoefficient() > 0.95
    assert known['dice'] == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-4)
    assert min(known['nodules'].values()) > 0.95
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(truth)
    for finding in content['findings']:
        distances = {
            number: np.linalg.norm(
                np.subtract(shape.GetCentroid(number), finding['center_mm'])
            )
            for number in CENTERS
        }
        number = min(distances, key=distances.get)
        assert distances[number] < 1.5
        outline = finding['extras']['outline']
        true_ml = shape.GetPhysicalSize(number) / 1000
        assert outline['volume_ml'] == pytest.approx(true_ml, rel=0.1)
        # The largest slice of a ball is a disc
        for name in ('long_axis_mm', 'short_axis_mm'):
            assert outline[name] == pytest.approx(2 * RADII_MM[number], abs=1.6)
        assert finding['label'] == 'nodule' and 0.5 < finding['score'] <= 1
    assert len(content['findings']) == 2


@pytest.mark.parametrize(
    'words, message',
    [
        (['--score-thr', '2'], 'score_thr must be in'),
        (['--min-slices', '0'], 'min_slices must be 1 or more'),
        (['--max-gap', '-1'], 'max_gap must be 0 or more'),
        (['--truth', 'absent.nii.gz'], 'absent.nii.gz'),
        (['--cfg-options', 'model.type=ImageClassifier'], 'config of a NAMSegmentor'),
    ],
)
def test_bad_input_is_one_sentence(words, message, model, tmp_path, capsys):
    image = sitk.GetImageFromArray(draw()[0])
    sitk.WriteImage(image, str(tmp_path / 'scan.nii.gz'))
    out = tmp_path / 'out'
    base = [str(tmp_path / 'scan.nii.gz'), '--out', str(out), '--model', *model]
    assert main(['segment-nodules', *base, *words]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not out.exists()


def test_a_small_scan_without_lungs_is_refused(model, tmp_path, capsys):
    _, y, x = np.mgrid[:14, :90, :84]
    body = np.hypot((y - 44.5) / 40, (x - 41.5) / 38) < 1
    image = sitk.GetImageFromArray(np.where(body, 40, -1000).astype(np.int16))
    image.SetSpacing((3.0, 3.0, 5.0))
    sitk.WriteImage(image, str(tmp_path / 'abdomen.nii.gz'))
    words = [str(tmp_path / 'abdomen.nii.gz'), '--out', str(tmp_path / 'out')]
    assert main(['segment-nodules', *words, '--model', *model]) == 1
    assert 'the scan shows no lungs' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_truth_of_another_grid_is_refused(model, tmp_path, capsys):
    hu, truth = draw()
    for name, array in (('scan', hu), ('truth', truth[1:])):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f'{name}.nii.gz'))
    words = [str(tmp_path / 'scan.nii.gz'), '--out', str(tmp_path / 'out')]
    words += ['--model', *model, '--truth', str(tmp_path / 'truth.nii.gz')]
    assert main(['segment-nodules', *words]) == 1
    assert 'on another grid than the scan' in capsys.readouterr().err
    assert main(['segment-nodules', *words[:3], '--model', model[0]]) == 1
    assert 'needs a config and a checkpoint' in capsys.readouterr().err


def test_a_lung_mask_of_another_program(model, tmp_path, capsys):
    hu, truth = draw()
    lung = (hu < -500) | (truth > 0)
    lung[:7] = False  # the first nodule is in slices 2 to 8
    for name, array in (
        ('scan', hu),
        ('lung', lung.astype(np.uint8)),
        ('empty', np.zeros(hu.shape, np.uint8)),
        ('other', lung[1:].astype(np.uint8)),
    ):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        sitk.WriteImage(image, str(tmp_path / f'{name}.nii.gz'))
    words = [str(tmp_path / 'scan.nii.gz'), '--out', str(tmp_path / 'out')]
    words += ['--model', *model, '--lung-mask']
    assert main(['segment-nodules', *words, str(tmp_path / 'lung.nii.gz')]) == 0
    capsys.readouterr()
    labels = sitk.ReadImage(str(tmp_path / 'out/scan/findings.nii.gz'))
    found = sitk.GetArrayFromImage(labels) > 0
    assert found[7:].any() and not found[:7].any()
    for name, message in (
        ('empty', 'is empty'),
        ('other', 'voxels'),
        ('no', 'no such'),
    ):
        assert main(['segment-nodules', *words, str(tmp_path / f'{name}.nii.gz')]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count('\n') == 1


def test_labels_of_a_lung_mask(model, tmp_path, capsys):
    hu, _ = draw()
    # Nine labels, such as those of all organs; 10 and 11 are lung.
    organs = np.zeros(hu.shape, np.uint8)
    organs[:, :, :7] = np.arange(1, 8)
    organs[:7, :, 7:], organs[7:, :, 7:] = 10, 11
    for name, array in (('scan', hu), ('organs', organs)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        sitk.WriteImage(image, str(tmp_path / f'{name}.nii.gz'))
    words = [str(tmp_path / 'scan.nii.gz'), '--out', str(tmp_path / 'out')]
    words += ['--model', *model, '--lung-mask', str(tmp_path / 'organs.nii.gz')]
    assert main(['segment-nodules', *words]) == 1
    assert 'the mask has 9 labels' in capsys.readouterr().err
    assert main(['segment-nodules', *words, '--lung-labels', '11']) == 0
    found = sitk.ReadImage(str(tmp_path / 'out/scan/findings.nii.gz'))
    array = sitk.GetArrayFromImage(found) > 0
    assert array[7:].any() and not array[:7].any()
    content = json.loads((tmp_path / 'out/scan/findings.json').read_text())
    assert content['provenance'][0]['settings']['lung_mask'] == 'given'


def test_the_threshold_replaces_that_of_the_config(scan, model, tmp_path):
    words = [str(scan[0]), '--model', *model, '--lung-mask', str(scan[2])]
    # All slices are called positive, those without a ball with probability 0.5.
    strict = ['--cfg-options', 'model.positive_thr=1.0']
    counts = []
    for number, more in enumerate((strict, [*strict, '--score-thr', '0.5'])):
        out = tmp_path / str(number)
        assert main(['segment-nodules', *words, '--out', str(out), *more]) == 0
        content = json.loads((out / 'scan/findings.json').read_text())
        counts.append(len(content['findings']))
        settings = content['provenance'][0]['settings']
        assert settings['score_thr'] == (1.0, 0.5)[number]
    assert counts == [0, 2]


def test_gaps_between_masks_are_filled():
    mask = np.zeros((9, 1, 4), bool)
    mask[[0, 2], 0, 0] = True  # one slice is missing
    mask[[0, 3], 0, 1] = True  # two slices are missing
    mask[0, 0, 2] = mask[2, 0, 3] = True  # other places
    one, two = mask.copy(), mask.copy()
    fill_gaps(one, 1)
    assert one[:4, 0].sum(0).tolist() == [3, 2, 1, 1]
    fill_gaps(two, 2)
    assert two[:4, 0].sum(0).tolist() == [3, 4, 1, 1]
    fill_gaps(mask, 0)
    assert mask.sum() == 6


def test_maps_of_a_slice_of_a_scan(model, tmp_path, capsys):
    """``mmlesion explain`` on a scan; the map lies on the magnified slice."""
    image = sitk.GetImageFromArray(draw()[0])
    image.SetSpacing(SPACING)
    image.SetOrigin((-30.0, 12.0, 100.0))
    sitk.WriteImage(image, str(tmp_path / 'scan.nii.gz'))
    words = [*model, str(tmp_path / 'scan.nii.gz'), '--out', str(tmp_path / 'maps')]
    words += ['--slices', '5', '--cfg-options', 'scan_slices.zoom=2']
    assert main(['explain', *words]) == 0, capsys.readouterr().err
    found = sitk.ReadImage(str(tmp_path / 'maps/scan_005_GradCAM.nii.gz'))
    assert found.GetSize() == (168, 180, 1)
    heat = sitk.GetArrayFromImage(found)[0]
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    place = found.TransformIndexToPhysicalPoint((int(x), int(y), 0))
    center = image.TransformIndexToPhysicalPoint(CENTERS[1])
    assert np.linalg.norm(np.subtract(place, center)) < RADII_MM[1] + 3


def test_a_second_scan_of_the_same_name_does_not_overwrite_the_first(model, tmp_path):
    hu, truth = draw()
    first = np.where(truth == 2, -860, hu).astype(np.int16)
    for name, array in dict(P1=first, P2=hu).items():
        (tmp_path / name).mkdir()
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        sitk.WriteImage(image, str(tmp_path / name / 'ct.nii.gz'))
        lung = sitk.GetImageFromArray(np.ones(hu.shape, np.uint8))
        lung.SetSpacing(SPACING)
        sitk.WriteImage(lung, str(tmp_path / 'lung.nii.gz'))
        words = [str(tmp_path / name / 'ct.nii.gz'), '--out', str(tmp_path / 'out')]
        words += ['--model', *model, '--lung-mask', str(tmp_path / 'lung.nii.gz')]
        assert main(['segment-nodules', *words]) == 0
    counts = {
        path.parent.name: len(json.loads(path.read_text())['findings'])
        for path in (tmp_path / 'out').glob('*/findings.json')
    }
    assert counts == {'ct': 1, 'P2_ct': 2}
