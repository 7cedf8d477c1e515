"""tools/train.py and tools/test.py on a few generated slices, end to end."""

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from mmlesion.cli import main
from mmlesion.engine.work_dir import lock_work_dir
from mmlesion.phantom import write_deeplesion
from mmlesion.visualization import CTVisualizer

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 4
CONFIG = """
_base_ = {base!r}
model = dict(
    backbone=dict(backbone=dict(width={width})),
    neck=dict(in_channels={channels}),
    rpn_head=dict(in_channels={channels}, feat_channels=8),
    roi_head=dict(
        in_channels={channels}, bbox_head=dict(fc_out_channels=16)),
    test_cfg=dict(rpn=dict(max_per_img=30)))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root={data!r}))
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
test_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
train_cfg = dict(max_epochs=2, val_interval=2)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'), dict(type='mmlesion.NonFiniteLossHook')]
"""


def _config(path, data, width=WIDTH):
    path.write_text(
        CONFIG.format(
            base=str(ROOT / 'configs' / 'phantom' / 'phantom_3dce_csatt_15slice.py'),
            data=str(data),
            width=width,
            channels=8 * width,
        )
    )
    return str(path)


def _run(tool, *args):
    """Run a tool in this process, which is faster than a new process."""
    # Each process has its own visualizer; here the last run's would stay.
    CTVisualizer._instance_dict.pop('visualizer', None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', '0')
        return main([str(arg) for arg in args], command=Path(tool).stem)


def _sentence(tool, *args):
    """Run a tool that must end with one sentence and a code that is not 0."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        assert _run(tool, *args) == 1
    lines = [line for line in error.getvalue().splitlines() if line.startswith('error')]
    assert len(lines) == 1 and 'Traceback' not in error.getvalue()
    return lines[0].removeprefix('error: ')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Generated data, a config, and the work directory of a training."""
    folder = tmp_path_factory.mktemp('trained')
    data = write_deeplesion(folder / 'data', 4, 2, 3, size=128, seed=3)
    config = _config(folder / 'tiny.py', data)
    _run('train.py', config, '--work-dir', folder / 'work')
    return folder, config, folder / 'work'


def test_a_test_leaves_table_curve_overlays_and_attention(trained, tmp_path):
    folder, config, work = trained
    _run(
        'test.py',
        config,
        work / 'epoch_2.pth',
        '--work-dir',
        tmp_path / 'out',
        '--show-dir',
        tmp_path / 'pictures',
        '--out',
        tmp_path / 'boxes.pkl',
        '--cfg-options',
        'default_hooks.visualization.score_thr=0',
    )

    report = json.loads((tmp_path / 'out' / 'test.froc.json').read_text())
    assert report['num_images'] == 3
    assert report['overall']['fps'] == [0.5, 1, 2, 4, 8, 16]
    log = next((tmp_path / 'out').glob('*/*.log')).read_text()
    assert 'Sensitivity (%) at false positives per image' in log
    assert cv2.imread(str(tmp_path / 'out' / 'test.froc.png')) is not None
    assert (tmp_path / 'boxes.pkl').exists()
    overlays = sorted((tmp_path / 'pictures').glob('*.png'))
    assert len(overlays) == 3
    for path in overlays:
        series, key_slice = path.stem.rsplit('_', 1)
        assert (folder / 'data' / 'Images_png' / series / f'{key_slice}.png').exists()
        assert (cv2.imread(str(path))[36:-36] == (255, 128, 64)).all(-1).any(), (
            'no ground truth in the picture'
        )
    attention = tmp_path / 'pictures' / 'attention'
    assert len(list(attention.glob('*_spatial.png'))) == 3
    assert len(list(attention.glob('*_contextual.png'))) >= 3


def _best_scores(config, checkpoint, out, *flags):
    """Best score of each slice; boxes are in the pixels of the whole slice."""
    _run(
        'test.py', config, checkpoint, '--work-dir', out, '--out', out / 'a.pkl', *flags
    )
    assert json.loads((out / 'test.froc.json').read_text())['num_images'] == 3
    with open(out / 'a.pkl', 'rb') as file:
        samples = pickle.load(file)
    for sample in samples:
        height, width = sample['ori_shape']
        boxes = sample['pred_instances']['bboxes']
        assert sample['ori_shape'] == (128, 128) and len(boxes) > 0
        assert boxes.min() >= -1 and boxes.max() <= 129
    return torch.stack([sample['pred_instances']['scores'].max() for sample in samples])


def test_mixed_precision_and_augmentation(trained, tmp_path):
    """Nearly the scores of single precision, and at least those without a flip."""
    _, config, work = trained
    checkpoint = work / 'epoch_2.pth'
    single = _best_scores(config, checkpoint, tmp_path / 'single')
    half = _best_scores(config, checkpoint, tmp_path / 'half', '--amp')
    torch.testing.assert_close(half, single, atol=0.05, rtol=0)
    assert (half != single).any()
    augmented = _best_scores(config, checkpoint, tmp_path / 'augmented', '--tta')
    # The first of the four views is the slice as it is.
    assert (augmented >= single - 1e-4).all() and (augmented > single).any()


def test_augmentation_does_not_change_the_attention_figures(trained, tmp_path):
    _, config, work = trained
    pictures = []
    for flags in ([], ['--tta']):
        out = tmp_path / f'out{len(flags)}'
        _run(
            *('test.py', config, work / 'epoch_2.pth', '--work-dir', out),
            *('--show-dir', out, *flags),
        )
        paths = sorted((out / 'attention').glob('*.png'))
        pictures.append({path.name: cv2.imread(str(path)) for path in paths})
    plain, augmented = pictures
    assert len(plain) >= 6 and plain.keys() == augmented.keys()
    for name, picture in plain.items():
        assert (picture == augmented[name]).all(), name


def test_attention_of_one_slice_by_name(trained, tmp_path):
    folder, config, work = trained
    rows = (folder / 'data' / 'DL_info.csv').read_text().splitlines()[1:]
    name = [row.split(',')[0] for row in rows if row.endswith(',3')][-1]
    _run(
        'test.py',
        config,
        work / 'epoch_2.pth',
        '--work-dir',
        tmp_path,
        '--attention',
        name,
        'not_there_01',
    )
    written = sorted((tmp_path / 'attention').iterdir())
    assert written
    assert all(path.name.startswith(Path(name).stem) for path in written)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'No attention was drawn for not_there_01' in log


def test_a_resumed_training_goes_on_to_the_same_losses(trained, tmp_path):
    _, config, work = trained
    _run('train.py', config, '--work-dir', tmp_path, '--resume', work / 'epoch_1.pth')
    unbroken, resumed = (
        torch.load(folder / 'epoch_2.pth', weights_only=False)
        for folder in (work, tmp_path)
    )
    losses = [
        checkpoint['message_hub']['log_scalars']['train/loss'].data[0]
        for checkpoint in (unbroken, resumed)
    ]
    assert len(losses[0]) == 4  # of each iteration
    assert losses[0].tolist() == losses[1].tolist()
    assert all(
        torch.equal(value, resumed['state_dict'][key])
        for key, value in unbroken['state_dict'].items()
    )


class _Touch:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_checkpoint_that_runs_code_is_refused_unless_trusted(trained, tmp_path):
    _, config, work = trained
    checkpoint = torch.load(work / 'epoch_2.pth', weights_only=False)
    checkpoint['surprise'] = _Touch(tmp_path / 'made')
    torch.save(checkpoint, tmp_path / 'evil.pth')
    args = [config, tmp_path / 'evil.pth', '--work-dir', tmp_path / 'out']
    assert 'evil.pth was not loaded: it asks to run' in _sentence('test.py', *args)
    assert not (tmp_path / 'made').exists()
    _run('test.py', *args, '--trust-checkpoint')
    assert (tmp_path / 'made').exists()


def test_a_checkpoint_of_another_model_is_refused(trained, tmp_path):
    folder, _, work = trained
    wider = _config(tmp_path / 'wider.py', folder / 'data', width=2 * WIDTH)
    sentence = _sentence(
        'test.py', wider, work / 'epoch_2.pth', '--work-dir', tmp_path / 'out'
    )
    assert 'epoch_2.pth belongs to another model' in sentence
    assert 'keys of another shape' in sentence
    assert not (tmp_path / 'out' / 'test.froc.json').exists()


def test_files_that_do_not_exist_are_named(trained, tmp_path):
    _, config, _ = trained
    assert _sentence('test.py', config, tmp_path / 'no.pth') == (
        f'Checkpoint {tmp_path}/no.pth does not exist.'
    )
    assert _sentence('train.py', tmp_path / 'no.py') == (
        f'Config {tmp_path}/no.py does not exist.'
    )


@pytest.mark.parametrize('workers', [0, 1])
def test_a_damaged_slice_is_named_also_out_of_a_loading_process(
    trained, tmp_path, workers
):
    _, config, work = trained
    data = write_deeplesion(tmp_path / 'data', 1, 1, 1, size=128, seed=4)
    rows = (data / 'DL_info.csv').read_text().splitlines()[1:]
    name = next(row.split(',')[0] for row in rows if row.endswith(',3'))
    series, key_slice = name.rsplit('_', 1)
    path = data / 'Images_png' / series / key_slice
    path.write_bytes(path.read_bytes()[:3000])
    sentence = _sentence(
        'test.py',
        config,
        work / 'epoch_2.pth',
        '--work-dir',
        tmp_path / 'out',
        '--cfg-options',
        f'test_dataloader.dataset.data_root={data}',
        f'test_dataloader.num_workers={workers}',
    )
    assert f'{series}/{key_slice}' in sentence and 'truncated' in sentence


def test_a_training_that_diverges_names_its_samples(trained, tmp_path):
    _, config, _ = trained
    sentence = _sentence(
        'train.py',
        config,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'optim_wrapper.optimizer.lr=1e30',
        'optim_wrapper.clip_grad=None',
        'param_scheduler=None',
    )
    assert 'Training stopped in epoch 1' in sentence
    assert 'nan' in sentence and sentence.count('.png') == 2
    assert not list(tmp_path.glob('*.pth'))


def test_arguments_that_do_not_fit_the_config_are_named(trained, tmp_path):
    _, config, work = trained
    common = ['--work-dir', tmp_path]
    without = Path(tmp_path, 'without.py')
    without.write_text(f'_base_ = {str(config)!r}\ntta_model = None\n')
    assert 'tta_model' in _sentence(
        'test.py', without, work / 'epoch_2.pth', '--tta', *common
    )
    assert '.pkl' in _sentence(
        'test.py', config, work / 'epoch_2.pth', '--out', 'a.json', *common
    )
    assert 'base_batch_size' in _sentence(
        'train.py', config, '--auto-scale-lr', *common
    )
    assert 'is_not_there' in _sentence(
        'test.py',
        config,
        work / 'epoch_2.pth',
        *common,
        '--cfg-options',
        'test_dataloader.dataset.split=is_not_there',
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_second_training_in_a_folder_names_the_first(trained, tmp_path):
    folder, config, work = trained
    with lock_work_dir(tmp_path / 'out'):
        found = _sentence('train.py', config, '--work-dir', tmp_path / 'out')
        assert 'another process is writing' in found and str(os.getpid()) in found
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['.lock']


def test_a_batch_that_no_sample_is_left_for_is_refused(trained, tmp_path):
    folder, config, work = trained
    found = _sentence(
        'train.py',
        config,
        '--work-dir',
        tmp_path / 'out',
        '--cfg-options',
        'train_dataloader.batch_size=1000',
        'train_dataloader.batch_sampler=None',
        'train_dataloader.drop_last=True',
    )
    assert 'batch_size is 1000, but the data set has ' in found
    assert not list((tmp_path / 'out').glob('*.pth'))


def test_mixed_precision_without_a_gpu_is_refused(trained, tmp_path):
    assert 'needs a GPU' in _sentence(
        'train.py', trained[1], '--amp', '--work-dir', tmp_path
    )


def test_two_processes_write_the_results_of_one(trained, tmp_path):
    _, config, work = trained
    args = [config, str(work / 'epoch_2.pth'), '--work-dir']
    _run('test.py', *args, tmp_path / 'one', '--show-dir', tmp_path / 'one')
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node',
            '2',
            str(ROOT / 'tools' / 'test.py'),
            *args,
            str(tmp_path / 'two'),
            '--show-dir',
            str(tmp_path / 'two'),
            '--launcher',
            'pytorch',
        ],
        env={
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'OMP_NUM_THREADS': '1',
            'CUDA_VISIBLE_DEVICES': '',
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (tmp_path / name for name in ('one', 'two'))
    assert (one / 'test.froc.json').read_text() == (two / 'test.froc.json').read_text()
    overlays = [
        {path.name: path.read_bytes() for path in folder.glob('0*.png')}
        for folder in (one, two)
    ]
    assert overlays[0] == overlays[1] and len(overlays[0]) == 3


def test_the_process_ends_with_code_1_and_the_sentence_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / 'test.py'), 'no.py', 'no.pth'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == 'error: Config no.py does not exist.'
    assert 'Traceback' not in done.stderr
