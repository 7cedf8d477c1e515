"""Train and test a config on each fold of a cross-validation."""

import argparse

from mmlesion.apis import (
    add_common_arguments,
    config_from_arguments,
    cross_validate,
    cross_validation_table,
    end_with_one_sentence,
    set_nodule_inputs,
    use_mixed_precision,
)


def parse_args():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config whose data sets take fold, num_folds and seed'
    )
    parser.add_argument('--folds', type=int, default=5, help='number of folds')
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='of the folds, the first weights and the training',
    )
    parser.add_argument(
        '--inputs',
        metavar='1c|3c|11c|21c',
        help='slices or scales of each nodule, for the configs *_lidc_11c.py; the '
        'default folder of results is named by it',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16 on a GPU, bfloat16 on a CPU',
    )
    parser.add_argument(
        '--test-only',
        action='store_true',
        help='test the finished folds of the work directory again, by what the '
        'config measures now, e.g. its maps against the nodules',
    )
    add_common_arguments(parser)
    parser.epilog += (
        ' Broken off, the same command goes on where it was. '
        'Results: cross_validation.json, roc.png and epochs.png in '
        'the work directory.'
    )
    return parser.parse_args()


@end_with_one_sentence
def main():
    """Cross-validate."""
    args = parse_args()
    cfg = config_from_arguments(args)
    if args.amp:
        use_mixed_precision(cfg)
    if args.inputs is not None:
        set_nodule_inputs(cfg, args.inputs)
        if args.work_dir is None:
            cfg.work_dir += f'_{args.inputs}'
    print(
        cross_validation_table(
            cross_validate(cfg, args.folds, args.seed, args.test_only)
        )
    )


if __name__ == '__main__':
    main()
