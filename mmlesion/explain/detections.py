"""Why a detector predicted one box: activation maps of single detections."""

import copy

import torch
from mmengine.dataset import pseudo_collate

from .methods import DEFAULT_DETECTION_METHOD, find_method


class NoDetectionError(ValueError):
    """No detection of an image reaches the score that was asked for."""


def is_detector(model):
    """Whether a model is a detector of MMDetection, of one or two stages."""
    return any(
        getattr(model, head, None) is not None for head in ('roi_head', 'bbox_head')
    )


def detection_titles(model, sample, indices):
    """What chosen detections are: their class and score, for people.

    Args:
        model (nn.Module): ``dataset_meta`` may name the classes.
        sample (DetDataSample): With predictions.
        indices (sequence[int]): Which of them.

    Returns:
        list[str]: Such as ``'lesion 0.87'``.
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
    """Scores of chosen detections, in the graph of the forward pass.

    ``forward`` runs the detector as in testing; the object itself is the target
    that reads the scores. Two-stage detectors hand out the very scores of their
    boxes, through RoIAlign (or position-sensitive pooling) and NMS. Dense heads
    detach theirs; there the anchor of each box is found again in the head's
    output, by its score and box.

    Args:
        model (nn.Module): An MMDetection 3.x detector.
        indices (sequence[int], optional): Detections to explain, as they stand
            in ``pred_instances``. Defaults to the best ones.
        score_thr (float): Least score of a detection chosen by default.
        max_detections (int): Most detections chosen by default.
        anchors (sequence[tuple[int, int]], optional): Of a dense head, (anchor,
            class) instead of detections; anchors counted through all levels in
            the head's order.
        score (str or callable): ``'probability'`` (``'auto'``) is the score of the
            box; ``'log_odds'`` is log(p / (1 - p)), which differs in the scale of the
            map only; a callable maps the scores (K, ) to other scores (K, ).

    Raises:
        NoDetectionError: If no detection reaches ``score_thr``.
        ValueError: If there is no such detection or anchor.
    """

    def __init__(
        self,
        model,
        indices=None,
        score_thr=0.3,
        max_detections=5,
        anchors=None,
        score='probability',
    ):
        if not callable(score) and score not in ('auto', 'probability', 'log_odds'):
            raise ValueError(
                "the score of a box must be 'probability', 'log_odds' or a callable, "
                f'got {score!r}'
            )
        self.score = score
        if anchors is not None and indices is not None:
            raise ValueError('give indices of detections or anchors, not both')
        self.model = model
        self.indices = indices
        self.score_thr = score_thr
        self.max_detections = max_detections
        self.anchors = anchors
        self.dense = (
            None
            if getattr(model, 'roi_head', None) is not None
            else getattr(model, 'bbox_head', None)
        )
        if anchors is not None and self.dense is None:
            raise ValueError(
                f'{type(model).__name__} has no dense head: explain its '
                'detections by indices rather than anchors'
            )
        self.head_output = None
        self.sample = None

    def forward(self, batch):
        """Predictions of one collated sample, scores still in the graph."""
        batch = copy.deepcopy(batch)  # predictions are written into the samples
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

    def __call__(self, sample):
        """Scores to explain, (1, K)."""
        if self.anchors is not None:
            scores = self._chosen_anchors()
        else:
            self.indices = self._choose(sample.pred_instances.scores)
            scores = sample.pred_instances.scores[self.indices]
            if not scores.requires_grad and self.dense is not None:
                scores = self._found_again(sample)
        self.head_output = None
        self.sample = sample.detach()
        if self.score == 'log_odds':
            scores = scores.clamp(1e-7, 1 - 1e-7).logit()
        elif callable(self.score):
            scores = self.score(scores)
        return scores[None]

    def _choose(self, scores):
        """Indices of the detections to explain."""
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

    def _dense_scores(self):
        """Scores of all anchors of the image, (anchors, classes)."""
        head, (levels, _, *factors) = self.dense, self.head_output
        scores = rows_of(levels, head.cls_out_channels)
        if getattr(head, 'use_sigmoid_cls', True):
            scores = scores.sigmoid()
        else:
            scores = scores.softmax(-1)[:, :-1]
        if factors and factors[0] is not None:
            scores = scores * rows_of(factors[0], 1).sigmoid()
        return scores

    def _chosen_anchors(self):
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

    def _found_again(self, sample):
        """Scores of the anchors that the detections came from."""
        found = sample.pred_instances
        scores = self._dense_scores()
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
            if len(same) > 1:  # equal scores: the nearest box
                boxes = self._boxes(sample, same)
                far = (boxes - found.bboxes[index].to(boxes)).abs().sum(1)
                same = same[far.argmin()[None]]
            anchors.append(same[0])
        return scores[torch.stack(anchors), found.labels[self.indices]]

    def _boxes(self, sample, anchors):
        """Boxes of anchors in the pixels of the predictions, (A, 4)."""
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


def rows_of(levels, width):
    """The first image's maps (1, anchors*width, h, w) -> (all anchors, width)."""
    return torch.cat([level[0].permute(1, 2, 0).reshape(-1, width) for level in levels])


def explain_detections(
    model,
    data,
    layers,
    method=DEFAULT_DETECTION_METHOD,
    indices=None,
    score_thr=0.3,
    max_detections=5,
    anchors=None,
    score='probability',
    **kwargs,
):
    """Maps of why a detector predicted single boxes of an image.

    All boxes share one pass through the detector.

    Args:
        model (nn.Module): An MMDetection 3.x detector, of one or two stages.
        data (dict): One sample as the test pipeline packs it, ``inputs`` and
            ``data_samples``.
        layers (sequence[str | nn.Module] | str | nn.Module): Layers to map, e.g.
            ``backbone.layer4``.
        method (str, dict or type): A method that explains any score, see
            :func:`mmlesion.explain.methods.find_method`. Defaults to LayerCAM.
        indices (sequence[int], optional): As :class:`DetectionScores`.
        score_thr (float): Likewise.
        max_detections (int): Likewise.
        anchors (sequence[tuple[int, int]], optional): Likewise.
        score (str or callable): Likewise.
        **kwargs: For ``method``.

    Returns:
        tuple: Raw maps as of ``method``, (1, K, h, w), or a dict of several
        layers; the sample with its predictions; and the indices (or anchors)
        of the K.

    Raises:
        NoDetectionError: If no detection reaches ``score_thr``.
        ValueError: If there is no such detection, anchor or layer.
    """
    method = find_method(method, detections=True)
    scores = DetectionScores(model, indices, score_thr, max_detections, anchors, score)
    with method(model, layers, forward=scores.forward, **kwargs) as cam:
        maps = cam(pseudo_collate([data]), scores)
    return (
        maps,
        scores.sample,
        list(scores.indices if anchors is None else scores.anchors),
    )
