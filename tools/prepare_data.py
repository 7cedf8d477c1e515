"""Prepare a data set for training.

Examples:
    python tools/prepare_data.py deeplesion --data-root data/DeepLesion
    python tools/prepare_data.py lidc --data-root data/LIDC-IDRI
"""
import argparse
import sys


def parse_args(argv=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Prepare a data set for training.')
    commands = parser.add_subparsers(dest='dataset', required=True)

    both = argparse.ArgumentParser(add_help=False)
    both.add_argument(
        '--overwrite', action='store_true', help='write again what is there')

    deeplesion = commands.add_parser(
        'deeplesion', parents=[both], help='cache the slices of DeepLesion',
        description='Write the slices of DeepLesion to a cache that is quicker '
        'to read than the PNGs and takes about as much disk. May be stopped at '
        'any time and run again.')
    deeplesion.add_argument(
        '--data-root', default='data/DeepLesion',
        help='folder of DL_info.csv and Images_png (default: %(default)s)')
    deeplesion.add_argument(
        '--cache-dir', help='where to write (default: DATA_ROOT/cache)')
    deeplesion.add_argument(
        '--num-slices', type=int, help='store only what stacks of this many '
        'slices need (default: all slices)')
    deeplesion.add_argument(
        '--workers', type=int, help='processes (default: one per core)')

    lidc = commands.add_parser(
        'lidc', parents=[both], help='cut the nodules of LIDC-IDRI',
        description='Write nodules.csv and the patches of all nodules that three '
        'readers rated. May be stopped at any time and run again.')
    lidc.add_argument(
        '--data-root', default='data/LIDC-IDRI',
        help='tree of DICOM and XML (default: %(default)s)')
    lidc.add_argument('--out', help='where to write (default: DATA_ROOT)')
    lidc.add_argument(
        '--xml', help='folder or tar archive of XML not beside the DICOM files')
    lidc.add_argument(
        '--crops', help='folder of image/ and nodule_mask/: take crops of nodules')
    lidc.add_argument(
        '--crop-list', help='csv with patient_id, nodule_id, seriesuid of the crops')
    args = parser.parse_args(argv)
    if args.dataset == 'lidc' and args.crops and not (args.crop_list and args.xml):
        parser.error('--crops needs --crop-list and --xml')
    return args


def prepare_lidc(args):
    """Call the package and report."""
    from mmlesion.datasets import prepare
    out = args.out or args.data_root
    if args.crops:
        done = prepare.prepare_lidc_crops(
            args.crops, args.crop_list, args.xml, out, overwrite=args.overwrite)
    else:
        done = prepare.prepare_lidc(
            args.data_root, out, args.xml, overwrite=args.overwrite)
    print(done.summary())
    done.check()


def prepare_deeplesion(args):
    """Call the package and report in one line."""
    from mmlesion.datasets.prepare import prepare_deeplesion
    done = prepare_deeplesion(
        args.data_root, args.cache_dir, num_slices=args.num_slices,
        workers=args.workers, overwrite=args.overwrite)
    print(f'{done.series} series are ready ({done.already_there} were there '
          f'before); wrote {done.slices} slices, {done.size / 2**20:.1f} MiB'
          + (f'; {done.absent} series of the csv are not on disk'
             if done.absent else ''))


def main(argv=None):
    """Prepare, or say in one sentence why not."""
    args = parse_args(argv)
    try:
        prepare_lidc(args) if args.dataset == 'lidc' else prepare_deeplesion(args)
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
