"""Maps of several nodule classifiers, drawn side by side."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.attribution import SoftActivationMap, normalize_map
from mmlesion.attribution.input_slices import num_input_scales
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.visualization import draw_nodule_maps

MALIGNANT = 1


def compare_maps(
    configs: Sequence[Config],
    checkpoints: Sequence[str | Path],
    out_dir: str | Path,
    nodules: Sequence[str] | None = None,
    num: int = 6,
    seed: int = 0,
    num_slices: int = 5,
) -> list[Path]:
    """Draw the maps of several networks (CAM, SAM, HESAM) for the same nodules.

    Each nodule has a figure ``<nodule>.png``. Its rows are the networks. Its columns
    are single slices, each repeated in all channels of the input, and the whole
    volume, whose map is drawn on the middle slice. The columns of ``nodules.png`` are
    the nodules, with the maps of their volumes. All maps explain the class malignant
    and are scaled from their minimum to their maximum. The text below each map is the
    predicted probability of malignancy, in red if the prediction is wrong.

    Source: Lei et al., arXiv 1810.12494, Figs. 1, 5 and 6 ("feeding the volume of
    11 channels (duplicated single slice)").

    Args:
        configs: Configs of classifiers whose head computes maps. Nodules come from
            their test data, which must be the same fold of the same data.
        checkpoints: One checkpoint per config.
        out_dir: Output folder.
        nodules: Names of nodules. By default, ``num`` nodules are chosen at random,
            the same number from both classes.
        num: Number of nodules.
        seed: Random seed of the selection.
        num_slices: Number of slices to show, at equal distances around the middle.

    Returns:
        The pictures.

    Raises:
        ValueError: If the numbers of configs and checkpoints differ, a checkpoint
            belongs to another model, a head computes no maps, the inputs differ, or
            a nodule is not in the test data of all networks.
    """
    if not configs or len(configs) != len(checkpoints):
        raise ValueError(
            'One checkpoint for each config is needed, got '
            f'{len(configs)} configs and {len(checkpoints)} checkpoints.'
        )
    networks = {}
    for cfg, checkpoint in zip(configs, checkpoints):
        network = _Network(cfg, checkpoint)
        if network.name in networks:
            raise ValueError(
                f'{cfg.filename}: a second config of the name {network.name}.'
            )
        networks[network.name] = network
    if nodules is None:
        nodules = _choose_nodules(next(iter(networks.values())).dataset, num, seed)
    if not nodules or num_slices < 1:
        raise ValueError(
            'At least one nodule and one slice are needed, got '
            f'{len(nodules)} and {num_slices}.'
        )
    _check_inputs(networks, nodules)
    out_dir = Path(out_dir)
    paths, wholes = [], []
    for nodule in tqdm(nodules, desc=f'Drawing {out_dir}', unit='nodule'):
        rows = [
            network.read_columns(nodule, num_slices) for network in networks.values()
        ]
        paths.append(out_dir / f'{nodule}.png')
        about = '{kind}, rated {malignancy:.1f}, {diameter_mm:.0f} mm'
        _draw(networks, rows, paths[-1], f'{nodule}: {about.format(**rows[0][-1])}')
        wholes.append(
            [
                dict(row[-1], name='{kind}\n{diameter_mm:.0f} mm'.format(**row[-1]))
                for row in rows
            ]
        )
    paths.append(out_dir / 'nodules.png')
    _draw(networks, list(zip(*wholes)), paths[-1])
    return paths


def _draw(
    names: Iterable[str],
    rows: Sequence[Sequence[dict[str, Any]]],
    path: Path,
    title: str = '',
) -> None:
    """Draw a row for each network; equal columns show the same slice or nodule."""

    def of(row: Sequence[dict[str, Any]], key: str) -> list:
        return [column[key] for column in row]

    draw_nodule_maps(
        np.stack(of(rows[0], 'picture')),
        np.stack(of(rows[0], 'mask')),
        of(rows[0], 'label'),
        {name: np.stack(of(row, 'map')) for name, row in zip(names, rows)},
        {name: np.stack(of(row, 'score')) for name, row in zip(names, rows)},
        path,
        of(rows[0], 'name'),
        title,
    )


def _check_inputs(networks: 'Mapping[str, _Network]', nodules: Sequence[str]) -> None:
    """Check that all networks have the nodules as test data, in equal channels."""
    for network in networks.values():
        absent = [nodule for nodule in nodules if nodule not in network.place]
        if absent:
            raise ValueError(
                f'{network.filename}: no nodule {absent[0]} is in its test data.'
            )
    channels = {
        name: len(network.packed(nodules[0])['inputs'])
        for name, network in networks.items()
    }
    if len(set(channels.values())) > 1:
        raise ValueError(
            'The networks must have the same input, but have '
            + ', '.join(f'{name} {count} channels' for name, count in channels.items())
        )


class _Network:
    """A classifier with its test data and the weights of a checkpoint."""

    def __init__(self, cfg: Config, checkpoint: str | Path) -> None:
        self.name = Path(cfg.filename).stem.split('_lidc')[0].replace('_', '-').upper()
        self.filename = cfg.filename
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        self.dataset = DATASETS.build(cfg.test_dataloader.dataset)
        self.model: Any = load_trained_model(cfg, checkpoint)
        self.map_of = SoftActivationMap(self.model, score='auto')
        self.place = {
            self.dataset.get_data_info(index)['nodule_id']: index
            for index in range(len(self.dataset))
        }

    def packed(self, nodule: str) -> dict[str, Any]:
        """Return the packed sample of a nodule."""
        return self.dataset[self.place[nodule]]

    @torch.no_grad()
    def read_columns(self, nodule: str, num_slices: int) -> list[dict[str, Any]]:
        """Return a column for each single slice, and a column for the volume."""
        packed = self.packed(nodule)
        volume, sample = packed['inputs'], packed['data_samples']  # (C, H, W)
        stacks = volume.unflatten(0, (num_input_scales(self.model), -1))
        depth = stacks.shape[1]
        count = min(num_slices, depth)
        chosen = [int((part + 0.5) * depth / count) for part in range(count)]
        repeated = [stacks[:, [index]].expand_as(stacks) for index in chosen]
        inputs = [*(each.flatten(0, 1) for each in repeated), volume]
        batch = self.model.data_preprocessor(dict(inputs=inputs), False)['inputs']
        found: Any = self.map_of(batch, MALIGNANT)
        maps = normalize_map(found)[:, 0]
        # As predicted, e.g. with the temperature of a CalibratedClassifier
        predictions = self.model(batch, mode='predict')
        scores = [float(each.pred_score[MALIGNANT]) for each in predictions]
        shown = [*chosen, depth // 2]
        names = [*(f'slice {index + 1}' for index in chosen), 'all slices']
        label = int(sample.gt_label)
        return [
            dict(
                name=name,
                picture=volume[index].numpy(),
                mask=sample.mask[..., index].numpy() > 0,
                map=heat.cpu().numpy(),
                score=score,
                label=label,
                kind=('benign', 'malignant')[label],
                malignancy=sample.malignancy,
                diameter_mm=sample.diameter_mm,
            )
            for name, index, heat, score in zip(names, shown, maps, scores)
        ]


def _choose_nodules(dataset: Any, num: int, seed: int) -> list[str]:
    """Draw half of the nodules from each class, malignant nodules first."""
    rng = np.random.default_rng(seed)
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    kinds = [
        [
            samples[index]['nodule_id']
            for index in rng.permutation(len(samples))
            if samples[index]['gt_label'] == label
        ]
        for label in (MALIGNANT, 0)
    ]
    return [*kinds[0][: (num + 1) // 2], *kinds[1][: num // 2]]
