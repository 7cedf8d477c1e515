"""Models with weights that are shipped with mmlesion and loaded by name.

The folder ``zoo`` contains, for each model, the weights in float16
(``<name>.safetensors``) and a model card (``<name>.md``). ``zoo/zoo.json`` lists the
models with their config and the SHA-256 of the weights. The address
``mmlesion://<name>`` names the weights wherever MMEngine loads a checkpoint.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file

import mmlesion
from mmlesion.files import write_json

#: Prefix of the addresses of weights.
PREFIX = 'mmlesion://'
ZOO_INDEX_NAME = 'zoo.json'


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo.

    Attributes:
        name: Name of the model.
        config: Path of the config below ``configs/``.
        sha256: SHA-256 of the file of weights.
        classes: Names of the classes that the model predicts.
        scope: Package of the model, ``'mmpretrain'`` or ``'mmdet'``.
    """

    name: str
    config: str
    sha256: str
    classes: tuple[str, ...]
    scope: str = 'mmpretrain'

    @property
    def config_path(self) -> Path:
        """Path of the config file."""
        return _data_folder() / 'configs' / self.config

    @property
    def weights_path(self) -> Path:
        """Path of the file of weights."""
        return zoo_folder() / f'{self.name}.safetensors'

    @property
    def card_path(self) -> Path:
        """Path of the model card."""
        return zoo_folder() / f'{self.name}.md'

    @property
    def address(self) -> str:
        """Address of the weights, for ``load_from`` and ``init_cfg``."""
        return PREFIX + self.name


def zoo_folder() -> Path:
    """Return the folder of the weights, in a checkout or an installed package."""
    return _data_folder() / 'zoo'


@lru_cache(maxsize=1)
def zoo_models() -> Mapping[str, ZooModel]:
    """All models of the zoo by name.

    Raises:
        FileNotFoundError: If the package was installed without the zoo.
    """
    path = zoo_folder() / ZOO_INDEX_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such file; this installation of mmlesion has no model zoo'
        )
    return {
        name: ZooModel(
            name, row['config'], row['sha256'], tuple(row['classes']), row['scope']
        )
        for name, row in json.loads(path.read_text(encoding='utf-8')).items()
    }


def zoo_model(name: str) -> ZooModel:
    """Look up a model.

    Args:
        name: Name of the model, with or without ``mmlesion://`` or ``mmlesion::``.

    Raises:
        ValueError: If the model does not exist. The message lists the models.
    """
    short = name.removeprefix(PREFIX).removeprefix('mmlesion::')
    models = zoo_models()
    if short not in models:
        raise ValueError(
            f'there is no model {short!r} in the zoo; expected one of '
            f'{", ".join(sorted(models))}'
        )
    return models[short]


def read_zoo_weights(name: str, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read the weights of a model as a checkpoint.

    Args:
        name: Name or address of the model.
        map_location: Device of the tensors.

    Returns:
        ``state_dict`` in float32, and ``meta`` with the classes of the model.

    Raises:
        FileNotFoundError: If the file of weights is missing.
        ValueError: If the model does not exist, or the file is damaged.
    """
    model = zoo_model(name)
    path = model.weights_path
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; reinstall mmlesion')
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ValueError(
            f'{path}: the SHA-256 differs from the one in {ZOO_INDEX_NAME}; the file '
            'is damaged or belongs to another version of mmlesion'
        )
    try:
        tensors = load_safetensors(content)
    except SafetensorError as error:
        raise ValueError(f'{path}: not readable as safetensors ({error})') from None
    device = 'cpu' if callable(map_location) else map_location or 'cpu'
    state_dict = {
        key: (value.float() if value.is_floating_point() else value).to(device)
        for key, value in tensors.items()
    }
    meta = dict(dataset_meta=dict(classes=model.classes))
    return dict(state_dict=state_dict, meta=meta)


def add_to_zoo(
    name: str,
    config: str,
    state_dict: Mapping[str, torch.Tensor],
    classes: tuple[str, ...],
    scope: str = 'mmpretrain',
    folder: Path | None = None,
) -> ZooModel:
    """Write the weights of a model in float16 and list the model.

    Args:
        name: Name of the model.
        config: Path of the config below ``configs/``.
        state_dict: The weights.
        classes: Names of the classes that the model predicts.
        scope: Package of the model, ``'mmpretrain'`` or ``'mmdet'``.
        folder: Folder of the zoo. Defaults to that of this checkout.

    Returns:
        The listed model.

    Raises:
        OSError: If a file cannot be written.
    """
    folder = folder or zoo_folder()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for key, value in state_dict.items()
    }
    path = folder / f'{name}.safetensors'
    save_file(tensors, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model = ZooModel(name, config, sha256, tuple(classes), scope)
    index_path = folder / ZOO_INDEX_NAME
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    row = asdict(model)
    index[row.pop('name')] = row
    write_json(index_path, dict(sorted(index.items())), indent=2)
    zoo_models.cache_clear()
    return model


def register_zoo() -> None:
    """List the classifiers of the zoo in MMPretrain, as ``mmlesion::<name>``.

    ``mmpretrain.get_model('mmlesion::hesam_lidc_11c', pretrained=True)`` and
    ``mmpretrain.list_models('mmlesion*')`` know the models afterwards. Nothing
    happens where MMPretrain or the zoo is not installed.
    """
    if find_spec('mmpretrain') is None or not (zoo_folder() / ZOO_INDEX_NAME).is_file():
        return
    from mmpretrain.apis.model import ModelHub
    from modelindex.models.Model import Model

    for model in zoo_models().values():
        if model.scope != 'mmpretrain':
            continue
        name = f'mmlesion::{model.name}'
        if not ModelHub.has(name):
            ModelHub._models_dict[name] = Model(
                Name=name, Config=str(model.config_path), Weights=model.address
            )


def _data_folder() -> Path:
    """Return the folder ``.mim``, with links in a checkout and copies in a wheel."""
    return Path(mmlesion.__file__).parent / '.mim'
