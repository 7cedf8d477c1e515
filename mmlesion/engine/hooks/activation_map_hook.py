"""Activation maps of a classifier or a detector during validation and testing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from mmlesion import attribution
from mmlesion.ct import write_volume
from mmlesion.registry import HOOKS
from mmlesion.visualization import write_picture
from mmlesion.visualization.map_overlay import overlay_rows
from mmlesion.visualization.map_placement import (
    boxes_on_input,
    map_on_input,
    map_volume,
)

METHODS = sorted(
    name
    for name in attribution.__all__
    if isinstance(getattr(attribution, name), type)
    and issubclass(getattr(attribution, name), attribution.ActivationMap)
    and name not in ('ActivationMap', 'GradientMap')
)
#: Those that explain any score, also of a box.
GRADIENT_METHODS = [
    name
    for name in METHODS
    if issubclass(getattr(attribution, name), attribution.GradientMap)
]
#: Those that find what they need themselves: attention, heads that draw maps.
WITHOUT_LAYERS = [
    name
    for name in METHODS
    if issubclass(
        getattr(attribution, name),
        (attribution.AttentionMap, attribution.SoftActivationMap),
    )
]
FORMATS = ('png', 'npy', 'nii.gz')


@dataclass
class _Maps:
    """Maps of one sample: raw (K, *grid), at its picture's size (K, *size)."""

    raw: Tensor
    full: Tensor
    titles: list
    boxes_px: np.ndarray | None = None


@HOOKS.register_module()
class ActivationMapHook(Hook):
    """Put each sample's activation map into its data sample, and into files.

    The map is there before the model predicts, so that
    :class:`ActivationMapMetric` finds it, whatever the host. It costs one more
    pass through the network per batch (of a detector, per sample).

    Of a classifier it explains a class; of a detector of MMDetection, the best
    boxes, each by its own score: files and pictures hold the map of each box, the
    data sample the largest value of all at each place (0 without a box).

    Validation shows the first sample of every ``interval``-th batch by the
    visualiser's backends; testing writes files of all samples.

    Args:
        layers (sequence[str] | str): Of :mod:`mmlesion.attribution`; methods of
            attention, and heads that draw their own maps, need none.
        method (str): Name of a method: ``GradCAM``, ``CAM``, ``AttentionMap``...
            Boxes are explained by a gradient method.
        target (int | str, optional): Class; ``'label'`` is each sample's
            ``gt_label``. Defaults to the predicted class. Not for detectors.
        key (str): Name of the map in the data sample.
        size (str, optional): ``'input'`` (default) resizes maps to the pixels of
            the network's input; None leaves them on the layer's grid.
        normalise (str): ``'none'``, ``'image'`` or ``'fixed'`` for the map in
            the data sample; files hold raw maps, pictures those of each image.
        value_range (tuple[float, float]): For ``'fixed'``.
        out_dir (str, optional): Folder of the test's files; None writes none.
        formats (sequence[str]): Of ``'png'`` (picture and overlay), ``'npy'``
            (raw float32 on the layer's grid; of boxes, a map for each, the best
            first), ``'nii.gz'`` (raw, at the size of the input, the map of the
            data sample; in its place where that has ``spacing_mm``).
        interval (int, optional): In validation, batches from one picture to the
            next; None leaves validation alone, without maps.
        score_thr (float): Least score of a box that is explained.
        max_detections (int): Most boxes of an image that are explained.
        **kwargs: For the method, e.g. ``heads='max'``.

    Raises:
        ValueError: If a method, format or size is unknown, or layers are missing.
    """

    def __init__(
        self,
        layers=(),
        method='GradCAM',
        target=None,
        key='activation_map',
        size='input',
        normalise='none',
        value_range=(0.0, 1.0),
        out_dir=None,
        formats=('png', 'npy'),
        interval=50,
        score_thr=0.3,
        max_detections=5,
        **kwargs,
    ):
        if method not in METHODS:
            raise ValueError(f'method must be one of {METHODS}, got {method!r}')
        if not layers and method not in WITHOUT_LAYERS:
            raise ValueError(
                f'method {method} needs layers, for instance backbone.layer4'
            )
        wrong = sorted(set(formats) - set(FORMATS))
        if wrong:
            raise ValueError(f'formats must be of {FORMATS}, got {wrong[0]!r}')
        if size not in ('input', None):
            raise ValueError(f"size must be 'input' or None, got {size!r}")
        if not (target is None or target == 'label' or isinstance(target, int)):
            raise ValueError(
                f"target must be a class index, 'label' or None, got {target!r}"
            )
        self.layers = layers
        self.method = method
        self.target = target
        self.key = key
        self.size = size
        self.normalise = normalise
        self.value_range = value_range
        self.out_dir = out_dir
        self.formats = formats
        self.interval = interval
        self.score_thr = score_thr
        self.max_detections = max_detections
        self.kwargs = kwargs

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        """Put the maps into the batch; show the first one now and then."""
        if self.interval is None:
            return
        maps = self._attach(runner, data_batch)
        if batch_idx % self.interval == 0 and len(maps[0].full):
            name = sample_name(data_batch['data_samples'][0], batch_idx, 0)
            runner.visualizer.add_image(
                f'val_{name}_{self.method}',
                self._picture(data_batch['inputs'][0], maps[0]),
                step=runner.iter,
            )

    def before_test_iter(self, runner, batch_idx, data_batch=None):
        """Put the maps into the batch; write them."""
        maps = self._attach(runner, data_batch)
        if self.out_dir is None:
            return
        for index, sample in enumerate(data_batch['data_samples']):
            stem = Path(self.out_dir) / (
                f'{sample_name(sample, batch_idx, index)}_{self.method}'
            )
            if len(maps[index].full):
                self._write(stem, data_batch['inputs'][index], sample, maps[index])

    def _attach(self, runner, data_batch):
        """Maps of each sample, put into its data sample."""
        from mmlesion.apis.explain_detections import is_detector

        model = (
            runner.model.module if is_model_wrapper(runner.model) else (runner.model)
        )
        find = self._of_boxes if is_detector(model) else self._of_classes
        found = find(model, data_batch)
        for sample, maps in zip(data_batch['data_samples'], found):
            each = maps.full
            if self.size is None and len(maps.raw):
                each = maps.raw
            if len(each) != 1:  # of several boxes, or of none
                each = (
                    each.amax(0, keepdim=True)
                    if len(each)
                    else (each.new_zeros(1, *each.shape[1:]))
                )
            each = attribution.normalise_map(
                each[None], self.normalise, self.value_range
            )[0, 0]
            sample.set_field(each.cpu(), self.key)
        return found

    def _of_classes(self, model, data_batch):
        """Maps of a classifier, one for each sample."""
        samples = data_batch['data_samples']
        batch = model.data_preprocessor(dict(data_batch), False)
        targets = self.target
        if targets == 'label':
            targets = torch.cat([sample.gt_label.flatten()[:1] for sample in samples])
        layers = (self.layers,) if self.layers else ()
        with getattr(attribution, self.method)(model, *layers, **self.kwargs) as method:
            raw = method(batch['inputs'], targets)
        if isinstance(raw, dict) or raw.shape[:2] != (len(samples), 1):
            raise ValueError(f'{self._asked} {describe(raw)}: name one layer')
        padded = batch['inputs'].shape[2:]
        return [
            _Maps(each, map_on_input(each, image.shape[1:], padded), ['input'])
            for each, image in zip(raw, data_batch['inputs'])
        ]

    def _of_boxes(self, model, data_batch):
        """Maps of a detector, as many as boxes for each sample."""
        from mmlesion.apis.explain_detections import (
            NoDetectionError,
            detection_titles,
            explain_detections,
        )

        if self.method not in GRADIENT_METHODS:
            raise ValueError(
                f'method {self.method} explains classes: for the boxes of '
                f'a detector choose one of {GRADIENT_METHODS}'
            )
        found = []
        for image, sample in zip(data_batch['inputs'], data_batch['data_samples']):
            size = image.shape[1:]
            try:
                raw, predicted, indices = explain_detections(
                    model,
                    dict(inputs=image, data_samples=sample),
                    self.layers,
                    getattr(attribution, self.method),
                    score_thr=self.score_thr,
                    max_detections=self.max_detections,
                    **self.kwargs,
                )
            except NoDetectionError:
                nothing = torch.zeros(0, *size)
                found.append(_Maps(nothing, nothing, []))
                continue
            if isinstance(raw, dict):
                raise ValueError(f'{self._asked} {describe(raw)}: name one layer')
            raw = by_target(raw)
            found.append(
                _Maps(
                    raw,
                    map_on_input(raw, size, predicted.batch_input_shape),
                    detection_titles(model, predicted, indices),
                    boxes_on_input(sample, predicted, indices),
                )
            )
        return found

    _asked = 'ActivationMapHook needs one map per sample, got'

    def _picture(self, image, maps):
        """The middle channel, and under the map of each class or box, (H, W, 3)."""
        grey, heat = image[len(image) // 2], maps.full
        if heat.dim() == 4:  # the middle slice of a volume
            grey, heat = grey[len(grey) // 2], heat[:, heat.shape[1] // 2]
        heat = attribution.normalise_map(heat[None], 'image')[0].cpu().numpy()
        return overlay_rows(
            grey.float().cpu().numpy(),
            [(title, {self.method: each}) for title, each in zip(maps.titles, heat)],
            boxes_px=maps.boxes_px,
        )

    def _write(self, stem, image, sample, maps):
        """All files of one sample."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        if 'npy' in self.formats:
            # of a class the map itself, of boxes one for each
            raw = maps.raw[0] if maps.boxes_px is None else maps.raw
            np.save(f'{stem}.npy', raw.cpu().numpy())
        if 'nii.gz' in self.formats:
            full = maps.full.amax(0).cpu().numpy()
            write_volume(f'{stem}.nii.gz', map_volume(full, sample))
        if 'png' in self.formats:
            write_picture(f'{stem}.png', self._picture(image, maps))


def by_target(raw):
    """Maps of one sample, (M, K, *grid) -> (K, *grid), or (K, M, *grid) if M > 1."""
    maps = raw.transpose(0, 1)
    return maps[:, 0] if len(raw) == 1 else maps


def describe(maps):
    """What came in place of one map, for a sentence."""
    return (
        f'maps of {", ".join(maps)}'
        if isinstance(maps, dict)
        else f'maps of shape {tuple(maps.shape)}'
    )


def sample_name(sample, batch_idx, index):
    """A file name for a sample: of its picture, nodule, or place in the test.

    Slices that have numbers for names get their folder's before it.
    """
    for key in ('img_path', 'nodule_id', 'sample_idx'):
        value = sample.get(key)
        if value is None:
            continue
        path = Path(str(value))
        if key == 'img_path' and path.stem.isdigit() and path.parent.name:
            return f'{path.parent.name}_{path.stem}'
        return path.stem.replace('/', '_')
    return f'{batch_idx:05d}_{index}'
