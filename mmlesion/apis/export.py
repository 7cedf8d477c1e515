"""Export of trained networks to ``torch.export`` or ONNX, with a check."""

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmlesion.engine.trained_model import load_trained_model
from mmlesion.files import atomic_file

#: Suffixes of the supported file formats.
EXPORT_SUFFIXES = ('.pt2', '.onnx')

#: Largest difference of the exported network's results, relative to their range.
TOLERANCE = 1e-4


class ClassScores(nn.Module):
    """Class probabilities of a classifier.

    Args:
        model: A classifier of mmpretrain.

    Shape:
        - input: (N, C, H, W), as the data preprocessor returns images.
        - output: (N, classes), in [0, 1].
    """

    model: Any

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Compute class probabilities of images."""
        feats = self.model.extract_feat(images)
        scores = self.model.head(feats)
        # the temperature of CalibratedClassifier
        return (scores / getattr(self.model, 'temperature', 1)).softmax(1)


class DetectorFeatures(nn.Module):
    """Feature maps of a detector before its heads.

    Args:
        model: A detector of mmdet.

    Shape:
        - input: (N, C, H, W), as the data preprocessor returns images, without
          padding.
        - output: one tensor per level; (N, M, C, h, w) of ``ContextRCNN``.
    """

    model: Any

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps of images."""
        return tuple(self.model.extract_feat(images))


def export_network(
    cfg: Config,
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    size: tuple[int, int],
    channels: int | None = None,
) -> dict:
    """Export a classifier's probabilities or a detector's features.

    The exported network takes images as the model's data preprocessor returns them:
    windowed, with the mean subtracted. The image size is fixed, but the number of
    images in a batch is not. The file is loaded and compared with the model's own
    prediction on random images in batches of one and three.

    Args:
        cfg: The config of the model.
        checkpoint: A checkpoint of exactly this model.
        out: ``.pt2`` for ``torch.export``, ``.onnx`` for ONNX. Replaced if it exists.
        size: Height and width of the images in pixels.
        channels: Channels of the images. Defaults to the number in the model's config.

    Returns:
        ``file``, ``inputs`` (shape), ``outputs`` (shapes for one image),
        ``preprocessor`` (mean and standard deviation of the normalization) and
        ``difference``, the largest difference relative to the range of the results.

    Raises:
        ValueError: If the suffix is unknown, the channels are not known, or the
            exported network gives other results.
        ImportError: If the packages for ONNX are not installed.
    """
    path = Path(out)
    if path.suffix not in EXPORT_SUFFIXES:
        raise ValueError(f'{path}: expected a file name with .pt2 or .onnx')
    model = load_trained_model(cfg, checkpoint, device='cpu')
    network = (DetectorFeatures if _is_detector(model) else ClassScores)(model).eval()
    channels = channels or input_channels(cfg)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, channels, *size, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, path.name)
        load = _write_onnx if path.suffix == '.onnx' else _write_pt2
        run = load(network, images, made)
        difference = max(_difference(model, run, images[:n]) for n in (1, 3))
        if not difference <= TOLERANCE:
            raise ValueError(
                f'{path}: the exported network differs by {difference:.1e} of the '
                f'range of the results, at most {TOLERANCE:.0e} is accepted'
            )
        content = made.read_bytes()
    with atomic_file(path) as file:
        file.write(content)
    with torch.no_grad():
        results = _as_tuple(network(images[:1]))
    return dict(
        file=str(path),
        inputs=['N', *images.shape[1:]],
        outputs=[list(result.shape) for result in results],
        preprocessor=_statistics(model),
        difference=difference,
    )


def input_channels(cfg: Config) -> int:
    """Return the number of image channels that the model of a config expects.

    Args:
        cfg: The config.

    Returns:
        The number from the config of the slice loader, the nodule loader or the
        backbone.

    Raises:
        ValueError: If none of them contains a number.
    """
    pipeline = cfg.get('test_dataloader', {}).get('dataset', {}).get('pipeline', [])
    for step in pipeline:
        if 'num_slices' in step:
            return int(step['num_slices'])
    backbone = cfg.model.get('backbone', {})
    while isinstance(backbone.get('backbone'), dict):
        backbone = backbone['backbone']
    if backbone.get('in_channels'):
        return int(backbone['in_channels'])
    raise ValueError(
        'the config does not contain the number of channels of an image: specify it'
    )


def _write_pt2(network: nn.Module, images: Tensor, path: Path) -> Callable:
    batch = torch.export.Dim('batch', min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(network, (images,), dynamic_shapes=({0: batch},))
    content = io.BytesIO()  # PyTorch's own writer ends on a full disk with a trace
    torch.export.save(program, content)
    path.write_bytes(content.getvalue())
    return torch.export.load(path).module()


def _write_onnx(network: nn.Module, images: Tensor, path: Path) -> Callable:
    import onnxruntime

    batch = torch.export.Dim('batch', min=1, max=64)
    with torch.no_grad():
        torch.onnx.export(
            network,
            (images,),
            path,
            input_names=['images'],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(
        str(path), providers=['CPUExecutionProvider']
    )

    def run(images: Tensor) -> tuple[Tensor, ...]:
        outputs = session.run(None, {'images': images.numpy()})
        return tuple(torch.from_numpy(np.asarray(output)) for output in outputs)

    return run


def _difference(model: Any, run: Callable, images: Tensor) -> float:
    """Return the largest difference from the model, relative to the result range."""
    with torch.no_grad():
        if _is_detector(model):
            expected = tuple(model.extract_feat(images))
        else:  # the head may postprocess its scores, so compare its predictions
            expected = (torch.stack([s.pred_score for s in model.predict(images)]),)
        found = _as_tuple(run(images))
    if [e.shape for e in expected] != [f.shape for f in found]:
        return float('inf')
    return max(
        float((e - f).abs().max() / (e.max() - e.min()).clamp(min=1e-12))
        for e, f in zip(expected, found)
    )


def _is_detector(model: nn.Module) -> bool:
    return any(hasattr(model, name) for name in ('roi_head', 'rpn_head', 'bbox_head'))


def _statistics(model: nn.Module) -> dict:
    """Return mean and std of the data preprocessor; empty without normalization."""
    preprocessor = model.data_preprocessor
    if not getattr(preprocessor, '_enable_normalize', False):
        return {}
    return {
        name: getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std')
    }


def _as_tuple(results: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else tuple(results)
