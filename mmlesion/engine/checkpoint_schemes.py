"""Safe reader for all addresses of MMEngine's checkpoint loader.

Importing this module replaces the readers of MMEngine's ``CheckpointLoader`` in
this process. ``init_cfg=dict(type='Pretrained')`` at any depth, MMEngine's
inferencers and the ``load_checkpoint`` of host libraries then use
:func:`~mmlesion.engine.checkpoint.read_checkpoint`. Use
:func:`~mmlesion.engine.checkpoint.trust_checkpoints` to allow a file to run code.
"""

import os
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.runner import checkpoint as host
from mmengine.runner.checkpoint import CheckpointLoader

from .checkpoint import read_checkpoint
from .zoo import PREFIX

_WEB = ('http://', 'https://')
#: Prefixes of published weights, longer prefixes first.
_ZOOS = ('open-mmlab://', 'openmmlab://', 'torchvision://', 'modelzoo://', 'mmcls://')
_STORES = ('pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Read a local file.

    Args:
        filename: The file; ``~`` is expanded to the home folder.
        map_location: As :func:`torch.load`.

    Returns:
        The checkpoint.
    """
    return read_checkpoint(os.path.expanduser(filename), map_location)


def load_from_web(filename: str, map_location: Any = None) -> dict:
    """Download a file to the cache of torch.hub, once, and read it.

    Args:
        filename: An ``http(s)://`` address.
        map_location: As :func:`torch.load`.

    Returns:
        The checkpoint.
    """
    folder = os.path.join(torch.hub.get_dir(), 'checkpoints')
    path = os.path.join(folder, PurePosixPath(urlparse(filename).path).name)
    rank, processes = get_dist_info()
    if rank == 0 and not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        torch.hub.download_url_to_file(filename, path, progress=os.isatty(0))
    if processes > 1:
        barrier()
    return read_checkpoint(path, map_location)


def load_from_zoo(filename: str, map_location: Any = None) -> dict:
    """Read published weights by their name, such as ``open-mmlab://vgg16_caffe``.

    Args:
        filename: The name with its prefix.
        map_location: As :func:`torch.load`.

    Returns:
        The checkpoint.

    Raises:
        ValueError: If there are no published weights with this name.
    """
    prefix, _, name = filename.partition('://')
    if prefix in ('open-mmlab', 'openmmlab'):
        addresses = host.get_external_models()
        name = host.get_deprecated_model_names().get(name, name)
    elif prefix == 'mmcls':
        addresses = host.get_mmcls_models()
    else:
        addresses = host.get_torchvision_models()
    address = addresses.get(name)
    if address is None:
        raise ValueError(
            f'Checkpoint {filename}: there are no published weights {name!r}.'
        )
    if not address.startswith(_WEB):
        return load_from_local(
            os.path.join(host._get_mmengine_home(), address), map_location
        )
    checkpoint = load_from_web(address, map_location)
    return (
        host._process_mmcls_checkpoint(checkpoint) if prefix == 'mmcls' else checkpoint
    )


def load_from_store(filename: str, map_location: Any = None) -> dict:
    """Reject the address of an object store.

    Args:
        filename: The address.
        map_location: Not used.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f'Checkpoint {filename} must be a local file, an http(s) address or the name '
        'of published weights.'
    )


def use_safe_reader() -> None:
    """Make MMEngine's ``CheckpointLoader`` use :func:`read_checkpoint`."""
    for prefixes, loader in (
        ('', load_from_local),
        (PREFIX, read_checkpoint),
        (_WEB, load_from_web),
        (_ZOOS, load_from_zoo),
        (_STORES, load_from_store),
    ):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


use_safe_reader()
