"""Export a trained network to torch.export (.pt2) or ONNX (.onnx).

An exported classifier returns class probabilities. An exported detector returns feature
maps. The file is loaded again and compared with the model before it is renamed to its
final name.
"""

import argparse

from .arguments import add_config_options, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of this model')
    parser.add_argument('out', help='output file: NAME.pt2 or NAME.onnx')
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        required=True,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images in pixels',
    )
    parser.add_argument(
        '--channels',
        type=int,
        help='number of channels of the images (default: as in the config)',
    )
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Export the network.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.export import export_network

    cfg = read_config(args.config, args.cfg_options, args.trust_checkpoint)
    done = export_network(
        cfg, args.checkpoint, args.out, tuple(args.size), args.channels
    )
    print(f'{done["file"]}: images {done["inputs"]}, results {done["outputs"]}')
    if done['preprocessor']:
        print(
            'Images must be normalized first: mean {mean}, std {std}'.format(
                **done['preprocessor']
            )
        )
    print(f'Largest difference from the model: {done["difference"]:.1e} of the range')
