"""The model of a config with the weights of a checkpoint."""

from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope

from mmlesion.engine.checkpoint import read_checkpoint
from mmlesion.engine.lesion_runner import load_exactly


def load_trained_model(cfg, checkpoint, device=None):
    """Build a config's model with a checkpoint's weights, ready to predict.

    No runner, no work directory, no log: for programs that look at a model.

    Args:
        cfg (Config): The config, of any host; ``trust_checkpoint=True`` lets the
            checkpoint run the code it carries.
        checkpoint (str or Path): File or http(s) address, of exactly this model.
        device (str, optional): Defaults to the GPU, if there is one.

    Returns:
        nn.Module: In evaluation mode; ``dataset_meta`` is what the checkpoint
        says of its data set (``classes``), or empty.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint would run code or belongs to another model.
    """
    checkpoint = str(checkpoint)
    content = read_checkpoint(
        checkpoint, trust=bool(cfg.get('trust_checkpoint', False))
    )
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model_cfg = cfg.model.copy()
    if cfg.get('data_preprocessor') is not None:  # mmpretrain keeps it outside
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(model_cfg)
    load_exactly(model, content, checkpoint)
    model.dataset_meta = (content.get('meta') or {}).get('dataset_meta') or {}
    return model.to(device or get_device()).eval()
