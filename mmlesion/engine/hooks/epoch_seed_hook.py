"""Hook that makes random numbers depend only on the epoch."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.device import is_cuda_available
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmlesion.engine.sample_seeds import SampleSeededDataset
from mmlesion.registry import HOOKS


def seed_worker(worker_id: int) -> None:
    """Seed numpy and ``random`` in a loading process from PyTorch's seed.

    PyTorch gives each loading process a seed that the main process draws at the start
    of an epoch. MMEngine replaces this seed by a constant, so the augmentations of the
    first epoch are repeated in each epoch.

    Args:
        worker_id: Not used, because PyTorch's seed already depends on it.
    """
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed all random generators from (seed, epoch, rank) before each epoch.

    Sampling of proposals, dropout, and augmentation use generators whose state is not
    stored in a checkpoint. With this hook, the random numbers of an epoch do not depend
    on whether the training was resumed. A training that was interrupted and resumed
    from the checkpoint of the last epoch therefore reaches the same loss as an
    uninterrupted training.

    In an epoch-based training, the augmentation of each sample has its own seed, which
    is derived from the seed of the epoch and the index of the sample
    (:class:`~mmlesion.engine.sample_seeds.SampleSeededDataset`). The result does not
    depend on the number of loading processes.

    The losses are identical bit for bit if the arithmetic is deterministic (on a CPU,
    or with ``randomness=dict(deterministic=True)`` on a GPU).
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch_seed = torch.zeros((), dtype=torch.int64).share_memory_()

    # Run before hooks that may draw random numbers at the same stage.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Make the seeds of the loading processes depend on the seed of the epoch.

        Args:
            runner: The runner of the training.
        """
        loop: Any = runner.train_loop
        loader = loop.dataloader
        loader.worker_init_fn = seed_worker
        # Persistent processes do not draw new seeds from this generator.
        loader.generator = torch.Generator()
        if isinstance(loop, EpochBasedTrainLoop):
            # PyTorch does not allow replacing the data set of a loader, because its
            # length could differ from that of the sampler. Here, the length is the
            # same.
            seeded = SampleSeededDataset(loader.dataset, self.epoch_seed)
            object.__setattr__(loader, 'dataset', seeded)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed ``random``, numpy and torch on all devices.

        Args:
            runner: The runner of the training.
        """
        # SeedSequence decorrelates the streams of similar seeds and epochs.
        mixed = np.random.SeedSequence([runner.seed, runner.epoch, runner.rank])
        seed = int(mixed.generate_state(1)[0])
        self.epoch_seed.fill_(seed)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        if is_cuda_available():
            torch.cuda.manual_seed_all(seed)
