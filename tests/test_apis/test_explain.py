"""Tests of ``mmlesion explain`` and its functions."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.utils import get_installed_path

from mmlesion.apis import ExplainOptions, explain, load_trained_model
from mmlesion.attribution import CAM, LayerCAM, resize_map
from mmlesion.cli import main
from mmlesion.ct import CTVolume, write_volume
from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.explain.inputs import ExplainInputs
from mmlesion.phantom import write_deeplesion

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIER = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[64.] * 3, to_rgb=True),
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64))
test_dataloader = dict(dataset=dict(
    type='CustomDataset', data_root={root!r}, data_prefix='set',
    pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64)),
        dict(type='PackInputs')]))
"""
DETECTOR = """
_base_ = {base!r}
data = {data!r}
model = dict(
    backbone=dict(backbone=dict(width=4)),
    neck=dict(in_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=8),
    roi_head=dict(in_channels=32, bbox_head=dict(fc_out_channels=16)),
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0.)))
test_dataloader = dict(dataset=dict(data_root=data))
"""


def save(cfg, path, classes):
    """Random weights as a checkpoint; the config."""
    scope = cfg.default_scope
    with DefaultScope.overwrite_default_scope(scope):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)
            if name.endswith(('cls', 'fc')):
                module.weight.data *= 0.1
            elif name.endswith('reg'):
                module.weight.data *= 1e-4
    torch.save(
        dict(
            state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes))
        ),
        path,
    )


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
    """Folder of a config, a checkpoint, pictures, and a data set of two classes."""
    folder = tmp_path_factory.mktemp('classifier')
    generator = np.random.default_rng(0)
    for name in ('pictures/a', 'pictures/b', 'set/cat/x', 'set/dog/x'):
        path = folder / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), generator.integers(0, 255, (64, 64, 3)))
    (folder / 'net.py').write_text(CLASSIFIER.format(root=str(folder)))
    save(Config.fromfile(folder / 'net.py'), folder / 'net.pth', ['cat', 'dog', 'cow'])
    return folder


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """Folder of our detector's config, its checkpoint and generated slices."""
    folder = tmp_path_factory.mktemp('detector')
    data = write_deeplesion(folder / 'data', 1, 1, 2, size=128, seed=3)
    (folder / 'net.py').write_text(
        DETECTOR.format(
            base=str(ROOT / 'configs/phantom/phantom_3dce_csatt_15slice.py'),
            data=str(data),
        )
    )
    save(Config.fromfile(folder / 'net.py'), folder / 'net.pth', ['lesion'])
    return folder


@pytest.fixture(scope='module')
def retinanet(tmp_path_factory):
    """Folder of a stock detector, shrunk, with its checkpoint."""
    folder = tmp_path_factory.mktemp('retinanet')
    base = Path(get_installed_path('mmdet')) / (
        '.mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py'
    )
    cfg = Config.fromfile(base)
    cfg.model.backbone = dict(type='ResNet', depth=18, base_channels=8)
    cfg.model.neck.in_channels = [8, 16, 32, 64]
    cfg.model.bbox_head.update(num_classes=2, stacked_convs=1, feat_channels=8)
    cfg.model.neck.out_channels = cfg.model.bbox_head.in_channels = 8
    cfg.model.test_cfg.update(nms_pre=20, score_thr=0.0)
    cfg.test_dataloader.dataset.pipeline[1].scale = (96, 64)
    cfg.dump(folder / 'net.py')
    save(cfg, folder / 'net.pth', ['a', 'b'])
    return folder


def run(folder, out, images=None, **kwargs):
    cfg = Config.fromfile(folder / 'net.py')
    options = ExplainOptions(progress=False, device='cpu', **kwargs)
    return explain(cfg, folder / 'net.pth', out, images, options)


def test_pictures_of_a_folder_by_several_methods(classifier, tmp_path):
    written = run(
        classifier,
        tmp_path,
        classifier / 'pictures',
        methods=['LayerCAM', 'CAM'],
        targets=[2, 'cat'],
    )
    assert [each['name'] for each in written] == ['a', 'b']
    report = json.loads((tmp_path / 'a.json').read_text())
    assert report == written[0]
    assert report['layers'] == ['backbone.layer4']
    assert [each['name'] for each in report['explained']] == ['cow', 'cat']
    assert report['maps'] == dict(LayerCAM='a_LayerCAM.npy', CAM='a_CAM.npy')
    # the maps are those of the engine
    model = load_trained_model(
        Config.fromfile(classifier / 'net.py'), classifier / 'net.pth', 'cpu'
    )
    pixels = cv2.imread(str(classifier / 'pictures/a.png'))[..., ::-1]
    inputs = (torch.tensor(pixels.copy()).permute(2, 0, 1)[None] - 127.5) / 64
    for method in (LayerCAM, CAM):
        expected = method(model, ['backbone.layer4'])(inputs, [[2, 0]])[0]
        found = np.load(tmp_path / f'a_{method.__name__}.npy')
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    # two classes below one another; picture and two maps, 3 x 64, and the bar
    shown = cv2.imread(str(tmp_path / 'a.png'))
    assert shown.shape == (2 * (22 + 3 * 64), 3 * 3 * 64 + 64, 3)
    assert not list(tmp_path.glob('*.part'))


def test_a_data_set_in_place_of_files_and_its_labels(classifier, tmp_path):
    written = run(classifier, tmp_path, targets=['label', 'predicted'])
    assert [each['name'] for each in written] == ['x', 'x_1']  # of two folders
    assert [each['explained'][0]['name'] for each in written] == ['cat', 'dog']
    assert len(run(classifier, tmp_path, max_images=1)) == 1


def test_the_tool_prints_the_layer_and_where_to_look(
    classifier, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv('LOCAL_RANK', '0')
    status = main(
        [
            'explain',
            *(
                str(classifier / name)
                for name in ('net.py', 'net.pth', 'pictures/b.png')
            ),
            '--method',
            'GradCAM',
            'LayerCAM',
            '--target',
            '1',
            '--range',
            '0',
            '2',
            '--work-dir',
            str(tmp_path),
        ],
    )
    assert status == 0
    out = capsys.readouterr().out
    assert 'Layer: backbone.layer4 (the last feature maps)' in out
    assert f'1 image explained: {tmp_path / "maps"}' in out
    assert cv2.imread(str(tmp_path / 'maps/b.png')).shape[1] == 3 * 192 + 64


def scan(path):
    """20 slices of 64 x 64 with an own value for each, 2 x 0.7 x 0.7 mm."""
    array = np.repeat(np.arange(-1000, 1000, 100, dtype=np.int16), 64 * 64)
    array = array.reshape(20, 64, 64)
    array[:, 20:40, 20:40] += 50
    write_volume(path, CTVolume(array, (2.0, 0.7, 0.7), (-30.0, -40.0, 100.0)))
    return path


def test_a_slice_of_a_scan_for_a_network_on_pictures(classifier, tmp_path):
    path = scan(tmp_path / 'ct.nii.gz')
    written = run(
        classifier, tmp_path / 'out', path, window=(-160, 240), slices=[3, 10]
    )
    assert [each['name'] for each in written] == ['ct_003', 'ct_010']
    volume = SimpleITK.ReadImage(str(tmp_path / 'out/ct_010_GradCAM.nii.gz'))
    assert volume.GetSize() == (64, 64, 1)
    assert volume.GetSpacing() == pytest.approx((0.7, 0.7, 2), abs=1e-6)
    # the reader turns the scan to LPS; a slice lies 2 mm above the last
    assert volume.GetOrigin() == pytest.approx((-30, -40, 120), abs=1e-4)
    raw = np.load(tmp_path / 'out/ct_010_GradCAM.npy')
    full = resize_map(torch.from_numpy(raw)[None], (64, 64))[0, 0]
    np.testing.assert_allclose(
        SimpleITK.GetArrayFromImage(volume)[0], full.numpy(), atol=1e-6
    )
    cfg = Config.fromfile(classifier / 'net.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        ((_, data),) = ExplainInputs(cfg, path, window=(-160, 240))
    # the middle slice: 0 and 50 HU, of 255 gray values
    assert data['inputs'].unique().tolist() == [
        round(160 / 400 * 255),
        round(210 / 400 * 255),
    ]


def test_an_array_is_shown_as_it_is(classifier, tmp_path):
    np.save(tmp_path / 'patch.npy', np.random.rand(3, 64, 64))
    assert run(classifier, tmp_path, tmp_path / 'patch.npy')[0]['name'] == 'patch'


def test_boxes_of_the_phantom_by_our_detector(detector, tmp_path):
    written = run(
        detector,
        tmp_path,
        methods=['GradCAM', 'LayerCAM'],
        score_thr=0,
        max_detections=2,
        window=(-160, 240),
    )
    assert len(written) == 2
    for report in written:
        assert report['layers'] == ['backbone.backbone']
        assert len(report['explained']) == 2
        scores = [each['score'] for each in report['explained']]
        assert scores == sorted(scores, reverse=True)
        # five slice triples; the picture shows the middle one's map
        raw = np.load(tmp_path / report['maps']['LayerCAM'])
        assert raw.shape[:2] == (2, 5) and raw.any()
        assert (tmp_path / f'{report["name"]}.png').exists()
    series, number = written[0]['image'].split('/')[-2:]
    assert written[0]['name'] == f'{series}_{number[:-4]}'

    # the same slice by its path
    again = run(
        detector, tmp_path / 'one', written[1]['image'], targets=[1], score_thr=0
    )
    assert [each['image'] for each in again] == [written[1]['image']]
    assert again[0]['explained'][0]['detection'] == 1


def test_a_scan_for_our_detector(detector, tmp_path):
    generator = np.random.default_rng(0)
    array = np.full((9, 64, 64), -1000, np.int16)
    array[:, 8:56, 4:60] = generator.integers(-100, 200, (9, 48, 56))
    write_volume(
        tmp_path / 'ct.mha', CTVolume(array, (5.0, 0.8, 0.8), (0.0, 0.0, 50.0))
    )
    (report,) = run(detector, tmp_path / 'out', tmp_path / 'ct.mha', score_thr=0)
    assert report['name'] == 'ct_004'
    volume = SimpleITK.ReadImage(str(tmp_path / 'out/ct_004_TwoScaleCAM.nii.gz'))
    assert volume.GetSize() == (56, 48, 1)  # the body alone
    assert volume.GetOrigin() == pytest.approx((4 * 0.8, 8 * 0.8, 50 + 4 * 5), abs=1e-4)
    # The stack is that of LoadSliceStack: 2 mm between physical slices of 5 mm, from
    # the head to the feet
    cfg = Config.fromfile(detector / 'net.py')
    ((_, data),) = ExplainInputs(cfg, tmp_path / 'ct.mha')
    pixels = data['inputs'][:, 10, 10].numpy() / 255 * 4095 - 1024
    write_volume(tmp_path / 'dicom', CTVolume(array, (5.0, 0.8, 0.8), (0.0, 0.0, 50.0)))
    ((name, same),) = ExplainInputs(cfg, tmp_path / 'dicom')
    assert name == 'dicom_004' and torch.equal(same['inputs'], data['inputs'])
    column = array[:, 18, 14].astype(float)
    assert pixels[7] == pytest.approx(column[4], abs=0.1)
    assert pixels[8] == pytest.approx(0.6 * column[4] + 0.4 * column[3], abs=0.1)
    assert pixels[0] == pytest.approx(0.8 * column[7] + 0.2 * column[6], abs=0.1)


def test_the_hook_and_the_metric_in_a_test_of_our_detector(detector, tmp_path):
    cfg = Config.fromfile(detector / 'net.py')
    cfg.work_dir, cfg.launcher = str(tmp_path / 'work'), 'none'
    cfg.load_from = str(detector / 'net.pth')
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.default_hooks.pop('visualization')
    cfg.custom_hooks = [
        dict(
            type='mmlesion.ActivationMapHook',
            layers='backbone.backbone',
            score_thr=0.0,
            max_detections=2,
            out_dir=str(tmp_path / 'maps'),
            formats=['png', 'npy', 'nii.gz'],
        )
    ]
    cfg.test_evaluator = [
        dict(type='mmlesion.FROCMetric'),
        dict(type='mmlesion.ActivationMapMetric'),
    ]
    numbers = LesionRunner.from_cfg(cfg).test()
    assert numbers['map/num_images'] == 2 and 'froc/sens@4' in numbers
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]['data_samples']
    series, number = Path(sample.img_path).parts[-2:]
    stem = tmp_path / f'maps/{series}_{number[:-4]}_TwoScaleCAM'
    assert np.load(f'{stem}.npy').shape[:2] == (2, 5)
    volume = SimpleITK.ReadImage(f'{stem}.nii.gz')
    # of the body that was cut out, in mm of the whole slice
    middles = np.asarray(sample.crop_offset) + 0.5 / sample.scale_factor[0] - 0.5
    assert volume.GetOrigin()[:2] == pytest.approx(
        middles * sample.spacing_mm, abs=1e-4
    )
    assert volume.GetSize()[:2] == sample.img_shape[::-1]
    picture = tmp_path / f'maps/{series}_{number[:-4]}.png'
    assert cv2.imread(str(picture)) is not None


def test_a_stock_detector_with_padding(retinanet, tmp_path):
    """A picture of 60 x 90 is resized to 64 x 96; deeper levels in one map each."""
    cv2.imwrite(str(tmp_path / 'p.png'), np.random.randint(0, 255, (60, 90, 3)))
    (report,) = run(
        retinanet, tmp_path / 'out', tmp_path / 'p.png', score_thr=0, max_detections=3
    )
    assert report['layers'] == ['backbone.layer4']
    assert np.load(tmp_path / 'out/p_TwoScaleCAM.npy').shape == (3, 4, 6)
    (report,) = run(
        retinanet,
        tmp_path / 'out',
        tmp_path / 'p.png',
        score_thr=0,
        layers=['bbox_head.cls_convs.0.conv'],
        max_detections=1,
    )
    assert list(report['maps']) == [
        f'TwoScaleCAM bbox_head.cls_convs.0.conv#{level}' for level in range(5)
    ]


def test_images_without_a_box_are_told_and_passed_over(detector, tmp_path, capsys):
    with pytest.raises(
        ValueError,
        match=r'no detection reaches the score 0.999: the '
        r'best has .*lower --score-thr',
    ):
        run(detector, tmp_path, score_thr=0.999)
    assert capsys.readouterr().out.count('no detection reaches') == 2


@pytest.mark.parametrize(
    'kwargs, sentence',
    [
        (dict(methods=['GradCAN']), "no method 'GradCAN'; expected one of GradCAM"),
        (dict(layers=['layer4']), "no layer 'layer4'; the closest names are.*layer4"),
        (dict(targets=[3]), r'no target 3: .* classes 0 to 2 \(cat, dog, cow\)'),
        (dict(targets=['horse']), 'no target horse'),
        (dict(targets=['label']), "a: the sample has no label, so target 'label'"),
        (dict(window=(240, -160)), 'window must be two finite numbers, the lower end'),
        (dict(max_images=0), 'max_images must be positive, got 0'),
        (dict(methods=['AttentionMap']), 'AttentionMap: the model has no attention'),
        (
            dict(methods=['SoftActivationMap']),
            'needs one head with a method activation_',
        ),
    ],
)
def test_what_does_not_fit_a_classifier(classifier, tmp_path, kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(classifier, tmp_path, classifier / 'pictures', **kwargs)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'kwargs, sentence',
    [
        (
            dict(methods=['CAM']),
            'method CAM explains classes: for the boxes of a detector '
            'choose one of GradCAM, ',
        ),
        (dict(targets=['label']), 'target label does not fit a detector'),
        (dict(targets=[len]), 'does not fit a detector: .* and a callable as score'),
        (dict(targets=[9999]), 'there is no detection 9999: the image has'),
    ],
)
def test_what_does_not_fit_a_detector(detector, tmp_path, kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(detector, tmp_path, max_images=1, **kwargs)


def test_slices_that_are_not_there(detector, tmp_path):
    path = tmp_path / 'ct.nrrd'
    write_volume(path, CTVolume(np.zeros((20, 64, 64), np.int16), (2.0, 0.7, 0.7)))
    cfg = Config.fromfile(detector / 'net.py')
    with pytest.raises(ValueError, match='no slice 20, the scan has 20, counted from'):
        list(ExplainInputs(cfg, path, slices=[20]))
    write_volume(tmp_path / 'flat.nrrd', CTVolume(np.zeros((3, 8, 8)), (1, 1, 2)))
    with pytest.raises(ValueError, match='expected square pixels, but they are 1 x 2'):
        list(ExplainInputs(cfg, tmp_path / 'flat.nrrd'))
    cv2.imwrite(str(tmp_path / '7.png'), np.zeros((8, 8), np.uint16))
    with pytest.raises(ValueError, match='a PNG has no spacing'):
        list(ExplainInputs(cfg, tmp_path / '7.png'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='the folder contains no DICOM series'):
        list(ExplainInputs(cfg, tmp_path / 'empty'))


def test_a_config_without_a_test_data_set_and_a_foreign_checkpoint(
    classifier, tmp_path
):
    cfg = Config.fromfile(classifier / 'net.py')
    cfg.test_dataloader = None
    with pytest.raises(ValueError, match='expected a test_dataloader whose dataset'):
        ExplainInputs(cfg)
    cfg.model.head.num_classes = 5
    with pytest.raises(ValueError, match='net.pth belongs to another model'):
        load_trained_model(cfg, classifier / 'net.pth')
    with pytest.raises(FileNotFoundError, match='none.pth does not exist'):
        load_trained_model(cfg, tmp_path / 'none.pth')
