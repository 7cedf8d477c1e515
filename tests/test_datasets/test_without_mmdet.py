"""Where mmdet is not installed, the transforms still work."""

import os
import subprocess
import sys
from pathlib import Path


def test_transforms_need_mmcv_only():
    code = (
        "import sys; sys.modules['mmdet'] = None\n"
        'import mmlesion.datasets as datasets\n'
        "assert not hasattr(datasets, 'DeepLesionDataset')\n"
        'from mmlesion.registry import TRANSFORMS\n'
        "print(TRANSFORMS.build(dict(type='mmlesion.LoadSliceStack', "
        'num_slices=9)))'
    )
    root = str(Path(__file__).resolve().parents[2])
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=root,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=root),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert 'LoadSliceStack(num_slices=9, interval_mm=2.0' in result.stdout
