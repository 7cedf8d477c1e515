"""Weakly-supervised segmentor by nodule activation maps (NAM)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmlesion.attribution import resize_map
from mmlesion.registry import MODELS
from mmlesion.segmentation import (
    activation_change,
    nodule_candidates,
    phase_means,
    prominent_blobs,
    residual_maps,
    scope_within,
)


@MODELS.register_module()
class NAMSegmentor(BaseModel):
    """Weakly supervised nodule segmentor (NAM) that is trained with slice labels only.

    In training and validation, the model classifies slices. In testing, it also
    segments the slices that are classified as positive. The scope is the most prominent
    blob of the nodule activation map (NAM). The candidates are the bright regions of
    the slice within the scope (coarse segmentation). The nodule is the candidate whose
    removal changes the NAM most (fine segmentation).

    With ``multi_gap``, the network ``multi_gap`` is trained and validated, and
    ``classifier`` is frozen. ``classifier`` provides the class and the map that selects
    the candidate. The finer map of ``multi_gap`` narrows the scope. The checkpoint
    contains both networks.

    Source: Feng et al., "Discriminative Localization in CNNs for Weakly-Supervised
    Segmentation of Pulmonary Nodules", MICCAI 2017, Sec. 2.2. The paper leaves open
    the two fractions that define a blob, the smoothness of the phases, and the value
    that replaces a candidate.

    Args:
        classifier: Config of an ``ImageClassifier`` of mmpretrain with a
            :class:`MultiGAPVGG` with one GAP and a :class:`MultiGAPHead`. With
            ``multi_gap``, its ``init_cfg`` should name its checkpoint
            (``prefix='classifier'`` for a checkpoint of this class).
        multi_gap: Config of the same kind with two or three GAPs.
        window_hu: HU of the input values 0 and 255.
        num_nodules: Maximum number of nodules in a positive slice, one per blob.
        positive: Label of slices with a nodule.
        prominence, level: See :func:`prominent_blobs`.
        num_phases: See :func:`phase_means`.
        smoothness_hu: Square root of ``smoothness`` in :func:`segment_phases`.
        fill_hu: HU that replaces a candidate. Defaults to the mean of the darkest phase
            of the slice, which is lung.
        data_preprocessor: Config of the data preprocessor of both networks.
        init_cfg: Initialization.

    In testing, the data samples receive ``pred_score``, ``pred_label`` and these
    fields:

    - ``map``: nodule activation map of ``classifier``, float (H, W);
    - ``coarse_mask``, ``fine_mask``, ``scope``: masks of the most prominent blob, bool
      (H, W);
    - ``nodule_masks``: list of fine masks, one per blob, at most ``num_nodules``.

    All masks of a slice that is classified as negative are empty. ``fine_mask`` and
    ``coarse_mask`` are also empty if no pixel in the scope is brighter than lung.

    Raises:
        ValueError: If ``classifier`` has more than one GAP, or ``num_nodules`` is
            below 1.
    """

    def __init__(
        self,
        classifier: dict,
        multi_gap: dict | None = None,
        window_hu: tuple[float, float] = (-1000.0, 400.0),
        num_nodules: int = 1,
        positive: int = 1,
        prominence: float = 0.25,
        level: float = 0.5,
        num_phases: int = 4,
        smoothness_hu: float = 100.0,
        fill_hu: float | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.classifier = MODELS.build(classifier)
        self.multi_gap = None if multi_gap is None else MODELS.build(multi_gap)
        if len(getattr(self.classifier.backbone, 'branches', ())) != 1:
            raise ValueError(
                'NAMSegmentor: classifier must have a MultiGAPVGG with '
                'num_gaps=1; pass the network with more GAPs as multi_gap.'
            )
        if num_nodules < 1:
            raise ValueError(
                f'NAMSegmentor: num_nodules must be 1 or more, got {num_nodules}.'
            )
        if self.multi_gap is not None:
            self.classifier.requires_grad_(False)
        low, high = window_hu
        self.window_hu = (low, high)
        self.num_nodules = num_nodules
        self.positive = positive
        self.blob_cfg = dict(prominence=prominence, level=level)
        self.num_phases = num_phases
        self.smoothness = smoothness_hu**2
        self.fill_hu = fill_hu

    @property
    def trained(self) -> nn.Module:
        """Return the network that is trained and validated."""
        return self.classifier if self.multi_gap is None else self.multi_gap

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the trained network; see ``ImageClassifier`` of mmpretrain."""
        return self.trained(inputs, data_samples, mode)

    def train(self, mode: bool = True) -> 'NAMSegmentor':
        """Set the training mode; a frozen classifier stays in evaluation mode."""
        super().train(mode)
        if self.multi_gap is not None:
            self.classifier.eval()
        return self

    @torch.no_grad()
    def test_step(self, data: Any) -> list:
        """Classify and segment a batch.

        Args:
            data: Dictionary of ``inputs`` and ``data_samples``.
        """
        slices = list(data['inputs'])
        batch = self.data_preprocessor(data, False)
        inputs = batch['inputs']
        feats = self.classifier.extract_feat(inputs)
        samples = self.classifier.head.predict(feats, batch.get('data_samples'))
        maps = self._maps(self.classifier, feats, inputs)
        finer = None
        if self.multi_gap is not None:
            finer = self._maps(
                self.multi_gap, self.multi_gap.extract_feat(inputs), inputs
            )
        for index, (sample, each) in enumerate(zip(samples, slices)):
            height, width = each.shape[-2:]  # smaller slices in a batch are padded
            nodule_map = maps[index, :height, :width]
            found = []
            if int(sample.pred_label) == self.positive:
                found = self._segment(
                    each,
                    inputs[index, :, :height, :width],
                    nodule_map,
                    None if finer is None else finer[index, :height, :width],
                )
            empty = torch.zeros(height, width, dtype=torch.bool)
            first = found[0] if found else SegmentedNodule(empty, empty, empty)
            sample.set_field(nodule_map, 'map')
            sample.set_field(first.scope, 'scope')
            sample.set_field(first.coarse, 'coarse_mask')
            sample.set_field(first.fine, 'fine_mask')
            sample.set_field([nodule.fine for nodule in found], 'nodule_masks')
        return samples

    def _maps(self, network: Any, feats: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """Return maps at the size of the inputs, (N, H, W), on the CPU."""
        maps = network.head.activation_maps(feats, map='equation')[
            :, self.positive, None
        ]
        return resize_map(maps.float(), inputs.shape[2:])[:, 0].cpu()

    def _segment(
        self,
        image: Tensor,
        inputs: Tensor,
        nodule_map: Tensor,
        finer_map: Tensor | None,
    ) -> list['SegmentedNodule']:
        """Segment the nodules of a slice, ordered by the prominence of their blobs."""
        low, high = self.window_hu
        gray = image[len(image) // 2].float().cpu().numpy()  # (H, W), 0..255
        image_hu = low + gray * ((high - low) / 255)
        means = phase_means(image_hu, self.num_phases, self.window_hu)
        fill_hu = means[0] if self.fill_hu is None else self.fill_hu
        gray_fill = torch.full((len(image), 1, 1), (fill_hu - low) * 255 / (high - low))
        fill = self.data_preprocessor(dict(inputs=[gray_fill]))['inputs'][0, :, 0, 0]
        found = []
        for blob in prominent_blobs(nodule_map.numpy(), **self.blob_cfg)[
            : self.num_nodules
        ]:
            scope = blob.mask
            if finer_map is not None:
                scope = scope_within(finer_map.numpy(), scope, **self.blob_cfg)
            candidates = nodule_candidates(image_hu, scope, means, self.smoothness)
            fine = candidates == self._chosen(candidates, blob.mask, inputs, fill)
            found.append(
                SegmentedNodule(
                    *(
                        torch.from_numpy(mask)
                        for mask in (scope, candidates > 0, fine & (candidates > 0))
                    )
                )
            )
        return found

    def _chosen(
        self, candidates: np.ndarray, scope: np.ndarray, inputs: Tensor, fill: Tensor
    ) -> int:
        """Return the label of the candidate whose removal changes the map most."""
        count = candidates.max()
        if count < 2:
            return count
        masks = np.arange(1, count + 1)[:, None, None] == candidates
        backbone, head = self.classifier.backbone, self.classifier.head
        original, residual = residual_maps(
            backbone.deepest_path(),
            head.fc.weight[self.positive],
            inputs,
            torch.from_numpy(masks).to(inputs.device),
            fill,
        )
        change = activation_change(
            original, residual, torch.from_numpy(scope).to(inputs.device)
        )
        return int(change.argmax()) + 1


class SegmentedNodule(NamedTuple):
    """Masks of a nodule: scope, all candidates in the scope, selected candidate."""

    scope: Tensor
    coarse: Tensor
    fine: Tensor
