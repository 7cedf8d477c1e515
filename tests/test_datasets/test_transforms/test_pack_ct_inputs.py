"""Packing: the product of all scales, and pipelines that would lose a step."""

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

pytest.importorskip('mmdet')
from mmlesion.datasets.transforms.check_pipeline import check_pipeline

SPACING = dict(type='mmlesion.ResizeToSpacing', spacing_mm=1.0)  # 0.8 mm: times 0.8
FLIP = dict(type='RandomFlip', prob=1.0)
PACK = dict(type='mmlesion.PackCTInputs')
CROP = dict(type='mmlesion.CropToBody')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


def stock(scale, **kwargs):
    return dict(type='Resize', scale=scale, keep_ratio=True, **kwargs)


def run(*steps):
    sample = dict(
        img=np.zeros((51, 77, 9), np.float32),
        ori_shape=(51, 77),
        img_shape=(51, 77),
        spacing_mm=0.8,
        gt_bboxes=_boxes(),
        gt_bboxes_labels=np.zeros(1, int),
        crop_offset=(3, 4),
    )
    return Compose(list(steps))(sample)['data_samples']


def _boxes():
    from mmdet.structures.bbox import HorizontalBoxes

    return HorizontalBoxes(np.array([[10.0, 20.0, 31.0, 40.0]], np.float32))


@pytest.mark.parametrize(
    'steps',
    [
        [SPACING],
        [SPACING, stock((90, 90))],
        [stock((90, 90)), SPACING],
        [SPACING, FLIP, dict(type='Resize', scale=(100, 40)), stock((50, 50))],
        [SPACING, dict(type='RandomChoiceResize', scales=[(30, 30)])],
        [FLIP, SPACING, dict(type='ResizeShortestEdge', scale=33)],
    ],
    ids=lambda steps: '+'.join(step['type'] for step in steps),
)
def test_boxes_come_back_through_every_order_of_resizing(steps):
    packed = run(*steps, PACK)
    boxes = packed.gt_instances.bboxes.tensor / np.tile(packed.scale_factor, 2)
    x1, y1, x2, y2 = boxes[0].tolist()
    if packed.get('flip'):
        width = packed.img_shape[1] / packed.scale_factor[0]
        x1, x2 = width - x2, width - x1
    # The flip is about the rounded width: half a pixel of the network's picture.
    assert [x1, x2] == pytest.approx([10, 31], abs=0.7 if packed.get('flip') else 0.01)
    assert [y1, y2] == pytest.approx([20, 40], abs=0.01)
    height, width = packed.img_shape
    assert height == pytest.approx(51 * packed.scale_factor[1], abs=1)
    assert width == pytest.approx(77 * packed.scale_factor[0], abs=1)


def test_the_position_of_the_crop_is_kept_and_unknown_keys_are_left_out():
    packed = run(SPACING, PACK)
    assert packed.crop_offset == (3, 4) and 'patient' not in packed


@pytest.mark.parametrize(
    'steps, expected',
    [
        ([CROP, dict(type='PackDetInputs')], "drops the position of the crop: add 'cr"),
        (
            [SPACING, stock((9, 9)), dict(type='PackDetInputs')],
            'pack with mmlesion.Pack',
        ),
        (
            [
                SPACING,
                dict(
                    type='TestTimeAug',
                    transforms=[
                        [dict(type='RandomFlip', prob=0.0), stock((9, 9))],
                        [dict(type='PackDetInputs')],
                    ],
                ),
            ],
            'a Resize after ResizeToSpacing',
        ),
        (
            [
                SPACING,
                dict(type='RandomChoice', transforms=[[FLIP], [stock((9, 9))]]),
                dict(type='PackDetInputs'),
            ],
            'a Resize after ResizeToSpacing',
        ),
        ([SPACING, stock((9, 9)), PACK], None),
        ([CROP, SPACING, FLIP, PACK], None),
        ([stock((9, 9)), SPACING, dict(type='PackDetInputs')], None),
        ([stock((9, 9)), FLIP, dict(type='PackDetInputs')], None),
    ],
)
def test_a_pipeline_that_would_move_boxes_is_refused(steps, expected):
    pipeline = Compose(steps)
    if expected is None:
        check_pipeline(pipeline)
        return
    with pytest.raises(ValueError, match=expected):
        check_pipeline(pipeline)


def test_a_data_set_refuses_it_as_well(tiny):
    from mmlesion.datasets import DeepLesionDataset

    tiny.add().write()
    with pytest.raises(ValueError, match='drops the position of the crop'):
        DeepLesionDataset(
            data_root=str(tiny.root), pipeline=[CROP, dict(type='PackDetInputs')]
        )
