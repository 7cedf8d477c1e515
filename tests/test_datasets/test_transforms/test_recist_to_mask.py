"""Pseudo-masks with mmdet's loading transforms and our geometry."""

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, TRANSFORMS
from pycocotools import mask as coco_mask

from mmlesion.datasets.transforms import RECISTToMask
from mmlesion.phantom import write_deeplesion


def polygon(instance, **kwargs):
    sample = RECISTToMask(**kwargs)(dict(instances=[instance]))
    (outline,) = sample['instances'][0]['mask']
    return np.array(outline).reshape(-1, 2)


def area(outline):
    return cv2.contourArea(outline.astype(np.float32))


def test_passes_through_all_four_ends():
    ends = [10, 20, 50, 30, 35, 10, 25, 38]  # neither perpendicular nor halved
    outline = polygon(dict(bbox=[0, 0, 1, 1], recist_px=ends))
    for end in np.reshape(ends, (4, 2)):
        assert np.abs(outline - end).sum(1).min() < 1e-9


def test_perpendicular_diameters_make_an_ellipse():
    outline = polygon(dict(bbox=[0, 0, 1, 1], recist_px=[0, 5, 20, 5, 10, 0, 10, 10]))
    x, y = (outline - [10, 5]).T
    np.testing.assert_allclose((x / 10) ** 2 + (y / 5) ** 2, 1)
    assert area(outline) == pytest.approx(np.pi * 50, rel=0.01)


def test_without_diameters_the_ellipse_in_the_box():
    outline = polygon(dict(bbox=[4, 6, 24, 16]), num_points=4)
    np.testing.assert_allclose(
        outline, [[4, 11], [14, 6], [24, 11], [14, 16]], atol=1e-9
    )


def test_a_diameter_of_no_length():
    outline = polygon(dict(bbox=[0, 0, 9, 9], recist_px=[1, 1, 5, 5, 3, 3, 3, 3]))
    assert np.isfinite(outline).all()
    with pytest.raises(ValueError, match='positive multiple of 4, but is 6'):
        RECISTToMask(num_points=6)


def test_grabcut_follows_the_edge():
    """A square lesion whose corners are outside the ellipse; a leak is rejected."""
    rng = np.random.default_rng(0)
    lesion = np.zeros((60, 70), bool)
    lesion[20:41, 30:51] = True
    sample = dict(
        key_slice_hu=np.where(lesion, 60, -60) + rng.normal(0, 5, lesion.shape),
        instances=[dict(bbox=[0, 0, 1, 1], recist_px=[30, 30, 50, 30, 40, 20, 40, 40])],
    )
    found = RECISTToMask(refine='grabcut')(sample)['instances'][0]['mask']
    codes = coco_mask.frPyObjects(found, *lesion.shape)
    assert (coco_mask.decode(codes)[..., 0] == lesion).all()
    again = RECISTToMask(refine='grabcut')(sample)['instances'][0]['mask']
    assert again == found
    sample['key_slice_hu'] = np.full(lesion.shape, 40.0)  # no edge at all
    (kept,) = RECISTToMask(refine='grabcut')(sample)['instances'][0]['mask']
    assert np.reshape(kept, (-1, 2)) == pytest.approx(polygon(sample['instances'][0]))
    with pytest.raises(ValueError, match='must precede CropToBody'):
        RECISTToMask(refine='grabcut')(dict(sample, crop_offset=(0, 0)))
    with pytest.raises(ValueError, match="'ellipse' or 'grabcut', but is 'snake'"):
        RECISTToMask(refine='snake')


@pytest.mark.parametrize('refine, at_least', [('ellipse', 0.75), ('grabcut', 0.75)])
def test_against_the_true_masks_of_the_phantom(tmp_path, refine, at_least):
    """After cropping, resizing and a flip: masks lie on boxes and on lesions."""
    root = write_deeplesion(tmp_path / 'phantom', 6, 0, 0, size=160, context_mm=5)
    dataset = DATASETS.build(
        dict(type='mmlesion.DeepLesionDataset', data_root=str(root), pipeline=[])
    )
    pipeline = [
        TRANSFORMS.build(step)
        for step in (
            dict(type='mmlesion.LoadSliceStack', num_slices=3),
            dict(type='mmlesion.RECISTToMask', refine=refine),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='mmlesion.CropToBody'),
            dict(type='mmlesion.ResizeToSpacing', spacing_mm=0.5),
            dict(type='RandomFlip', prob=1.0),
        )
    ]
    overlaps = []
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        for step in pipeline:
            sample = step(sample)
        folder, name = sample['img_path'].split('/')[-2:]
        truth = cv2.imread(str(root / 'masks' / folder / name), cv2.IMREAD_GRAYSCALE)
        x0, y0 = sample['crop_offset']
        height, width = sample['ori_shape']
        truth = truth[y0 : y0 + height, x0 : x0 + width]
        height, width = sample['img_shape']
        scale = sample['scale_factor'][0]
        boxes = sample['gt_bboxes'].tensor.numpy()
        for place, (mask, box) in enumerate(zip(sample['gt_masks'].masks, boxes)):
            right = cv2.resize((truth == place + 1).astype(np.uint8), (width, height))
            right = right[:, ::-1]
            overlaps.append((mask & right).sum() / (mask | right).sum())
            rows, cols = np.nonzero(mask)
            # The box is the extent of the ends and 5 px of the original image
            assert cols.min() >= box[0] - 2 and cols.max() <= box[2] + 2
            assert rows.min() >= box[1] - 2 and rows.max() <= box[3] + 2
            assert cols.min() - box[0] == pytest.approx(5 * scale, abs=4 * scale)
    assert len(overlaps) >= 6 and np.median(overlaps) > at_least, overlaps
