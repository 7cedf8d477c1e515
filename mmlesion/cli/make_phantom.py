"""Generate a simulated data set in the layout of a public data set.

Examples:
    mmlesion phantom deeplesion --out data/phantom/DeepLesion \\
        --train 400 --val 60 --test 150 --size 160 --seed 0 --workers 2
    mmlesion phantom lidc --out data/phantom/LIDC-IDRI \\
        --patients 120 --size 160 --seed 0 --workers 2
    mmlesion phantom node21 --out data/phantom/NODE21 \\
        --with-nodules 150 --without 150 --size 512 --seed 0 --workers 2
    mmlesion phantom signs --out data/phantom/signs \\
        --patients 24 --controls 16 --size 128 --seed 0 --workers 2
    mmlesion phantom scans --out data/phantom/scans \\
        --scans 3 --size 160 --length-mm 200 --seed 0 --workers 2
"""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    layouts = parser.add_subparsers(dest='dataset', required=True, metavar='layout')
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument('--out', required=True, help='output folder')
    both.add_argument(
        '--seed', type=int, default=0, help='random seed of the data (default: 0)'
    )
    both.add_argument('--workers', type=int, default=1, help='number of processes')

    _add_deeplesion(layouts, both)
    _add_lidc(layouts, both)
    _add_node21(layouts, both)
    _add_signs(layouts, both)
    _add_scans(layouts, both)


def _add_deeplesion(layouts: Any, both: argparse.ArgumentParser) -> None:
    parser = layouts.add_parser(
        'deeplesion', parents=[both], help='key slices with lesions, as PNG'
    )
    parser.add_argument(
        '--train', type=int, default=400, help='number of training key slices'
    )
    parser.add_argument(
        '--val', type=int, default=60, help='number of validation key slices'
    )
    parser.add_argument(
        '--test', type=int, default=150, help='number of test key slices'
    )
    parser.add_argument(
        '--size',
        type=int,
        default=512,
        help='pixels per side; below 512, only a part of the body is reconstructed',
    )
    parser.add_argument(
        '--context-mm',
        type=float,
        default=20.0,
        help='extent of the neighboring slices on both sides of the key slice, in mm',
    )
    parser.add_argument(
        '--noisy-context',
        type=float,
        default=0.0,
        help='probability that a section of 6 mm of the neighboring slices is too '
        'noisy to be useful (default: %(default)s)',
    )


def _add_lidc(layouts: Any, both: argparse.ArgumentParser) -> None:
    parser = layouts.add_parser(
        'lidc', parents=[both], help='chest CT with nodules, as DICOM and XML'
    )
    parser.add_argument('--patients', type=int, default=40, help='number of patients')
    parser.add_argument(
        '--size',
        type=int,
        default=160,
        help='pixels per side; below 384, only a part of the chest is reconstructed',
    )
    parser.add_argument(
        '--attached',
        type=float,
        default=0.15,
        help='share of the nodules that touch the surface of the lung or a vessel '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--ground-glass',
        type=float,
        default=0.33,
        help='share of the nodules of ground glass, with and without a solid core '
        '(default: %(default)s)',
    )


def _add_node21(layouts: Any, both: argparse.ArgumentParser) -> None:
    parser = layouts.add_parser(
        'node21', parents=[both], help='chest radiographs with nodules, as MetaImage'
    )
    parser.add_argument(
        '--with-nodules',
        type=int,
        default=150,
        help='number of radiographs with nodules',
    )
    parser.add_argument(
        '--without', type=int, default=150, help='number of radiographs without nodules'
    )
    parser.add_argument('--size', type=int, default=1024, help='pixels per side')
    parser.add_argument(
        '--pictures-per-patient',
        type=int,
        default=4,
        help='number of radiographs of each patient (default: %(default)s)',
    )
    parser.add_argument(
        '--diameters-mm',
        type=float,
        nargs=2,
        default=(6, 30),
        help='smallest and largest diameter of a nodule',
    )
    parser.add_argument(
        '--solid-hu',
        type=float,
        nargs=2,
        default=(0, 90),
        help='lowest and highest density of solid nodules in HU; calcified nodules '
        'have 200 to 1000 HU',
    )


def _add_signs(layouts: Any, both: argparse.ArgumentParser) -> None:
    parser = layouts.add_parser(
        'signs', parents=[both], help='CT of whole chests with signs of aspergillosis'
    )
    parser.add_argument(
        '--patients', type=int, default=24, help='number of patients with the disease'
    )
    parser.add_argument(
        '--controls',
        type=int,
        default=16,
        help='number of controls, with one scan each',
    )
    parser.add_argument('--size', type=int, default=128, help='pixels per side')
    parser.add_argument(
        '--max-visits', type=int, default=8, help='maximum number of scans per patient'
    )


def _add_scans(layouts: Any, both: argparse.ArgumentParser) -> None:
    parser = layouts.add_parser(
        'scans', parents=[both], help='whole CT scans with lesions, as DICOM'
    )
    parser.add_argument('--scans', type=int, default=3, help='number of scans')
    parser.add_argument('--size', type=int, default=256, help='pixels per side')
    parser.add_argument(
        '--length-mm', type=float, default=200.0, help='length of a scan along z'
    )


def run(args: argparse.Namespace) -> None:
    """Generate the data set and print its folder.

    Args:
        args: The parsed arguments.
    """
    from mmlesion import phantom

    every = dict(size=args.size, seed=args.seed, workers=args.workers)
    if args.dataset == 'lidc':
        folder = phantom.write_lidc(
            args.out,
            args.patients,
            **every,
            attached=args.attached,
            ground_glass=args.ground_glass,
        )
    elif args.dataset == 'node21':
        folder = phantom.write_node21(
            args.out,
            args.with_nodules,
            args.without,
            **every,
            pictures_per_patient=args.pictures_per_patient,
            diameters_mm=args.diameters_mm,
            solid_hu=args.solid_hu,
        )
    elif args.dataset == 'signs':
        folder = phantom.write_signs(
            args.out, args.patients, args.controls, max_visits=args.max_visits, **every
        )
    elif args.dataset == 'scans':
        folder = phantom.write_scans(
            args.out, args.scans, **every, length_mm=args.length_mm
        )
    else:
        folder = phantom.write_deeplesion(
            args.out,
            args.train,
            args.val,
            args.test,
            **every,
            context_mm=args.context_mm,
            noisy_context=args.noisy_context,
        )
    print(f'Written: {folder}')
