"""Random seeds per sample, independent of the loading process."""

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset


class SampleSeededDataset(Dataset):
    """Data set that seeds ``random``, numpy and torch for each sample.

    The seed is derived from the seed of the epoch and the index of the sample, so a
    sample has the same augmentation with 0, 1 or 8 loading processes. The state of the
    generators is restored afterward. If a sampler draws a sample twice in an epoch,
    both have the same augmentation.

    Args:
        dataset: The data set. All other attributes are forwarded to it.
        epoch_seed: Seed of the epoch, one integer in shared memory, so that persistent
            processes read the current value.
    """

    def __init__(self, dataset: Any, epoch_seed: torch.Tensor) -> None:
        self.__dict__.update(_dataset=dataset, _epoch_seed=epoch_seed)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        mixed = np.random.SeedSequence([int(self._epoch_seed), int(index)])
        seed = int(mixed.generate_state(1)[0])
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        try:
            return self._dataset[index]
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or '_dataset' not in self.__dict__:
            raise AttributeError(name)  # also during unpickling
        return getattr(self._dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._dataset, name, value)
