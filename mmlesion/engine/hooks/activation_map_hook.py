"""Activation maps of a classifier during validation and testing."""
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from mmlesion import attribution
from mmlesion.registry import HOOKS
from mmlesion.visualization import write_picture
from mmlesion.visualization.map_overlay import overlays_side_by_side

METHODS = sorted(
    name for name in attribution.__all__
    if isinstance(getattr(attribution, name), type)
    and name not in ('ActivationMap', 'GradientMap'))
FORMATS = ('png', 'npy', 'nii.gz')


@HOOKS.register_module()
class ActivationMapHook(Hook):
    """Put each sample's activation map into its data sample, and into files.

    The map is there before the model predicts, so that
    :class:`ActivationMapMetric` finds it, whatever the host. It costs one more
    pass through the network per batch.

    Validation shows the first sample of every ``interval``-th batch by the
    visualiser's backends; testing writes files of all samples.

    Args:
        layers (sequence[str] | str): Of :mod:`mmlesion.attribution`; methods of
            attention, and heads that draw their own maps, need none.
        method (str): Name of a method: ``GradCAM``, ``CAM``, ``AttentionMap``...
        target (int | str, optional): Class; ``'label'`` is each sample's
            ``gt_label``. Defaults to the predicted class.
        key (str): Name of the map in the data sample.
        size (str, optional): ``'input'`` (default) resizes maps to the pixels of
            the network's input; None leaves them on the layer's grid.
        normalise (str): ``'none'``, ``'image'`` or ``'fixed'`` for the map in
            the data sample; files hold raw maps, pictures those of each image.
        value_range (tuple[float, float]): For ``'fixed'``.
        out_dir (str, optional): Folder of the test's files; None writes none.
        formats (sequence[str]): Of ``'png'`` (picture and overlay), ``'npy'``
            (raw float32 on the layer's grid), ``'nii.gz'`` (raw, at the size of
            the input).
        interval (int, optional): In validation, batches from one picture to the
            next; None leaves validation alone, without maps.
        **kwargs: For the method, e.g. ``heads='max'``.

    Raises:
        ValueError: If a method, format or size is unknown.
    """

    def __init__(self, layers=(), method='GradCAM', target=None,
                 key='activation_map', size='input', normalise='none',
                 value_range=(0., 1.), out_dir=None, formats=('png', 'npy'),
                 interval=50, **kwargs):
        if method not in METHODS:
            raise ValueError(f'method must be one of {METHODS}, got {method!r}')
        wrong = sorted(set(formats) - set(FORMATS))
        if wrong:
            raise ValueError(f'formats must be of {FORMATS}, got {wrong[0]!r}')
        if size not in ('input', None):
            raise ValueError(f"size must be 'input' or None, got {size!r}")
        if not (target is None or target == 'label' or isinstance(target, int)):
            raise ValueError(
                f"target must be a class index, 'label' or None, got {target!r}")
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
        self.kwargs = kwargs

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        """Put the maps into the batch; show the first one now and then."""
        if self.interval is None:
            return
        raw, inputs = self._attach(runner, data_batch)
        if batch_idx % self.interval == 0:
            name = sample_name(data_batch['data_samples'][0], batch_idx, 0)
            runner.visualizer.add_image(
                f'val_{name}_{self.method}', self._picture(inputs[0], raw[0]),
                step=runner.iter)

    def before_test_iter(self, runner, batch_idx, data_batch=None):
        """Put the maps into the batch; write them."""
        raw, inputs = self._attach(runner, data_batch)
        if self.out_dir is None:
            return
        for index, sample in enumerate(data_batch['data_samples']):
            stem = Path(self.out_dir) / (
                f'{sample_name(sample, batch_idx, index)}_{self.method}')
            self._write(stem, inputs[index], raw[index])

    def _attach(self, runner, data_batch):
        """Raw maps (B, 1, h, w) and the network's inputs (B, C, H, W)."""
        model = runner.model.module if is_model_wrapper(runner.model) else (
            runner.model)
        samples = data_batch['data_samples']
        batch = model.data_preprocessor(dict(data_batch), False)
        targets = self.target
        if targets == 'label':
            targets = torch.cat([sample.gt_label.flatten()[:1] for sample in samples])
        layers = (self.layers, ) if self.layers else ()
        with getattr(attribution, self.method)(
                model, *layers, **self.kwargs) as method:
            raw = method(batch['inputs'], targets)
        if isinstance(raw, dict) or raw.shape[:2] != (len(samples), 1):
            found = (f'maps of {", ".join(raw)}' if isinstance(raw, dict)
                     else f'maps of shape {tuple(raw.shape)}')
            raise ValueError('ActivationMapHook needs one map per sample, got '
                             f'{found}: name one layer')
        maps = raw
        if self.size == 'input':
            maps = attribution.resize_map(raw, batch['inputs'].shape[2:])
        maps = attribution.normalise_map(maps, self.normalise, self.value_range)
        for sample, each in zip(samples, maps):
            sample.set_field(each[0].cpu(), self.key)
        return raw, batch['inputs']

    def _picture(self, image, raw):
        """The middle channel and the overlay, (H, W, 3)."""
        grey, heat = image[len(image) // 2], raw
        if raw.dim() == 4:  # the middle slice of a volume
            grey, heat = grey[len(grey) // 2], raw[:, raw.shape[1] // 2]
        heat = attribution.normalise_map(heat[None], 'image')
        heat = attribution.resize_map(heat, grey.shape)[0, 0]
        return overlays_side_by_side(
            grey.float().cpu().numpy(), {self.method: heat.cpu().numpy()})

    def _write(self, stem, image, raw):
        """All files of one sample."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        if 'npy' in self.formats:
            np.save(f'{stem}.npy', raw[0].cpu().numpy())
        if 'nii.gz' in self.formats:
            import SimpleITK
            full = attribution.resize_map(raw[None], image.shape[1:])[0, 0]
            SimpleITK.WriteImage(
                SimpleITK.GetImageFromArray(full.cpu().numpy()), f'{stem}.nii.gz')
        if 'png' in self.formats:
            write_picture(f'{stem}.png', self._picture(image, raw))


def sample_name(sample, batch_idx, index):
    """A file name for a sample: of its picture, nodule, or place in the test."""
    for key in ('img_path', 'nodule_id', 'sample_idx'):
        value = sample.get(key)
        if value is not None:
            return Path(str(value)).stem.replace('/', '_')
    return f'{batch_idx:05d}_{index}'
