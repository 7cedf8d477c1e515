"""Activation maps of a trained network for files or a test data set."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from torch import Tensor, nn
from tqdm import tqdm

from mmlesion.ct import FULL_WINDOW_HU, window_hu
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.explain.detections import NoDetectionError, is_detector
from mmlesion.explain.explainers import BoxExplainer, ClassExplainer
from mmlesion.explain.inputs import ExplainInputs
from mmlesion.explain.methods import (
    DEFAULT_DETECTION_METHOD,
    DEFAULT_METHOD,
    MethodSpec,
    find_method,
)
from mmlesion.explain.writer import write_sample_maps
from mmlesion.registry import type_name


@dataclass
class ExplainOptions:
    """Options of :func:`explain`.

    Attributes:
        methods: Methods, see :func:`mmlesion.explain.methods.find_method`. Defaults to
            GradCAM for a classifier and to TwoScaleCAM for a detector.
        layers: Target layers. Defaults to the layer with the last feature maps.
            Attention methods, and heads that compute their own maps, need none.
        targets: Classes by number or name, ``'predicted'``, ``'label'`` of the data
            set, or callables from the output of the model to scores. For a detector,
            numbers of boxes in the order of prediction, or ``'predicted'`` for the
            boxes of the highest scores.
        window: HU of black and white in the figures. Without ``mmlesion.WindowHU``
            in the pipeline, the network also gets scans in this window.
        value_range: Raw values at the two ends of the colors, for all maps.
        slices: Slices of scans, counted from 0 at the feet.
        max_images: Maximum number of images.
        diameter_mm: Diameter of the nodule in the center of each crop, for networks
            that use nodule patches. By default, it is estimated.
        score_thr: Minimum score of a box.
        max_detections: Maximum number of boxes per image.
        device: Defaults to the GPU if available.
        progress: Whether to show a progress bar.
        score: Score that is explained: ``'logit'``, ``'log_odds'``,
            ``'probability'`` or a callable. Defaults to the log-odds of two classes,
            the logit of more, and the probability of a box.
        slice_shares: ``'occlusion'`` or ``'gradient'`` also measures how much each
            slice of the input contributes to the score of a class.
    """

    methods: Sequence[MethodSpec] = ()
    layers: Sequence[str] = ()
    targets: Sequence[int | str | Callable] = ('predicted',)
    window: Sequence[float] | None = None
    value_range: Sequence[float] | None = None
    slices: Sequence[int] | None = None
    max_images: int | None = None
    diameter_mm: float | None = None
    score_thr: float = 0.3
    max_detections: int = 5
    device: str | None = None
    progress: bool = True
    score: str | Callable = 'auto'
    slice_shares: str | None = None


def explain(
    cfg: Config,
    checkpoint: str | Path,
    out_dir: str | Path,
    images: str | Path | None = None,
    options: ExplainOptions | None = None,
) -> list[dict]:
    """Explain images by maps of one or more methods.

    A classifier of MMPretrain is explained by classes, a detector of MMDetection by
    single boxes. The files of each image are those of
    :func:`mmlesion.explain.writer.write_sample_maps`.

    Args:
        cfg: The config; its test pipeline reads the images.
        checkpoint: File or http(s) address of a checkpoint of exactly this model.
        out_dir: Folder of the results.
        images: File or folder. Defaults to the config's test data set. See
            :class:`~mmlesion.explain.inputs.ExplainInputs`.
        options: Methods, targets and figures.

    Returns:
        The content of the JSON files.

    Raises:
        FileNotFoundError: If the checkpoint, file or folder does not exist.
        ValueError: If a method, layer or target does not exist or does not fit the
            model, a file cannot be read, or no box of any image reaches
            ``score_thr``.
    """
    options = options or ExplainOptions()
    for method in options.methods:
        find_method(method)  # check before a model is loaded
    if options.window is not None:
        window_hu(np.zeros(1), options.window)  # check the window
    model = load_trained_model(cfg, checkpoint, options.device)
    inputs = ExplainInputs(
        cfg,
        images,
        options.slices,
        options.window,
        options.max_images,
        options.diameter_mm,
    )
    explain_sample = _explainer(model, options)
    to_hu = _gray_to_hu(cfg)
    written, nothing = [], None
    samples: Iterable[tuple[str, Any]] = tqdm(
        inputs, desc='Explaining', unit='image', disable=not options.progress
    )
    for name, data in samples:
        try:
            found = explain_sample(name, data)
        except NoDetectionError as error:
            nothing = f'{name}: {error}'
            tqdm.write(nothing)
            continue
        for title, empty in zip(found.titles, found.empty_maps()):
            for method in empty:
                tqdm.write(f'{name}: the {method} map of {title} is zero everywhere')
        has_place = data['data_samples'].get('scan_geometry') is not None
        report = write_sample_maps(
            out_dir,
            name,
            data['inputs'],
            data['data_samples'],
            found,
            formats=('png', 'npy', 'json', *(['nii.gz'] if has_place else [])),
            window=options.window,
            to_hu=to_hu,
            value_range=options.value_range,
        )
        written.append(report)
    if not written and nothing:
        raise ValueError(
            f'{nothing}, and no other image has a box: lower --score-thr'
            if len(inputs) > 1
            else f'{nothing}: lower --score-thr'
        )
    return written


def _explainer(
    model: nn.Module, options: ExplainOptions
) -> BoxExplainer | ClassExplainer:
    """Return the explainer for a model."""
    if is_detector(model):
        if options.slice_shares is not None:
            raise ValueError(
                'the contribution of slices is measured for classifiers only; the '
                'model is a detector'
            )
        return BoxExplainer(
            model,
            options.methods or (DEFAULT_DETECTION_METHOD,),
            options.layers,
            options.targets,
            options.score_thr,
            options.max_detections,
            options.score,
        )
    return ClassExplainer(
        model,
        options.methods or (DEFAULT_METHOD,),
        options.layers,
        options.targets,
        options.score,
        options.slice_shares,
    )


def _gray_to_hu(cfg: Config) -> Callable[[Tensor], Tensor] | None:
    """Return a function from gray values to HU, if the pipeline has a window."""
    loader = cfg.get('test_dataloader') or {}
    for step in (loader.get('dataset') or {}).get('pipeline') or ():
        if type_name(step) == 'WindowHU':
            low, high = step.get('window', FULL_WINDOW_HU)
            first, last = step.get('out_range', (0, 255))
            return lambda gray: (gray - first) / (last - first) * (high - low) + low
    return None
