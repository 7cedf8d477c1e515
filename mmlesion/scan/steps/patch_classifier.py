"""Classifier of patches, loaded for a step of a scan."""

import os
from collections.abc import Sequence
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlesion.engine.trained_model import as_config, load_trained_model
from mmlesion.registry import DATASETS, type_name


class PatchClassifier:
    """A classifier of mmpretrain with the test pipeline of its config.

    Args:
        config: Config of the classifier, a path or a ``Config``.
        checkpoint: Checkpoint of this classifier.
        loading: Name of the transform that reads a patch.
        positive: Class whose probability the step uses. The names of the classes are
            those of the checkpoint, or otherwise those of the data set of the config.
        device: For example ``'cpu'``. Defaults to the GPU if available.

    Attributes:
        cfg: The config.
        model: The model in evaluation mode.
        scope: Registry scope of the model and the pipeline.
        pipeline: Test pipeline.
        classes: Names of the classes.
        positive: Index of the class ``positive``.

    Raises:
        ValueError: If the pipeline does not begin with ``loading``, or ``positive`` is
            not a class.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str],
        loading: str,
        positive: str,
        device: str | None = None,
    ) -> None:
        self.cfg = as_config(config)
        dataset = self.cfg.test_dataloader.dataset
        first = type_name(dataset.pipeline[0])
        if first != loading:
            raise ValueError(
                f'{self.cfg.filename}: expected a test pipeline that begins with '
                f'{loading}, but it begins with {first}'
            )
        self.scope = self.cfg.get('default_scope', 'mmpretrain')
        with DefaultScope.overwrite_default_scope(self.scope):
            self.model: Any = load_trained_model(self.cfg, checkpoint, device)
            self.pipeline = Compose(dataset.pipeline)
            default = getattr(DATASETS.get(dataset.type), 'METAINFO', {})
        names: Sequence[str] = self.model.dataset_meta.get('classes') or default.get(
            'classes', ()
        )
        self.classes = list(names)
        if positive not in self.classes:
            raise ValueError(
                f'{os.fspath(checkpoint)}: expected a class named {positive}, but the '
                f'classes are {", ".join(self.classes) or "not named"}'
            )
        self.positive = self.classes.index(positive)
