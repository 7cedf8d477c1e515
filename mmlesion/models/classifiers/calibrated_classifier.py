"""Image classifier with a temperature."""

from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class CalibratedClassifier(ImageClassifier):
    r"""Image classifier whose predicted probabilities have a temperature.

    .. math:: p_c = \mathrm{softmax}_c(S / T)

    :math:`T` is part of the checkpoint and 1 until ``mmlesion calibrate`` has fitted
    it on validation cases. Training and class scores (``mode='tensor'``) do not depend
    on it, so activation maps stay the same, and neither does the predicted class. A
    checkpoint without a temperature is read as one with :math:`T = 1`.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017.

    Args:
        *args: See mmpretrain's ``ImageClassifier``.
        **kwargs: See mmpretrain's ``ImageClassifier``.
    """

    temperature: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer('temperature', torch.ones(()))

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[DataSample] | None = None,
        **kwargs: Any,
    ) -> list[DataSample]:
        """Predict classes and calibrated probabilities.

        Args:
            inputs: Input of the network.
            data_samples: Samples that receive ``pred_score`` and ``pred_label``.
            **kwargs: Passed on to the head.

        Shape:
            - inputs: (N, C, H, W)

        Returns:
            The data samples.
        """
        predictions = super().predict(inputs, data_samples, **kwargs)
        for sample in predictions:
            # softmax(S / T) = softmax(log softmax(S) / T)
            score: Any = sample.get('pred_score')
            score = score.float()
            # The logarithm of a probability that is rounded to 0 is not finite
            score = score.clamp(min=torch.finfo(score.dtype).tiny).log()
            score = (score / self.temperature).softmax(0)
            sample.set_pred_score(score)
        return predictions

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        state_dict.setdefault(f'{prefix}temperature', torch.ones(()))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
