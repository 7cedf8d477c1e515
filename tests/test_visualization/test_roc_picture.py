"""ROC and epoch curves, and the error without curves."""

import cv2
import pytest

from mmlesion.visualization import draw_epoch_curves, draw_roc

CURVE = dict(false_positive_rate=[0, 0.5, 1], true_positive_rate=[0, 1, 1], auc=0.75)
EPOCHS = dict(epoch=[1, 2], accuracy=[0.5, 0.8], loss=[0.7, 0.4])


@pytest.mark.parametrize('draw, one', [(draw_roc, CURVE), (draw_epoch_curves, EPOCHS)])
def test_pictures(draw, one, tmp_path):
    draw({'a': one}, tmp_path / 'new' / 'one.png')
    draw({'a': one, 'b': one}, tmp_path / 'two.png')
    pictures = [cv2.imread(str(tmp_path / name)) for name in ('new/one.png', 'two.png')]
    assert all(picture.min() < 100 for picture in pictures)
    assert (pictures[0] != pictures[1]).any()
    with pytest.raises(ValueError, match='curve to draw'):
        draw({}, tmp_path / 'none.png')
