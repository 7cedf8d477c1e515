"""Prepare a data set for training.

Examples:
    mmlesion prepare deeplesion --data-root data/DeepLesion
    mmlesion prepare lidc --data-root data/LIDC-IDRI
    mmlesion prepare lidc-slices --data-root data/LIDC-IDRI --workers 4
    mmlesion prepare signs --scans data/signs/scans.csv
    mmlesion prepare scans --lesions lesions.csv --out data/mine
    mmlesion prepare candidates --results results --scans scans --truth truth.csv \\
        --out data/candidates/train
"""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    commands = parser.add_subparsers(dest='dataset', required=True)
    _add_deeplesion(commands)
    _add_lidc(commands)
    _add_lidc_slices(commands)
    _add_signs(commands)
    _add_scans(commands)
    _add_candidates(commands)


def _add_data_set(
    commands: Any, name: str, source: str, root: str, help: str, description: str
) -> argparse.ArgumentParser:
    """Add a data set with the arguments that all data sets have.

    Args:
        commands: Subparsers that receive the data set.
        name: Name of the data set.
        source: Option that names the data, and its help, separated by ``': '``.
        root: Default of this option.
        help: One line for the list of the data sets.
        description: Description of the data set.
    """
    command = commands.add_parser(
        name,
        help=help,
        description=(
            description + ' The command can be interrupted at any time and run again.'
        ),
    )
    option, about = source.split(': ')
    command.add_argument(
        option, dest='root', default=root, help=f'{about} (default: %(default)s)'
    )
    command.add_argument(
        '--cache-dir' if name == 'deeplesion' else '--out',
        dest='out',
        help='output folder (default: the same folder)',
    )
    command.add_argument(
        '--overwrite', action='store_true', help='prepare everything again'
    )
    return command


def _add_workers(parser: argparse.ArgumentParser, number: int | None) -> None:
    parser.add_argument(
        '--workers',
        type=int,
        default=number,
        help='number of processes, each with one scan in memory '
        f'(default: {number or "all cores"})',
    )


def _add_other_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--crops',
        help='folder with image/ and nodule_mask/ of nodules, instead of DICOM',
    )
    parser.add_argument(
        '--xml',
        help='folder or tar archive of XML files, if they are not in the DICOM folders',
    )


def _add_deeplesion(commands: Any) -> None:
    parser = _add_data_set(
        commands,
        'deeplesion',
        '--data-root: folder of DL_info.csv and Images_png',
        'data/DeepLesion',
        'cache the slices of DeepLesion',
        'Write the slices to a cache, which is faster to read than the PNG files and '
        'takes '
        'about as much disk space.',
    )
    parser.add_argument(
        '--num-slices',
        type=int,
        help='store only the slices that stacks of this number of slices need '
        '(default: all slices)',
    )
    _add_workers(parser, None)


def _add_lidc(commands: Any) -> None:
    parser = _add_data_set(
        commands,
        'lidc',
        '--data-root: tree of DICOM and XML',
        'data/LIDC-IDRI',
        'cut out the nodules of LIDC-IDRI',
        'Write nodules.csv and the patches of all nodules rated by three readers.',
    )
    parser.add_argument(
        '--crop-list', help='csv of the crops: patient_id, nodule_id, seriesuid'
    )
    parser.add_argument(
        '--side',
        type=float,
        default=2,
        help='side of the patches in diameters of the nodule (default: %(default)s)',
    )
    parser.add_argument(
        '--max-shift',
        type=float,
        default=0,
        help='shift patches randomly by up to this number of diameters, so that the '
        'nodule is not always in the middle (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed of the shifts')
    _add_other_files(parser)


def _add_lidc_slices(commands: Any) -> None:
    parser = _add_data_set(
        commands,
        'lidc-slices',
        '--data-root: tree of DICOM and XML',
        'data/LIDC-IDRI',
        'cut out slices of LIDC-IDRI with and without nodules',
        'Write slices.csv, slices cropped around the lungs, and masks of nodules.',
    )
    parser.add_argument(
        '--size',
        type=int,
        help='side of the slices in pixels (default: 384; 128 for --crops)',
    )
    parser.add_argument(
        '--max-negatives',
        type=int,
        default=20,
        help='maximum number of slices without a nodule per series (default: 20)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='random seed of the selection of these slices',
    )
    parser.add_argument(
        '--min-readers',
        type=int,
        help='number of readers that must have outlined a nodule (default: 2)',
    )
    parser.add_argument(
        '--placement',
        choices=('random', 'middle'),
        help='position of the nodules of --crops in the slices (default: random)',
    )
    parser.add_argument(
        '--lung-mask',
        metavar='DIR',
        help='folder of lung masks of another program instead of the built-in masks: '
        'for each series a label file or DICOM segmentation SeriesInstanceUID.nii.gz '
        '(.nii, .mha, .nrrd, .dcm), or a folder SeriesInstanceUID of '
        'lung_*_lobe_*.nii.gz from TotalSegmentator',
    )
    _add_other_files(parser)
    _add_workers(parser, 1)


def _add_signs(commands: Any) -> None:
    parser = _add_data_set(
        commands,
        'signs',
        '--scans: csv of scans and labels',
        'data/signs/scans.csv',
        'compute projections of the lungs of scans',
        'Write projections.csv and images.',
    )
    parser.add_argument(
        '--grid',
        dest='grid_shape',
        type=int,
        nargs=3,
        default=(216, 256, 256),
        help='size (z, y, x) to which scans are scaled',
    )
    parser.add_argument(
        '--mode',
        default='clip',
        choices=('clip', 'exclude'),
        help='treatment of voxels outside the HU range (default: %(default)s)',
    )
    parser.add_argument(
        '--rotations',
        type=int,
        default=27,
        help='number of rotations, in steps of 5 degrees (default: %(default)s)',
    )
    _add_workers(parser, None)


def _add_scans(commands: Any) -> None:
    parser = _add_data_set(
        commands,
        'scans',
        '--lesions: csv (scan and mask, or scan and i1 j1 k1 i2 j2 k2) or COCO JSON',
        'data/scans/lesions.csv',
        'write your own scans with boxes or masks in the layout of DeepLesion',
        'Write DL_info.csv and Images_png from scans (DICOM folders, NIfTI, MetaImage, '
        'NRRD) and their lesions.',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='random seed of the split into training, validation and test, if '
        'the table has no splits (default: %(default)s)',
    )
    parser.add_argument(
        '--shares',
        type=float,
        nargs=3,
        default=(0.7, 0.15, 0.15),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of the patients in this split (default: 0.7 0.15 0.15)',
    )
    parser.add_argument(
        '--every',
        dest='every_mm',
        metavar='MM',
        type=float,
        help='add key slices at this distance, with and without lesions, for training '
        'on whole scans; requires masks of all lesions (default: only the largest '
        'slice of a lesion)',
    )
    _add_workers(parser, None)


def _add_candidates(commands: Any) -> None:
    parser = commands.add_parser(
        'candidates',
        help='cut patches around findings, to train the step RescoreFindings',
        description='Write candidates.csv and patches around the findings of mmlesion '
        'detect and around lesions.',
    )
    parser.add_argument(
        '--results', dest='root', required=True, help='output folder of mmlesion detect'
    )
    parser.add_argument(
        '--scans', required=True, help='folder or list of the same scans'
    )
    parser.add_argument(
        '--truth', required=True, metavar='CSV', help='lesions, as for evaluate-scans'
    )
    parser.add_argument(
        '--excluded',
        metavar='CSV',
        help='lesions that do not count, as for evaluate-scans',
    )
    parser.add_argument(
        '--unlisted-are-empty',
        action='store_true',
        help='treat scans that are not in the csv as scans without lesions',
    )
    parser.add_argument('--out', required=True, help='output folder')
    parser.add_argument(
        '--max-findings',
        type=int,
        default=30,
        help='maximum number of findings of a scan (default: %(default)s)',
    )
    _add_workers(parser, None)


def run(args: argparse.Namespace) -> None:
    """Prepare the data set and print a summary.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.datasets import prepare

    options = {key: value for key, value in vars(args).items() if key != 'parser'}
    dataset, root, out = (options.pop(name) for name in ('dataset', 'root', 'out'))
    if dataset == 'lidc' and args.crops and not (args.crop_list and args.xml):
        raise ValueError('--crops needs --crop-list and --xml')
    if dataset == 'lidc-slices' and args.crops and not args.out:
        raise ValueError('--crops needs --out')
    if dataset.startswith('lidc'):
        out = out or root
    for name in ('size', 'min_readers', 'placement', 'lung_mask'):
        if options.get(name, 0) is None:
            del options[name]
    _check_crop_options(options, bool(getattr(args, 'crops', None)))
    if dataset == 'lidc':
        from mmlesion.ct.nodule_patches import PatchGeometry

        options['geometry'] = PatchGeometry(
            options.pop('side'), options.pop('max_shift'), options.pop('seed')
        )
    crops = [options.pop(name, None) for name in ('crops', 'crop_list')]
    if crops[0] and dataset == 'lidc-slices':
        # Crops are always prepared again, which takes seconds.
        for name in ('xml', 'overwrite', 'workers'):
            del options[name]
        done = prepare.prepare_lidc_crop_slices(crops[0], out, **options)
    elif crops[0]:
        done = prepare.prepare_lidc_crops(*crops, out_dir=out, **options)
    elif dataset == 'candidates':
        from mmlesion.scan.candidates import prepare_candidates

        done = prepare_candidates(root, out, **options)
    else:
        function = getattr(prepare, f'prepare_{dataset}'.replace('-', '_'))
        done = function(root, out, **options)
    print(done.summary())
    if dataset != 'deeplesion':  # prepare_deeplesion raises its own errors
        done.check()


def _check_crop_options(options: dict, crops: bool) -> None:
    """Raise an error if an option of slices does not fit their source."""
    if 'placement' in options and not crops:
        raise ValueError('--placement needs --crops')
    if 'min_readers' in options and crops:
        raise ValueError('--min-readers needs DICOM and XML, not --crops')
    if 'lung_mask' in options and crops:
        raise ValueError('--lung-mask needs DICOM and XML, not --crops')
