"""Random numbers that depend on the epoch alone, not on what ran before."""

import random

import numpy as np
import torch
from mmengine.device import is_cuda_available
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from mmlesion.engine.sample_seeds import SampleSeededDataset
from mmlesion.registry import HOOKS


def seed_worker(worker_id):
    """Seed numpy and ``random`` in a loading process as PyTorch's own.

    PyTorch gives each loading process a seed drawn from the main process at
    the start of an epoch. MMEngine replaces it by a constant one, so that each
    epoch repeats the augmentations of the first; this does not.

    Args:
        worker_id (int): Not used: PyTorch's seed already depends on it.
    """
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed every random generator from (seed, epoch, rank) as an epoch begins.

    Sampling of proposals, dropout, and augmentation draw from generators whose
    state is not in a checkpoint. With this hook an epoch draws the same
    numbers whether or not the training was resumed before it, so that a
    training which was killed and resumed from the last epoch's checkpoint
    continues to the very loss of an unbroken one.

    In a training by epochs each sample is augmented by a seed of its own, mixed from
    the epoch's seed and the sample's index
    (:class:`~mmlesion.engine.sample_seeds.SampleSeededDataset`), so that the number of
    loading processes changes nothing.

    Exact where the arithmetic is (CPU, or ``randomness=dict(deterministic=True)``
    on a GPU).
    """

    def __init__(self):
        super().__init__()
        self.epoch_seed = torch.zeros((), dtype=torch.int64).share_memory_()

    # Before the hooks that might draw numbers in the same place.
    priority = 'VERY_HIGH'

    def before_train(self, runner):
        """Let loading processes take their seed from the epoch's.

        Args:
            runner (Runner): The runner of the training.
        """
        loader = runner.train_loop.dataloader
        loader.worker_init_fn = seed_worker
        # Processes that outlive an epoch draw no new seed from this generator
        loader.generator = torch.Generator()
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            # PyTorch refuses to set the attribute after a loader is made, lest the
            # sampler has another length; this data set has the same.
            seeded = SampleSeededDataset(loader.dataset, self.epoch_seed)
            object.__setattr__(loader, 'dataset', seeded)

    def before_train_epoch(self, runner):
        """Seed ``random``, numpy and torch on all devices.

        Args:
            runner (Runner): The runner of the training.
        """
        # SeedSequence mixes: neighbouring seeds and epochs share no stream.
        mixed = np.random.SeedSequence([runner.seed, runner.epoch, runner.rank])
        seed = int(mixed.generate_state(1)[0])
        self.epoch_seed.fill_(seed)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        if is_cuda_available():
            torch.cuda.manual_seed_all(seed)
