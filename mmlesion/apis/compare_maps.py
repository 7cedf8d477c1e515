"""Maps of several classifiers on the same nodules, slice by slice and whole."""
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DATASETS, init_default_scope
from tqdm import tqdm

from mmlesion.attribution import SoftActivationMap, normalise_map
from mmlesion.visualization import draw_nodule_maps

from .trained_model import load_trained_model

MALIGNANT = 1


def compare_maps(configs, checkpoints, out_dir, nodules=None, num=6, seed=0,
                 num_slices=5):
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
            another model, a head draws no maps, inputs differ, or a nodule is not
            in the test data of all.
    """
    if not configs or len(configs) != len(checkpoints):
        raise ValueError('One checkpoint for each config is needed, got '
                         f'{len(configs)} configs and {len(checkpoints)} checkpoints.')
    networks = {}
    for cfg, checkpoint in zip(configs, checkpoints):
        network = _Network(cfg, checkpoint)
        if network.name in networks:
            raise ValueError(f'{cfg.filename}: a second config of the name '
                             f'{network.name}.')
        networks[network.name] = network
    first = next(iter(networks.values()))
    if nodules is None:
        nodules = _draw_nodules(first.dataset, num, seed)
    out_dir = Path(out_dir)
    paths, wholes = [], []
    for nodule in tqdm(nodules, desc=f'Drawing {out_dir}', unit='nodule'):
        shown = [network.look(nodule, num_slices) for network in networks.values()]
        if len({each['pictures'].shape for each in shown}) > 1:
            raise ValueError('The networks must have the same input, but have '
                             + ', '.join(f'{name} {each["channels"]} channels'
                                         for name, each in zip(networks, shown)))
        paths.append(out_dir / f'{nodule}.png')
        one = shown[0]
        draw_nodule_maps(
            one['pictures'], one['masks'], [one['label']] * len(one['pictures']),
            {name: each['maps'] for name, each in zip(networks, shown)},
            {name: each['scores'] for name, each in zip(networks, shown)},
            paths[-1], one['columns'], _title(nodule, one))
        wholes.append(shown)
    paths.append(out_dir / 'nodules.png')
    _draw_overview(networks, nodules, wholes, paths[-1])
    return paths


class _Network:
    """A classifier with its test data and the weights of a checkpoint."""

    def __init__(self, cfg, checkpoint):
        self.name = Path(cfg.filename).stem.split('_lidc')[0].replace('_', '-').upper()
        self.filename = cfg.filename
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        self.dataset = DATASETS.build(cfg.test_dataloader.dataset)
        self.model = load_trained_model(cfg, checkpoint)
        self.map_of = SoftActivationMap(self.model)
        self.place = {self.dataset.get_data_info(index)['nodule_id']: index
                      for index in range(len(self.dataset))}

    @torch.no_grad()
    def look(self, nodule, num_slices):
        """Pictures, masks, maps and scores of single slices and of the volume."""
        if nodule not in self.place:
            raise ValueError(
                f'{self.filename}: no nodule {nodule} is in its test data.')
        packed = self.dataset[self.place[nodule]]
        volume, sample = packed['inputs'], packed['data_samples']  # (C, H, W)
        middle = len(volume) // 2
        num_slices = min(num_slices, len(volume))
        chosen = [int((part + 0.5) * len(volume) / num_slices)
                  for part in range(num_slices)]
        inputs = [volume[index].expand_as(volume) for index in chosen] + [volume]
        batch = self.model.data_preprocessor(dict(inputs=inputs), False)['inputs']
        maps = normalise_map(self.map_of(batch, MALIGNANT))[:, 0].cpu()
        scores = self.model(batch).softmax(1)[:, MALIGNANT].cpu()
        shown = [*chosen, middle]
        return dict(
            channels=len(volume), pictures=volume[shown].numpy(),
            masks=sample.mask.numpy().transpose(2, 0, 1)[shown] > 0,
            label=int(sample.gt_label), maps=maps.numpy(), scores=scores.numpy(),
            columns=[f'slice {index + 1}' for index in chosen] + ['all slices'],
            malignancy=sample.malignancy, diameter_mm=sample.diameter_mm)


def _draw_nodules(dataset, num, seed):
    """Nodules of both classes in turn, malignant first."""
    rng = np.random.default_rng(seed)
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    kinds = [[samples[index]['nodule_id'] for index in rng.permutation(len(samples))
              if samples[index]['gt_label'] == label] for label in (MALIGNANT, 0)]
    return [*kinds[0][:(num + 1) // 2], *kinds[1][:num // 2]]


def _title(nodule, one):
    kind = ('benign', 'malignant')[one['label']]
    return (f'{nodule}: {kind}, rated {one["malignancy"]:.1f}, '
            f'{one["diameter_mm"]:.0f} mm')


def _draw_overview(networks, nodules, wholes, path):
    """The volumes' maps of all nodules in one picture."""
    firsts = [shown[0] for shown in wholes]
    draw_nodule_maps(
        np.stack([one['pictures'][-1] for one in firsts]),
        np.stack([one['masks'][-1] for one in firsts]),
        [one['label'] for one in firsts],
        {name: np.stack([shown[row]['maps'][-1] for shown in wholes])
         for row, name in enumerate(networks)},
        {name: np.stack([shown[row]['scores'][-1] for shown in wholes])
         for row, name in enumerate(networks)},
        path, [f'{("benign", "malignant")[one["label"]]}\n{one["diameter_mm"]:.0f} mm'
               for one in firsts])
