"""Segmentor of nodules that is trained with slice labels (NAM)."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.model import BaseModel
from scipy import ndimage
from torch import Tensor

from mmlesion.attribution import resize_map
from mmlesion.registry import MODELS
from mmlesion.segmentation import (
    REFINEMENTS,
    CandidateScreen,
    chance_masks,
    map_peak,
    nodule_candidates,
    phase_means,
    prominent_blobs,
    refine_candidate,
    scope_within,
    shift_map,
    smaller_parts,
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

    The buffer ``map_shift_px`` translates the maps of the two networks, see
    :meth:`fit_map_shift`. It is zero in checkpoints without it.

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
        from_classifier: Initialize ``multi_gap`` with the features, the deepest branch
            and the weights of the head of ``classifier``, so that both compute the
            same map at first, and train only its branches and head.
        window_hu: HU of the input values 0 and 255.
        num_nodules: Maximum number of nodules in a positive slice.
        several: Search for further nodules: ``'watershed'`` takes the next blobs of
            the map; ``'repeat'`` paints over each nodule that was found and takes the
            most prominent blob of the new map.
        positive: Label of slices with a nodule.
        positive_thr: Slices with at least this probability of a nodule are segmented;
            choose it on validation slices (``binary/threshold_at_specificity``).
            Defaults to slices whose most probable class is ``positive``.
        next_thr: With ``several='repeat'``, the search stops if the probability of a
            nodule in the slice without the detected nodules is below this value.
            By default, ``num_nodules`` nodules are searched in each positive slice.
        log_odds: Subtract the maps of the other classes from the map of nodules.
        prominence, level: See :func:`prominent_blobs`.
        scope_margin_px: Width of the band that enlarges each scope.
        num_phases: See :func:`phase_means`.
        smoothness_hu: Square root of ``smoothness`` in
            :func:`segment_phases`.
        edge: See :func:`nodule_candidates`.
        refine: Refinement of the chosen candidate, ``'opening'`` or
            ``'random_walker'``, see :func:`refine_candidate`. Default is none.
        fill_hu: HU that replaces a candidate. Defaults to the darkest phase of the
            slice, lung.
        equivariance_loss: Config of a loss for the map of nodules in training, such as
            :class:`MapEquivarianceLoss`. Default is none.
        chance_radius_px: Add the segmentations of :func:`chance_masks` to each
            data sample, with discs of this radius, and segment every slice. See
            below.
        data_preprocessor: Config of the data preprocessor of both networks.
        init_cfg: Initialization.

    In testing, the data samples receive ``pred_score``, ``pred_label`` and these
    fields:

    - ``map``: nodule activation map of ``classifier``, float (H, W);
    - ``coarse_mask``, ``fine_mask``, ``scope``: masks of the most prominent blob, bool
      (H, W);
    - ``coarse_masks``, ``nodule_masks``: lists of the coarse and fine masks of all
      nodules, at most ``num_nodules``;
    - ``multi_gap_score``: scores of the classes by ``multi_gap``, if there is one.

    All masks of a slice that is classified as negative are empty. ``fine_mask`` and
    ``coarse_mask`` are also empty if no pixel in the scope is brighter than lung.

    With ``chance_radius_px``, ``any_coarse_mask``, ``any_fine_mask`` and the lists
    ``any_coarse_masks`` and ``any_nodule_masks`` are computed for slices of any class,
    and ``middle_disc_mask``, ``random_disc_mask`` and
    ``whole_image_mask`` are the segmentations without a network.

    Raises:
        ValueError: If ``classifier`` has more than one GAP, ``num_nodules`` is
            below 1, or ``several`` or ``refine`` is unknown.
    """

    map_shift_px: Tensor

    def __init__(
        self,
        classifier: dict,
        multi_gap: dict | None = None,
        from_classifier: bool = False,
        window_hu: tuple[float, float] = (-1000.0, 400.0),
        num_nodules: int = 1,
        several: str = 'watershed',
        positive: int = 1,
        positive_thr: float | None = None,
        next_thr: float | None = None,
        log_odds: bool = False,
        prominence: float = 0.25,
        level: float = 0.5,
        scope_margin_px: int = 0,
        num_phases: int = 4,
        smoothness_hu: float = 100.0,
        edge: float = 0.5,
        refine: str | None = None,
        fill_hu: float | None = None,
        equivariance_loss: dict | None = None,
        chance_radius_px: float | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.classifier = MODELS.build(classifier)
        self.multi_gap: Any = None if multi_gap is None else MODELS.build(multi_gap)
        self._check_arguments(num_nodules, several, refine)
        self.from_classifier = from_classifier
        if self.multi_gap is not None:
            self.classifier.requires_grad_(False)
        if self.multi_gap is not None and self.from_classifier:
            self.multi_gap.backbone.features.requires_grad_(False)
        low, high = window_hu
        self.window_hu = (low, high)
        self.num_nodules = num_nodules
        self.several = several
        self.positive = positive
        self.positive_thr = positive_thr
        self.next_thr = next_thr
        self.log_odds = log_odds
        self.blob_cfg = dict(prominence=prominence, level=level)
        self.scope_margin_px = scope_margin_px
        self.num_phases = num_phases
        self.smoothness = smoothness_hu**2
        self.edge = edge
        self.refine = refine
        self.fill_hu = fill_hu
        self.equivariance_loss: Any = (
            None if equivariance_loss is None else MODELS.build(equivariance_loss)
        )
        self.chance_radius_px = chance_radius_px
        # Rows and columns, of classifier and multi_gap
        self.register_buffer('map_shift_px', torch.zeros(2, 2))

    def _check_arguments(
        self, num_nodules: int, several: str, refine: str | None
    ) -> None:
        if len(getattr(self.classifier.backbone, 'branches', ())) != 1:
            raise ValueError(
                'NAMSegmentor: classifier must have a MultiGAPVGG with '
                'num_gaps=1; pass the network with more GAPs as multi_gap.'
            )
        if num_nodules < 1:
            raise ValueError(
                f'NAMSegmentor: num_nodules must be 1 or more, got {num_nodules}.'
            )
        for name, value, known in (
            ('several', several, ('watershed', 'repeat')),
            ('refine', refine, (None, *REFINEMENTS)),
        ):
            if value not in known:
                raise ValueError(
                    f'NAMSegmentor: {name} must be one of {known}, got {value!r}.'
                )

    @property
    def trained(self) -> Any:
        """Return the network that is trained and validated."""
        return self.classifier if self.multi_gap is None else self.multi_gap

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the trained network; see ``ImageClassifier`` of mmpretrain."""
        if mode != 'loss' or self.equivariance_loss is None:
            return self.trained(inputs, data_samples, mode)
        feats = self.trained.extract_feat(inputs)
        losses = self.trained.head.loss(feats, data_samples)
        losses['loss_equivariance'] = self.equivariance_loss(
            inputs,
            self._nodule_maps(feats),
            lambda moved: self._nodule_maps(self.trained.extract_feat(moved)),
        )
        return losses

    def train(self, mode: bool = True) -> 'NAMSegmentor':
        """Set the training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        if self.multi_gap is not None:
            self.classifier.eval()
        if self.multi_gap is not None and self.from_classifier:
            self.multi_gap.backbone.features.eval()
        return self

    def init_weights(self) -> None:
        """Initialize both networks; see ``from_classifier``."""
        super().init_weights()
        source, target = self.classifier, self.multi_gap
        if target is None or not self.from_classifier:
            return
        target.backbone.features.load_state_dict(source.backbone.features.state_dict())
        deepest = source.backbone.branches[-1].state_dict()
        target.backbone.branches[-1].load_state_dict(deepest)
        with torch.no_grad():
            weight = target.head.fc.weight.zero_()
            weight[:, -source.head.fc.in_features :] = source.head.fc.weight
            if target.head.fc.bias is not None and source.head.fc.bias is not None:
                target.head.fc.bias.copy_(source.head.fc.bias)

    @torch.no_grad()
    def test_step(self, data: Any) -> list:
        """Classify and segment a batch, slice by slice.

        Args:
            data: Dictionary of ``inputs`` and ``data_samples``.
        """
        given = data.get('data_samples') or [None] * len(data['inputs'])
        return [
            self._predict(image, sample) for image, sample in zip(data['inputs'], given)
        ]

    @torch.no_grad()
    def fit_map_shift(self, slices: Iterable[Tensor], max_side_px: int = 64) -> int:
        """Measure the offset between maps and nodules, without masks.

        In each slice that is classified as positive, all candidates of the whole slice
        are painted over separately. The candidate whose removal changes the map most is
        assumed to be the nodule. The median offset from the maximum of the map to the
        center of this candidate is stored in ``map_shift_px``.

        Args:
            slices: Slices, (C, H, W) each, as in ``inputs`` of a batch.
            max_side_px: Larger candidates, such as the chest wall, are omitted.

        Returns:
            Number of slices that were used. ``map_shift_px`` is zero without slices.
        """
        was_training = self.training
        self.eval()
        self.map_shift_px.zero_()
        offsets = []
        for image in slices:
            seen = self._look(image)
            if int(seen.scores.argmax()) != self.positive:
                continue
            everywhere = np.ones(seen.image_hu.shape, bool)
            parts = smaller_parts(self._candidates(seen, everywhere), max_side_px)
            if not parts.any():
                continue
            chosen = 1 + int(seen.screen.changes(parts).argmax())
            middle = np.argwhere(parts == chosen).mean(0)
            maps = [seen.screen.map(), seen.finer]
            peaks = [map_peak(each) for each in maps if each is not None]
            offsets.append(np.stack([middle - peak for peak in peaks]))
        if offsets:
            shift = torch.from_numpy(np.median(np.stack(offsets), 0))
            self.map_shift_px[: len(shift)] = shift.to(self.map_shift_px)
        self.train(was_training)
        return len(offsets)

    def _predict(self, image: Tensor, sample: Any) -> Any:
        """Classify and segment one slice."""
        seen = self._look(image)
        (sample,) = self.classifier.head.predict(
            [seen.screen.features[None]], None if sample is None else [sample]
        )
        height, width = seen.image_hu.shape
        called, found = self._is_positive(sample), []
        if called or self.chance_radius_px is not None:
            found = self._segment(seen)
        empty = torch.zeros(height, width, dtype=torch.bool)
        nothing = SegmentedNodule(empty, empty, empty)
        if self.chance_radius_px is not None:
            first = found[0] if found else nothing
            sample.set_field(first.coarse, 'any_coarse_mask')
            sample.set_field(first.fine, 'any_fine_mask')
            sample.set_field([nodule.coarse for nodule in found], 'any_coarse_masks')
            sample.set_field([nodule.fine for nodule in found], 'any_nodule_masks')
            for name, mask in chance_masks(
                seen.image_hu, seen.means, self.smoothness, self.chance_radius_px
            ).items():
                sample.set_field(torch.from_numpy(mask), f'{name}_mask')
        found = found if called else []
        first = found[0] if found else nothing
        sample.set_field(seen.screen.map(), 'map')
        sample.set_field(first.scope, 'scope')
        sample.set_field(first.coarse, 'coarse_mask')
        sample.set_field(first.fine, 'fine_mask')
        sample.set_field([nodule.coarse for nodule in found], 'coarse_masks')
        sample.set_field([nodule.fine for nodule in found], 'nodule_masks')
        if seen.finer_scores is not None:
            sample.set_field(seen.finer_scores, 'multi_gap_score')
        return sample

    def _is_positive(self, sample: Any) -> bool:
        """Return whether a slice is segmented, see ``positive_thr``."""
        if self.positive_thr is None:
            return int(sample.pred_label) == self.positive
        return float(sample.pred_score[self.positive]) >= self.positive_thr

    def _look(self, image: Tensor) -> '_SeenSlice':
        """Run the networks on one slice."""
        inputs = self.data_preprocessor(dict(inputs=[image]), False)['inputs']
        low, high = self.window_hu
        gray = image[len(image) // 2].float().cpu().numpy()  # (H, W), 0..255
        image_hu = low + gray * ((high - low) / 255)
        means = phase_means(image_hu, self.num_phases, self.window_hu)
        fill_hu = means[0] if self.fill_hu is None else self.fill_hu
        gray_fill = torch.full((len(image), 1, 1), (fill_hu - low) * 255 / (high - low))
        fill = self.data_preprocessor(dict(inputs=[gray_fill]))['inputs'][0, :, 0, 0]
        # The preprocessor can pad the slice to a multiple of a size.
        inputs = inputs[:, :, : image_hu.shape[0], : image_hu.shape[1]]
        weights = self.classifier.head.fc.weight
        screen = CandidateScreen(
            self.classifier.backbone.deepest_path(),
            weights[self.positive] - self._others(weights[None])[0],
            inputs[0],
            fill,
            self.map_shift_px[0].tolist(),
        )
        scores = self.classifier.head([screen.features[None]])[0]
        finer = finer_scores = None
        if self.multi_gap is not None:
            feats = self.multi_gap.extract_feat(inputs)
            finer_scores = self.multi_gap.head(feats)[0].softmax(0).cpu()
            maps = self._nodule_maps(feats).float()
            full = resize_map(maps[:, None], inputs.shape[2:])[0, 0]
            finer = shift_map(full, self.map_shift_px[1].tolist()).cpu()
        return _SeenSlice(image_hu, means, scores, screen, finer, finer_scores)

    def _nodule_maps(self, feats: Any) -> Tensor:
        """Return the maps of nodules of the trained network, (N, h, w)."""
        maps = self.trained.head.activation_maps(feats, map='equation')
        return maps[:, self.positive] - self._others(maps)

    def _others(self, values: Tensor) -> Tensor:
        """Average the other classes, (N, C, ...) -> (N, ...); 0 without log-odds."""
        if not self.log_odds:
            return torch.zeros_like(values[:, 0])
        others = [k for k in range(values.shape[1]) if k != self.positive]
        return values[:, others].mean(1)

    def _segment(self, seen: '_SeenSlice') -> list['SegmentedNodule']:
        """Segment the nodules of a slice, the most prominent first."""
        found: list[SegmentedNodule] = []
        nodule_map = seen.screen.map().numpy()
        painted = np.zeros(nodule_map.shape, bool)
        while len(found) < self.num_nodules:
            blobs = prominent_blobs(nodule_map, **self.blob_cfg)
            if self.several == 'watershed':
                return [
                    self._nodule(seen, blob.mask) for blob in blobs[: self.num_nodules]
                ]
            if not blobs:
                break
            nodule = self._nodule(seen, blobs[0].mask)
            removed = nodule.fine.numpy() & ~painted
            if removed.any() or not found:  # not the same nodule again
                found.append(nodule)
            if len(found) == self.num_nodules or not removed.any():
                break
            painted |= removed
            screen = seen.screen.without(painted)
            if self.next_thr is not None and self._probability(screen) < self.next_thr:
                break
            nodule_map = screen.map().numpy()
        return found

    def _probability(self, screen: CandidateScreen) -> float:
        """Return the probability of a nodule."""
        scores = self.classifier.head([screen.features[None]])[0]
        return float(scores.float().softmax(0)[self.positive])

    def _nodule(self, seen: '_SeenSlice', blob: np.ndarray) -> 'SegmentedNodule':
        """Segment the nodule of one blob."""
        scope = blob
        if seen.finer is not None:
            scope = scope_within(seen.finer.numpy(), blob, **self.blob_cfg)
        if self.scope_margin_px:
            outside = ndimage.distance_transform_edt(~scope)
            scope = np.asarray(outside) <= self.scope_margin_px
        candidates = self._candidates(seen, scope)
        chosen = 1
        if candidates.max() > 1:
            chosen += int(seen.screen.changes(candidates, blob).argmax())
        fine = candidates == chosen
        if self.refine is not None and fine.any():
            fine = refine_candidate(seen.image_hu, fine, self.refine)
        masks = (scope, candidates > 0, fine)
        return SegmentedNodule(*(torch.from_numpy(mask) for mask in masks))

    def _candidates(self, seen: '_SeenSlice', scope: np.ndarray) -> np.ndarray:
        return nodule_candidates(
            seen.image_hu, scope, seen.means, self.smoothness, edge=self.edge
        )

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load weights; checkpoints of earlier versions have no ``map_shift_px``."""
        state_dict.setdefault(f'{prefix}map_shift_px', torch.zeros(2, 2))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class SegmentedNodule(NamedTuple):
    """Masks of a nodule: scope, all candidates in the scope, selected candidate."""

    scope: Tensor
    coarse: Tensor
    fine: Tensor


class _SeenSlice(NamedTuple):
    """A slice in HU with its phase means, and the outputs of the networks."""

    image_hu: np.ndarray  # (H, W)
    means: np.ndarray
    scores: Tensor  # (num_classes, )
    screen: CandidateScreen
    finer: Tensor | None  # (H, W)
    finer_scores: Tensor | None
