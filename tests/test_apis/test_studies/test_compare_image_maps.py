"""Maps of several networks on the same radiographs."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope

pytest.importorskip('mmpretrain', reason='classifiers of mmpretrain')
from mmlesion.apis.studies import compare_image_maps  # noqa: E402
from mmlesion.attribution import GradCAM, normalize_map, resize_map  # noqa: E402
from mmlesion.cli import main  # noqa: E402
from mmlesion.phantom import write_node21  # noqa: E402


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('node21')
    write_node21(folder / 'data', 6, 6, size=128, pictures_per_patient=2)
    return folder


HOOKS = """
    dict(type='mmlesion.ActivationMapHook', method='GradCAM',
         layers='backbone.layer4', target=1, score='logit', interval=None),
    dict(type='mmlesion.ActivationMapHook', interval=None,
         method=dict(type='mmlesion.Occlusion', name='covered', window=32)),
"""


def network(root, name, hooks=HOOKS):
    path = root / f'maps_{name}_node21.py'
    path.write_text(f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', data_preprocessor=dict(mean=[100.0], std=[50.0]),
    backbone=dict(type='ResNet', depth=18, in_channels=1, stem_channels=4,
                  base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=32))
custom_hooks = [dict(type='mmlesion.NonFiniteLossHook'), {hooks}]
test_dataloader = dict(dataset=dict(
    type='mmlesion.NODE21Dataset', data_root={str(root / 'data')!r}, split='test',
    num_test=6, num_folds=2, test_mode=True,
    pipeline=[
        dict(type='mmlesion.LoadRadiograph', channels=1),
        dict(type='Resize', scale=(48, 48)),
        dict(type='PackInputs', meta_keys=('img_id', 'img_path', 'ori_shape',
             'img_shape', 'scale_factor', 'instances'))]))
""")
    cfg = Config.fromfile(path)
    torch.manual_seed(len(name))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.head.fc.weight)
    torch.save(dict(state_dict=model.state_dict()), root / f'{name}.pth')
    return cfg, str(root / f'{name}.pth'), model.eval()


def test_the_target_of_the_hook(root):
    """``'label'`` is the label of the image, not the predicted class."""
    from mmlesion.apis.studies.compare_image_maps import _columns

    cfg, _, model = network(root, 'target', HOOKS.replace('target=1', "target='label'"))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    labels = set()
    for packed in dataset:
        label = int(packed['data_samples'].gt_label)
        found = _columns(cfg, model, packed, 'image')['GradCAM']
        batch = (packed['inputs'][None].float() - 100) / 50
        raw = GradCAM(model, 'backbone.layer4', score='logit')(batch, label)
        expected = normalize_map(resize_map(raw, (48, 48)))[0, 0]
        np.testing.assert_allclose(found['map'], expected, atol=1e-4)
        labels.add(label)
    assert labels == {0, 1}


def test_rows_are_the_maps_of_the_configs(root, monkeypatch):
    import sys

    calls = []
    monkeypatch.setattr(
        sys.modules['mmlesion.apis.studies.compare_image_maps'],
        'draw_nodule_maps',
        lambda *args: calls.append(args),
    )
    first, second = network(root, 'one'), network(root, 'another')
    compare_image_maps(
        [first[0], second[0]], [first[1], second[1]], root / 'out', num=3
    )
    pictures, masks, labels, maps, scores, path, names = calls[0]
    assert labels == [1, 1, 0] and path.name == 'images.png' and len(names) == 3
    assert list(maps) == [
        *('one GradCAM', 'one covered', 'another GradCAM', 'another covered')
    ]
    assert masks[0].any() and masks[1].any() and not masks[2].any()
    for (_, _, model), title in ((first, 'one'), (second, 'another')):
        batch = (torch.from_numpy(np.stack(pictures))[:, None] - 100) / 50
        cam = GradCAM(model, 'backbone.layer4')
        for index in range(3):  # one by one, as batch normalization does not care
            raw = cam(batch[index : index + 1], 1)
            expected = normalize_map(resize_map(raw, (48, 48)))[0, 0]
            found = maps[f'{title} GradCAM'][index]
            np.testing.assert_allclose(found, expected, atol=1e-4)
        expected = model(batch).softmax(1)[:, 1].tolist()
        assert scores[f'{title} covered'] == pytest.approx(expected, abs=1e-5)


def test_two_layers_of_one_method_and_calibrated_scores(root):
    from mmlesion.apis.studies.compare_image_maps import _columns

    hook = "dict(type='mmlesion.ActivationMapHook', layers='backbone.layer{}'),"
    cfg, _, model = network(root, 'layers', ''.join(map(hook.format, (3, 4, 4))))
    cfg.model.type = 'mmlesion.CalibratedClassifier'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        calibrated = MODELS.build(cfg.model).eval()
        packed = DATASETS.build(cfg.test_dataloader.dataset)[0]
    calibrated.load_state_dict(model.state_dict())
    calibrated.temperature.fill_(4.0)
    found = _columns(cfg, calibrated, packed, 'image')
    assert list(found) == [
        *('GradCAM', 'GradCAM backbone.layer4', 'GradCAM backbone.layer4 2')
    ]
    maps = [each['map'] for each in found.values()]
    assert (maps[1] == maps[2]).all() and (maps[0] != maps[1]).any()
    batch = (packed['inputs'][None].float() - 100) / 50
    with torch.no_grad():
        expected = float((model(batch) / 4).softmax(1)[0, 1])
    assert found['GradCAM']['score'] == pytest.approx(expected, abs=1e-6)


def test_the_program_and_bad_input(root, capsys):
    cfg, checkpoint, _ = network(root, 'one')
    out = root / 'pictures'
    arguments = ['compare-maps', cfg.filename, checkpoint, '--out', str(out)]
    assert main([*arguments, '--num', '2']) == 0
    assert (out / 'images.png').stat().st_size > 5000
    assert f'1 picture: {out}' in capsys.readouterr().out
    assert main([*arguments, '--nodules', 'n9999']) == 1
    assert 'no image n9999 is in its test data' in capsys.readouterr().err
    bare, weights, _ = network(root, 'bare', hooks='')
    with pytest.raises(ValueError, match='expected a mmlesion.ActivationMapHook among'):
        compare_image_maps([bare], [weights], out)
    with pytest.raises(ValueError, match='a second config of the name one'):
        compare_image_maps([cfg, cfg], [checkpoint, checkpoint], out)
    with pytest.raises(ValueError, match='1 configs and 0 checkpoints'):
        compare_image_maps([cfg], [], out)
