"""Networks of a pathological sign in several views, and its position in 3-D."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import Tensor, nn

from mmlesion.attribution import GradCAM, last_feature_layer
from mmlesion.ct import (
    REGIONS,
    CTVolume,
    back_project,
    region_slices,
    resample_to_grid,
)
from mmlesion.datasets.indices.scan_list import ScanRow, projection_path
from mmlesion.datasets.lung_projection import WHOLE_TASKS
from mmlesion.datasets.prepare import read_refined_lung
from mmlesion.engine.trained_model import load_trained_model
from mmlesion.registry import type_name


@dataclass
class SignNetwork:
    """Classifier of the projections of one view.

    Attributes:
        view: The view.
        model: Trained model in evaluation mode.
        pipeline: Transforms from the file of a projection to the model's input.
        layer: Name of the target layer; determined at the first run if None.
    """

    view: str
    model: nn.Module
    pipeline: Compose
    layer: str | None = None

    @classmethod
    def load(
        cls,
        cfg: Config,
        checkpoint: str,
        layer: str | None = None,
        device: str | None = None,
    ) -> 'SignNetwork':
        """Load the network of a config; its test data set defines view and pipeline."""
        model = load_trained_model(cfg, checkpoint, device)
        data = cfg.test_dataloader.dataset
        return cls(data.get('view', 'axial'), model, Compose(data.pipeline), layer)

    def __call__(self, paths: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Classify and explain several projections.

        Args:
            paths: Files of the projections.

        Shape:
            - output: (N,) and (N, h, w)

        Returns:
            Probabilities of the sign, and Grad-CAM maps on the grid of the layer.
        """
        inputs, scores = self._inputs(paths), []

        def forward(pictures: Tensor) -> Tensor:
            scores[:] = [self.model(pictures)]
            return scores[0]

        if self.layer is None:
            self.layer = last_feature_layer(self.model, inputs)
        with GradCAM(self.model, self.layer, forward=forward) as cam:
            found: Any = cam(inputs, log_odds)
            maps = found[:, 0]
        probability = scores[0].detach().float().softmax(1)[:, 1]
        return probability.cpu().numpy(), maps.cpu().numpy()

    @torch.no_grad()
    def probabilities(self, paths: Sequence[str]) -> np.ndarray:
        """Return the probabilities of the sign in several projections, (N,)."""
        scores = self.model(self._inputs(paths)).float()
        return scores.softmax(1)[:, 1].cpu().numpy()

    def _inputs(self, paths: Sequence[str]) -> Tensor:
        preprocess: Any = self.model.data_preprocessor
        samples = [self.pipeline(dict(img_path=path)) for path in paths]
        return preprocess(pseudo_collate(samples), False)['inputs']


@dataclass
class FoundSign:
    """Result of the networks of several views for one scan.

    Attributes:
        position: Map in 3-D on the voxels of the scan, (D, H, W).
        lung: Mask of the voxels where the sign can be, (D, H, W).
        parts: Slices of each lung region.
        spacing_mm: Voxel size (z, y, x).
        probabilities: Probability of each lung region with lung, by view.
        maps: Grad-CAM map of each lung region, by view.
        projections: 8-bit RGB image of each lung region, by view.
    """

    position: np.ndarray
    lung: np.ndarray
    parts: dict[str, tuple]
    spacing_mm: tuple[float, float, float]
    probabilities: dict[str, dict[str, float]]
    maps: dict[str, dict[str, np.ndarray]]
    projections: dict[str, dict[str, np.ndarray]]

    def probability(self, region: str) -> float:
        """Return the mean probability of the views."""
        return float(np.mean(list(self.probabilities[region].values())))

    def has_position(self, region: str) -> bool:
        """Return whether the map of a lung region has a positive value."""
        return bool(self.position[self.maximum(region)] > 0)

    def maximum(self, region: str) -> tuple[int, int, int]:
        """Return the voxel (z, y, x) of the largest value in a lung region.

        If no value is positive, the result is the voxel of the lung nearest to the
        center of the lung in the region.
        """
        part = self.parts[region]
        values = np.where(self.lung[part], self.position[part], -1)
        place = np.unravel_index(values.argmax(), values.shape)
        if values[place] <= 0:
            inside = np.argwhere(self.lung[part])
            if not len(inside):  # the voxels of the scan are larger than the lung
                inside = np.array(values.shape)[None] // 2
            away = (inside - inside.mean(0)) * self.spacing_mm
            place = inside[np.square(away).sum(1).argmin()]
        z, y, x = (int(at + index.start) for at, index in zip(place, part))
        return z, y, x


def find_sign(
    networks: Sequence[SignNetwork],
    row: ScanRow,
    root: str | os.PathLike[str],
    scan: CTVolume,
    combination: str = 'product',
) -> FoundSign:
    """Classify and locate a sign in one prepared scan.

    Args:
        networks: Networks of different views.
        row: Row of the index of projections.
        root: Folder of the index.
        scan: The scan.
        combination: How the views are combined, see :func:`back_project`.

    Returns:
        The sign in the geometry of the scan.

    Raises:
        FileNotFoundError: If a projection does not exist.
        ValueError: If no lung region contains lung.
    """
    folder = Path(root) / row.folder
    regions = [region for region in REGIONS if region not in row.empty]
    if not regions:
        raise ValueError(f'{row.scan}: no lung region has lung')
    probabilities, maps, pictures = (
        {region: {} for region in regions} for _ in range(3)
    )
    for network in networks:
        paths = [
            projection_path(str(folder), region, network.view, 0) for region in regions
        ]
        for path in paths:
            if not Path(path).is_file():
                raise FileNotFoundError(f'{path}: no such file; prepare the scan again')
        scores, raw = network(paths)
        for region, path, score, each in zip(regions, paths, scores, raw):
            probabilities[region][network.view] = float(score)
            maps[region][network.view] = each
            pictures[region][network.view] = read_projection(path)
    grid = read_refined_lung(str(folder))
    lung = grid.array
    position = np.zeros(grid.shape, np.float32)
    for region, part in region_slices(grid.shape).items():
        if region in maps:
            position[part] = np.mean(list(probabilities[region].values())) * (
                back_project(maps[region], lung[part], combination)
            )
    return FoundSign(
        _on_scan(grid, position, scan, 'linear'),
        _on_scan(grid, lung.astype(np.uint8), scan, 'nearest') > 0,
        region_slices(scan.shape),
        scan.spacing_mm,
        probabilities,
        maps,
        pictures,
    )


def projection_data(
    configs: Sequence[Config], checkpoints: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the test data sets of configs of lung projections.

    Args:
        configs: The configs.
        checkpoints: One checkpoint per config.

    Returns:
        Config of the test data set of each config.

    Raises:
        ValueError: If a checkpoint is missing, or a config has other data.
    """
    if not configs or len(configs) != len(checkpoints):
        raise ValueError(
            'expected one checkpoint for each config, got '
            f'{len(configs)} configs and {len(checkpoints)} checkpoints.'
        )
    found = []
    for cfg in configs:
        data: Any = cfg.get('test_dataloader', {}).get('dataset', {})
        if type_name(data) != 'LungProjectionDataset':
            raise ValueError(
                f'{cfg.filename}: expected a test_dataloader with a '
                'mmlesion.LungProjectionDataset.'
            )
        found.append(data)
    return found


def sign_of_configs(configs: Sequence[Config], checkpoints: Sequence[str]) -> str:
    """Check that configs are networks of one sign in different views.

    Returns:
        The sign.

    Raises:
        ValueError: If the configs do not match, or a checkpoint is missing.
    """
    data = projection_data(configs, checkpoints)
    tasks = [each['task'] for each in data]
    views = [each.get('view', 'axial') for each in data]
    if len(set(tasks)) > 1 or tasks[0] in WHOLE_TASKS:
        raise ValueError(
            f'expected networks of one sign in the lung regions, got {", ".join(tasks)}'
        )
    if len(set(views)) < len(views):
        raise ValueError(
            f'expected networks of different views, got {", ".join(views)}'
        )
    return tasks[0]


def log_odds(scores: Tensor) -> Tensor:
    """Return the difference of the scores of both classes, (N,)."""
    return scores[:, 1] - scores[:, 0]


def _on_scan(
    grid: CTVolume, array: np.ndarray, scan: CTVolume, interpolation: str
) -> np.ndarray:
    """Resample an array of the grid to the voxels of the scan."""
    return resample_to_grid(
        replace(grid, array=array), scan.shape, interpolation=interpolation, outside=0
    ).array


def read_projection(path: str) -> np.ndarray:
    """Read a projection, an 8-bit image, as RGB.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    picture = cv2.imread(path)
    if picture is None:
        raise ValueError(f'{path}: the image is damaged; prepare the scan again')
    return picture[..., ::-1]
