"""What the programs in ``tools/`` share: arguments, config, error messages."""

import functools
import os
import re
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.device import get_device


def add_common_arguments(parser, distributed=True):
    """Add the arguments that training and testing share, as MMDetection's.

    Args:
        parser (argparse.ArgumentParser): Gets the arguments.
        distributed (bool): Whether the program may run in several processes.
    """
    parser.set_defaults(launcher='none', local_rank=0)
    parser.add_argument(
        '--work-dir',
        help='folder of logs and results; by default '
        'work_dir of the config, or work_dirs/<name of the config>',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_cfg.max_epochs=2 key="[a,b]"',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='let the checkpoint run the code it carries; otherwise a '
        'checkpoint with any is refused',
    )
    if distributed:
        parser.add_argument(
            '--launcher',
            choices=['none', 'pytorch', 'slurm', 'mpi'],
            default='none',
            help='what started the processes',
        )
        parser.add_argument(
            '--local_rank',
            '--local-rank',
            type=int,
            default=0,
            help='set by torch.distributed.launch',
        )
    parser.epilog = (
        'On bad input the program ends with one sentence; '
        'MMLESION_DEBUG=1 shows the traceback as well.'
    )


def config_from_arguments(args):
    """Read the config and let the common arguments override it.

    Args:
        args (argparse.Namespace): With ``config`` and the arguments of
            :func:`add_common_arguments`.

    Returns:
        Config: The config.

    Raises:
        FileNotFoundError: There is no such config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    # package::path names a config of an installed package.
    if '::' not in args.config and not Path(args.config).is_file():
        raise FileNotFoundError(f'Config {args.config} does not exist.')
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    cfg.trust_checkpoint = args.trust_checkpoint
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(args.config).stem)
    return cfg


def use_mixed_precision(cfg):
    """Train in float16 on a GPU, in bfloat16 on a CPU.

    Args:
        cfg (Config): Its ``optim_wrapper`` is changed in place.

    Raises:
        ValueError: A detector on a CPU: MMCV's operators have no bfloat16 there.
    """
    if get_device() != 'cpu':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    elif cfg.get('default_scope') == 'mmdet':
        raise ValueError(
            "--amp needs a GPU for detectors, since MMCV's operators have "
            'no bfloat16 on a CPU; and there is none here.'
        )
    else:
        cfg.optim_wrapper.type = 'mmlesion.Bf16OptimWrapper'


def end_with_one_sentence(main):
    """Make a program end with one sentence and code 1 on bad input.

    Bad input is what this package reports as ``ValueError``, ``OSError`` (a
    missing file, a full disk), ``FloatingPointError`` (a NaN loss), or
    ``KeyError`` and ``ImportError`` with a sentence. Other exceptions keep
    their traceback, and with ``MMLESION_DEBUG`` set so do these.

    Args:
        main (callable): The program.

    Returns:
        callable: The same program.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except (
            ValueError,
            OSError,
            FloatingPointError,
            ImportError,
            KeyError,
        ) as error:
            unexpected = isinstance(error, KeyError) and ' ' not in str(error)
            if unexpected or os.environ.get('MMLESION_DEBUG'):
                raise
            sys.exit(_sentence(error))

    return wrapped


def _sentence(error):
    """The message alone, also of an exception out of a loading process."""
    # A KeyError shows its message quoted.
    text = str(error.args[0] if isinstance(error, KeyError) else error)
    if 'Original Traceback' in text:
        text = re.split(
            rf'^(?:\w+\.)*{type(error).__name__}: ', text, flags=re.MULTILINE
        )[-1]
    return ' '.join(text.split()) or type(error).__name__
