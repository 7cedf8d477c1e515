"""Measure the attention of a trained detector at the lesions of its test data.

The measures quantify Figs. 2 and 3 of Tao et al. (MICCAI 2019): spatial attention
inside and outside the lesions, and contextual attention by image. With the masks of
generated data, images with and without the lesion are compared.

  mmlesion measure-attention CONFIG CHECKPOINT --out work_dirs/attention
"""

from __future__ import annotations

import argparse

from .arguments import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command line.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('config', help='config of a ContextRCNN with attention')
    parser.add_argument('checkpoint', help='checkpoint of this model')
    parser.add_argument('--out', required=True, help='output folder')
    parser.add_argument(
        '--masks', help='folder <series>/<slice>.png of masks, as in generated data'
    )
    parser.add_argument('--max-images', type=int, help='maximum number of key slices')
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of the control boxes'
    )
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Measure the attention.

    Args:
        args: The parsed arguments.
    """
    from mmlesion.apis.studies import attention_table, measure_attention

    from .arguments import read_config

    cfg = read_config(args.config, args.cfg_options, args.trust_checkpoint)
    summary = measure_attention(
        cfg, args.checkpoint, args.out, args.masks, args.max_images, args.seed
    )
    print(attention_table(summary))
