"""Maps of several nodule classifiers, drawn side by side."""

from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.attribution import SoftActivationMap, normalise_map
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.visualization import draw_nodule_maps

MALIGNANT = 1


def compare_maps(
    configs, checkpoints, out_dir, nodules=None, num=6, seed=0, num_slices=5
):
    """Draw CAM, SAM, HESAM... of the same nodules side by side.

    For each nodule a picture ``<nodule>.png``: columns are single slices, each fed
    as all channels of the input at once, and last the whole volume, whose map lies
    on the middle slice; rows are the networks. And ``nodules.png``: columns are the
    nodules, with their volumes' maps. Maps are those of the class malignant, each
    from its least to its greatest value; below stands the predicted malignancy, red
    where wrong.

    Source: Lei et al., arXiv 1810.12494, Figs. 1, 5 and 6 ("feeding the volume of
    11 channels (duplicated single slice)").

    Args:
        configs (sequence[Config]): Of classifiers whose head draws maps. Nodules
            come from their test data, which must be the same fold of the same data.
        checkpoints (sequence[str]): One for each.
        out_dir (str or Path): Folder of the pictures.
        nodules (sequence[str], optional): Which ones; by default ``num`` are drawn
            at random, of both classes as many.
        num (int): How many.
        seed (int): Of the choice.
        num_slices (int): Slices shown, evenly apart, the middle one among them.

    Returns:
        list[Path]: The pictures.

    Raises:
        ValueError: Configs and checkpoints are not as many, a checkpoint is of
            another model, a head draws no maps, inputs differ, a nodule is not in
            the test data of all, or there is none.
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
        rows = [network.look(nodule, num_slices) for network in networks.values()]
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


def _draw(names, rows, path, title=''):
    """Each network's row of columns, which show the same."""

    def of(row, key):
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


def _check_inputs(networks, nodules):
    """All nodules are test data of all networks, of the same channels."""
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

    def __init__(self, cfg, checkpoint):
        self.name = Path(cfg.filename).stem.split('_lidc')[0].replace('_', '-').upper()
        self.filename = cfg.filename
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        self.dataset = DATASETS.build(cfg.test_dataloader.dataset)
        self.model = load_trained_model(cfg, checkpoint)
        self.map_of = SoftActivationMap(self.model)
        self.place = {
            self.dataset.get_data_info(index)['nodule_id']: index
            for index in range(len(self.dataset))
        }

    def packed(self, nodule):
        """A nodule as the test pipeline packs it."""
        return self.dataset[self.place[nodule]]

    @torch.no_grad()
    def look(self, nodule, num_slices):
        """A column for each single slice, and last one for the volume."""
        packed = self.packed(nodule)
        volume, sample = packed['inputs'], packed['data_samples']  # (C, H, W)
        count = min(num_slices, len(volume))
        chosen = [int((part + 0.5) * len(volume) / count) for part in range(count)]
        inputs = [volume[index].expand_as(volume) for index in chosen] + [volume]
        batch = self.model.data_preprocessor(dict(inputs=inputs), False)['inputs']
        maps = normalise_map(self.map_of(batch, MALIGNANT))[:, 0]
        scores = self.model(batch).softmax(1)[:, MALIGNANT]
        shown = [*chosen, len(volume) // 2]
        names = [*(f'slice {index + 1}' for index in chosen), 'all slices']
        label = int(sample.gt_label)
        return [
            dict(
                name=name,
                picture=volume[index].numpy(),
                mask=sample.mask[..., index].numpy() > 0,
                map=heat.cpu().numpy(),
                score=float(score),
                label=label,
                kind=('benign', 'malignant')[label],
                malignancy=sample.malignancy,
                diameter_mm=sample.diameter_mm,
            )
            for name, index, heat, score in zip(names, shown, maps, scores)
        ]


def _choose_nodules(dataset, num, seed):
    """Nodules of both classes in turn, malignant first."""
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
