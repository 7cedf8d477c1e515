"""Activation maps of a classifier or a detector during validation and testing."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmlesion import attribution
from mmlesion.attribution.input_slices import middle_channel
from mmlesion.deprecation import old_arguments
from mmlesion.explain.detections import (
    NoDetectionError,
    detection_titles,
    explain_detections,
    is_detector,
)
from mmlesion.explain.methods import (
    DEFAULT_DETECTION_METHOD,
    DEFAULT_METHOD,
    Method,
    MethodSpec,
    find_method,
)
from mmlesion.explain.names import sample_name
from mmlesion.explain.placement import boxes_on_input, map_on_input
from mmlesion.explain.writer import (
    MAP_FORMATS,
    SampleMaps,
    draw_sample_maps,
    split_by_target,
    write_sample_maps,
)
from mmlesion.registry import HOOKS


@HOOKS.register_module()
class ActivationMapHook(Hook):
    """Compute the activation map of each sample and write it to the sample and files.

    The hook computes the map before the model predicts, so that
    :class:`ActivationMapMetric` works with any host library. The cost is one additional
    forward pass per batch (for a detector, per sample).

    For a classifier, the hook explains a class. For a detector of MMDetection, it
    explains the boxes with the highest scores, each by its own score. Files and figures
    contain one map per box. The data sample contains the maximum over all maps at each
    position (0 without a box).

    Validation shows the first sample of every ``interval``-th batch with the backends
    of the visualizer. Testing writes files for all samples. A map that is zero
    everywhere is reported in the log.

    Args:
        layers: Layers of the model. Methods that use attention, the maps of the head,
            or the input do not need layers.
        method: A method, see :func:`mmlesion.explain.methods.find_method`. Defaults to
            TwoScaleCAM for a detector and to GradCAM for a classifier. Boxes need a
            method that explains any score.
        target: Class index; ``'label'`` for the ``gt_label`` of each sample; or a
            callable from the output of the model to one score per sample. Defaults to
            the predicted class. Not allowed for detectors.
        key: Name of the map in the data sample.
        size: ``'input'`` resizes maps to the pixels of the network input; None keeps
            the grid of the layer.
        normalize: ``'none'``, ``'image'`` or ``'fixed'`` for the map in the data
            sample. Files contain raw maps. Figures are normalized per image.
        value_range: Value range for ``'fixed'``.
        out_dir: Folder of the output files of the test; None disables them.
        formats: Output formats; see
            :func:`mmlesion.explain.writer.write_sample_maps`.
        interval: Number of batches between figures in validation; None disables maps in
            validation.
        score_thr: Minimum score of a box to be explained.
        max_detections: Maximum number of boxes per image.
        score: Score of the class or box. ``'auto'`` selects the log-odds for two
            classes, the logit for more classes, and the probability for a box.
        **kwargs: Further arguments of the method, e.g. ``heads='max'``.

    Raises:
        ValueError: If a method, format or size is unknown, or layers are missing.
    """

    @old_arguments(normalise='normalize')
    def __init__(
        self,
        layers: Sequence[str] | str = (),
        method: MethodSpec | None = None,
        target: int | str | Callable | None = None,
        key: str = 'activation_map',
        size: str | None = 'input',
        normalize: str = 'none',
        value_range: tuple[float, float] = (0.0, 1.0),
        out_dir: str | None = None,
        formats: Sequence[str] = ('png', 'npy'),
        interval: int | None = 50,
        score_thr: float = 0.3,
        max_detections: int = 5,
        score: str | Callable = 'auto',
        **kwargs: Any,
    ) -> None:
        self._method = None if method is None else find_method(method)
        if not layers and (self._method is None or self._method.kind.needs_layers):
            raise ValueError(
                f'method {self._method.name if self._method else DEFAULT_METHOD} '
                'needs layers, for instance backbone.layer4'
            )
        wrong = sorted(set(formats) - set(MAP_FORMATS))
        if wrong:
            raise ValueError(f'formats must be of {MAP_FORMATS}, got {wrong[0]!r}')
        if size not in ('input', None):
            raise ValueError(f"size must be 'input' or None, got {size!r}")
        if not (
            target is None
            or target == 'label'
            or isinstance(target, int)
            or callable(target)
        ):
            raise ValueError(
                "target must be a class index, 'label', a callable or None, got "
                f'{target!r}'
            )
        self.layers = layers
        self.score = score
        self.target = target
        self.key = key
        self.size = size
        self.normalize = normalize
        self.value_range = value_range
        self.out_dir = out_dir
        self.formats = formats
        self.interval = interval
        self.score_thr = score_thr
        self.max_detections = max_detections
        self.kwargs = kwargs

    @property
    def method(self) -> str:
        """Name of the method, used as the title of its maps."""
        return DEFAULT_METHOD if self._method is None else self._method.name

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Add the maps to the batch, and draw the first sample every ``interval``."""
        if self.interval is None or data_batch is None:
            return
        found = self._attach(runner, data_batch)
        if batch_idx % self.interval == 0 and found[0].titles:
            name = sample_name(data_batch['data_samples'][0], batch_idx, 0)
            runner.visualizer.add_image(
                f'val_{name}_{self.method}',
                draw_sample_maps(data_batch['inputs'][0], found[0]),
                step=runner.iter,
            )

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Add the maps to the batch, and write their files."""
        if data_batch is None:
            return
        found = self._attach(runner, data_batch)
        if self.out_dir is None:
            return
        for index, sample in enumerate(data_batch['data_samples']):
            if found[index].titles:
                write_sample_maps(
                    self.out_dir,
                    sample_name(sample, batch_idx, index),
                    data_batch['inputs'][index],
                    sample,
                    found[index],
                    formats=self.formats,
                )

    def _attach(self, runner: Runner, data_batch: dict) -> list[SampleMaps]:
        """Compute the maps of each sample and add their maximum to the data sample."""
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        boxes = is_detector(model)
        if boxes and self.target is not None:
            raise ValueError(
                'ActivationMapHook: target is only for classifiers; boxes of a '
                'detector are explained by their own scores'
            )
        if self._method is None:
            self._method = find_method(
                DEFAULT_DETECTION_METHOD if boxes else DEFAULT_METHOD
            )
        find = self._of_boxes if boxes else self._of_classes
        found = find(model, data_batch, self._method)
        for sample, maps in zip(data_batch['data_samples'], found):
            empty = [t for t, e in zip(maps.titles, maps.empty_maps()) if e]
            if empty:
                print_log(
                    f'{sample_name(sample)}: the {self.method} map of '
                    f'{", ".join(empty)} is zero everywhere',
                    'current',
                    logging.WARNING,
                )
        for image, sample, maps in zip(
            data_batch['inputs'], data_batch['data_samples'], found
        ):
            raw = maps.maps[self.method]
            if self.size == 'input' or not len(raw):
                raw = map_on_input(raw, image.shape[1:], maps.input_size)
            if len(raw) != 1:  # several boxes, or none
                raw = (
                    raw.amax(0, keepdim=True)
                    if len(raw)
                    else raw.new_zeros(1, *raw.shape[1:])
                )
            largest = attribution.normalize_map(
                raw[None], self.normalize, self.value_range
            )[0, 0]
            sample.set_field(largest.cpu(), self.key)
        return found

    def _of_classes(
        self, model: Any, data_batch: dict, method: Method
    ) -> list[SampleMaps]:
        """Compute the maps of a classifier, one per sample."""
        samples = data_batch['data_samples']
        batch = model.data_preprocessor(dict(data_batch), False)
        targets = self.target
        if targets == 'label':
            targets = torch.cat([sample.gt_label.flatten()[:1] for sample in samples])
        with method(model, self.layers, score=self.score, **self.kwargs) as explainer:
            raw = explainer(batch['inputs'], targets)
        if isinstance(raw, dict) or raw.shape[:2] != (len(samples), 1):
            raise ValueError(f'{self._asked} {_describe(raw)}: name one layer')
        padded = batch['inputs'].shape[2:]
        found = [self._sample_maps(each, ['input'], padded) for each in raw]
        for each, image in zip(found, data_batch['inputs']):
            each.channel = middle_channel(model, len(image))
        return found

    def _of_boxes(
        self, model: nn.Module, data_batch: dict, method: Method
    ) -> list[SampleMaps]:
        """Compute the maps of a detector, one per box of each sample."""
        method = find_method(method, detections=True)
        found = []
        for image, sample in zip(data_batch['inputs'], data_batch['data_samples']):
            size = image.shape[1:]
            try:
                raw, predicted, indices = explain_detections(
                    model,
                    dict(inputs=image, data_samples=sample),
                    self.layers,
                    method,
                    score=self.score,
                    score_thr=self.score_thr,
                    max_detections=self.max_detections,
                    **self.kwargs,
                )
            except NoDetectionError:
                found.append(self._sample_maps(torch.zeros(0, *size), [], size))
                continue
            if isinstance(raw, dict):
                raise ValueError(f'{self._asked} {_describe(raw)}: name one layer')
            found.append(
                self._sample_maps(
                    split_by_target(raw),
                    detection_titles(model, predicted, indices),
                    predicted.batch_input_shape,
                    boxes_on_input(sample, predicted, indices),
                )
            )
        return found

    _asked = 'ActivationMapHook needs one map per sample, got'

    def _sample_maps(
        self,
        raw: torch.Tensor,
        titles: Sequence[str],
        input_size: Sequence[int],
        boxes_px: Any = None,
    ) -> SampleMaps:
        layers = [self.layers] if isinstance(self.layers, str) else list(self.layers)
        return SampleMaps(
            maps={self.method: raw},
            titles=titles,
            input_size=input_size,
            explained=[dict(title=title) for title in titles],
            layers=layers,
            boxes_px=boxes_px,
        )


def _describe(maps: Any) -> str:
    """Describe the output of a method for an error message."""
    return (
        f'maps of {", ".join(maps)}'
        if isinstance(maps, dict)
        else f'maps of shape {tuple(maps.shape)}'
    )
