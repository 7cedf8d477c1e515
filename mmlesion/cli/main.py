"""Dispatch of the console command ``mmlesion``."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from mmlesion.version import __version__

from .errors import exit_on_user_error
from .interrupt import INTERRUPTED

#: Subcommands: name, then (module of this package, one line of help).
COMMANDS = {
    'train': ('train', 'train a detector, classifier or segmentor from a config'),
    'test': ('test', 'test a checkpoint: metrics, figures, predictions'),
    'cross-validate': ('cross_validate', 'train and test a config on each fold'),
    'detect': ('detect_scan', 'detect lesions in whole CT scans'),
    'evaluate-scans': ('evaluate_scans', 'evaluate findings of scans by 3-D FROC'),
    'explain': ('explain', 'draw activation maps of images, scans or a test set'),
    'compare-maps': ('compare_maps', 'draw maps of several networks side by side'),
    'measure-attention': (
        'measure_attention',
        'measure the attention of a detector at lesions',
    ),
    'measure-maps': ('measure_maps', 'measure activation maps and control maps'),
    'audit-nodules': (
        'audit_nodules',
        'measure label leaks of nodule patches and the agreement of the readers',
    ),
    'calibrate': ('calibrate', 'calibrate the probabilities of a classifier'),
    'nodule-table': ('nodule_table', 'train and test nodule classifiers as one table'),
    'compare-detectors': (
        'compare_detectors',
        'train detectors with several seeds and compare them by FROC',
    ),
    'results-table': ('results_table', 'print the results of experiments as a table'),
    'find-signs': ('find_signs', 'find pathological signs in one scan'),
    'evaluate-signs': (
        'evaluate_signs',
        'evaluate networks of signs, disease and survival on whole scans',
    ),
    'sign-maps': ('sign_maps', 'locate pathological signs in 3-D'),
    'segment-nodules': ('segment_nodules', 'outline the nodules of one scan with NAM'),
    'segment-crops': ('segment_nodule_crops', 'segment nodule crops and print Dice'),
    'export': ('export', 'export a network with torch.export or to ONNX'),
    'prepare': ('prepare_data', 'prepare a data set for training'),
    'deeplesion-to-coco': ('deeplesion_to_coco', 'write DL_info.csv as COCO JSON'),
    'coco-to-deeplesion': ('coco_to_deeplesion', 'write COCO JSON as DL_info.csv'),
    'froc': ('froc', 'evaluate predictions of any detector by FROC'),
    'phantom': ('make_phantom', 'generate a simulated data set'),
}


def main(argv: Sequence[str] | None = None, command: str | None = None) -> int:
    """Run a subcommand.

    Args:
        argv: Arguments, without the program's name. Defaults to ``sys.argv[1:]``.
        command: Subcommand, for a program with only one. Defaults to the
            first argument.

    Returns:
        Exit status: 0 on success, 1 after bad input, 130 after an interrupt.
    """
    status = exit_on_user_error(_run)(argv, command)
    if status == INTERRUPTED and argv is None:
        # A second interrupt could change the exit status while Python shuts down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _run(argv: Sequence[str] | None, command: str | None) -> None:
    arguments = list(sys.argv[1:] if argv is None else argv)
    prog = None
    if command is None:
        parser = _parser()
        known = parser.parse_args(arguments[:1])
        command, arguments = known.command, arguments[1:]
        prog = f'mmlesion {command}'
    assert command is not None
    module = importlib.import_module(f'.{COMMANDS[command][0]}', __package__)
    parser = argparse.ArgumentParser(
        prog=prog,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='On bad input, the program prints one sentence. Set MMLESION_DEBUG=1 '
        'to show the traceback.',
    )
    module.add_arguments(parser)
    args = parser.parse_args(arguments)
    module.run(args)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog='mmlesion',
        description='Lesion detection in CT and maps that explain networks.\n\n'
        'commands:\n'
        + '\n'.join(f'  {n:{width}}  {help}' for n, (_, help) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='mmlesion COMMAND --help lists the arguments of a command.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument(
        'command', choices=COMMANDS, metavar='command', help='one of the commands above'
    )
    return parser
