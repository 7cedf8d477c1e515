"""Measure activation maps of classifiers on their test data, with controls.

Example with the folds of two networks:
    mmlesion measure-maps \\
        work_dirs/cam_lidc_11c/fold0/cam_lidc_11c.py \\
        work_dirs/cam_lidc_11c/fold0/epoch_10.pth \\
        work_dirs/cam_lidc_11c/fold1/cam_lidc_11c.py \\
        work_dirs/cam_lidc_11c/fold1/epoch_10.pth \\
        work_dirs/hesam_lidc_11c/fold0/hesam_lidc_11c.py \\
        work_dirs/hesam_lidc_11c/fold0/epoch_10.pth \\
        work_dirs/hesam_lidc_11c/fold1/hesam_lidc_11c.py \\
        work_dirs/hesam_lidc_11c/fold1/epoch_10.pth \\
        --name CAM CAM HESAM HESAM --method SoftActivationMap --out work_dirs/measured
"""

import argparse

from .arguments import add_model_pairs, config_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    add_model_pairs(
        parser, 'config and checkpoint of each network or fold, alternating'
    )
    parser.add_argument('--out', required=True, help='output folder')
    parser.add_argument(
        '--name',
        nargs='+',
        help='name of the network of each config; equal names are folds of one network '
        '(default: name of the config)',
    )
    parser.add_argument(
        '--method',
        nargs='+',
        default=['GradCAM', 'HiResCAM'],
        metavar='NAME',
        help='attribution methods (default: GradCAM HiResCAM); '
        'SoftActivationMap:equation is the map by the equation of a head',
    )
    parser.add_argument(
        '--measure',
        nargs='+',
        metavar='NAME',
        help='measures (default: all), such as MapLocalization MapOutline '
        'MapInsertionDeletion MapROAD',
    )
    _add_map_arguments(parser)
    parser.add_argument(
        '--mask-key',
        default='mask',
        help='key of the mask in the data samples (default: %(default)s)',
    )
    parser.add_argument(
        '--group-key',
        default='patient',
        help='key of the patient in the data samples (default: %(default)s)',
    )
    parser.add_argument('--reference', help='network/method to compare with')
    parser.add_argument(
        '--ratings',
        nargs='+',
        metavar=('CSV', 'COLUMN'),
        help='correlate each measure with columns of a csv whose first column is the '
        'name of the case, such as nodules.csv spiculation lobulation',
    )
    parser.add_argument(
        '--max-images', type=int, metavar='N', help='measure only the first N cases'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='random seed of the untrained network and the bootstrap',
    )
    parser.add_argument(
        '--no-untrained',
        action='store_true',
        help='omit the network with random weights',
    )


def _add_map_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--layers', nargs='+', default=[], metavar='NAME', help='layers for the maps'
    )
    parser.add_argument(
        '--target',
        default='predicted',
        help="'predicted', 'label' or the number of a class (default: predicted)",
    )
    parser.add_argument(
        '--score',
        default='auto',
        choices=['auto', 'logit', 'log_odds', 'probability'],
        help='explained score (default: log-odds of two classes, else the logit)',
    )


def run(args: argparse.Namespace) -> None:
    """Measure the maps.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import MeasureOptions, measure_maps
    from mmlesion.explain.measures import ALL_MEASURES

    options = MeasureOptions(
        methods=[_method(text) for text in args.method],
        measures=args.measure or ALL_MEASURES,
        layers=args.layers,
        target=int(args.target) if args.target.isdigit() else args.target,
        score=args.score,
        mask_key=args.mask_key,
        group_key=args.group_key,
        untrained=not args.no_untrained,
        reference=args.reference,
        names=args.name,
        ratings=args.ratings[0] if args.ratings else None,
        rating_columns=args.ratings[1:] if args.ratings else (),
        max_images=args.max_images,
        seed=args.seed,
    )
    measure_maps(*config_pairs(args), args.out, options)
    with open(f'{args.out}/maps.md', encoding='utf-8') as file:
        print(file.read())


def _method(text: str) -> str | dict:
    """Parse ``'SoftActivationMap:equation'``, a method and a definition of the map."""
    name, _, kind = text.partition(':')
    return dict(type=name, map=kind, name=text) if kind else name
