"""The figure of the FROC curve."""

import cv2
import numpy as np
import pytest

from mmlesion.evaluation.functional import froc
from mmlesion.visualization import draw_froc

BOX = np.array([[0.0, 0.0, 9.0, 9.0]])


def _curve(scores):
    far = BOX + 100
    return froc([np.concatenate([BOX, far])] * 2, [np.array(scores)] * 2, [BOX, BOX])


def test_curves_of_objects_and_of_json_give_the_same_picture(tmp_path):
    curve = _curve([0.9, 0.8])
    draw_froc(dict(a=curve), tmp_path / 'new' / 'a.png')
    draw_froc(dict(a=curve.to_dict()), tmp_path / 'b.png')
    first = cv2.imread(str(tmp_path / 'new' / 'a.png'))
    assert (first == cv2.imread(str(tmp_path / 'b.png'))).all()

    draw_froc(
        dict(a=curve),
        tmp_path / 'c.png',
        intervals=dict(a={0.5: (0.2, 1), 2: (0.4, 1)}),
    )
    band = cv2.imread(str(tmp_path / 'c.png'))
    assert (band != first).mean() > 0.02


def test_no_curve_is_an_error(tmp_path):
    with pytest.raises(ValueError, match='no FROC curve'):
        draw_froc({}, tmp_path / 'a.png')
