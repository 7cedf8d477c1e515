"""Arguments that select the output files of a scan."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmlesion.apis.scan_program import CaseOutputs

_FORMATS = ('json', 'csv', 'nifti', 'slicer', 'dicom')
_WINDOWS = ('lung', 'soft tissue', 'bone', 'liver')


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--formats``, ``--report`` and the settings of the page.

    Args:
        parser: Parser that receives the arguments.
    """
    group = parser.add_argument_group('output')
    group.add_argument(
        '--formats',
        nargs='+',
        choices=_FORMATS,
        default=['json', 'csv', 'nifti'],
        metavar='NAME',
        help=f'formats of the findings: {", ".join(_FORMATS)}; dicom (SEG and SR) '
        'needs a DICOM scan (default: json csv nifti)',
    )
    group.add_argument(
        '--report',
        nargs='?',
        const='folder',
        choices=['folder', 'html'],
        help='write a page for the browser: a folder (default) or one html file '
        'that contains everything',
    )
    group.add_argument(
        '--window',
        choices=_WINDOWS,
        help='initial window of the page (default: lung or soft tissue, by the tissue '
        'around the finding with the highest score)',
    )
    group.add_argument(
        '--show-thr',
        type=float,
        metavar='SCORE',
        help='initial score threshold of the page (default: 0.5, '
        'or less if the highest score is lower)',
    )
    group.add_argument(
        '--keep-identity',
        action='store_true',
        help='keep names, IDs and dates of the patient in file names, JSON, csv '
        'and page',
    )


def outputs_from_arguments(
    args: argparse.Namespace,
    title: str,
    shared_assets: str | None = None,
    back: str | None = None,
) -> CaseOutputs:
    """Return the output settings of a scan.

    Args:
        args: The parsed arguments.
        title: Heading of the page.
        shared_assets: See :class:`mmlesion.apis.scan_program.CaseOutputs`.
        back: See :class:`mmlesion.apis.scan_program.CaseOutputs`.
    """
    from mmlesion.apis.scan_program import CaseOutputs

    # `findings.json` is always written, because it marks a complete folder.
    formats = tuple(dict.fromkeys((*args.formats, 'json')))
    return CaseOutputs(
        formats=formats,
        report=args.report,
        title=title,
        window=args.window,
        threshold=args.show_thr,
        keep_identity=args.keep_identity,
        shared_assets=shared_assets,
        back=back,
    )


def print_warnings(folder: Path) -> None:
    """Print the warnings of a scan, as they are in its ``findings.json``.

    Args:
        folder: Folder of the results of the scan.
    """
    from mmlesion.files import read_text

    for warning in json.loads(read_text(folder / 'findings.json'))['warnings']:
        print(f'warning: {warning}')


def print_findings_path(folder: Path, report: str | None) -> None:
    """Print the path of the page of a scan, or of ``findings.json`` without a page.

    Args:
        folder: Folder of the results of the scan.
        report: Value of ``--report``.
    """
    page = {'folder': 'report/index.html', 'html': 'report.html'}.get(report or '')
    print(f'Findings: {folder / (page or "findings.json")}')
