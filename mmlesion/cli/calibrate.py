"""Fit the temperature of a classifier and report its calibration.

The temperature is fitted on the validation cases of the config and stored in a copy of
the checkpoint, so that mmlesion test predicts calibrated probabilities. The validation
cases must differ from the test cases: train and calibrate with --cfg-options
train_dataloader.dataset.split=fit val_dataloader.dataset.split=val. With the work
directory of mmlesion cross-validate in place of a checkpoint, the scores of each fold
are calibrated with those of the other folds. The command prints the Brier score, the
expected calibration error (ECE) and operating points, and draws a reliability diagram.
"""

import argparse
from pathlib import Path

from .arguments import (
    add_config_options,
    add_inputs_argument,
    apply_inputs_arguments,
    read_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('config', help='config of a classifier with two classes')
    parser.add_argument(
        'checkpoint',
        help='checkpoint, or work directory of mmlesion cross-validate',
    )
    parser.add_argument(
        '--out',
        help='checkpoint to write (default: <checkpoint>_calibrated.pth)',
    )
    add_inputs_argument(parser)
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Calibrate and print the tables.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import calibrate, calibrate_folds, calibration_table

    path = Path(args.checkpoint)
    if path.is_dir():
        print(calibration_table(calibrate_folds(path)))
        return
    cfg = read_config(args.config, args.cfg_options, args.trust_checkpoint)
    apply_inputs_arguments(cfg, args)
    out = args.out or path.with_name(f'{path.stem}_calibrated.pth')
    print(calibration_table(calibrate(cfg, args.checkpoint, out)))
    print(f'\n{out}')
