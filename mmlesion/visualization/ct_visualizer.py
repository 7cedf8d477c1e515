"""Visualizer of detections on windowed CT slices, in the colors of Tao et al."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from mmengine.visualization import Visualizer

from mmlesion.ct import boxes_in_slice, read_slice_hu, window_hu
from mmlesion.ct.png import write_image
from mmlesion.evaluation.functional import box_iou
from mmlesion.registry import VISUALIZERS

#: RGB of ground truth, true positives and false positives (Tao et al., Fig. 4).
COLORS = dict(
    ground_truth=(64, 128, 255), true_positive=(0, 220, 0), false_positive=(255, 48, 48)
)
#: Display windows in HU, lower and upper end.
LUNG_WINDOW_HU = (-1350.0, 150.0)
SOFT_TISSUE_WINDOW_HU = (-160.0, 240.0)
_AIR_HU = -500.0
_MARGIN_PX = 15
_LONG_SIDE_PX = 1024


def choose_window(
    img_hu: np.ndarray, boxes_px: np.ndarray | Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Choose the display window by the surroundings of the first box.

    The lung window is chosen if more than a third of the box, extended by 15 pixels on
    each side, is below -500 HU (aerated lung). Otherwise, and without a box, the soft
    tissue window is chosen.

    Args:
        img_hu: Slice in HU.
        boxes_px: Boxes, (x1, y1, x2, y2) in pixels.

    Shape:
        - img_hu: (H, W).
        - boxes_px: (K, 4).

    Returns:
        Lower and upper end of the window in HU.
    """
    if len(boxes_px) == 0:
        return SOFT_TISSUE_WINDOW_HU
    height, width = img_hu.shape
    x1, y1, x2, y2 = np.asarray(boxes_px[0]).round().astype(int)
    rows = slice(max(y1 - _MARGIN_PX, 0), min(y2 + _MARGIN_PX, height))
    cols = slice(max(x1 - _MARGIN_PX, 0), min(x2 + _MARGIN_PX, width))
    around = img_hu[rows, cols]
    airy = around.size > 0 and (around < _AIR_HU).mean() > 1 / 3
    return LUNG_WINDOW_HU if airy else SOFT_TISSUE_WINDOW_HU


@VISUALIZERS.register_module()
class CTVisualizer(Visualizer):
    """Draw ground truth and detections on a windowed key slice.

    Ground truth is blue, true positives are green, false positives are red (Tao et
    al., MICCAI 2019, Fig. 4). A detection is a true positive if its IoU with any
    lesion is at least ``iou_thr``. A second hit on a lesion, which FROC does not
    count, is green as well.

    MMDetection's visualizer needs 8-bit images. This class reads the slice in HU
    and enlarges small slices, so that lesions of 5 pixels are visible.

    Args:
        name: Name of the instance.
        window: Lower and upper end of the display window in HU. By default, it is
            chosen by :func:`choose_window`.
        iou_thr: Minimum IoU of a true positive.
        max_boxes: Maximum number of detections, sorted by score. A FROC
            table contains at most 16 false positives per image.
        **kwargs: As :class:`mmengine.visualization.Visualizer`.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        window: tuple[float, float] | None = None,
        iou_thr: float = 0.5,
        max_boxes: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self.window = window
        self.iou_thr = iou_thr
        self.max_boxes = max_boxes

    def draw_detections(
        self,
        img_hu: np.ndarray,
        gt_boxes: npt.ArrayLike,
        pred_boxes: npt.ArrayLike,
        pred_scores: npt.ArrayLike,
        title: str = '',
        score_thr: float = 0.3,
    ) -> np.ndarray:
        """Draw boxes on a slice.

        Args:
            img_hu: Slice in HU.
            gt_boxes: Lesions, (x1, y1, x2, y2) in pixels of the slice.
            pred_boxes: Detections, (x1, y1, x2, y2) in pixels of the slice.
            pred_scores: Scores of the detections.
            title: Title above the image.
            score_thr: Minimum score of a detection.

        Shape:
            - img_hu: (H, W).
            - gt_boxes: (G, 4).
            - pred_boxes: (P, 4); pred_scores: (P,).
            - output: (H', W', 3) with max(H', W') about 1024.

        Returns:
            Image with a title and a legend, uint8, RGB.
        """
        gt_boxes = np.asarray(gt_boxes, float).reshape(-1, 4)
        pred_boxes = np.asarray(pred_boxes, float).reshape(-1, 4)
        pred_scores = np.asarray(pred_scores, float).reshape(-1)
        order = pred_scores.argsort(kind='stable')[-self.max_boxes :]
        order = order[pred_scores[order] >= score_thr]
        # The best detection is last, so that it is drawn on top.
        pred_boxes, pred_scores = pred_boxes[order], pred_scores[order]
        hits = np.zeros(len(pred_boxes), bool)
        if len(gt_boxes) and len(pred_boxes):
            hits = box_iou(pred_boxes, gt_boxes).max(axis=1) >= self.iou_thr

        window = self.window or choose_window(
            img_hu, np.concatenate([gt_boxes, pred_boxes[::-1]])
        )
        gray = window_hu(img_hu, window).astype(np.uint8)
        scale = max(1.0, _LONG_SIDE_PX / max(gray.shape))
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
        for box in gt_boxes:
            _draw_box(picture, box, scale, COLORS['ground_truth'])
        for box, score, hit in zip(pred_boxes, pred_scores, hits):
            kind = 'true_positive' if hit else 'false_positive'
            _draw_box(picture, box, scale, COLORS[kind], f'{score:.2f}')
        heading = f'{title}    window {window[0]:g} to {window[1]:g} HU'.strip()
        limits = (
            f'score from {score_thr:g}, at most {self.max_boxes}, '
            f'IoU from {self.iou_thr:g}'
        )
        legend = [
            (f'ground truth ({len(gt_boxes)})', COLORS['ground_truth']),
            (f'true positive ({hits.sum()})', COLORS['true_positive']),
            (f'false positive ({(~hits).sum()})', COLORS['false_positive']),
            (limits, None),
        ]
        width = picture.shape[1]
        return np.concatenate(
            [_text_row(width, [(heading, None)]), picture, _text_row(width, legend)]
        )

    def add_datasample(
        self,
        name: str,
        image: np.ndarray | None = None,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | Path | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw a sample and show it, write it, or pass it to the backends.

        Each process of a distributed test writes the files of its samples.

        Args:
            name: Title, and name of the image for the backends.
            image: Whole slice in HU. By default, and if it
                is a color image, the slice is read from the sample's
                ``img_path``.
            data_sample: ``DetDataSample``. Predictions in the pixels of the original
                image, or of the crop for a cropped slice; ``crop_offset`` moves
                them to the whole slice. Ground truth is its ``instances``, or,
                without them, ``gt_instances``. The sample is not modified.
            draw_gt: Whether to draw ground truth. Without ground truth all detections
                are red.
            draw_pred: Whether to draw detections.
            show: Whether to open a window.
            wait_time: Display time of the window in seconds; 0 waits until a key is
                pressed.
            out_file: File to write.
            pred_score_thr: Minimum score of a detection.
            step: Step for the backends.

        Shape:
            - image: (H, W).

        Raises:
            ValueError: If ``image`` is not a single slice, or is not the slice to which
                the boxes belong.
        """
        if image is None or np.ndim(image) == 3:  # or mmdet's 8-bit image
            image = read_slice_hu(data_sample.img_path)
        if np.ndim(image) != 2:
            raise ValueError(
                f'{name}: a slice in HU of shape (H, W) was expected, not '
                f'{np.shape(image)}.'
            )
        offset = data_sample.get('crop_offset')
        _check_size(name, image, data_sample)
        gt_boxes = _ground_truth(data_sample) if draw_gt else np.empty((0, 4))
        pred_boxes, pred_scores = np.empty((0, 4)), np.empty(0)
        if draw_pred and 'pred_instances' in data_sample:
            pred = data_sample.pred_instances
            pred_boxes, pred_scores = _array(pred.bboxes), _array(pred.scores)
        picture = self.draw_detections(
            image,
            boxes_in_slice(gt_boxes, offset),
            boxes_in_slice(pred_boxes, offset),
            pred_scores,
            name,
            pred_score_thr,
        )
        self.set_image(picture)  # for get_image, as in Visualizer
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_picture(out_file, picture)
        else:
            self.add_image(name, picture, step)


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write an image. Its folder is created if needed.

    Args:
        path: File to write. The suffix selects the format.
        picture: uint8, RGB, (H, W, 3).

    Raises:
        OSError: If the file cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_image(path, picture[..., ::-1])


def _array(values: Any) -> np.ndarray:
    values = getattr(values, 'tensor', values)  # mmdet's box objects wrap one
    return values.cpu().numpy() if hasattr(values, 'cpu') else np.array(values)


def _check_size(name: str, image: np.ndarray, data_sample: Any) -> None:
    """Raise an error if the boxes of a sample belong to another image."""
    expected = data_sample.get('slice_shape')
    if expected is None and 'crop_offset' not in data_sample:
        expected = data_sample.get('ori_shape')
    if expected is not None and tuple(expected[:2]) != image.shape:
        raise ValueError(
            f'{name}: the slice has {image.shape[1]} x {image.shape[0]} pixels, but '
            f'the boxes belong to an image of {expected[1]} x {expected[0]}; '
            "expected the whole slice, and 'crop_offset' among the meta_keys of a "
            'pipeline that crops'
        )


def _ground_truth(data_sample: Any) -> np.ndarray:
    if 'instances' in data_sample:
        boxes = [
            instance['bbox']
            for instance in data_sample.instances
            if not instance.get('ignore_flag', 0)
        ]
        return np.array(boxes, float).reshape(-1, 4)
    if 'gt_instances' in data_sample:
        return _array(data_sample.gt_instances.bboxes)
    return np.empty((0, 4))


def _draw_box(
    picture: np.ndarray,
    box_px: np.ndarray,
    scale: float,
    color: tuple[int, int, int],
    text: str = '',
) -> None:
    # Pixel i of the slice covers [i, i + 1) * scale of the enlarged image
    x1, y1 = (box_px[:2] * scale).round().astype(int)
    x2, y2 = (box_px[2:] * scale).round().astype(int)
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, 2, cv2.LINE_AA)
    if not text:
        return
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)
    x = int(np.clip(x1, 0, picture.shape[1] - width))
    above = y1 - 6
    y = above if above >= height else min(y2 + height + 6, picture.shape[0] - 2)
    for shade, thickness in (((0, 0, 0), 4), (color, 2)):
        cv2.putText(
            picture,
            text,
            (x, y),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.6,
            shade,
            thickness,
            cv2.LINE_AA,
        )


def _text_row(
    width: int, entries: Sequence[tuple[str, tuple[int, int, int] | None]]
) -> np.ndarray:
    """Return a black strip with texts, each after a square of its color.

    The font size is reduced until the texts fit.
    """
    height, square, gap, size = 36, 16, 24, 0.6

    def needed(size):
        return sum(
            gap
            + (square + 8) * (color is not None)
            + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0]
            for text, color in entries
        )

    while needed(size) > width - gap and size > 0.25:
        size -= 0.05
    row = np.zeros((height, width, 3), np.uint8)
    x = gap
    for text, color in entries:
        if color is not None:
            top = (height - square) // 2
            cv2.rectangle(row, (x, top), (x + square, top + square), color, -1)
            x += square + 8
        cv2.putText(
            row,
            text,
            (x, height // 2 + 7),
            cv2.FONT_HERSHEY_SIMPLEX,
            size,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        x += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] + gap
    return row
