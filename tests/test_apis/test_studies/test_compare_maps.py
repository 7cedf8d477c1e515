"""Maps of two tiny networks on the same nodules: inputs, figures and errors."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope

pytest.importorskip('mmpretrain', reason='classifiers of mmpretrain')
from mmlesion.apis.studies import compare_maps  # noqa: E402
from mmlesion.attribution import SoftActivationMap, normalize_map  # noqa: E402
from mmlesion.cli import main
from mmlesion.ct.nodule_patches import (  # noqa: E402
    NodulePatches,
    write_nodule_patches,
)
from mmlesion.datasets.indices.nodule_index import write_nodule_index  # noqa: E402

CAM = dict(type='mmlesion.CAMHead', num_classes=2, in_channels=8)
SAM = dict(CAM, type='mmlesion.SoftActivationHead')


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        yield


@pytest.fixture
def root(tmp_path, nodule_row):
    """Three malignant and three benign nodules."""
    (tmp_path / 'patches').mkdir()
    rows = [
        replace(
            nodule_row,
            nodule_id=f'n{number}',
            label=number % 2,
            malignancy=(1.5, 4.25)[number % 2],
            patient=f'LIDC-IDRI-{number:04d}',
        )
        for number in range(6)
    ]
    write_nodule_index(tmp_path / 'nodules.csv', rows)
    generator = np.random.default_rng(0)
    for row in rows:
        write_nodule_patches(
            tmp_path / 'patches' / f'{row.nodule_id}.slices',
            NodulePatches(
                generator.integers(-1000, 400, (23, 32, 32)).astype(np.int16),
                generator.random((23, 32, 32)) < 0.3,
            ),
        )
    return tmp_path


def network(root, head, name, inputs='11c', channels=11):
    """Config and checkpoint of random weights."""
    text = f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', data_preprocessor=dict(mean=[127.5], std=[63.75]),
    backbone=dict(type='mmlesion.UNetResNet', in_channels={channels},
                  code_channels=8, unet_channels=4, res_channels=(4, 8)),
    head={head})
test_dataloader = dict(dataset=dict(
    type='mmlesion.LIDCNoduleDataset', data_root={str(root)!r}, test_mode=True,
    pipeline=[
        dict(type='mmlesion.LoadNodulePatch', inputs={inputs!r}),
        dict(type='mmlesion.WindowHU', window=(-1000, 400)),
        dict(type='PackInputs', meta_keys=('malignancy', 'diameter_mm'))]))
"""
    path = root / f'{name}_lidc_{inputs}.py'
    path.write_text(text)
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model)
    checkpoint = root / f'{name}.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return cfg, str(checkpoint), model.eval()


@pytest.fixture
def drawn(monkeypatch):
    """Return the arguments of the drawing function, which is replaced here."""
    calls = []
    monkeypatch.setattr(
        sys.modules['mmlesion.apis.studies.compare_maps'],
        'draw_nodule_maps',
        lambda *args: calls.append(args),
    )
    return calls


def test_pictures(root):
    pairs = [network(root, CAM, 'cam'), network(root, SAM, 'resnet18_sam')]
    paths = compare_maps(
        [pair[0] for pair in pairs], [pair[1] for pair in pairs], root / 'out', num=2
    )
    assert len(paths) == 3 and paths[-1].name == 'nodules.png'
    assert all(path.stat().st_size > 5000 for path in paths)


@torch.no_grad()
def test_each_slice_alone_fills_all_channels_and_all_come_last(root, drawn):
    cfg, checkpoint, model = network(root, CAM, 'cam')
    compare_maps([cfg], [checkpoint], root / 'out', ['n3'], num_slices=5)
    pictures, masks, labels, maps, scores, path, columns, title = drawn[0]
    assert list(labels) == [1] * 6 and path.name == 'n3.png'
    # the middles of five equal parts of eleven slices
    assert columns == [f'slice {number}' for number in (2, 4, 6, 8, 10)] + [
        'all slices'
    ]
    assert title == 'n3: malignant, rated 4.2, 8 mm'
    packed = DATASETS.build(cfg.test_dataloader.dataset)[3]
    volume = packed['inputs'].float()
    np.testing.assert_array_equal(pictures[:5], volume[[1, 3, 5, 7, 9]])
    np.testing.assert_array_equal(pictures[5], volume[5])
    np.testing.assert_array_equal(masks[1], packed['data_samples'].mask[..., 3] > 0)
    for column, fed in ((1, volume[3].expand(11, -1, -1)), (5, volume)):
        batch = (fed[None] - 127.5) / 63.75
        raw = SoftActivationMap(model)(batch, 1)
        np.testing.assert_allclose(
            maps['CAM'][column], normalize_map(raw)[0, 0], atol=1e-5
        )
        assert scores['CAM'][column] == pytest.approx(
            float(model(batch).softmax(1)[0, 1]), abs=1e-6
        )


def test_nodules_are_drawn_by_the_seed_from_both_classes(root, drawn):
    cfg, checkpoint, _ = network(root, CAM, 'cam')

    def chosen(**kwargs):
        drawn.clear()
        compare_maps([cfg], [checkpoint], root / 'out', **kwargs)
        assert drawn[-1][2] == [each[2][0] for each in drawn[:-1]]
        return [each[5].stem for each in drawn[:-1]], drawn[-1][2]

    names, labels = chosen(num=3, seed=1)
    assert labels == [1, 1, 0] and chosen(num=3, seed=1)[0] == names
    assert {tuple(chosen(num=3, seed=seed)[0]) for seed in range(8)} != {tuple(names)}
    assert chosen(num=99)[1] == [1, 1, 1, 0, 0, 0]


def test_the_program(root, capsys):
    cfg, checkpoint, _ = network(root, CAM, 'cam')
    out = root / 'pictures'

    def run(*args):
        return main(['compare-maps', *map(str, args)])

    assert 0 == run(
        cfg.filename, checkpoint, '--out', out, '--nodules', 'n4', '--slices', 1
    )
    assert sorted(path.name for path in out.iterdir()) == ['n4.png', 'nodules.png']
    assert f'2 pictures: {out}' in capsys.readouterr().out
    for args, sentence in (
        ([root / 'no.py', checkpoint], r'Config .*no.py does not exist\.'),
        ([cfg.filename, root / 'no.pth'], r'Checkpoint .*no.pth does not exist\.'),
    ):
        assert run(*args, '--out', out) == 1
        assert re.search(sentence, capsys.readouterr().err)
    assert run(cfg.filename, '--out', out) == 1
    assert 'expected a checkpoint for each config' in capsys.readouterr().err


def test_what_cannot_be_compared_is_one_sentence(root):
    cfg, checkpoint, _ = network(root, CAM, 'cam')
    other, foreign, _ = network(root, SAM, 'sam')
    plain, without, _ = network(
        root,
        dict(
            type='LinearClsHead',
            num_classes=2,
            in_channels=8,
            loss=dict(type='CrossEntropyLoss'),
        ),
        'plain',
    )
    one, single, _ = network(root, SAM, 'sam', '1c', 1)
    for configs, checkpoints, kwargs, sentence in (
        ([cfg], [], {}, '1 configs and 0 checkpoints'),
        ([cfg], [foreign], {}, 'belongs to another model'),
        ([cfg, cfg], [checkpoint] * 2, {}, 'a second config of the name CAM'),
        ([plain], [without], {}, 'needs one head with a method'),
        ([cfg], [checkpoint], dict(nodules=['n9']), 'no nodule n9 is in its test'),
        ([cfg], [checkpoint], dict(num=0), 'At least one nodule .* 0 and 5'),
        ([cfg], [checkpoint], dict(num_slices=0), 'one slice .* 6 and 0'),
        ([cfg, one], [checkpoint, single], {}, 'CAM 11 channels, SAM 1 channels'),
    ):
        with pytest.raises(ValueError, match=sentence):
            compare_maps(configs, checkpoints, root / 'out', **kwargs)
    assert not (root / 'out').exists()
