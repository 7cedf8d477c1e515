"""Draw activation maps of images, side by side for several methods."""

import argparse
from pathlib import Path

from .arguments import (
    add_common_arguments,
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
    parser.add_argument(
        'images',
        nargs='?',
        help='image, radiograph, scan, patches (.slices), array (.npy), or a '
        "folder of such files (default: the config's test data set)",
    )
    _add_methods(parser)
    _add_pictures(parser)
    add_common_arguments(parser, distributed=False)


def _add_methods(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--method',
        nargs='+',
        default=[],
        metavar='NAME',
        help='GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ODAM, TwoScaleCAM; for '
        'classes also CAM, SoftActivationMap, HESAM, ScoreCAM, EigenCAM, '
        'IntegratedGradients, SmoothGrad, Occlusion, LeGrad, AttentionMap, '
        'AttentionRollout, or any registered method (default: TwoScaleCAM for a '
        'detector, else GradCAM)',
    )
    parser.add_argument(
        '--score',
        default='auto',
        choices=['auto', 'logit', 'log_odds', 'probability'],
        help='explained score of a class or box (default: log-odds of two '
        'classes, logit of more, probability of a box)',
    )
    parser.add_argument(
        '--slice-shares',
        choices=['occlusion', 'gradient'],
        help='also compute and draw the contribution of each slice of the input '
        '(classifiers only)',
    )
    parser.add_argument(
        '--target',
        nargs='+',
        default=['predicted'],
        type=_class_or_number,
        help="classes by number or name, 'predicted' or 'label'; for a detector, "
        "numbers of boxes, or 'predicted' for the boxes with the highest scores "
        '(default: predicted)',
    )
    parser.add_argument(
        '--layers',
        nargs='+',
        default=[],
        metavar='NAME',
        help='layers for the map, such as backbone.layer4 (default: the layer of the '
        'last feature maps)',
    )


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--out', metavar='DIR', help='output folder (default: WORK_DIR/maps)'
    )
    parser.add_argument(
        '--window',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='CT window of the figures in HU, e.g. -160 240; without WindowHU in the '
        'config, also the window of scans in the input of the network',
    )
    parser.add_argument(
        '--range',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='raw values at both ends of the color scale, the same for all maps '
        '(default: minimum and maximum of each map)',
    )
    parser.add_argument(
        '--slices',
        nargs='+',
        type=int,
        metavar='N',
        help='slices of a scan, numbered from 0 at the feet (default: the middle '
        'slice)',
    )
    parser.add_argument(
        '--max-images', type=int, metavar='N', help='explain only the first N images'
    )
    parser.add_argument(
        '--diameter',
        type=float,
        metavar='MM',
        help='diameter of the nodule in the middle of each crop (default: estimated)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='minimum score of a box (default: %(default)s)',
    )
    parser.add_argument(
        '--max-detections',
        type=int,
        default=5,
        metavar='N',
        help='maximum number of boxes of an image (default: %(default)s)',
    )


def run(args: argparse.Namespace) -> None:
    """Draw the maps.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis import ExplainOptions, explain
    from mmlesion.files import counted

    cfg = config_from_arguments(args)
    out_dir = args.out or Path(cfg.work_dir) / 'maps'
    options = ExplainOptions(
        methods=args.method,
        layers=args.layers,
        targets=args.target,
        window=args.window,
        value_range=args.range,
        slices=args.slices,
        max_images=args.max_images,
        diameter_mm=args.diameter,
        score_thr=args.score_thr,
        max_detections=args.max_detections,
        score=args.score,
        slice_shares=args.slice_shares,
    )
    checkpoint = checkpoint_from_arguments(args)
    written = explain(cfg, checkpoint, out_dir, args.images, options)
    print(f'{counted(len(written), "image")} explained: {out_dir}')


def _class_or_number(text: str) -> int | str:
    """Convert ``'1'`` to 1; other strings are not converted."""
    return int(text) if text.isdigit() else text
