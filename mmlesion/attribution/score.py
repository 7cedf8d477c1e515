"""Score-CAM: features weighted by the scores of masked images."""

from typing import Any

import torch
from torch import Tensor, nn

from .base import ActivationMap, weighted_sum
from .layer_outputs import LayerSpec
from .picture import normalize_map, resize_map
from .targets import class_indices, logits_of, scores_of


class ScoreCAM(ActivationMap):
    r"""Score-CAM: features weighted by the scores of images masked by them.

    .. math::
        \alpha^c = \mathrm{softmax}_k\big(f^c(X \circ H_k)\big), \quad
        L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A_k\Big)

    where :math:`H_k` is :math:`A_k` resized to the input and scaled to [0, 1].
    Resizing keeps the positions of cell centers (``align_corners=False``).
    pytorch-grad-cam and torchcam resize differently, so their maps differ slightly.

    Source: Wang et al., "Score-CAM", CVPR Workshops 2020, Eqs. 6 to 8 and
    Alg. 1 (the score of the empty input is the same for all k and cancels in
    the softmax).

    The cost is one forward pass of one image per channel, independent of the number of
    classes, and no gradient. ``top_k`` limits the time, ``chunk_size`` the memory.

    Args:
        model, layers, forward, score, grid, reshape: See :class:`ActivationMap`.
            ``forward`` must take a batch of images as a tensor.
        chunk_size: Number of masked images in one pass.
        top_k: For each image, use only this number of channels with the largest
            standard deviation over the locations. The other channels get weight 0.
            Defaults to all channels, as in the paper.

    Shape:
        - Input: (B, channels, *size), with as many dimensions as the layer output.

    Raises:
        TypeError: If the inputs are not a tensor.
        ValueError: If ``chunk_size`` or ``top_k`` is not positive, or a layer does
            not return one map per sample.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSpec,
        chunk_size: int = 32,
        top_k: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, layers, **kwargs)
        if chunk_size < 1 or (top_k is not None and top_k < 1):
            raise ValueError(
                f'chunk_size and top_k must be positive, got {chunk_size} and {top_k}'
            )
        self.chunk_size = chunk_size
        self.top_k = top_k

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        if not isinstance(inputs, Tensor):
            raise TypeError(
                'ScoreCAM masks the inputs: they must be one tensor, got '
                f'{type(inputs).__name__}'
            )
        with self.running(gradient=False):
            with (
                self.grid.watching(self.model),
                self.outputs.recording(gradient=False) as outputs,
            ):
                output = self.forward(inputs)
                outputs.select_maps()
                features = {
                    name: [self.features(each, name) for each in found]
                    for name, found in outputs.maps.items()
                }
            if not callable(targets):
                targets = class_indices(targets, logits_of(output))
            del output
            return self.named(
                {
                    name: [self._maps(inputs, each, targets, name) for each in found]
                    for name, found in features.items()
                }
            )

    def _maps(
        self, inputs: Tensor, features: Tensor, targets: Any, name: str
    ) -> Tensor:
        """Return the maps (B, K, *grid) of one layer."""
        if len(features) != len(inputs) or features.dim() != inputs.dim():
            raise ValueError(
                f'layer {name!r} returned {tuple(features.shape)} for inputs of '
                f'{tuple(inputs.shape)}: ScoreCAM needs one map per sample'
            )
        maps = []
        for index, (image, channels) in enumerate(zip(inputs, features)):
            wanted = targets if callable(targets) else targets[index]
            if self.top_k is not None and self.top_k < len(channels):
                spread = channels.flatten(1).std(1)
                channels = channels[spread.topk(self.top_k).indices]
            scores = torch.cat(
                [
                    self._scores(image, chunk, wanted)
                    for chunk in channels.split(self.chunk_size)
                ]
            )  # (C, K)
            maps.append(weighted_sum(channels[None], scores.softmax(0).T))
        return torch.cat(maps).relu()

    def _scores(self, image: Tensor, channels: Tensor, wanted: Any) -> Tensor:
        """Return the scores (n, K) of one image masked by channels (n, *grid)."""
        masks = resize_map(channels[:, None], image.shape[1:])
        masks = normalize_map(masks, 'image').to(image)  # (n, 1, *size)
        output = self.forward(image[None] * masks)
        if not callable(wanted):
            wanted = wanted.expand(len(channels), -1)
        scores = scores_of(output, wanted, self.score).float()
        if len(scores) != len(channels):
            raise ValueError(
                f'the callable target returned {len(scores)} scores for '
                f'{len(channels)} masked images: ScoreCAM needs one score '
                '(or K) for each image of any batch'
            )
        return scores
