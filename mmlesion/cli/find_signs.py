"""Find pathological signs in one chest CT without prepared data.

The results are written to a subfolder of OUT with the name of the scan.

Example:
    mmlesion find-signs SCAN --out work_dirs/signs --report --models \\
        configs/psam_cavity_vgg19_axial.py AXIAL.pth \\
        configs/sapsam/psam_cavity_vgg19_coronal.py CORONAL.pth \\
        configs/sapsam/psam_cavity_vgg19_sagittal.py SAGITTAL.pth
"""

import argparse

from .arguments import (
    add_config_options,
    add_lung_mask_arguments,
    add_scan_arguments,
    check_lung_mask_arguments,
    config_pairs,
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
        '--models',
        nargs='+',
        required=True,
        metavar='CONFIG CHECKPOINT',
        help='config and checkpoint of each sign and view, alternating',
    )
    add_config_options(parser)
    add_lung_mask_arguments(parser)
    parser.add_argument(
        '--score-thr',
        nargs='+',
        default=[],
        metavar='P|SIGN=P',
        help='minimum probability of a finding, for all signs or for one sign, e.g. '
        '0.5 cavity=0.62 with the threshold of the sign in summary.json of '
        'evaluate-signs (default: 0.5)',
    )
    parser.add_argument(
        '--combination',
        default='product',
        choices=('product', 'mean', 'min'),
        help='combination of the views (default: %(default)s)',
    )
    parser.add_argument(
        '--grid',
        dest='grid_shape',
        type=int,
        nargs=3,
        default=(216, 256, 256),
        metavar=('Z', 'Y', 'X'),
        help='size to which the training scans were scaled (default: 216 256 256)',
    )
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Find the signs and print their probabilities.

    Args:
        args: The parsed arguments.
    """
    check_lung_mask_arguments(args)
    score_thr, sign_thrs = _thresholds(args.score_thr)
    from mmlesion.apis.studies import find_signs, signs_table
    from mmlesion.scan.find_scans import open_scan_folder

    configs, checkpoints = config_pairs(args)
    with open_scan_folder(args.out, args.scan, args.keep_identity) as folder:
        result = find_signs(
            args.scan,
            configs,
            checkpoints,
            folder,
            lung_mask=args.lung_mask,
            score_thr=score_thr,
            combination=args.combination,
            grid_shape=args.grid_shape,
            outputs=outputs_from_arguments(args, 'Pathological signs'),
            sign_thrs=sign_thrs,
            lung_labels=args.lung_labels,
        )
    print_warnings(folder)
    print(signs_table(result))
    print_findings_path(folder, args.report)


def _thresholds(words: list[str]) -> tuple[float, dict[str, float]]:
    """Return the threshold of all signs, and the thresholds of single signs."""
    found: dict[str, float] = {}
    for word in words:
        sign, _, number = word.rpartition('=')
        if sign in found:
            raise ValueError(
                f'--score-thr {" ".join(words)}: expected one value for all signs and '
                'one for each sign'
            )
        try:
            found[sign] = float(number)
        except ValueError:
            raise ValueError(
                f'--score-thr {word}: expected a number or SIGN=NUMBER'
            ) from None
    return found.pop('', 0.5), found
