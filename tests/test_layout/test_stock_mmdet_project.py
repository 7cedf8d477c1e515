"""Use of the package in a project with standard mmdet configs and tools.

Our parts come in by ``mmlesion.X`` strings alone: no custom imports, no code.
"""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmlesion.phantom import write_deeplesion

# mmdet's own train.py. Beside a CPU-only torch, mmdet's model modules cannot be
# imported where torchvision was built for CUDA: settled first, as the README says.
TRAIN = """
import runpy, sys
from pathlib import Path
from mmlesion.compat import declare_torchvision_operators
declare_torchvision_operators()
import mmdet
assert 'mmlesion.registry' not in sys.modules
sys.argv = ['train.py', *sys.argv[1:]]
runpy.run_path(str(Path(mmdet.__file__).parent / '.mim/tools/train.py'),
               run_name='__main__')
import gc
from mmengine.runner import Runner
print([type(each).__name__ for each in gc.get_objects() if isinstance(each, Runner)])
"""
SHORT = """
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=-1, save_last=False))
train_cfg = dict(max_epochs=1)
param_scheduler = []
optim_wrapper = dict(optimizer=dict(lr=1e-4))
env_cfg = dict(cudnn_benchmark=False)
"""
PHOTOGRAPHS = (
    """
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        depth=50, init_cfg=None,
        plugins=[dict(cfg=dict(type='mmlesion.SpatialAttention'),
                      position='after_conv3')]),
    roi_head=dict(bbox_head=dict(num_classes=1)))
_data = dict(
    data_root='', ann_file='boxes.json', data_prefix=dict(img='images/'),
    metainfo=dict(classes=('lesion',)))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=_data)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=_data)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmlesion.FROCMetric', num_resamples=20)
test_evaluator = val_evaluator
train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
for step in train_pipeline + test_pipeline:
    if step['type'] == 'Resize':
        step['scale'] = (96, 96)
train_dataloader['dataset'] = dict(**_data, pipeline=train_pipeline)
val_dataloader['dataset'] = dict(**_data, pipeline=test_pipeline)
"""
    + SHORT
)
STACKS = (
    """
runner_type = 'mmlesion.LesionRunner'
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
model = dict(
    data_preprocessor=dict(mean=[50.0], std=[57.6], bgr_to_rgb=False),
    backbone=dict(_delete_=True, type='mmlesion.SliceBackbone',
                  backbone=dict(type='ResNet', depth=18, norm_eval=True)),
    neck=[dict(type='mmlesion.SliceFusion', in_channels=[64, 128, 256, 512],
               num_images=3, mode='attention'),
          dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=256,
               start_level=1, add_extra_convs='on_input', num_outs=5)],
    bbox_head=dict(num_classes=1))
_meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
              'crop_offset', 'instances')
_pipeline = [
    dict(type='mmlesion.LoadSliceStack', num_slices=9),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='mmlesion.CropToBody'), dict(type='mmlesion.WindowHU'),
    dict(type='mmlesion.ResizeToSpacing', spacing_mm=1.6),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs', meta_keys=_meta_keys)]
_data = dict(_delete_=True, type='mmlesion.DeepLesionDataset', data_root='phantom',
             ann_file='DL_info.csv', data_prefix=dict(img='Images_png/'))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(**_data, split='train', pipeline=_pipeline))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(**_data, split='val', test_mode=True,
                 pipeline=_pipeline[:5] + _pipeline[6:]))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='mmlesion.FROCMetric', num_resamples=20)
test_evaluator = val_evaluator
"""
    + SHORT
)


def write_photographs(folder):
    """Two 8-bit pictures with one box each, in COCO's format."""
    (folder / 'images').mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(2):
        picture = rng.integers(0, 60, (96, 96, 3), dtype=np.uint8)
        picture[20:60, 30:70] += 150
        cv2.imwrite(str(folder / 'images' / f'{index}.png'), picture)
        images.append(dict(id=index, file_name=f'{index}.png', width=96, height=96))
        annotations.append(
            dict(
                id=index + 1,
                image_id=index,
                category_id=1,
                iscrowd=0,
                bbox=[30, 20, 40, 40],
                area=1600,
            )
        )
    (folder / 'boxes.json').write_text(
        json.dumps(
            dict(
                images=images,
                annotations=annotations,
                categories=[dict(id=1, name='lesion')],
            )
        )
    )


def write_stacks(folder):
    """A small simulated DeepLesion."""
    write_deeplesion(folder / 'phantom', 2, 1, 1, size=128, context_mm=9)


@pytest.mark.parametrize(
    'config, write, parts',
    [
        (PHOTOGRAPHS, write_photographs, ['SpatialAttention']),
        (STACKS, write_stacks, ['SliceBackbone', 'SliceFusion']),
    ],
    ids=['stock data, attention in ResNet', 'slice stacks, fusion before FPN'],
)
def test_mmdets_own_training_uses_our_parts(config, write, parts, tmp_path):
    write(tmp_path)
    (tmp_path / 'config.py').write_text(config)
    done = subprocess.run(
        [sys.executable, '-c', TRAIN, 'config.py', '--work-dir', 'out'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runner = 'LesionRunner' if 'runner_type' in config else 'Runner'
    assert f"['{runner}']" in done.stdout
    log = next((tmp_path / 'out').glob('*/*.log')).read_text()
    for part in parts:
        assert f'mmlesion.{part}' in log
    assert 'Epoch(train) [1]' in log
    scalars = next((tmp_path / 'out').glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert losses and np.isfinite(losses).all()
    assert any('froc/sens@4' in line for line in lines)
