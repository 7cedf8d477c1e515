"""Train detectors with several seeds and compare them by FROC, with intervals.

Without configs, the rows of Tables 1 and 3 of Tao et al. (MICCAI 2019) on generated
data are compared. After an interruption, the same command resumes. The output folder
contains table.md, table.csv and table.json.

  mmlesion compare-detectors --out work_dirs/tables --phantom 400 60 150 160
  mmlesion compare-detectors CONFIG CONFIG --out work_dirs/pair --cpu-minutes 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

#: Detectors of Tables 1 and 3, and two modern detectors.
TABLES_1_AND_3 = (
    'phantom_rfcn_3slice',
    'phantom_3dce_9slice',
    'phantom_3dce_15slice',
    'phantom_3dce_21slice',
    'phantom_3dce_csatt_9slice',
    'phantom_3dce_csatt_15slice',
    'phantom_3dce_csatt_21slice',
    'phantom_3dce_catt_15slice',
    'phantom_3dce_satt_15slice',
    'phantom_atss_r18_fpn_15slice',
    'phantom_atss_r18_early_15slice',
)
REFERENCE = 'phantom_3dce_csatt_15slice'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument(
        'configs', nargs='*', help='configs (default: the rows of Tables 1 and 3)'
    )
    parser.add_argument('--out', required=True, help='output folder')
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        default=[0, 1, 2],
        help='random seeds (default: 0 1 2)',
    )
    parser.add_argument(
        '--reference', help='name of the config with which the others are compared'
    )
    parser.add_argument(
        '--data', metavar='DIR', help='root folder of the data set for all configs'
    )
    parser.add_argument(
        '--test-data',
        metavar='DIR',
        help='root folder of a data set whose split is compared instead, e.g. a '
        'larger set; finished trainings are not repeated',
    )
    parser.add_argument(
        '--phantom',
        nargs=4,
        type=int,
        metavar=('TRAIN', 'VAL', 'TEST', 'SIZE'),
        help='generate the data set first: numbers of key slices of the splits, and '
        'image size',
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--epochs', type=int, help='number of epochs of all configs')
    length.add_argument(
        '--cpu-minutes',
        type=float,
        help='CPU time of each training run, which determines the number of epochs',
    )
    parser.add_argument('--images', type=int, help='number of training images')
    parser.add_argument(
        '--width', type=int, help='number of channels of the first layer'
    )
    parser.add_argument(
        '--split',
        choices=['val', 'test'],
        default='test',
        help='split for the comparison; use val to select a recipe (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--resamples', type=int, default=2000, help='number of bootstrap resamples'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', metavar='KEY=VALUE', help='override all configs'
    )


def run(args: argparse.Namespace) -> None:
    """Train, test and compare the detectors.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import (
        ComparisonOptions,
        compare_detectors,
        comparison_table,
    )
    from mmlesion.phantom import write_deeplesion

    from .arguments import read_config

    names = args.configs
    reference = args.reference
    if not names:
        names = [f'mmlesion::phantom/{name}.py' for name in TABLES_1_AND_3]
        reference = reference or REFERENCE
    configs = [read_config(name, args.cfg_options) for name in names]
    data = args.data
    if args.phantom is not None:
        data = data or str(Path(args.out) / 'DeepLesion')
        train, val, test, size = args.phantom
        write_deeplesion(data, train, val, test, size)
    table = compare_detectors(
        configs,
        args.out,
        ComparisonOptions(
            seeds=args.seeds,
            reference=reference,
            data_root=data,
            test_root=args.test_data,
            epochs=args.epochs,
            cpu_minutes=args.cpu_minutes,
            images=args.images,
            width=args.width,
            num_resamples=args.resamples,
            split=args.split,
        ),
    )
    print(comparison_table(table))
