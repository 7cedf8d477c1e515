"""Activation maps of single detections of a detector."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmlesion.attribution.layer_outputs import LayerSpec

from .methods import DEFAULT_DETECTION_METHOD, Method, MethodSpec, find_method


class NoDetectionError(ValueError):
    """No detection of an image reaches the requested score."""


def is_detector(model: nn.Module) -> bool:
    """Return whether a model is a one-stage or two-stage detector of MMDetection."""
    return any(
        getattr(model, head, None) is not None for head in ('roi_head', 'bbox_head')
    )


def detection_titles(
    model: nn.Module, sample: Any, indices: Sequence[int]
) -> list[str]:
    """Return titles of detections: class and score.

    Args:
        model: The detector; ``dataset_meta`` may name the classes.
        sample: Data sample with predictions.
        indices: Indices of the detections in ``pred_instances``.

    Returns:
        Titles such as ``'lesion 0.87'``.
    """
    names = (getattr(model, 'dataset_meta', None) or {}).get('classes') or ()
    found = sample.pred_instances
    return [
        f'{names[label] if label < len(names) else f"class {label}"} {score:.2f}'
        for label, score in zip(
            found.labels[indices].tolist(), found.scores[indices].tolist()
        )
    ]


class DetectionScores:
    """Scores of selected detections, connected to the graph of the forward pass.

    ``forward`` runs the detector as in testing. The object itself is the target
    that reads the scores. The scores of a two-stage detector are connected to the graph
    through RoIAlign (or position-sensitive pooling) and NMS. A dense head detaches its
    scores; the anchor of a detection is therefore found in the outputs of the head by
    its score and box.

    Args:
        model: An MMDetection 3.x detector.
        indices: Indices in ``pred_instances`` of the detections to explain. Defaults
            to the detections with the highest scores.
        score_thr: Minimum score of a detection that is selected by default.
        max_detections: Maximum number of detections that are selected by default.
        anchors: Pairs (anchor, class) of a dense head, explained instead of
            detections. Anchors are numbered over all levels in the order of the
            head.
        score: ``'probability'`` (``'auto'``) is the score of the
            box; ``'log_odds'`` is log(p / (1 - p)), which only changes the scale of the
            map; a callable maps the scores (K, ) to other scores (K, ).

    Raises:
        NoDetectionError: If no detection reaches ``score_thr``.
        ValueError: If a detection or anchor does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        indices: Sequence[int] | None = None,
        score_thr: float = 0.3,
        max_detections: int = 5,
        anchors: Sequence[tuple[int, int]] | None = None,
        score: str | Callable = 'probability',
    ) -> None:
        if not callable(score) and score not in ('auto', 'probability', 'log_odds'):
            raise ValueError(
                "the score of a box must be 'probability', 'log_odds' or a callable, "
                f'got {score!r}'
            )
        self.score = score
        if anchors is not None and indices is not None:
            raise ValueError('give indices of detections or anchors, not both')
        self.model: Any = model
        self.indices = indices
        self.score_thr = score_thr
        self.max_detections = max_detections
        self.anchors = anchors
        self.dense: Any = (
            None
            if getattr(model, 'roi_head', None) is not None
            else getattr(model, 'bbox_head', None)
        )
        if anchors is not None and self.dense is None:
            raise ValueError(
                f'{type(model).__name__} has no dense head: explain its '
                'detections by indices rather than anchors'
            )
        self.head_output: Any = None
        self.sample: Any = None

    def forward(self, batch: dict[str, Any]) -> Any:
        """Predict one collated sample, with scores connected to the graph."""
        batch = copy.deepcopy(batch)  # predictions are stored in the samples
        batch = self.model.data_preprocessor(batch, False)

        def keep(head, inputs, output):
            self.head_output = output

        handle = self.dense and self.dense.register_forward_hook(keep)
        try:
            (self.sample,) = self.model(**batch, mode='predict')
        finally:
            if handle:
                handle.remove()
        return self.sample

    def __call__(self, sample: Any) -> Tensor:
        """Return the scores to explain, (1, K)."""
        if self.anchors is not None:
            scores = self._chosen_anchors()
        else:
            self.indices = self._choose(sample.pred_instances.scores)
            scores = sample.pred_instances.scores[self.indices]
            if not scores.requires_grad and self.dense is not None:
                scores = self._anchor_scores(sample)
        self.head_output = None
        self.sample = sample.detach()
        if self.score == 'log_odds':
            scores = scores.clamp(1e-7, 1 - 1e-7).logit()
        elif callable(self.score):
            scores = self.score(scores)
        return scores[None]

    def _choose(self, scores: Tensor) -> list[int]:
        """Return the indices of the detections to explain."""
        if self.indices is None:
            order = scores.argsort(descending=True)[: self.max_detections]
            chosen = order[scores[order] >= self.score_thr].tolist()
            if not chosen:
                best = (
                    f'the best has {scores.max():.3f}'
                    if len(scores)
                    else ('there is none at all')
                )
                raise NoDetectionError(
                    f'no detection reaches the score {self.score_thr}: {best}'
                )
            return chosen
        chosen = [int(index) for index in self.indices]
        wrong = [index for index in chosen if not 0 <= index < len(scores)]
        if wrong or not chosen:
            raise ValueError(
                f'there is no detection {wrong[0] if wrong else chosen}: '
                f'the image has {len(scores)}, counted from 0'
            )
        return chosen

    def _dense_scores(self) -> Tensor:
        """Return the scores of all anchors of the image, (anchors, classes)."""
        head, (levels, _, *factors) = self.dense, self.head_output
        scores = rows_of(levels, head.cls_out_channels)
        if getattr(head, 'use_sigmoid_cls', True):
            scores = scores.sigmoid()
        else:
            scores = scores.softmax(-1)[:, :-1]
        if factors and factors[0] is not None:
            scores = scores * rows_of(factors[0], 1).sigmoid()
        return scores

    def _chosen_anchors(self) -> Tensor:
        assert self.anchors is not None
        scores = self._dense_scores()
        for anchor, label in self.anchors:
            if not (0 <= anchor < scores.shape[0] and 0 <= label < scores.shape[1]):
                raise ValueError(
                    f'there is no anchor {anchor} with class {label}: the image has '
                    f'{scores.shape[0]} anchors and the head {scores.shape[1]} '
                    'classes, counted from 0'
                )
        anchors, labels = zip(*self.anchors)
        return scores[list(anchors), list(labels)]

    def _anchor_scores(self, sample: Any) -> Tensor:
        """Return the scores of the anchors of the detections."""
        found = sample.pred_instances
        scores = self._dense_scores()
        assert self.indices is not None
        anchors = []
        for index in self.indices:
            column = scores[:, found.labels[index]].detach()
            same = torch.isclose(column, found.scores[index], rtol=1e-5, atol=1e-7)
            same = same.nonzero()[:, 0]
            if len(same) == 0:
                raise ValueError(
                    f'detection {index} cannot be traced to an anchor: '
                    f'{type(self.dense).__name__} changes the scores of its output'
                )
            if len(same) > 1:  # equal scores: use the nearest box
                boxes = self._boxes(sample, same)
                far = (boxes - found.bboxes[index].to(boxes)).abs().sum(1)
                same = same[far.argmin()[None]]
            anchors.append(same[0])
        return scores[torch.stack(anchors), found.labels[self.indices]]

    def _boxes(self, sample: Any, anchors: Tensor) -> Tensor:
        """Return the boxes of anchors in the pixels of the predictions, (A, 4)."""
        head, levels = self.dense, self.head_output[1]
        priors = torch.cat(
            head.prior_generator.grid_priors(
                [level.shape[-2:] for level in levels],
                dtype=levels[0].dtype,
                device=levels[0].device,
            )
        )
        deltas = rows_of(levels, head.bbox_coder.encode_size).detach()
        boxes = head.bbox_coder.decode(
            priors[anchors], deltas[anchors], max_shape=sample.img_shape
        )
        boxes = getattr(boxes, 'tensor', boxes)
        return boxes / boxes.new_tensor(sample.scale_factor).repeat(2)


def rows_of(levels: Sequence[Tensor], width: int) -> Tensor:
    """Convert maps (1, anchors*width, h, w) of an image to (all anchors, width)."""
    return torch.cat([level[0].permute(1, 2, 0).reshape(-1, width) for level in levels])


def explain_detections(
    model: nn.Module,
    data: Mapping[str, Any],
    layers: LayerSpec,
    method: MethodSpec | Method = DEFAULT_DETECTION_METHOD,
    indices: Sequence[int] | None = None,
    score_thr: float = 0.3,
    max_detections: int = 5,
    anchors: Sequence[tuple[int, int]] | None = None,
    score: str | Callable = 'probability',
    **kwargs: Any,
) -> tuple[Tensor | dict[str, Tensor], Any, list]:
    """Compute maps that explain single boxes of an image.

    All boxes share one forward pass.

    Args:
        model: A one-stage or two-stage detector of MMDetection 3.x.
        data: One sample packed by the test pipeline, with ``inputs`` and
            ``data_samples``.
        layers: Target layers, e.g.
            ``backbone.layer4``.
        method: A method that explains any score, see
            :func:`mmlesion.explain.methods.find_method`. Defaults to TwoScaleCAM.
        indices: See :class:`DetectionScores`.
        score_thr: See :class:`DetectionScores`.
        max_detections: See :class:`DetectionScores`.
        anchors: See :class:`DetectionScores`.
        score: See :class:`DetectionScores`.
        **kwargs: Further keyword arguments of ``method``.

    Returns:
        Raw maps of ``method``, (1, K, h, w), or a dict for several
        layers; the sample with its predictions; and the indices (or anchors)
        of the K maps.

    Raises:
        NoDetectionError: If no detection reaches ``score_thr``.
        ValueError: If a detection, anchor or layer does not exist.
    """
    method = find_method(method, detections=True)
    scores = DetectionScores(model, indices, score_thr, max_detections, anchors, score)
    with method(model, layers, forward=scores.forward, **kwargs) as cam:
        maps = cam(pseudo_collate([data]), scores)
    explained = scores.indices if anchors is None else anchors
    assert explained is not None
    return maps, scores.sample, list(explained)
