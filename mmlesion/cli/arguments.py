"""Arguments that are shared by several programs, and the configs they select."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .overrides import check_numbers, check_overrides

if TYPE_CHECKING:
    from mmengine.config import Config


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` and ``--trust-checkpoint``.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_cfg.max_epochs=2 key="[a,b]"',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='allow the checkpoint to run code that it contains; without this flag, '
        'such a checkpoint is rejected',
    )


def add_common_arguments(
    parser: argparse.ArgumentParser, distributed: bool = True
) -> None:
    """Add the arguments shared by training and testing, named as in MMDetection.

    Args:
        parser: Parser that receives the arguments.
        distributed: Whether the program can run in several processes.
    """
    parser.set_defaults(launcher='none', local_rank=0)
    parser.add_argument(
        '--work-dir',
        help="output folder (default: the config's work_dir, or "
        'work_dirs/<name of the config>)',
    )
    add_config_options(parser)
    if distributed:
        parser.add_argument(
            '--launcher',
            choices=['none', 'pytorch', 'slurm', 'mpi'],
            default='none',
            help='job launcher (default: %(default)s)',
        )
        parser.add_argument(
            '--local_rank',
            '--local-rank',
            type=int,
            default=0,
            help='set by torch.distributed.launch',
        )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the positional arguments ``config`` and ``checkpoint``.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('config', help='config file, or the name of a model of the zoo')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint of this model; omit it for a model of the zoo',
    )


def checkpoint_from_arguments(args: argparse.Namespace) -> str:
    """Return the checkpoint of :func:`add_model_arguments`.

    The zoo provides the checkpoint of its models. A positional argument after the name
    of such a model is then ``images``, if the program has ``images``.

    Args:
        args: The parsed arguments; ``images`` may be changed.

    Returns:
        Path or URL of the checkpoint.

    Raises:
        ValueError: If there is no checkpoint.
    """
    from mmlesion.engine.zoo import zoo_model

    if zoo_name(args.config) is not None:
        if getattr(args, 'images', '') is None:
            args.images, args.checkpoint = args.checkpoint, None
        if args.checkpoint is None:
            return zoo_model(args.config).address
    if args.checkpoint is None:
        raise ValueError(f'{args.config}: expected a checkpoint as second argument')
    return args.checkpoint


def add_amp_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--amp``.

    Args:
        parser: Parser that receives the argument.
    """
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: float16 on a GPU, bfloat16 on a CPU '
        '(classifiers only)',
    )


def add_inputs_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--inputs`` and ``--common-extent``.

    Args:
        parser: Parser that receives the argument.
    """
    parser.add_argument(
        '--inputs',
        metavar='1c|3c|11c|21c',
        help='number of slices or scales of each nodule, for the configs '
        '*_lidc_11c.py; the value is appended to the name of the default work '
        'directory',
    )
    parser.add_argument(
        '--common-extent',
        action='store_true',
        help='show only surroundings that the CT crops of nearly all nodules contain, '
        'and omit nodules with smaller crops; without this flag, the repeated border '
        'of a crop reveals the size of the nodule',
    )


def add_bootstrap_arguments(parser: argparse.ArgumentParser, groups: str) -> None:
    """Add ``--resamples``, ``--seed`` and ``--out`` of a FROC curve.

    Args:
        parser: Parser that receives the arguments.
        groups: Groups of cases that the bootstrap resamples, in plural.
    """
    parser.add_argument(
        '--resamples',
        type=int,
        default=1000,
        help=f'number of bootstrap resamples of {groups} (default: %(default)s)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of the bootstrap'
    )
    parser.add_argument(
        '--out', metavar='JSON', help='output file of the curve and the table'
    )


def add_lung_mask_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--lung-mask`` and ``--lung-labels`` of a scan.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument(
        '--lung-mask',
        metavar='PATH',
        help='lung mask of another program instead of the built-in mask: label file, '
        'DICOM segmentation, or folder of lung_*_lobe_*.nii.gz from TotalSegmentator',
    )
    parser.add_argument(
        '--lung-labels',
        type=int,
        nargs='+',
        metavar='N',
        help='labels of lung in --lung-mask, such as 10 11 12 13 14 for a file of '
        'TotalSegmentator with all organs (default: all labels)',
    )


def check_lung_mask_arguments(args: argparse.Namespace) -> None:
    """Check the arguments of :func:`add_lung_mask_arguments`.

    Args:
        args: The parsed arguments.

    Raises:
        ValueError: If there are labels without a mask.
    """
    if args.lung_labels and not args.lung_mask:
        raise ValueError('--lung-labels needs --lung-mask')


def add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the positional argument ``scan``, and ``--out``.

    Args:
        parser: Parser that receives the arguments.
    """
    parser.add_argument('scan', help='DICOM folder, NIfTI, MetaImage or NRRD file')
    parser.add_argument('--out', required=True, help='output folder')


def add_model_pairs(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the positional arguments ``CONFIG CHECKPOINT [CONFIG CHECKPOINT ...]``.

    Args:
        parser: Parser that receives the arguments.
        meaning: Help text that describes the networks.
    """
    parser.add_argument(
        'models',
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help=f'{meaning}; a model of the zoo needs no checkpoint',
    )
    add_config_options(parser)


def read_config(
    path: str, cfg_options: list[str] | None = None, trust_checkpoint: bool = False
) -> Config:
    """Read a config and apply overrides.

    Args:
        path: A file, ``package::folder/file.py`` for a config of an installed
            package, or the name of a model of the zoo.
        cfg_options: Overrides in the form ``KEY=VALUE``.
        trust_checkpoint: Whether a checkpoint may run code.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If an override is not ``KEY=VALUE`` or does not fit the config.
    """
    from mmengine.config import Config

    from mmlesion.engine.trained_model import as_config
    from mmlesion.engine.zoo import zoo_model

    if zoo_name(path) is not None:
        cfg = Config.fromfile(zoo_model(path).config_path)
    else:
        cfg = as_config(path)
    options = parse_overrides(cfg_options or [])
    check_overrides(cfg, options)
    cfg.merge_from_dict(options)
    check_numbers(cfg)
    cfg.trust_checkpoint = trust_checkpoint
    return cfg


def zoo_name(text: str) -> str | None:
    """Return the name of a model of the zoo, or None if the argument is not one.

    Args:
        text: The argument ``config``: ``hesam_lidc_11c``,
            ``mmlesion::hesam_lidc_11c``, a file or another config.

    Returns:
        The name without a prefix.
    """
    from mmlesion.engine.zoo import zoo_folder, zoo_models

    name = text.removeprefix('mmlesion::')
    if name.endswith('.py') or not (zoo_folder() / 'zoo.json').is_file():
        return None
    return name if name in zoo_models() else None


def parse_overrides(pairs: list[str], option: str = '--cfg-options') -> dict:
    """Parse overrides in the same way as mmengine's ``DictAction``.

    Args:
        pairs: Overrides in the form ``KEY=VALUE``.
        option: Option of the command line, for errors.

    Returns:
        The values by key.

    Raises:
        ValueError: If an override has no ``=``.
    """
    from mmengine.config import DictAction

    wrong = [pair for pair in pairs if '=' not in pair]
    if wrong:
        raise ValueError(f'{option} {wrong[0]}: expected KEY=VALUE')
    parser = argparse.ArgumentParser()
    parser.add_argument('--pairs', nargs='+', action=DictAction, default={})
    # The = allows values that begin with a minus sign.
    found: dict = {}
    for pair in pairs:
        try:
            found.update(parser.parse_args(['--pairs', pair]).pairs)
        except AssertionError as error:
            raise ValueError(f'{option} {pair}: {error}') from None
    return found


def config_from_arguments(args: argparse.Namespace) -> Config:
    """Read the config and let the common arguments override it.

    Args:
        args: Has ``config`` and the arguments of :func:`add_common_arguments`.

    Returns:
        The config.

    Raises:
        FileNotFoundError: If the config does not exist.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options, args.trust_checkpoint)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = args.config.rpartition('::')[2]  # a file or a model of the zoo
        cfg.work_dir = os.path.join('work_dirs', Path(name).stem)
    suffix = apply_inputs_arguments(cfg, args)
    if args.work_dir is None:
        cfg.work_dir += suffix
    return cfg


def apply_inputs_arguments(cfg: Config, args: argparse.Namespace) -> str:
    """Change a config according to :func:`add_inputs_argument`.

    Args:
        cfg: The config, changed in place.
        args: The parsed arguments. Programs without these arguments are supported.

    Returns:
        The suffix of the work directory of the changed config.
    """
    suffix = ''
    if getattr(args, 'inputs', None) is not None:
        from mmlesion.apis import set_nodule_inputs

        set_nodule_inputs(cfg, args.inputs)
        suffix += f'_{args.inputs}'
    if getattr(args, 'common_extent', False):
        from mmlesion.apis import set_nodule_extent

        set_nodule_extent(cfg)
        suffix += '_common_extent'
    return suffix


def config_pairs(
    args: argparse.Namespace,
) -> tuple[list[Config], list[str]]:
    """Return configs and checkpoints of :func:`add_model_pairs`.

    A model of the zoo that is not followed by a checkpoint has the weights of the zoo.

    Args:
        args: The parsed arguments.

    Returns:
        The configs, and the checkpoints in the same order.

    Raises:
        ValueError: If a config has no checkpoint.
        FileNotFoundError: If a config does not exist.
    """
    from mmlesion.engine.zoo import zoo_model

    configs, checkpoints = [], []
    given = list(args.models)
    while given:
        path = given.pop(0)
        configs.append(read_config(path, args.cfg_options, args.trust_checkpoint))
        followed = given and (
            '://' in given[0]
            or Path(given[0]).suffix in ('.pth', '.pt', '.safetensors')
        )
        if zoo_name(path) is not None and not followed:
            checkpoints.append(zoo_model(path).address)
        elif given:
            checkpoints.append(given.pop(0))
        else:
            raise ValueError(f'{path}: expected a checkpoint for each config')
    return configs, checkpoints


def training_config(args: argparse.Namespace) -> Config:
    """Read the config of a training run; apply mixed precision if ``--amp`` is set.

    Args:
        args: See :func:`config_from_arguments`; also has ``amp``.

    Returns:
        The config.
    """
    cfg = config_from_arguments(args)
    if args.amp:
        use_mixed_precision(cfg)
    return cfg


def use_mixed_precision(cfg: Config) -> None:
    """Train in float16 on a GPU, in bfloat16 on a CPU.

    Args:
        cfg: The config; its ``optim_wrapper`` is changed in place.

    Raises:
        ValueError: If the model is a detector and there is no GPU, because MMCV's
            operators do not support bfloat16 on a CPU.
    """
    from mmengine.device import get_device

    from mmlesion.engine.hooks.float32_boxes_hook import add_float32_boxes

    add_float32_boxes(cfg)
    if get_device() != 'cpu':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    elif cfg.get('default_scope') == 'mmdet':
        raise ValueError(
            '--amp needs a GPU for detectors: this machine has no GPU, and the '
            'operators of MMCV do not support bfloat16 on a CPU.'
        )
    else:
        cfg.optim_wrapper.type = 'mmlesion.Bf16OptimWrapper'
