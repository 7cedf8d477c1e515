"""Prepare a data set for training.

Examples:
    python tools/prepare_data.py deeplesion --data-root data/DeepLesion
    python tools/prepare_data.py lidc --data-root data/LIDC-IDRI
    python tools/prepare_data.py lidc-slices --data-root data/LIDC-IDRI --workers 4
"""
import argparse
import sys


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Prepare a data set for training.')
    commands = parser.add_subparsers(dest='dataset', required=True)

    def add(name, root, about, help, description):
        one = commands.add_parser(name, help=help, description=(
            description + ' May be stopped at any time and run again.'))
        one.add_argument('--data-root', default=root,
                         help=f'{about} (default: %(default)s)')
        one.add_argument(
            '--overwrite', action='store_true', help='write again what is there')
        return one

    one = add('deeplesion', 'data/DeepLesion', 'folder of DL_info.csv and Images_png',
              'cache the slices of DeepLesion', 'Write the slices of DeepLesion to a '
              'cache, quicker to read than the PNGs, that takes about as much disk.')
    one.add_argument('--cache-dir', help='where to write (default: DATA_ROOT/cache)')
    one.add_argument('--num-slices', type=int, help='store only what stacks of this '
                     'many slices need (default: all slices)')
    one.add_argument('--workers', type=int, help='processes (default: one per core)')

    one = add('lidc', 'data/LIDC-IDRI', 'tree of DICOM and XML',
              'cut the nodules of LIDC-IDRI', 'Write nodules.csv and the patches of '
              'all nodules that three readers rated.')
    one.add_argument('--crops', help='folder of image/ and nodule_mask/: take crops of '
                     'nodules')
    one.add_argument('--crop-list', help='csv with patient_id, nodule_id, seriesuid of '
                     'the crops')
    slices = add('lidc-slices', 'data/LIDC-IDRI', 'tree of DICOM and XML',
                 'cut slices of LIDC-IDRI with and without nodules', 'Write slices.csv '
                 'and, around the lungs, slices and the masks of their nodules.')
    for each in (one, slices):
        each.add_argument('--out', help='where to write (default: DATA_ROOT)')
        each.add_argument(
            '--xml', help='folder or tar archive of XML not beside the DICOM files')
    slices.add_argument('--size', type=int, default=384,
                        help='sides of the crop in pixels (default: %(default)s)')
    slices.add_argument('--max-negatives', type=int, default=20, help='slices without '
                        'a nodule to keep of a series (default: %(default)s)')
    slices.add_argument('--seed', type=int, default=0, help='of drawing these')
    slices.add_argument('--workers', type=int, default=1, help='processes, each with '
                        'one scan in memory (default: %(default)s)')
    args = parser.parse_args(argv)
    if args.dataset == 'lidc' and args.crops and not (args.crop_list and args.xml):
        parser.error('--crops needs --crop-list and --xml')
    return args


def prepare(args):
    """Call the package and report."""
    from mmlesion.datasets import prepare
    options = dict(vars(args))
    dataset, root = options.pop('dataset'), options.pop('data_root')
    if dataset == 'deeplesion':
        print(prepare.prepare_deeplesion(root, **options).summary())
        return
    if dataset == 'lidc-slices':
        done = prepare.prepare_lidc_slices(root, options.pop('out') or root, **options)
    elif args.crops:
        done = prepare.prepare_lidc_crops(
            args.crops, args.crop_list, args.xml, args.out or root,
            overwrite=args.overwrite)
    else:
        done = prepare.prepare_lidc(
            root, args.out or root, args.xml, overwrite=args.overwrite)
    print(done.summary())
    done.check()


def main(argv=None):
    """Prepare, or say in one sentence why not."""
    args = parse_args(argv)
    try:
        prepare(args)
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        if getattr(error, 'filename', None):
            reason = f'{error.filename}: {reason}'
        print(f'prepare_data: {reason}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('prepare_data: stopped; run again to go on', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
