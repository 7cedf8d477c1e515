"""Versions that cannot work are named in one error; torchvision imports."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mmlesion import compat

ROOT = Path(__file__).resolve().parents[2]
ONEDL = {
    'torch': '2.13.0+cpu',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmpretrain': '1.3.6',
}
OPENMMLAB = {
    'torch': '2.5.1',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmpretrain': '1.2.0',
}


@pytest.fixture
def check(monkeypatch):
    """Run the check as if these distributions, and no others, were there."""

    def run(distributions, python=(3, 11, 7), operators=True):
        monkeypatch.setattr(compat, '_version', distributions.get)
        monkeypatch.setattr(compat, '_has_operators', lambda name: operators)
        monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: None)
        monkeypatch.setattr(compat.sys, 'version_info', python)
        compat.check_versions()

    return run


def without(distributions, *names):
    return {k: v for k, v in distributions.items() if k not in names}


@pytest.mark.parametrize(
    'distributions',
    [
        ONEDL,
        OPENMMLAB,
        without(ONEDL, 'onedl-mmpretrain'),
        without(OPENMMLAB, 'mmdet'),
    ],
    ids=['onedl', 'openmmlab', 'no mmpretrain', 'no mmdet'],
)
def test_sets_that_work_pass_in_silence(check, distributions):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check(distributions)


@pytest.mark.parametrize(
    'change, sentence',
    [
        (
            {'torch': '2.3.1'},
            'torch 2.3.1 is installed, at least 2.4 and below 3 is needed',
        ),
        ({'torch': None}, 'torch is not installed'),
        ({'onedl-mmcv': '2.0.1'}, 'onedl-mmcv 2.0.1 is installed, at least 2.1.0'),
        ({'onedl-mmcv': None}, 'mmcv is not installed'),
        ({'onedl-mmengine': '1.0.0'}, 'onedl-mmengine 1.0.0 is installed'),
        ({'onedl-mmdetection': '2.28.0'}, 'onedl-mmdetection 2.28.0 is installed'),
        ({'onedl-mmpretrain': '1.0.0'}, 'onedl-mmpretrain 1.0.0 is installed'),
        (
            {'mmcv': '2.1.0'},
            'onedl-mmcv 2.3.6 and mmcv 2.1.0 are both installed',
        ),
        ({'mmcv-lite': '2.1.0'}, 'onedl-mmcv 2.3.6 and mmcv-lite 2.1.0'),
        (
            {'onedl-mmdetection': None, 'mmdet': '3.3.0'},
            'mmdet 3.3.0 needs MMCV below 2.2, but onedl-mmcv 2.3.6 is installed',
        ),
    ],
)
def test_what_cannot_work_is_named(check, change, sentence):
    with pytest.raises(compat.VersionError) as error:
        check({**ONEDL, **change})
    assert sentence in str(error.value)
    assert 'requirements/onedl.txt' in str(error.value)
    assert '\n' not in str(error.value)


def test_python_out_of_range_is_named(check):
    with pytest.raises(compat.VersionError, match='Python 3.13.0 is installed'):
        check(ONEDL, python=(3, 13, 0))


def test_mmcv_without_operators_is_named_where_mmdet_needs_them(check):
    check(without(ONEDL, 'onedl-mmdetection'), operators=False)
    with pytest.raises(
        compat.VersionError,
        match='onedl-mmcv 2.3.6 has been built '
        'without its operators, which onedl-mmdetection needs',
    ):
        check(ONEDL, operators=False)


def test_several_problems_come_in_one_error(check):
    with pytest.raises(compat.VersionError) as error:
        check({**ONEDL, 'torch': '2.0.0', 'mmdet': '3.3.0', 'onedl-mmcv': None})
    for part in ('torch 2.0.0', 'mmcv is not installed', 'mmdet 3.3.0 are both'):
        assert part in str(error.value)


def test_checkpoints_that_will_not_load_are_announced(check):
    with pytest.warns(UserWarning, match='mmengine 0.10.7 cannot load checkpoints'):
        check({**OPENMMLAB, 'torch': '2.6.0'})


def test_what_is_installed_here_passes():
    compat.check_versions()


def run_beside(folder, source):
    """Run code with a made-up ``torchvision`` first on the path."""
    # Without the hook that `make install` may have put into this environment.
    source = (
        'import sys\n'
        'sys.meta_path[:] = [f for f in sys.meta_path if not '
        "type(f).__module__.startswith('mmlesion')]\n" + source
    )
    return subprocess.run(
        [sys.executable, '-c', source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={'PYTHONPATH': f'{folder}:{ROOT}', 'PATH': ''},
    )


def test_torchvision_without_its_compiled_part_imports(tmp_path):
    # What a CUDA build of torchvision does at import beside a CPU-only torch.
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision' / '__init__.py').write_text(
        'import torch\n'
        "@torch.library.register_fake('torchvision::nms')\n"
        'def nms(dets, scores, iou_threshold):\n'
        '    return dets\n'
    )
    bare = run_beside(tmp_path, 'import torchvision')
    assert 'operator torchvision::nms does not exist' in bare.stderr
    done = run_beside(
        tmp_path,
        'from mmlesion.compat import declare_torchvision_operators as declare\n'
        'print(declare(), declare())\nimport torchvision',
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ['True', 'False']  # declared once only


def test_another_fault_of_torchvision_is_not_hidden(tmp_path):
    (tmp_path / 'torchvision').mkdir()
    (tmp_path / 'torchvision' / '__init__.py').write_text(
        "raise RuntimeError('something else')\n"
    )
    done = run_beside(
        tmp_path, 'import mmlesion.compat as c; c.declare_torchvision_operators()'
    )
    assert 'RuntimeError: something else' in done.stderr


def test_the_hook_of_the_set_up_repairs_the_import_in_any_program(tmp_path):
    package = tmp_path / 'torchvision'
    package.mkdir()
    (package / 'other.py').write_text('loaded = True\n')
    (package / '__init__.py').write_text(
        'import torch\n'
        'from . import other\n'
        "@torch.library.register_fake('torchvision::nms')\n"
        'def nms(dets, scores, iou_threshold):\n'
        '    return dets\n'
    )
    done = run_beside(
        tmp_path,
        'import mmlesion.torchvision_operators as t; t.install_finder()\n'
        'import sys; assert "torch" not in sys.modules\n'
        'import torchvision, torchvision.other\n'
        'print(torchvision.other.loaded, torchvision.__spec__.name)',
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ['True', 'torchvision']
    (package / '__init__.py').write_text("raise RuntimeError('something else')\n")
    done = run_beside(
        tmp_path,
        'import mmlesion.torchvision_operators as t; t.install_finder()\n'
        'import torchvision',
    )
    assert 'RuntimeError: something else' in done.stderr


def test_mmdet_imports_by_itself_where_the_set_up_has_been_run():
    """mmdet's own tools import mmdet, and not mmlesion."""
    import sysconfig

    if not (Path(sysconfig.get_path('purelib')) / 'mmdet').is_dir():
        pytest.skip('mmdet is not installed here')
    done = subprocess.run(
        [sys.executable, '-c', 'import mmdet.models, torchvision'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_imports_are_silent_about_optional_packages():
    pytest.importorskip('mmdet')
    done = subprocess.run(
        [sys.executable, '-c', 'import mmlesion.registry, mmdet.datasets'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'OneDL' not in done.stdout + done.stderr
    assert 'faster_coco_eval' not in done.stdout + done.stderr
