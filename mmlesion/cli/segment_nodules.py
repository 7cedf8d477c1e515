"""Outline the nodules of one chest CT with a network trained with slice labels.

The results are written to a subfolder of OUT with the name of the scan.

Example:
    mmlesion segment-nodules SCAN --out work_dirs/nodules --report \\
        --model configs/nam_1gap_lidc.py CHECKPOINT
"""

import argparse

from .arguments import (
    add_config_options,
    add_lung_mask_arguments,
    add_scan_arguments,
    check_lung_mask_arguments,
    read_config,
    zoo_name,
)
from .scan_outputs import (
    add_output_arguments,
    outputs_from_arguments,
    print_findings_path,
    print_warnings,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    add_scan_arguments(parser)
    parser.add_argument(
        '--model',
        nargs='+',
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='config of a NAMSegmentor and its checkpoint, or a model of the zoo',
    )
    add_config_options(parser)
    add_lung_mask_arguments(parser)
    parser.add_argument(
        '--truth', metavar='PATH', help='label file of the true nodules, for 3-D Dice'
    )
    parser.add_argument(
        '--size',
        type=int,
        help='side of the square around the lungs in pixels (default: as in the '
        'config)',
    )
    parser.add_argument(
        '--zoom',
        type=int,
        help='magnification of the slices (default: as in the config)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        help='minimum probability of a slice (default: as in the config, or 0.5)',
    )
    parser.add_argument(
        '--min-slices',
        type=int,
        default=2,
        help='minimum number of neighboring slices of a nodule (default: %(default)s)',
    )
    parser.add_argument(
        '--max-gap',
        type=int,
        default=1,
        help='maximum number of slices without a mask inside a nodule '
        '(default: %(default)s)',
    )
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Outline the nodules and print their sizes.

    Args:
        args: The parsed arguments.
    """
    check_lung_mask_arguments(args)
    from mmlesion.apis.studies import nodule_table, segment_nodules
    from mmlesion.apis.studies.segment_nodules import SegmentOptions
    from mmlesion.scan.find_scans import open_scan_folder

    config, checkpoint = _model(args.model)
    options = SegmentOptions(
        args.size,
        args.zoom,
        args.score_thr,
        args.min_slices,
        args.max_gap,
        args.lung_labels,
    )
    with open_scan_folder(args.out, args.scan, args.keep_identity) as folder:
        result = segment_nodules(
            args.scan,
            read_config(config, args.cfg_options, args.trust_checkpoint),
            checkpoint,
            folder,
            options,
            args.truth,
            outputs_from_arguments(args, 'Lung nodules'),
            args.lung_mask,
        )
    print_warnings(folder)
    print(nodule_table(result))
    print_findings_path(folder, args.report)


def _model(words: list[str]) -> tuple[str, str]:
    """Return config and checkpoint of ``--model``."""
    from mmlesion.engine.zoo import PREFIX

    name = zoo_name(words[0])
    if len(words) == 1 and name is not None:
        return words[0], PREFIX + name
    if len(words) != 2:
        raise ValueError(
            '--model needs a config and a checkpoint, or a model of the zoo, but got '
            f'{" ".join(words)}'
        )
    return words[0], words[1]
