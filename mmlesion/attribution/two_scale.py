"""HiResCAM of two layers: the last feature maps and a layer of finer resolution."""

from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from .default_layer import finer_feature_layer
from .gradient import HiResCAM
from .layer_outputs import LayerOutputs, LayerSpec, layer_names
from .picture import resize_map

# Finer layer of each layer of a model: finding it costs a forward pass.
_FINER: WeakKeyDictionary[nn.Module, dict[str, str | None]] = WeakKeyDictionary()


class TwoScaleCAM(HiResCAM):
    r"""HiResCAM at two resolutions, combined by the geometric mean.

    .. math::
        L(p) = \sqrt{\mathrm{ReLU}(H_\mathrm{layer}(p))\;
                     \mathrm{ReLU}(H_\mathrm{finer}(p))},
        \quad H(p) = \sum_k g_k(p) A_k(p)

    The map of the layer is resized to the grid of the finer layer, which is the last
    layer before it whose maps have at least 1.5 times as many rows and columns. The
    map is positive where both layers have evidence for the score. A map of the last
    layer alone spreads over the cells at the border of a small object, since a cell
    is often half as large as the object. As the maps are multiplied, they do not sum
    to the score.

    Without a finer layer, or if the layer puts out several maps (a pyramid), the maps
    are those of ``HiResCAM(relu=True)``.

    Sources: HiResCAM, see :class:`HiResCAM`. The combination is ours, after the idea
    of Guided Grad-CAM (Selvaraju et al., "Grad-CAM", ICCV 2017, section 3.2), which
    multiplies a coarse map with a finer one.

    Args:
        model, layers, forward, score, grid, reshape: See :class:`ActivationMap`. One
            layer, or two layers with maps of the same rank, the coarser layer first.

    Raises:
        ValueError: If more than two layers are given.
    """

    def __init__(self, model: nn.Module, layers: LayerSpec, **kwargs: Any) -> None:
        super().__init__(model, layers, relu=True, **kwargs)
        self.names = layer_names(self.model, layers)
        if len(self.names) > 2:
            raise ValueError(
                'TwoScaleCAM combines one layer with a finer one, but got '
                f'{len(self.names)} layers'
            )

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Raw maps, see :meth:`ActivationMap.__call__`."""
        if len(self.names) == 1:
            known = _FINER.setdefault(self.model, {})
            layer = self.names[0]
            if layer not in known:
                known[layer] = finer_feature_layer(
                    self.model, inputs, layer, self.forward
                )
            finer = known[layer]
            if finer is not None:
                self.names.append(finer)
                self.outputs = LayerOutputs(self.model, self.names)
        return super().compute(inputs, targets)

    def named(self, maps: dict[str, list]) -> Tensor | dict[str, Tensor]:
        """The geometric mean of the maps of both layers."""
        if len(maps) != 2 or any(len(found) != 1 for found in maps.values()):
            return super().named({self.names[0]: maps[self.names[0]]})
        (coarse,), (finer,) = (maps[name] for name in self.names)
        if finer.shape[:2] != coarse.shape[:2] or finer.dim() != coarse.dim():
            raise ValueError(
                f'the maps of {self.names[0]!r} and {self.names[1]!r} have shapes '
                f'{tuple(coarse.shape)} and {tuple(finer.shape)} and cannot be combined'
            )
        return (resize_map(coarse, finer.shape[2:]) * finer).sqrt()
