"""Choice of the slices, scales and surroundings that a nodule classifier reads."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

#: Channels of each input of ``mmlesion.LoadNodulePatch``.
NUM_CHANNELS = {'1c': 1, '3c': 3, '11c': 11, '21c': 21}

#: Extent that the crops of 95 % of the nodules in ``../shared/data/lidc`` contain, see
#: :class:`~mmlesion.ct.nodule_extent.NoduleExtent`.
COMMON_EXTENT = dict(z_mm=1.0, diameters=0.65, physical_mm=9.0)


def set_nodule_inputs(cfg: Config, inputs: str) -> Config:
    """Change the input of a nodule classifier's config.

    The function changes ``inputs`` of every ``mmlesion.LoadNodulePatch``,
    ``flip_slices`` of every ``mmlesion.RandomSymmetry`` (the channels of '3c' are
    scales and must not be reversed), ``in_channels`` of the backbone (with the same
    number of windows per slice as before), and ``num_planes`` of a head that has it.

    Args:
        cfg: The config; changed in place.
        inputs: '1c', '3c', '11c' or '21c': D_1C, D_3C, D_11C or D_21C in Lei et al.,
            arXiv 1810.12494, Table 2.

    Returns:
        The config.

    Raises:
        ValueError: If the input does not exist, or the config reads no nodules.
    """
    if inputs not in NUM_CHANNELS:
        raise ValueError(
            f'The inputs of a nodule are {", ".join(NUM_CHANNELS)}, got {inputs!r}.'
        )
    before = None
    for step in _dicts(cfg):
        if step.get('type') == 'mmlesion.LoadNodulePatch':
            before = step['inputs']
            step['inputs'] = inputs
        elif step.get('type') == 'mmlesion.RandomSymmetry':
            step['flip_slices'] = inputs != '3c'
    model = cfg.get('model') or {}
    backbone = model.get('backbone') or {}
    if before is None or 'in_channels' not in backbone:
        raise ValueError(
            f'{cfg.filename}: inputs can be selected only if the data are loaded by '
            'mmlesion.LoadNodulePatch and model.backbone has in_channels.'
        )
    windows = backbone['in_channels'] // NUM_CHANNELS[before]
    backbone['in_channels'] = windows * NUM_CHANNELS[inputs]
    if 'num_planes' in model['head']:
        model['head']['num_planes'] = NUM_CHANNELS[inputs]
    return cfg


def set_nodule_extent(cfg: Config, extent: dict[str, float] | None = None) -> Config:
    """Limit the input of a nodule classifier to the same surroundings of all nodules.

    The function sets ``extent`` of every ``mmlesion.LoadNodulePatch`` and of every
    ``mmlesion.LIDCNoduleDataset``, which omits nodules whose CT does not contain
    the extent.

    Args:
        cfg: The config; changed in place.
        extent: Keys of :class:`~mmlesion.ct.nodule_extent.NoduleExtent`. Defaults to
            :data:`COMMON_EXTENT`.

    Returns:
        The config.

    Raises:
        ValueError: If the config reads no nodules.
    """
    found = 0
    for each in _dicts(cfg):
        kind = each.get('type')
        if kind in ('mmlesion.LoadNodulePatch', 'mmlesion.LIDCNoduleDataset'):
            each['extent'] = dict(extent or COMMON_EXTENT)
            found += 1
    if not found:
        raise ValueError(
            f'{cfg.filename}: a common extent can be chosen only where the data come '
            'by mmlesion.LoadNodulePatch.'
        )
    return cfg


def _dicts(value: Any) -> Iterator[Any]:
    """Yield all dicts at any depth."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _dicts(each)
    elif hasattr(value, 'items'):
        yield value
        for _, each in value.items():
            yield from _dicts(each)
