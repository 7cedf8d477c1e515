"""Train a detector, classifier or segmentor from a config."""

import argparse

from .arguments import (
    add_amp_argument,
    add_common_arguments,
    add_inputs_argument,
    training_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    add_inputs_argument(parser)
    add_amp_argument(parser)
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate with the batch size, relative to the config's "
        'auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint; without a value, from the last checkpoint '
        'in the work directory',
    )


def run(args: argparse.Namespace) -> None:
    """Train the model.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.engine.lesion_runner import LesionRunner
    from mmlesion.engine.work_dir import lock_work_dir

    cfg = training_config(args)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(
                f'--auto-scale-lr needs auto_scale_lr.base_batch_size in {args.config}.'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    with lock_work_dir(cfg.work_dir):
        LesionRunner.from_cfg(cfg).train()
