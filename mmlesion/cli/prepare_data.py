"""Prepare a data set for training.

Examples:
    python tools/prepare_data.py deeplesion --data-root data/DeepLesion
    python tools/prepare_data.py lidc --data-root data/LIDC-IDRI
    python tools/prepare_data.py lidc-slices --data-root data/LIDC-IDRI --workers 4
    python tools/prepare_data.py signs --scans data/signs/scans.csv
    python tools/prepare_data.py scans --lesions lesions.csv --out data/mine
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    commands = parser.add_subparsers(dest='dataset', required=True)

    def add(
        name: str, source: str, root: str, about: str, help: str, description: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=help,
            description=(
                description + ' The command may be stopped at any time and run again.'
            ),
        )
        command.add_argument(
            source, dest='root', default=root, help=f'{about} (default: %(default)s)'
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

    deeplesion = add(
        'deeplesion',
        '--data-root',
        'data/DeepLesion',
        'folder of DL_info.csv and Images_png',
        'cache the slices of DeepLesion',
        'Write the slices to a cache, which is faster to read than the PNGs and takes '
        'about as much disk space.',
    )
    deeplesion.add_argument(
        '--num-slices',
        type=int,
        help='store only what stacks of this many slices need (default: all slices)',
    )
    lidc = add(
        'lidc',
        '--data-root',
        'data/LIDC-IDRI',
        'tree of DICOM and XML',
        'cut the nodules of LIDC-IDRI',
        'Write nodules.csv and the patches of all nodules that three readers rated.',
    )
    lidc.add_argument(
        '--crop-list', help='csv of the crops: patient_id, nodule_id, seriesuid'
    )
    lidc.add_argument(
        '--side',
        type=float,
        default=2,
        help='side of the patches in diameters of the nodule (default: %(default)s)',
    )
    lidc.add_argument(
        '--max-shift',
        type=float,
        default=0,
        help='shift patches at random by up to this many diameters, so that the '
        'nodule is not always in the middle (default: %(default)s)',
    )
    lidc.add_argument('--seed', type=int, default=0, help='random seed of the shifts')
    slices = add(
        'lidc-slices',
        '--data-root',
        'data/LIDC-IDRI',
        'tree of DICOM and XML',
        'cut slices of LIDC-IDRI with and without nodules',
        'Write slices.csv and, around the lungs, slices and masks of nodules.',
    )
    slices.add_argument(
        '--size',
        type=int,
        help='side of the slices in pixels (default: 384; 128 for --crops)',
    )
    slices.add_argument(
        '--max-negatives',
        type=int,
        default=20,
        help='largest number of slices without a nodule per series (default: 20)',
    )
    slices.add_argument(
        '--seed', type=int, default=0, help='random seed of the choice of these slices'
    )
    slices.add_argument(
        '--min-readers',
        type=int,
        help='number of readers that must have outlined a nodule (default: 2)',
    )
    slices.add_argument(
        '--placement',
        choices=('random', 'middle'),
        help='place of the nodules of --crops in the slices (default: random)',
    )
    for each in (lidc, slices):
        each.add_argument(
            '--crops',
            help='folder with image/ and nodule_mask/ of nodules, in place of DICOM',
        )
        each.add_argument(
            '--xml',
            help='folder or tar archive of XML files outside the DICOM folders',
        )
    signs = add(
        'signs',
        '--scans',
        'data/signs/scans.csv',
        'csv of scans and labels',
        'project the lungs of scans',
        'Write projections.csv and pictures.',
    )
    signs.add_argument(
        '--grid',
        dest='grid_shape',
        type=int,
        nargs=3,
        default=(216, 256, 256),
        help='size (z, y, x) to which scans are scaled',
    )
    signs.add_argument(
        '--mode',
        default='clip',
        choices=('clip', 'exclude'),
        help='treatment of voxels outside the HU range (default: %(default)s)',
    )
    signs.add_argument(
        '--rotations',
        type=int,
        default=27,
        help='number of rotations, in steps of 5 degrees (default: %(default)s)',
    )
    scans = add(
        'scans',
        '--lesions',
        'data/scans/lesions.csv',
        'csv (scan and mask, or scan and i1 j1 k1 i2 j2 k2) or COCO JSON',
        'write own scans with boxes or masks in the layout of DeepLesion',
        'Write DL_info.csv and Images_png from scans (DICOM folders, NIfTI, MetaImage, '
        'NRRD) and their lesions.',
    )
    scans.add_argument(
        '--seed',
        type=int,
        default=0,
        help='random seed of the division into training, validation and test, where '
        'the table has no splits (default: %(default)s)',
    )
    for each, number in (
        (deeplesion, None),
        (slices, 1),
        (signs, None),
        (scans, None),
    ):
        each.add_argument(
            '--workers',
            type=int,
            default=number,
            help='number of processes, each with one scan in memory '
            f'(default: {number or "all cores"})',
        )


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
    for name in ('size', 'min_readers', 'placement'):
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
    else:
        function = getattr(prepare, f'prepare_{dataset}'.replace('-', '_'))
        done = function(root, out, **options)
    print(done.summary())
    if dataset != 'deeplesion':  # prepare_deeplesion raises its own errors
        done.check()


def _check_crop_options(options: dict, crops: bool) -> None:
    """Raise if an option of slices does not fit their source."""
    if 'placement' in options and not crops:
        raise ValueError('--placement needs --crops')
    if 'min_readers' in options and crops:
        raise ValueError('--min-readers needs DICOM and XML, not --crops')
