import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmlesion.cli.arguments import use_mixed_precision
from mmlesion.registry import OPTIM_WRAPPERS


def _step(kind):
    torch.manual_seed(0)
    model = nn.Linear(8, 1)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type=kind, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    )
    with wrapper.optim_context(model):
        outputs = model(torch.linspace(-1, 1, 32).reshape(4, 8))
        loss = outputs.float().square().mean()
    wrapper.update_params(loss)
    return outputs, model


def test_a_step_in_bfloat16_is_that_in_float32_to_its_eight_bits():
    whole, expected = _step('OptimWrapper')
    half, model = _step('mmlesion.Bf16OptimWrapper')
    assert whole.dtype == torch.float32 and half.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, expected.weight)
    torch.testing.assert_close(model.weight, expected.weight, rtol=0, atol=2e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_mixed_precision_on_a_cpu_is_for_classifiers():
    cfg = Config(
        dict(default_scope='mmpretrain', optim_wrapper=dict(type='OptimWrapper'))
    )
    use_mixed_precision(cfg)
    assert cfg.optim_wrapper.type == 'mmlesion.Bf16OptimWrapper'
    cfg.default_scope = 'mmdet'
    with pytest.raises(ValueError, match='needs a GPU for detectors'):
        use_mixed_precision(cfg)
