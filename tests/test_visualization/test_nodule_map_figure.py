"""The figure of maps: wrong scores are red, the nodule has an outline."""

import cv2
import numpy as np
import pytest

from mmlesion.visualization import draw_nodule_maps

RED = (0xD4, 0, 0)
OUTLINE = (0x40, 0xE0, 0xFF)


def arguments(**changes):
    mask = np.zeros((2, 16, 16), bool)
    mask[:, 4:12, 4:12] = True
    return dict(
        dict(
            pictures=np.random.default_rng(0).random((2, 16, 16)),
            masks=mask,
            labels=[1, 0],
            maps=dict(CAM=np.zeros((2, 4, 4))),
            scores=dict(CAM=np.array([0.9, 0.1])),
        ),
        **changes,
    )


def pixels_of(path, color):
    picture = cv2.imread(str(path))[..., ::-1].astype(int)
    return int((np.abs(picture - color).max(-1) < 12).sum())


@pytest.mark.parametrize(
    'scores, wrong', [([0.9, 0.1], 0), ([0.2, 0.1], 1), ([0.2, 0.8], 2)]
)
def test_what_is_wrong_is_red(scores, wrong, tmp_path):
    path = tmp_path / 'new' / 'figure.png'
    draw_nodule_maps(**arguments(scores=dict(CAM=np.array(scores))), out_file=path)
    found = pixels_of(path, RED)
    assert (found > 0) == (wrong > 0)
    if wrong == 2:
        draw_nodule_maps(
            **arguments(scores=dict(CAM=np.array([0.2, 0.1]))),
            out_file=tmp_path / 'one.png',
        )
        assert found > pixels_of(tmp_path / 'one.png', RED)


def test_the_outline_is_that_of_the_nodule(tmp_path):
    for name, mask in (
        ('with', arguments()['masks']),
        ('without', np.zeros((2, 16, 16), bool)),
    ):
        draw_nodule_maps(
            **arguments(masks=mask),
            out_file=tmp_path / f'{name}.png',
            columns=['slice 1', 'all'],
            title='a nodule',
        )
    assert pixels_of(tmp_path / 'with.png', OUTLINE) > 100
    assert pixels_of(tmp_path / 'without.png', OUTLINE) == 0


@pytest.mark.parametrize(
    'changes',
    [
        dict(labels=[1]),
        dict(scores={}),
        dict(maps=dict(CAM=np.zeros((1, 4, 4)))),
        dict(pictures=np.zeros((0, 16, 16))),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes, tmp_path):
    with pytest.raises(ValueError, match='pictures need as many masks, labels'):
        draw_nodule_maps(**arguments(**changes), out_file=tmp_path / 'no.png')
    assert not list(tmp_path.iterdir())
