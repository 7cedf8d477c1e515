"""Registered measures of maps, with a lesion mask or with the model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from mmlesion.attribution import (
    insertion_deletion,
    map_similarity,
    max_sensitivity,
    randomize_parameters,
    road,
)
from mmlesion.evaluation.functional import (
    band_auprc,
    band_gain,
    energy_inside,
    pointing_game,
    rank_pixels,
    relevance_rank_accuracy,
    sparseness,
)
from mmlesion.registry import MAP_MEASURES


@dataclass
class MapBatch:
    """Maps of one method for a batch, and the inputs of the measures.

    Attributes:
        model: The explained model.
        inputs: Input of the model.
        maps: One map per sample, at the size of the input.
        raw: The maps before resizing, as ``explain`` returns them.
        masks: Masks of the lesions.
        classes: The explained class of each sample.
        num_classes: Number of classes of the model.
        score: The explained score, see :class:`~mmlesion.attribution.ActivationMap`.
        explain: Function from other inputs and classes (B, ) to maps (B, 1, \\*grid).
        forward: Function from inputs to the output of the model.
        trained: Whether the model is trained; measures of the method itself are omitted
            for the untrained control.

    Shape:
        - inputs: (B, C, H, W)
        - maps, masks: (B, H, W)
        - raw: (B, 1, \\*grid)
        - classes: (B,)
    """

    model: nn.Module
    inputs: Tensor
    maps: Tensor
    raw: Tensor
    masks: np.ndarray
    classes: Tensor
    num_classes: int
    score: str | Callable
    explain: Callable[[Tensor, Tensor], Tensor]
    forward: Callable | None = None
    trained: bool = True


class MapMeasure:
    """Base class of measures, which return values for each sample of a batch.

    A custom measure implements :meth:`__call__` and is registered with
    ``@MAP_MEASURES.register_module()``.
    """

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure a batch.

        Returns:
            Values (B,) by name, NaN if a measure is undefined.
        """
        raise NotImplementedError


class MaskMeasure(MapMeasure):
    """Base class of measures of one map and one mask."""

    def measure_image(
        self, activation: np.ndarray, mask: np.ndarray
    ) -> dict[str, float]:
        """Measure one sample.

        Args:
            activation: Map of the sample.
            mask: Mask of the lesion, with at least one pixel.

        Shape:
            - activation, mask: (H, W)
        """
        raise NotImplementedError

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure each sample that has a lesion."""
        maps = batch.maps.float().cpu().numpy()
        found = [
            self.measure_image(activation, mask) if mask.any() else {}
            for activation, mask in zip(maps, batch.masks)
        ]
        names = dict.fromkeys(name for each in found for name in each)
        return {
            name: np.array([each.get(name, np.nan) for each in found]) for name in names
        }


@MAP_MEASURES.register_module()
class MapLocalization(MaskMeasure):
    """Localization of the lesion by the map.

    ``auprc`` and ``auroc`` over the pixels of each image, ``prevalence`` (the AUPRC of
    random guessing), ``pointing`` (pointing game), ``rank_accuracy`` (relevance rank
    accuracy) and ``energy`` (fraction of the positive part inside).
    """

    def measure_image(
        self, activation: np.ndarray, mask: np.ndarray
    ) -> dict[str, float]:
        """Measure one sample."""
        ranking = rank_pixels(activation, mask)
        return dict(
            auprc=ranking.auprc,
            auroc=ranking.auroc,
            prevalence=ranking.prevalence,
            pointing=pointing_game(activation, mask),
            rank_accuracy=relevance_rank_accuracy(activation, mask),
            energy=energy_inside(activation, mask),
        )


@MAP_MEASURES.register_module()
class MapOutline(MaskMeasure):
    """Accuracy of the map at the outline of the lesion.

    ``band_auprc`` and ``band_prevalence`` of the pixels near the outline, and
    ``band_gain``, the positive part of the map near the outline relative to a constant
    map.

    Args:
        width_px: Half of the width of the band.
    """

    def __init__(self, width_px: float = 2) -> None:
        self.width_px = width_px

    def measure_image(
        self, activation: np.ndarray, mask: np.ndarray
    ) -> dict[str, float]:
        """Measure one sample."""
        auprc, prevalence = band_auprc(activation, mask, self.width_px)
        gain = band_gain(activation, mask, self.width_px)
        return dict(band_auprc=auprc, band_prevalence=prevalence, band_gain=gain)


@MAP_MEASURES.register_module()
class MapSparseness(MapMeasure):
    """``sparseness``: the Gini index of the absolute values of the map."""

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure each sample."""
        maps = batch.maps.float().cpu().numpy()
        return dict(sparseness=np.array([sparseness(each) for each in maps]))


@MAP_MEASURES.register_module()
class MapInsertionDeletion(MapMeasure):
    """Insertion and deletion of pixels in the order of the map.

    ``insertion_<baseline>``, ``deletion_<baseline>``, the areas under the curves of the
    probability of the explained class, and ``difference_<baseline>`` of both.

    Args:
        baselines: Values of a missing pixel: ``'blur'``, ``'mean'`` or a number in the
            values of the network's input.
        num_steps: Number of steps between no pixel and all pixels.
        chunk_size: Number of images in one pass.
    """

    def __init__(
        self,
        baselines: Sequence[str | float] = ('blur', 'mean'),
        num_steps: int = 16,
        chunk_size: int = 64,
    ) -> None:
        self.baselines = baselines
        self.num_steps = num_steps
        self.chunk_size = chunk_size

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure each sample."""
        found = {}
        for baseline in self.baselines:
            curves = insertion_deletion(
                batch.model,
                batch.inputs,
                batch.maps[:, None],
                batch.classes,
                num_steps=self.num_steps,
                insert_into=baseline,
                replace_by=baseline,
                chunk_size=self.chunk_size,
                forward=batch.forward,
            )
            insertion = curves.insertion_auc[:, 0].numpy()
            deletion = curves.deletion_auc[:, 0].numpy()
            found[f'insertion_{baseline}'] = insertion
            found[f'deletion_{baseline}'] = deletion
            found[f'difference_{baseline}'] = insertion - deletion
        return found


@MAP_MEASURES.register_module()
class MapROAD(MapMeasure):
    """``road``: remove and impute the most and the least relevant pixels.

    Args:
        shares: Fractions of removed pixels.
        seed: Random seed of the noise and of the order of equal map values.
    """

    def __init__(
        self, shares: Sequence[float] = (0.1, 0.3, 0.5, 0.7), seed: int = 0
    ) -> None:
        self.shares = shares
        self.seed = seed

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure each sample."""
        found = road(
            batch.model,
            batch.inputs,
            batch.maps[:, None],
            batch.classes,
            shares=self.shares,
            seed=self.seed,
            forward=batch.forward,
        )
        return dict(road=found[:, 0].numpy())


@MAP_MEASURES.register_module()
class MapSensitivity(MapMeasure):
    """``max_sensitivity``: largest change of the map under small input changes.

    Args:
        radius: Maximum change of a value as a fraction of the value range of the image.
        samples: Number of random changes.
        seed: Random seed of the changes.
    """

    def __init__(self, radius: float = 0.02, samples: int = 3, seed: int = 0) -> None:
        self.radius = radius
        self.samples = samples
        self.seed = seed

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure each sample."""
        if not batch.trained:
            return dict(max_sensitivity=np.full(len(batch.inputs), np.nan))
        found = max_sensitivity(
            lambda inputs: batch.explain(inputs, batch.classes),
            batch.inputs,
            radius=self.radius,
            samples=self.samples,
            seed=self.seed,
            original=batch.raw,
        )
        return dict(max_sensitivity=found[:, 0].cpu().numpy())


@MAP_MEASURES.register_module()
class MapParameterRandomization(MapMeasure):
    """``randomized``: similarity with the map of a model whose weights are shuffled.

    All parameters are shuffled. A value near 0 means that the map depends on the
    parameters.

    Args:
        seed: Random seed of the shuffling.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure each sample."""
        if not batch.trained:
            return dict(randomized=np.full(len(batch.inputs), np.nan))
        (found,) = randomize_parameters(
            batch.model,
            lambda: batch.explain(batch.inputs, batch.classes),
            [''],
            seed=self.seed,
            original=batch.raw,
        )
        return dict(randomized=found.similarity[:, 0].cpu().numpy())


@MAP_MEASURES.register_module()
class MapRandomLogit(MapMeasure):
    """``other_class``: similarity with the map of the next class.

    The log-odds of two classes have opposite signs, and so have their maps
    for most methods, which gives -1.
    """

    def __call__(self, batch: MapBatch) -> dict[str, np.ndarray]:
        """Measure each sample; NaN for a model of one class or without training."""
        if batch.num_classes < 2 or not batch.trained:
            return dict(other_class=np.full(len(batch.inputs), np.nan))
        other = (batch.classes + 1) % batch.num_classes
        found = map_similarity(
            batch.raw,
            batch.explain(batch.inputs, other),
        )
        return dict(other_class=found[:, 0].cpu().numpy())


def build_measures(specs: Sequence) -> list[MapMeasure]:
    """Build measures by name.

    Args:
        specs: Names such as ``'MapROAD'``, configs with ``type``, or measures.

    Raises:
        ValueError: If a measure does not exist.
    """
    measures = []
    for spec in specs:
        if isinstance(spec, MapMeasure):
            measures.append(spec)
            continue
        cfg = dict(type=spec) if isinstance(spec, str) else dict(spec)
        cfg['type'] = str(cfg['type']).removeprefix('mmlesion.')
        if cfg['type'] not in MAP_MEASURES.module_dict:
            raise ValueError(
                f'there is no measure {cfg["type"]!r} of maps; expected one of '
                f'{", ".join(sorted(MAP_MEASURES.module_dict))}'
            )
        measures.append(MAP_MEASURES.build(cfg))
    return measures


#: All measures with their defaults, the fastest first.
ALL_MEASURES = (
    'MapLocalization',
    'MapOutline',
    'MapSparseness',
    'MapInsertionDeletion',
    'MapROAD',
    'MapSensitivity',
    'MapParameterRandomization',
    'MapRandomLogit',
)


def first_map(maps: Tensor | dict[str, Tensor]) -> Tensor:
    """Return the single map of each sample, (B, 1, \\*grid).

    Raises:
        ValueError: If a method returned several maps.
    """
    if isinstance(maps, dict):
        raise ValueError(
            f'a measure needs one map per sample, got maps of {", ".join(maps)}: name '
            'one layer'
        )
    return maps[:, :1].float()
