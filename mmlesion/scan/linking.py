"""Linking of the boxes of key slices to 3-D findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mmlesion.evaluation.functional import box_iou, box_iou_3d

from .key_slice_detection import KeySliceBoxes


@dataclass(frozen=True)
class LinkOptions:
    """Rule that links the boxes of key slices to findings.

    1. Boxes with a score below ``score_thr`` are dropped, and only the
       ``max_per_slice`` boxes with the highest scores of each slice are kept.
    2. The unused box with the highest score starts a finding. The finding grows up and
       down, slice by slice: it takes the unused box of its class with the largest IoU
       with its last box, if this IoU is at least ``iou_thr``. Up to ``max_gap``
       slices without such a box are skipped; after more slices, the finding ends.
       This step is repeated until all boxes are used.
    3. Slices at both ends whose score is below ``end_ratio`` times the highest score
       of the finding are cut off.
    4. The 3-D box is the smallest box that encloses the boxes of the slices, each as
       thick as the distance between key slices. The score is the maximum (``'max'``)
       or the mean (``'mean'``) of the scores of the slices. With ``max_elongation``, it
       is multiplied by ``max_elongation * side / length`` if this is below 1, with the
       length of the finding along z before step 3 and the median side of its boxes.
       Vessels are longer than lesions of the same cross section.
    5. 3-D non-maximum suppression: of two findings of a class whose 3-D boxes have
       an IoU above ``nms_iou_thr``, the finding with the lower score is dropped. The
       ``max_findings`` findings with the highest scores remain.

    Args:
        score_thr: Minimum score of a box.
        max_per_slice: Maximum number of boxes of a slice.
        iou_thr: Minimum IoU of boxes in neighboring slices.
        max_gap: Maximum number of consecutive key slices without a box in a finding.
        end_ratio: See step 3; 0 keeps all slices.
        score: ``'max'`` or ``'mean'``.
        max_elongation: See step 4; None leaves the score unchanged.
        nms_iou_thr: See step 5; 1 keeps all findings.
        max_findings: Maximum number of findings of a scan.
        box_margin_px: Pixels by which the boxes of the training data exceed the
            lesion on each side, in pixels of the images that the network sees.
            Diameters are measured without this margin. None for
            ``box_margin_px`` of the training data set, which the checkpoint contains;
            if it does not, 5.5 as in DeepLesion: 5 pixels (Yan et al., J. Med.
            Imaging 2018) and half of the outer pixel.

    Raises:
        ValueError: If a number is out of range.
    """

    score_thr: float = 0.1
    max_per_slice: int = 50
    iou_thr: float = 0.3
    max_gap: int = 1
    end_ratio: float = 0.3
    score: str = 'max'
    max_elongation: float | None = None
    nms_iou_thr: float = 0.1
    max_findings: int = 100
    box_margin_px: float | None = None

    def __post_init__(self) -> None:
        for name in ('score_thr', 'iou_thr', 'end_ratio', 'nms_iou_thr'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f'{name} must be in [0, 1], but is {getattr(self, name)}'
                )
        if self.max_elongation is not None and not self.max_elongation > 0:
            raise ValueError(
                f'max_elongation must be positive, but is {self.max_elongation}'
            )
        for name in ('max_gap', 'max_per_slice', 'max_findings', 'box_margin_px'):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(
                    f'{name} must not be negative, but is {getattr(self, name)}'
                )
        if self.score not in ('max', 'mean'):
            raise ValueError(f"score must be 'max' or 'mean', but is {self.score!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str) -> 'LinkOptions':
        """Make a rule from parameters that a user wrote.

        Args:
            values: Parameters; the others keep their defaults.
            source: Place of the parameters, for error messages.

        Raises:
            ValueError: If a parameter is unknown, of the wrong type or out of range.
        """
        known = [each.name for each in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(
                f'{source}: unknown parameter {unknown[0]!r}; expected one of '
                f'{", ".join(known)}'
            )
        try:
            return cls(**values)
        except TypeError:
            raise ValueError(f'{source}: expected numbers, but got {values}') from None
        except ValueError as error:
            raise ValueError(f'{source}: {error}') from None


@dataclass(frozen=True)
class LinkedBoxes:
    """Boxes of one finding, sorted by slice.

    Attributes:
        score: Score of the finding.
        label: Class number.
        slices: Indices of the key slices.
        positions: Positions of these slices, in slices of the scan.
        boxes: Boxes (x1, y1, x2, y2), outer edges in pixels. Pixel n covers n to
            n + 1.
        scores: Scores of the boxes.
        box: (x1, y1, z1, x2, y2, z2), outer edges in voxels of the scan.

    Shape:
        - slices, positions, scores: (S,).
        - boxes: (S, 4).
        - box: (6,).
    """

    score: float
    label: int
    slices: np.ndarray
    positions: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    box: np.ndarray

    @property
    def best(self) -> int:
        """Index of the slice with the highest score."""
        return int(self.scores.argmax())


def link_boxes(
    key_slices: Sequence[KeySliceBoxes],
    step: float,
    depth: int,
    options: LinkOptions = LinkOptions(),
    slice_px: float = 1.0,
) -> list[LinkedBoxes]:
    """Link boxes of key slices to findings, see :class:`LinkOptions`.

    Args:
        key_slices: Boxes of all key slices, by increasing position.
        step: Distance between key slices, in slices of the scan.
        depth: Number of slices of the scan.
        options: The rule.
        slice_px: Distance between slices of the scan in pixels, for ``max_elongation``.

    Returns:
        Findings in descending order of score.
    """
    kept = [_best_boxes(each, options) for each in key_slices]
    free = [np.ones(len(scores), bool) for _, scores, _ in kept]
    # Equal scores are sorted by slice, so that the order is reproducible
    seeds = sorted(
        (-score, index, place)
        for index, (_, scores, _) in enumerate(kept)
        for place, score in enumerate(scores)
    )
    found = []
    for _, index, place in seeds:
        if not free[index][place]:
            continue
        free[index][place] = False
        members = [(index, place)]
        for direction in (1, -1):
            members += _grow(kept, free, index, place, direction, options)
        members.sort()
        linked = _finding(kept, key_slices, members, step, depth, options)
        if options.max_elongation is not None:
            boxes = np.stack([kept[index][0][place] for index, place in members])
            length = (members[-1][0] - members[0][0] + 1) * step * slice_px
            factor = options.max_elongation * _median_side(boxes) / length
            linked = replace(linked, score=linked.score * min(1.0, factor))
        found.append(linked)
    found.sort(key=lambda each: -each.score)
    return suppress(found, options.nms_iou_thr)[: options.max_findings]


def suppress(found: Sequence[LinkedBoxes], iou_thr: float) -> list[LinkedBoxes]:
    """Apply 3-D non-maximum suppression to findings sorted by score."""
    kept: list[LinkedBoxes] = []
    for each in found:
        rivals = [other.box for other in kept if other.label == each.label]
        if not rivals or box_iou_3d(each.box[None], np.stack(rivals)).max() <= iou_thr:
            kept.append(each)
    return kept


def _best_boxes(
    each: KeySliceBoxes, options: LinkOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-each.scores, kind='stable')
    order = order[each.scores[order] >= options.score_thr][: options.max_per_slice]
    return each.boxes[order], each.scores[order], each.labels[order]


def _grow(
    kept: list,
    free: list[np.ndarray],
    index: int,
    place: int,
    direction: int,
    options: LinkOptions,
) -> list[tuple[int, int]]:
    """Return the boxes of a finding on one side of its best box."""
    label = kept[index][2][place]
    last_box, gap = kept[index][0][place], 0
    members = []
    index += direction
    while 0 <= index < len(kept) and gap <= options.max_gap:
        boxes, _, labels = kept[index]
        usable = np.flatnonzero(free[index] & (labels == label))
        gap += 1
        if len(usable):
            iou = box_iou(last_box[None], boxes[usable])[0]
            best = int(iou.argmax())
            if iou[best] >= options.iou_thr:
                place = int(usable[best])
                free[index][place] = False
                members.append((index, place))
                last_box, gap = boxes[place], 0
        index += direction
    return members


def _median_side(boxes: np.ndarray) -> float:
    """Return the median of the geometric mean of width and height of boxes."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return float(np.median(np.sqrt(sides.prod(1))))


def _finding(
    kept: list,
    key_slices: Sequence[KeySliceBoxes],
    members: list[tuple[int, int]],
    step: float,
    depth: int,
    options: LinkOptions,
) -> LinkedBoxes:
    """Cut off ends with low scores and enclose the remaining boxes."""
    scores = np.array([kept[index][1][place] for index, place in members])
    strong = np.flatnonzero(scores >= options.end_ratio * scores.max())
    inside = slice(strong[0], strong[-1] + 1)
    members, scores = members[inside], scores[inside]
    boxes = np.stack([kept[index][0][place] for index, place in members])
    positions = np.array([key_slices[index].position for index, _ in members])
    # Pixel n covers n to n + 1; a voxel with index n covers n - 0.5 to n + 0.5
    low, high = boxes[:, :2].min(0) - 0.5, boxes[:, 2:].max(0) - 0.5
    z_low = max(positions.min() - step / 2, -0.5)
    z_high = min(positions.max() + step / 2, depth - 0.5)
    return LinkedBoxes(
        score=float(scores.max() if options.score == 'max' else scores.mean()),
        label=int(kept[members[0][0]][2][members[0][1]]),
        slices=np.array([index for index, _ in members]),
        positions=positions,
        boxes=boxes,
        scores=scores,
        box=np.array([*low, z_low, *high, z_high]),
    )
