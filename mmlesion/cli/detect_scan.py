"""Detect lesions in whole CT scans.

SCAN is a DICOM folder, a NIfTI, MetaImage or NRRD file, a folder of such scans, or a
text file with one scan per line. The results of a scan, such as findings.json, are
written to a subfolder of OUT. After an interruption, the same command resumes and skips
complete scans.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import (
    add_config_options,
    add_lung_mask_arguments,
    check_lung_mask_arguments,
    parse_overrides,
    read_config,
    zoo_name,
)
from .scan_outputs import (
    add_output_arguments,
    outputs_from_arguments,
    print_findings_path,
    print_warnings,
)

if TYPE_CHECKING:
    from mmlesion.apis import ProgramTask
    from mmlesion.scan.many_scans import RunSummary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('scan', help='scan, folder of scans or list of scans')
    parser.add_argument(
        '--config',
        help='config of a detector, scan config with additional steps, or the name of '
        'a model of the zoo',
    )
    parser.add_argument(
        '--checkpoint',
        help='checkpoint of the detector (default: as in the scan config; a model of '
        'the zoo needs no checkpoint)',
    )
    parser.add_argument('--out', metavar='DIR', help='output folder')
    parser.add_argument(
        '--series',
        metavar='UID',
        help='DICOM series, if the folder contains several (default: the largest '
        'axial CT)',
    )
    parser.add_argument(
        '--list-series', action='store_true', help='list the DICOM series and exit'
    )
    parser.add_argument(
        '--device', help='device such as cpu or cuda:0 (default: the GPU if available)'
    )
    add_lung_mask_arguments(parser)
    _add_detection(parser.add_argument_group('detection'))
    _add_many_scans(parser.add_argument_group('many scans'))
    add_output_arguments(parser)
    add_config_options(parser)


def _add_detection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--every',
        type=float,
        metavar='MM',
        help='distance between key slices (default: slice distance in the config, 2 '
        'mm)',
    )
    group.add_argument(
        '--precision',
        choices=['auto', 'float32', 'float16', 'bfloat16'],
        default='auto',
        help='data type of the backbone; auto: float16 on a GPU, float32 on a CPU',
    )
    group.add_argument(
        '--score-thr',
        type=float,
        help="minimum score of a box (default: that of the config's scan_link, or 0.1)",
    )
    group.add_argument(
        '--link',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='parameters of the rule that links boxes to findings, such as score=mean '
        "max_elongation=1.2 (default: the config's scan_link); see "
        'mmlesion.scan.linking.LinkOptions',
    )
    group.add_argument(
        '--slice-by-slice',
        action='store_true',
        help='process each key slice separately, cropped to its own body, as in the '
        'test pipeline; this disables shared features and is several times slower',
    )
    group.add_argument(
        '--froc',
        metavar='JSON',
        help='FROC curve of this detector from mmlesion evaluate-scans --out; the page '
        'then shows the expected false positives at a threshold',
    )


def _add_many_scans(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--readers',
        type=int,
        default=1,
        metavar='N',
        help='number of processes that read scans in advance (default: %(default)s)',
    )
    group.add_argument(
        '--dask',
        metavar='ADDRESS',
        help="address of a Dask scheduler, or 'local' to start --workers processes",
    )
    group.add_argument(
        '--workers',
        type=int,
        default=2,
        metavar='N',
        help='number of processes for --dask local',
    )
    group.add_argument(
        '--retry',
        action='store_true',
        help='repeat scans that failed in an earlier run',
    )


def run(args: argparse.Namespace) -> None:
    """Detect lesions in the scans.

    Args:
        args: The parsed arguments.
    """
    if args.list_series:
        from mmlesion.ct import list_series

        print('\n'.join(str(each) for each in list_series(args.scan)))
        return
    if not args.config or not args.out:
        raise ValueError('expected --config and --out')
    check_lung_mask_arguments(args)
    from mmlesion.scan.find_scans import find_scans
    from mmlesion.scan.identity import names_without_identity
    from mmlesion.scan.many_scans import run_scans

    scans = find_scans(args.scan)
    if not args.keep_identity:
        scans = names_without_identity(scans)
    if args.series and len(scans) > 1:
        raise ValueError(
            f'--series selects a series of one DICOM folder, but {args.scan} contains '
            f'{len(scans)} scans'
        )
    if args.lung_mask and len(scans) > 1:
        raise ValueError(
            f'--lung-mask is the mask of one scan, but {args.scan} contains '
            f'{len(scans)} scans'
        )
    summary = run_scans(
        scans,
        args.out,
        _task(args, single=len(scans) == 1),
        args.series,
        args.readers if len(scans) > 1 else 0,
        args.dask,
        args.workers,
        args.retry,
        progress=len(scans) > 1,
        keep_identity=args.keep_identity,
    )
    _report(args, summary, scans)


def _task(args: argparse.Namespace, single: bool) -> ProgramTask:
    from mmlesion.apis import ProgramTask, ScanOptions

    options = ScanOptions(
        every_mm=args.every,
        share=False if args.slice_by_slice else None,
        crop='slice' if args.slice_by_slice else None,
        precision=args.precision,
        link=_link_values(args),
        progress=single,
        froc=args.froc and os.path.abspath(args.froc),
    )
    config, checkpoint = _detector(args)
    if args.cfg_options:
        read_config(config, args.cfg_options)  # checks the options
    return ProgramTask(
        config,
        checkpoint,
        args.device,
        options,
        # The page of a scan links to the list of all scans.
        outputs_from_arguments(
            args, title='', back=None if single else '../../index.html'
        ),
        parse_overrides(args.cfg_options or []),
        args.trust_checkpoint,
        args.lung_mask and os.path.abspath(args.lung_mask),
        args.lung_labels,
    )


def _link_values(args: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of --score-thr and --link."""
    from mmlesion.scan.linking import LinkOptions

    values = parse_overrides(args.link, '--link')
    if args.score_thr is not None:
        values['score_thr'] = args.score_thr
    LinkOptions.from_dict(values, '--score-thr or --link')  # before scans are read
    return values


def _report(
    args: argparse.Namespace, summary: RunSummary, scans: dict[str, Path]
) -> None:
    from mmlesion.scan.many_scans import FAILURES_FILE

    complete = [*summary.before, *summary.done]
    if not complete:
        raise ValueError(summary.failures[0].reason)
    if len(scans) == 1:
        folder = Path(args.out) / complete[0]
        print_warnings(folder)
        print_findings_path(folder, args.report)
        return
    print(
        f'{len(complete)} of {len(scans)} scans complete ({len(summary.done)} in this '
        f'run): {args.out}'
    )
    if args.report == 'folder':
        from mmlesion.scan.report import write_list_page

        threshold = 0.5 if args.show_thr is None else args.show_thr
        page = write_list_page(args.out, threshold=threshold)
        print(f'List of scans: {page}')
    if summary.failures:
        from mmlesion.files import counted

        failed = counted(len(summary.failures), 'scan')
        raise ValueError(f'{failed} failed, see {Path(args.out) / FAILURES_FILE}')


def _detector(args: argparse.Namespace) -> tuple[str, str | None]:
    """Return config and checkpoint as absolute paths, or the checkpoint as a URL.

    Workers may run in another folder.
    """
    from mmlesion.compat import installed_config
    from mmlesion.engine.zoo import zoo_model

    config, checkpoint = args.config, args.checkpoint
    if zoo_name(config) is not None:
        model = zoo_model(config)
        config, checkpoint = str(model.config_path), checkpoint or model.address
    elif config.startswith('mmlesion::'):
        config = installed_config(config.removeprefix('mmlesion::'))
    if checkpoint is not None and '://' not in checkpoint:
        checkpoint = os.path.abspath(checkpoint)
    return os.path.abspath(config), checkpoint
