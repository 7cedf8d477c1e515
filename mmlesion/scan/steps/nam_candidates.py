"""Selection of a nodule candidate by a NAM network."""

import os
import warnings
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlesion.ct import CTVolume, NoLungsError
from mmlesion.ct.lung_crop import crop_plane, place_crop
from mmlesion.engine.trained_model import as_config, load_trained_model
from mmlesion.registry import type_name
from mmlesion.segmentation import CandidateScreen, nodule_candidates, phase_means

_OUTSIDE_HU = -1024  # air
_LOADER = 'LoadLIDCSlice'


class NAMCandidates:
    """Selector of the candidate with the largest effect on a nodule activation map.

    The slice is cropped as in :func:`mmlesion.datasets.prepare.prepare_lidc_slices` and
    processed by the test pipeline of the config. The candidates are those of
    :func:`mmlesion.segmentation.nodule_candidates` inside the box. The selected
    candidate is the one whose removal from the image changes the nodule activation map
    inside the box most.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2 and Eq. 4. Differs from it in: the
    scope is the box of a finding instead of a blob of the activation map, so that the
    label of the slice and the finer map of ``multi_gap`` are not used.

    Args:
        config: Config of a :class:`mmlesion.models.NAMSegmentor`, a path or a
            ``Config``.
        checkpoint: Checkpoint of this network.
        crop_px: Size of the crop, as in the prepared training data.
        device: For example ``'cpu'``. Defaults to the GPU if available.

    Raises:
        ValueError: If the config is not a NAM network or its test pipeline does not
            begin with ``LoadLIDCSlice``.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str],
        crop_px: int,
        device: str | None = None,
    ) -> None:
        cfg = as_config(config)
        steps = cfg.test_dataloader.dataset.pipeline
        first = type_name(steps[0])
        if first != _LOADER or type_name(cfg.model) != 'NAMSegmentor':
            raise ValueError(
                f'{cfg.filename}: expected a NAMSegmentor with a test pipeline that '
                f'begins with {_LOADER}, but found {cfg.model.type} with {first}'
            )
        self.cfg = cfg
        self.name = cfg.filename or 'config'
        self.channels = int(steps[0].get('channels', 1))
        self.crop_px = crop_px
        self.scope = cfg.get('default_scope', 'mmpretrain')
        with DefaultScope.overwrite_default_scope(self.scope):
            self.model: Any = load_trained_model(cfg, checkpoint, device)
            self.pipeline = Compose(steps[1:])

    def place(
        self, volume: CTVolume, lung: np.ndarray | None = None
    ) -> tuple[int, int]:
        """Return the first row and column of the crop for all slices of a scan.

        Args:
            volume: The scan.
            lung: Lung mask (D, H, W). Computed by default.
        """
        try:
            with warnings.catch_warnings():
                # The crop does not depend on which lung is the left one
                warnings.simplefilter('ignore')
                return place_crop(volume, self.crop_px, lung)[0]
        except NoLungsError:
            rows, columns = volume.shape[1:]
            return (rows - self.crop_px) // 2, (columns - self.crop_px) // 2

    @torch.no_grad()
    def choose(
        self,
        plane_hu: np.ndarray,
        corner: tuple[int, int],
        start: tuple[int, int],
        center: np.ndarray,
        allowed: np.ndarray,
    ) -> np.ndarray:
        """Select the candidate inside a box of a slice.

        Args:
            plane_hu: The whole slice.
            corner: From :meth:`place`. The crop is moved if the box lies outside.
            start: First row and column of the box.
            center: Pixels of the box; a candidate must contain at least one of them.
            allowed: Pixels of the box that candidates may contain.

        Shape:
            - plane_hu: (H, W).
            - center, allowed, output: (h, w), the size of the box.

        Returns:
            Mask of the candidate; empty if there is no candidate.

        Raises:
            ValueError: If the box exceeds the crop or the pipeline changes its size.
        """
        size = self.crop_px
        if not allowed.any():
            return allowed
        if max(center.shape) > size:
            raise ValueError(
                f'{self.name}: a box of {center.shape} pixels exceeds the crop of '
                f'{size} pixels, for which the network was trained'
            )
        row, column = (
            int(np.clip(at, first + side - size, first))
            for at, first, side in zip(corner, start, center.shape)
        )
        cut = crop_plane(np.rint(plane_hu), (row, column), size, _OUTSIDE_HU)
        inputs, image_hu = self._inputs(cut)
        box = tuple(
            slice(first - at, first - at + side)
            for at, first, side in zip((row, column), start, center.shape)
        )
        scope = np.zeros(cut.shape, bool)
        scope[box] = allowed
        model = self.model
        means = phase_means(image_hu, model.num_phases, model.window_hu)
        candidates = nodule_candidates(image_hu, scope, means, model.smoothness)
        numbers = np.unique(candidates[box][center])
        numbers = numbers[numbers > 0]
        if not len(numbers):
            return np.zeros(center.shape, bool)
        masks = candidates == numbers[:, None, None]
        best = 0
        if len(numbers) > 1:
            numbered = (masks * np.arange(1, len(masks) + 1)[:, None, None]).sum(0)
            best = self._most_seen(inputs, numbered, scope, float(means[0]))
        return masks[best][box]

    def _inputs(self, cut: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """Return the normalized network input and its HU values."""
        img = np.repeat(cut.astype(np.float32)[..., None], self.channels, axis=2)
        with DefaultScope.overwrite_default_scope(self.scope):
            packed: Any = self.pipeline(
                dict(img=img, img_shape=cut.shape, ori_shape=cut.shape)
            )
        image = packed['inputs']
        if image.shape[1:] != cut.shape:
            raise ValueError(
                f'{self.name}: expected a test pipeline that keeps the size of a '
                f'slice, but {cut.shape} became {tuple(image.shape[1:])}'
            )
        low, high = self.model.window_hu
        gray = image[len(image) // 2].float().numpy()
        inputs = self.model.data_preprocessor(dict(inputs=[image]))['inputs'][0]
        return inputs, low + gray * ((high - low) / 255)

    def _most_seen(
        self,
        inputs: torch.Tensor,
        candidates: np.ndarray,
        scope: np.ndarray,
        lung_hu: float,
    ) -> int:
        """Return the index of the candidate whose removal changes the map most."""
        model = self.model
        low, high = model.window_hu
        fill_hu = lung_hu if model.fill_hu is None else model.fill_hu
        gray = torch.full((self.channels, 1, 1), (fill_hu - low) * 255 / (high - low))
        fill = model.data_preprocessor(dict(inputs=[gray]))['inputs'][0, :, 0, 0]
        screen = CandidateScreen(
            model.classifier.backbone.deepest_path(),
            model.classifier.head.fc.weight[model.positive],
            inputs,
            fill,
            model.map_shift_px[0].tolist(),
        )
        return int(screen.changes(candidates, scope).argmax())
