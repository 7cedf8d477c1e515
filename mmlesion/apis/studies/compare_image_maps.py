"""Maps of several classifiers on the same test images, e.g. radiographs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.attribution import normalize_map
from mmlesion.engine.hooks.activation_map_hook import ActivationMapHook
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.evaluation.metrics.lesion_mask import lesion_mask
from mmlesion.explain.methods import Method, find_method
from mmlesion.explain.names import sample_name
from mmlesion.explain.placement import map_on_input
from mmlesion.registry import type_name
from mmlesion.visualization import draw_nodule_maps

POSITIVE = 1


@dataclass
class _Map:
    """A map that the test of a config adds to the data samples."""

    title: str
    method: Method
    layers: Sequence[str] | str
    target: int | str | Callable | None
    score: str | Callable


def compare_image_maps(
    configs: Sequence[Config],
    checkpoints: Sequence[str | Path],
    out_dir: str | Path,
    images: Sequence[str] | None = None,
    num: int = 6,
    seed: int = 0,
) -> list[Path]:
    """Draw the maps of several networks on the same images.

    The columns of ``images.png`` are the images, each with the outline of its lesions.
    Each ``mmlesion.ActivationMapHook`` of a config adds a row of maps, scaled from
    their minimum to their maximum. A config without this hook adds the map that its
    head computes, such as the map of NAM before its fitted shift. The text below each
    map is the predicted probability of a lesion, in red if it is on the wrong side of
    0.5.

    Source: Behrendt et al., "Quantitative evaluation of activation maps for
    weakly-supervised lung nodule segmentation", the figure with the maps of several
    networks.

    Args:
        configs: Configs of classifiers with the same test data.
        checkpoints: A checkpoint for each config.
        out_dir: Output folder of the figure.
        images: Names of images, as of :func:`mmlesion.explain.names.sample_name`. By
            default, ``num`` images are chosen at random, two thirds with a lesion.
        num: Number of images.
        seed: Random seed of the selection.

    Returns:
        A list with the path of the figure.

    Raises:
        ValueError: If the numbers of configs and checkpoints differ, a config has
            neither an ``ActivationMapHook`` nor a head with maps, an image is not in
            the test data of all networks, or there is none.
    """
    if not configs or len(configs) != len(checkpoints):
        raise ValueError(
            'One checkpoint for each config is needed, got '
            f'{len(configs)} configs and {len(checkpoints)} checkpoints.'
        )
    rows: dict[str, list[dict[str, Any]]] = {}
    for cfg, checkpoint in zip(configs, checkpoints):
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        places = {_name(dataset.get_data_info(i), i): i for i in range(len(dataset))}
        if images is None:
            images = _choose(dataset, places, num, seed)
        absent = [name for name in images if name not in places]
        if absent or not images:
            raise ValueError(
                f'{cfg.filename}: '
                + (f'no image {absent[0]} is' if absent else 'there is no image')
                + ' in its test data.'
            )
        network = _network_name(cfg)
        if any(row.startswith(f'{network} ') for row in rows):
            raise ValueError(f'{cfg.filename}: a second config of the name {network}.')
        model = load_trained_model(cfg, checkpoint)
        for name in tqdm(images, desc=f'Drawing {network}', unit='image'):
            packed = dataset[places[name]]
            for title, column in _columns(cfg, model, packed, name).items():
                rows.setdefault(f'{network} {title}', []).append(column)
    first = next(iter(rows.values()))
    path = Path(out_dir) / 'images.png'
    draw_nodule_maps(
        [column['picture'] for column in first],
        [column['mask'] for column in first],
        [column['label'] for column in first],
        {title: [column['map'] for column in row] for title, row in rows.items()},
        {title: [column['score'] for column in row] for title, row in rows.items()},
        path,
        list(images or ()),
    )
    return [path]


@torch.no_grad()
def _columns(
    cfg: Config, model: Any, packed: dict[str, Any], name: str
) -> dict[str, dict[str, Any]]:
    """Return the content of the column of one image, by title of the map."""
    image, sample = packed['inputs'], packed['data_samples']
    batch = model.data_preprocessor(pseudo_collate([packed]), False)['inputs']
    # As predicted, e.g. with the temperature of a CalibratedClassifier
    score = float(model.test_step(pseudo_collate([packed]))[0].pred_score[POSITIVE])
    size = tuple(image.shape[1:])
    mask = lesion_mask(sample.to_dict(), size, name)
    label = int(sample.gt_label.flatten()[0])
    found = {}
    for each in _maps_of(cfg, model):
        target = label if each.target == 'label' else each.target
        raw = each.method(model, each.layers, score=each.score)(batch, target)
        if isinstance(raw, dict):
            raise ValueError(f'{cfg.filename}: {each.method.name} needs one layer.')
        full = map_on_input(raw[0, :1], size, tuple(batch.shape[2:]))
        found[each.title] = dict(
            picture=image[len(image) // 2].float().numpy(),
            mask=mask if mask.ndim == 2 else mask[..., mask.shape[2] // 2],
            map=normalize_map(full[None])[0, 0].cpu().numpy(),
            score=score,
            label=label,
        )
    return found


def _maps_of(cfg: Config, model: Any) -> list[_Map]:
    """Return the maps that the test of a config computes."""
    maps = []
    for hook in cfg.get('custom_hooks') or ():
        if type_name(hook) != 'ActivationMapHook':
            continue
        known = set(inspect.signature(ActivationMapHook).parameters) | {'type'}
        options = {key: value for key, value in hook.items() if key not in known}
        method = find_method(hook.get('method') or 'GradCAM')
        method = Method(method.name, method.kind, {**options, **method.options})
        maps.append(
            _Map(
                _title(method.name, hook, maps),
                method,
                hook.get('layers') or (),
                hook.get('target'),
                hook.get('score', 'auto'),
            )
        )
    if not maps and any(hasattr(m, 'activation_maps') for m in model.modules()):
        method = find_method('HESAM')
        maps.append(_Map(method.name, method, (), POSITIVE, 'auto'))
    if not maps:
        raise ValueError(
            f'{cfg.filename}: expected a mmlesion.ActivationMapHook among '
            'custom_hooks, which defines the maps that are drawn, or a head that '
            'computes maps.'
        )
    return maps


def _title(name: str, hook: Mapping[str, Any], maps: Sequence[_Map]) -> str:
    """Return a title for a map that no earlier map has."""
    taken = {each.title for each in maps}
    layers = hook.get('layers') or ()
    layers = [layers] if isinstance(layers, str) else list(map(str, layers))
    detailed = f'{name} {" ".join(layers)}'.strip()
    titles = [name, detailed, *(f'{detailed} {n}' for n in range(2, len(maps) + 3))]
    return next(title for title in titles if title not in taken)


def _choose(dataset: Any, places: Mapping[str, int], num: int, seed: int) -> list[str]:
    """Select images at random: two with a lesion for each image without."""
    names = [
        list(places)[i] for i in np.random.default_rng(seed).permutation(len(places))
    ]
    by_label: dict[int, list[str]] = {0: [], 1: []}
    for name in names:
        by_label[int(dataset.get_data_info(places[name])['gt_label'])].append(name)
    without = num // 3
    return by_label[1][: num - without] + by_label[0][:without]


def _name(info: dict[str, Any], index: int) -> str:
    return sample_name(info, 0, index)


def _network_name(cfg: Config) -> str:
    """Return ``'densenet121'`` for ``phantom_maps_densenet121_node21.py``."""
    stem = Path(cfg.filename or 'network').stem
    return stem.removeprefix('phantom_').removeprefix('maps_').split('_node21')[0]
