"""Test a detector and leave its results in the work directory."""

import json
from pathlib import Path

from mmengine.config import ConfigDict
from mmengine.dist import is_main_process

from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.evaluation.metrics import WholeSliceMetric
from mmlesion.visualization import draw_froc

#: Samples whose attention is drawn where none are named.
ATTENTION_SAMPLES = 3


def evaluate(
    cfg,
    checkpoint,
    show_dir=None,
    attention=None,
    show=False,
    wait_time=2.0,
    out=None,
    tta=False,
):
    """Test a checkpoint by its config.

    Every ``FROCMetric`` of the config without an ``outfile_prefix`` writes
    ``<work_dir>/test.froc.json``, and its curve is drawn beside it,
    ``test.froc.png``.

    Args:
        cfg (Config): The config; changed in place.
        checkpoint (str): File or http(s) address. It must be exactly of the
            config's model, and runs code only with ``cfg.trust_checkpoint``.
        show_dir (str, optional): Folder of the overlays
            ``<series>_<slice>.png``, and, of a model with attention, of the
            figures of its attention in ``attention/``.
        attention (int or Sequence[str], optional): Samples whose attention is
            drawn, the first so many with lesions or by name, into
            ``<show_dir>/attention`` or, without that, ``<work_dir>/attention``.
            By default, with ``show_dir``, the first three.
        show (bool): Show each overlay in a window.
        wait_time (float): Seconds that each is shown.
        out (str, optional): Pickle of all predictions to write, boxes in the pixels
            of the whole slice.
        tta (bool): Test-time augmentation by the config's ``tta_model`` and
            ``tta_pipeline``.

    Returns:
        dict: The metrics by name.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The checkpoint is refused or of another model, or an
            argument does not fit the config.
    """
    if '://' not in checkpoint and not Path(checkpoint).exists():
        raise FileNotFoundError(f'Checkpoint {checkpoint} does not exist.')
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out {out} must end with .pkl or .pickle.')
    cfg.load_from = checkpoint
    cfg.resume = False
    if tta:
        _augment(cfg)
    if show or show_dir:
        hook = cfg.setdefault('default_hooks', ConfigDict()).get('visualization')
        if hook is None or hook.type != 'mmlesion.CTVisualizationHook':
            hook = ConfigDict(type='mmlesion.CTVisualizationHook')
        hook.update(draw=True, show=show, wait_time=wait_time, test_out_dir=show_dir)
        cfg.default_hooks.visualization = hook
    if attention is None and show_dir and _has_attention(cfg):
        attention = ATTENTION_SAMPLES
    if attention is not None:
        cfg.custom_hooks = [
            *(cfg.get('custom_hooks') or []),
            dict(
                type='mmlesion.AttentionFigureHook',
                images=attention,
                out_dir=str(Path(show_dir or cfg.work_dir) / 'attention'),
            ),
        ]
    json_files = _ask_for_json(cfg)

    runner = LesionRunner.from_cfg(cfg)
    if out is not None:
        from mmdet.evaluation import DumpDetResults

        runner.test_evaluator.metrics.append(
            WholeSliceMetric(DumpDetResults(out_file_path=out))
        )
    metrics = runner.test()
    if is_main_process():
        for path in json_files:
            _draw_curve(path)
            runner.logger.info(f'FROC curve: {path.with_suffix(".png")}')
    return metrics


def _augment(cfg):
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise ValueError('--tta needs tta_model and tta_pipeline in the config.')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline


def _has_attention(cfg):
    neck = cfg.model.get('neck') or {}
    return isinstance(neck, dict) and neck.get('type') == 'mmlesion.ContextNeck'


def _ask_for_json(cfg):
    """Have each FROCMetric write its JSON; return the files."""
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    files = []
    for evaluator in evaluators:
        if str(evaluator.type).split('.')[-1] != 'FROCMetric':
            continue
        if evaluator.get('outfile_prefix') is None:
            evaluator.outfile_prefix = str(
                Path(cfg.work_dir) / f'test{len(files) or ""}'
            )
        files.append(Path(f'{evaluator.outfile_prefix}.froc.json'))
    return files


def _draw_curve(path):
    report = json.loads(path.read_text())
    total = report['overall']
    bounds = {
        fp: pair
        for fp, pair in zip(total['fps'], total.get('interval') or [])
        if None not in pair
    }
    draw_froc(
        {'all lesions': report['curve']},
        path.with_suffix('.png'),
        intervals={'all lesions': bounds},
        title=f'FROC, {report["num_images"]} images of '
        f'{report["num_patients"]} patients',
    )
