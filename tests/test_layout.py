from __future__ import annotations

import pytest
import torch
from torch import nn

from abnet.backbone.families import TiedHead
from abnet.ensemble import Ensemble
from abnet.layout import store_by_columns
from tests.systems import Toys, small_model


@pytest.mark.parametrize("name", ["abnet", "mask_predict"])
def test_all_matrices_lie_by_columns_and_logits_stay(name: str, toys: Toys) -> None:
    model = small_model(name, toys).eval()
    source, target = torch.tensor([[5, 6, 7, 3]]), torch.tensor([[4, 9, 4, 3]])
    predict = torch.ones_like(target, dtype=torch.bool)
    with torch.inference_mode():
        before = model(source, target, predict).word_logits
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    store_by_columns(Ensemble([model]))
    with torch.inference_mode():
        torch.testing.assert_close(model(source, target, predict).word_logits, before)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    linear = [part.weight for part in model.modules() if isinstance(part, nn.Linear)]
    tied = [part.words.weight for part in model.modules() if isinstance(part, TiedHead)]
    assert len(linear) > 10
    assert len(tied) == (name == "mask_predict")
    assert all(weight.t().is_contiguous() for weight in linear + tied)


def test_other_precisions_are_left_alone(toys: Toys) -> None:
    model = small_model("abnet", toys).to(torch.bfloat16)
    store_by_columns(model)
    assert all(weight.is_contiguous() for weight in model.parameters())
