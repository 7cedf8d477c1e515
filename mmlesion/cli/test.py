"""Test a checkpoint: metrics, FROC table and curve, overlays, attention."""

import argparse

from .arguments import (
    add_common_arguments,
    add_inputs_argument,
    add_model_arguments,
    checkpoint_from_arguments,
    config_from_arguments,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    add_model_arguments(parser)
    add_common_arguments(parser)
    add_inputs_argument(parser)
    parser.add_argument('--out', metavar='PKL', help='output pickle of the predictions')
    parser.add_argument(
        '--show', action='store_true', help='show each overlay in a window'
    )
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='output folder of overlays on windowed CT: ground truth in blue, true '
        'positives in green, false positives in red; attention figures are written to '
        'DIR/attention',
    )
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        metavar='SECONDS',
        help='display time of each overlay with --show',
    )
    parser.add_argument(
        '--attention',
        nargs='+',
        metavar='NAME',
        help='key slices for the attention figures, with names as in DL_info.csv '
        '(000001_01_01_109), or a number N for the first N key slices with lesions '
        '(default with --show-dir: 3)',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation with tta_model and tta_pipeline of the config',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16 on a GPU, bfloat16 on a CPU',
    )


def run(args: argparse.Namespace) -> None:
    """Test the model.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis import evaluate

    cfg = config_from_arguments(args)
    attention = args.attention
    if attention and len(attention) == 1 and attention[0].isdigit():
        attention = int(attention[0])
    evaluate(
        cfg,
        checkpoint_from_arguments(args),
        show_dir=args.show_dir,
        attention=attention,
        show=args.show,
        wait_time=args.wait_time,
        out=args.out,
        tta=args.tta,
        amp=args.amp,
    )
