"""Testing of checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmlesion.engine.hooks.float32_boxes_hook import add_float32_boxes
from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.evaluation.metrics import FROCMetric, WholeSliceMetric
from mmlesion.registry import type_name
from mmlesion.visualization import draw_froc

#: Default number of samples for attention figures.
ATTENTION_SAMPLES = 3


def evaluate(
    cfg: Config,
    checkpoint: str,
    show_dir: str | None = None,
    attention: int | Sequence[str] | None = None,
    show: bool = False,
    wait_time: float = 2.0,
    out: str | None = None,
    tta: bool = False,
    amp: bool = False,
) -> dict:
    """Test a checkpoint of a detector, classifier or segmentor by its config.

    Every ``FROCMetric`` of the config without an ``outfile_prefix`` writes
    ``<work_dir>/test.froc.json``; the curve is drawn as ``test.froc.png``.

    Args:
        cfg: The config; changed in place.
        checkpoint: File or http(s) address of a checkpoint of exactly the config's
            model. The checkpoint runs code only with ``cfg.trust_checkpoint``.
        show_dir: Folder of the overlays ``<series>_<slice>.png``. For a model with
            attention, the figures of the attention are written to its subfolder
            ``attention``.
        attention: Samples whose attention is drawn: the number of samples with
            lesions, or names of samples. The folder is ``<show_dir>/attention`` or,
            without ``show_dir``, ``<work_dir>/attention``. Defaults to 3 samples if
            ``show_dir`` is given.
        show: Whether to show each overlay in a window.
        wait_time: Display time of each overlay in seconds.
        out: Pickle file for all predictions, with boxes in pixels of the whole
            slice.
        tta: Test-time augmentation by the config's ``tta_model`` and
            ``tta_pipeline``.
        amp: Mixed precision, float16 on a GPU and bfloat16 on a CPU. Boxes are
            computed in float32.

    Returns:
        The metrics by name.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If the checkpoint is refused or belongs to another model, or an
            argument is invalid for the config.
    """
    if '://' not in checkpoint and not Path(checkpoint).exists():
        raise FileNotFoundError(f'Checkpoint {checkpoint} does not exist.')
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out {out} must end with .pkl or .pickle.')
    cfg.load_from = checkpoint
    cfg.resume = False
    if attention is None and show_dir and _has_attention(cfg):
        attention = ATTENTION_SAMPLES
    if tta:
        _augment(cfg)
    if amp:
        _use_mixed_precision(cfg)
    if show or show_dir:
        _draw_overlays(
            cfg, draw=True, show=show, wait_time=wait_time, test_out_dir=show_dir
        )
    if attention is not None:
        cfg.custom_hooks = [
            *(cfg.get('custom_hooks') or []),
            dict(
                type='mmlesion.AttentionFigureHook',
                images=attention,
                out_dir=str(Path(show_dir or cfg.work_dir) / 'attention'),
            ),
        ]
    _request_json(cfg)

    runner = LesionRunner.from_cfg(cfg)
    if out is not None:
        from mmdet.evaluation import DumpDetResults

        runner.test_evaluator.metrics.append(
            WholeSliceMetric(DumpDetResults(out_file_path=out))
        )
    metrics = runner.test()
    if is_main_process():
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, FROCMetric):
                _draw_curve(metric, runner)
    return metrics


def _draw_overlays(cfg: Config, **settings: Any) -> None:
    hook = cfg.setdefault('default_hooks', ConfigDict()).get('visualization')
    if hook is None or hook.type != 'mmlesion.CTVisualizationHook':
        hook = ConfigDict(type='mmlesion.CTVisualizationHook')
    hook.update(settings)
    cfg.default_hooks.visualization = hook


def _augment(cfg: Config) -> None:
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise ValueError('--tta needs tta_model and tta_pipeline in the config.')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def _use_mixed_precision(cfg: Config) -> None:
    cfg.test_cfg.fp16 = True  # MMEngine's name; autocast takes bfloat16 on a CPU
    add_float32_boxes(cfg)


def _has_attention(cfg: Config) -> bool:
    neck = cfg.model.get('neck') or {}
    return isinstance(neck, dict) and type_name(neck) == 'ContextNeck'


def _request_json(cfg: Config) -> None:
    """Configure each FROCMetric to write a JSON file."""
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    found = [each for each in evaluators if type_name(each) == 'FROCMetric']
    for number, evaluator in enumerate(found):
        if evaluator.get('outfile_prefix') is None:
            evaluator.outfile_prefix = str(Path(cfg.work_dir) / f'test{number or ""}')


def _draw_curve(metric: FROCMetric, runner: Runner) -> None:
    path = Path(f'{metric.outfile_prefix}.froc.png')
    report, curve = metric.report, metric.curve
    assert report is not None and curve is not None  # the test has ended
    total = report['overall']
    bounds = {
        fp: pair
        for fp, pair in zip(total['fps'], total.get('interval', []))
        if np.isfinite(pair).all()
    }
    draw_froc(
        {'all lesions': curve},
        path,
        intervals={'all lesions': bounds},
        title=f'FROC, {report["num_images"]} images of '
        f'{report["num_patients"]} patients',
    )
    runner.logger.info(f'FROC curve: {path}')
