"""Train a detector or a classifier by a config."""

import argparse

from mmlesion.apis import (
    add_common_arguments,
    config_from_arguments,
    end_with_one_sentence,
    use_mixed_precision,
)
from mmlesion.engine.lesion_runner import LesionRunner


def parse_args():
    """Read the command line; the flags are those of MMDetection's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16 '
        'on a GPU, bfloat16 on a CPU (classifiers only)',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate by the batch size, from the config's "
        'auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or, without a name, from the last '
        'one in the work directory',
    )
    return parser.parse_args()


@end_with_one_sentence
def main():
    """Train."""
    args = parse_args()
    cfg = config_from_arguments(args)
    if args.amp:
        use_mixed_precision(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(
                f'--auto-scale-lr needs auto_scale_lr.base_batch_size in {args.config}.'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    LesionRunner.from_cfg(cfg).train()


if __name__ == '__main__':
    main()
