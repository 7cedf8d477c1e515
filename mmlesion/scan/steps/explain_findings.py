"""Explanation of a finding: score map, attention, insertion and deletion."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmlesion.attribution import insertion_deletion, last_feature_layer
from mmlesion.ct import CTVolume, boxes_in_slice
from mmlesion.evaluation.functional import box_iou
from mmlesion.explain.detections import DetectionScores, explain_detections
from mmlesion.explain.methods import DEFAULT_DETECTION_METHOD, find_method
from mmlesion.explain.placement import map_on_input
from mmlesion.explain.writer import split_by_target
from mmlesion.registry import SCAN_STEPS

from ..finding import Finding
from ..finding_map import FindingMap
from ..reading import detection_volume
from .scan_step import ScanCase, ScanStep

#: Minimum IoU of a predicted box in the key slice and the box of the finding.
_SAME_BOX = 0.3


@SCAN_STEPS.register_module()
class ExplainFindings(ScanStep):
    """Explain the score of findings in their best key slice.

    The maps have no negative values and are divided by their maximum. ``score_map`` is
    the map of the score of the box by ``method``. ``attention`` is the mean spatial
    attention over the channels of the key image, or the contextual attention in
    detectors without spatial attention.

    Values: ``method``, ``layer``, ``box_score`` of the box in the key slice;
    ``contextual_weights``, the mean contextual attention in the box for each image
    of the stack; and with ``insertion_deletion`` the areas ``insertion`` (higher is
    better) and ``deletion`` (lower is better) under the curves of the score.

    Args:
        method: Name of a method that explains arbitrary scores, such as ``'GradCAM'``,
            see :func:`mmlesion.explain.methods.find_method`. Defaults to TwoScaleCAM,
            whose maps are concentrated inside the box more than those of other
            methods.
        layers: Layer for the map. Defaults to the layer of the last feature maps.
        attention: Whether to add the attention of detectors that compute it.
        insertion_deletion: Whether to compute the insertion and deletion curves.
        num_steps: Number of steps of these curves.
        max_findings: See :class:`ScanStep`.
        **kwargs: Arguments of :class:`ScanStep`.

    Raises:
        ValueError: If the method cannot explain boxes.
    """

    name = 'explain'

    def __init__(
        self,
        method: str = DEFAULT_DETECTION_METHOD,
        layers: Sequence[str] = (),
        attention: bool = True,
        insertion_deletion: bool = False,
        num_steps: int = 10,
        max_findings: int | None = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_findings=max_findings, **kwargs)
        self.method = find_method(method, detections=True)
        self.layers = list(layers)
        self.attention = attention
        self.curves = insertion_deletion
        self.num_steps = num_steps
        self.set_record(
            method=self.method.name,
            layers=self.layers,
            insertion_deletion=insertion_deletion,
        )

    def prepare(self, case: ScanCase) -> None:
        """Plan the key slices of the scan in the same way as the detector.

        Raises:
            ValueError: If the case has no detector.
        """
        if case.detector is None:
            raise ValueError('the step explain needs the detector of the findings')
        volume, _ = detection_volume(case.volume)
        self._keys = case.detector.key_slices(volume)

    def extend(self, case: ScanCase, finding: Finding) -> dict[str, Any] | None:
        """Explain one finding; return None if the key slice has no matching box."""
        keys, model = self._keys, case.detector.model
        best = next(
            each for each in finding.slices if each.slice_index == finding.best_slice
        )
        lower, upper = best.box.to_volume(keys.volume)
        z = (lower[0] + upper[0]) / 2
        plan = keys.keys
        number = min(plan.numbers(), key=lambda n: abs(plan.position(n) - z))
        data = keys.inputs.stack(number)
        # Index n is the center of a voxel; pixel n of a box covers n to n + 1
        wanted = [lower[2] + 0.5, lower[1] + 0.5, upper[2] + 0.5, upper[1] + 0.5]
        with torch.no_grad():
            (sample,) = model.test_step(pseudo_collate([copy.deepcopy(data)]))
        index = _matching_box(sample, np.array([wanted]))
        if index is None:
            return None
        forward = DetectionScores(model).forward
        layers = self.layers or [
            last_feature_layer(model, pseudo_collate([data]), forward)
        ]
        raw, explained, _ = explain_detections(
            model, data, layers, self.method, [index]
        )
        if isinstance(raw, dict):
            raise ValueError(
                f'the step explain needs one layer, but got {", ".join(raw)}'
            )
        values = dict(
            method=self.method.name,
            layer=layers[0],
            key_slice_mm=round(plan.position(number) * keys.volume.spacing_mm[0], 3),
            box_score=round(float(sample.pred_instances.scores[index]), 6),
        )
        heat = map_on_input(
            split_by_target(raw), data['inputs'].shape[1:], explained.batch_input_shape
        )[0]
        maps = dict(score_map=heat)
        if self.attention:
            maps |= self._attention(model, data, np.array(wanted), values)
        position = plan.position(number)
        placed = case.maps.setdefault(finding.id, {})
        for kind, each in maps.items():
            found = _map_on_volume(each, position, data['data_samples'], keys.volume)
            if found is not None:
                placed[kind] = move_map(found, keys.volume, case.volume)
        if self.curves:
            values |= self._insertion_deletion(model, data, heat, np.array([wanted]))
        return values

    @torch.no_grad()
    def _attention(
        self, model: Any, data: dict, box: np.ndarray, values: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Return the attention map of the key image, on the grid of the input."""
        if not hasattr(model, 'attention_maps'):
            return {}
        batch = model.data_preprocessor(pseudo_collate([copy.deepcopy(data)]), False)
        weights = model.attention_maps(batch['inputs'], batch['data_samples'])
        padded = batch['inputs'].shape[-2:]
        size = data['inputs'].shape[1:]
        meta = data['data_samples']
        full = {}
        for kind in ('contextual', 'spatial'):
            if weights.get(kind) is not None:
                mean = weights[kind][0].float().mean(1)  # (M, h, w)
                full[kind] = map_on_input(mean, size, padded).cpu()
        if 'contextual' in full:
            offset = np.tile(meta.get('crop_offset') or (0, 0), 2)
            scale = np.tile(meta.get('scale_factor') or (1, 1), 2)
            x1, y1, x2, y2 = np.rint((box - offset) * scale).astype(int)
            y1, x1 = max(y1, 0), max(x1, 0)
            part = full['contextual'][:, y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
            if part.numel():
                mean = part.mean(dim=(1, 2))
                values['contextual_weights'] = [round(v, 5) for v in mean.tolist()]
        best = full.get('spatial', full.get('contextual'))
        return {} if best is None else dict(attention=best[len(best) // 2])

    def _insertion_deletion(
        self, model: Any, data: dict, heat: Tensor, box: np.ndarray
    ) -> dict[str, float]:
        """Return the areas under the insertion and deletion curves of the box."""
        batch = model.data_preprocessor(pseudo_collate([copy.deepcopy(data)]), False)
        inputs, (sample,) = batch['inputs'], batch['data_samples']

        def forward(pictures: Tensor) -> list[Any]:
            samples = [copy.deepcopy(sample) for _ in pictures]
            return model.predict(pictures, samples)

        def score(found: list[Any]) -> Tensor:
            chosen = [_matching_box(each, box) for each in found]
            return torch.stack(
                [
                    inputs.new_zeros(())
                    if index is None
                    else each.pred_instances.scores[index].to(inputs)
                    for each, index in zip(found, chosen)
                ]
            )

        rows, columns = inputs.shape[-2:]
        padded = heat.new_full((1, 1, rows, columns), float(heat.min()))
        padded[0, 0, : heat.shape[0], : heat.shape[1]] = heat
        curves = insertion_deletion(
            model,
            inputs,
            padded.to(inputs),
            score,
            num_steps=self.num_steps,
            chunk_size=2,
            forward=forward,
        )
        return dict(
            insertion=round(float(curves.insertion_auc), 5),
            deletion=round(float(curves.deletion_auc), 5),
        )


def _matching_box(sample: Any, wanted: np.ndarray) -> int | None:
    """Return the index of the predicted box with the largest overlap."""
    boxes = boxes_in_slice(
        getattr(sample.pred_instances.bboxes, 'tensor', sample.pred_instances.bboxes),
        sample.metainfo.get('crop_offset'),
    )
    if not len(boxes):
        return None
    overlap = box_iou(boxes.detach().cpu().double().numpy(), wanted)[:, 0]
    best = int(overlap.argmax())
    return best if overlap[best] >= _SAME_BOX else None


def _map_on_volume(
    heat: Tensor, position: float, sample: Any, volume: CTVolume
) -> FindingMap | None:
    """Transfer a map of the network input to the voxels of the volume."""
    values = heat.detach().float().clamp(min=0).cpu().numpy()
    if not values.max() > 0:
        return None
    scale_x, scale_y = sample.get('scale_factor') or (1.0, 1.0)
    x, y = sample.get('crop_offset') or (0, 0)
    height, width = values.shape
    return FindingMap(
        values[None] / values.max(),
        (position - 0.5, y - 0.5, x - 0.5),
        (position + 0.5, y - 0.5 + height / scale_y, x - 0.5 + width / scale_x),
    )


def move_map(each: FindingMap, source: CTVolume, target: CTVolume) -> FindingMap:
    """Express a map on the voxels of another volume with parallel axes.

    Args:
        each: Map on the voxels of ``source``.
        source: Volume on which the map was computed.
        target: Volume of the same scan; axes may be reversed or have another spacing.
    """
    corners = target.world_to_index(
        source.index_to_world(np.array([each.lower, each.upper]))
    )
    reversed_axes = [n for n in range(3) if corners[0][n] > corners[1][n]]
    lower, upper = np.sort(corners, axis=0).tolist()
    values = np.ascontiguousarray(np.flip(each.values, reversed_axes))
    return FindingMap(values, tuple(lower), tuple(upper))
