"""How far down the gradient goes: layers below the lowest trained weight have no backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from abnet.training.objective import training_loss
from tests.systems import Toys, small_model, small_pairs

NOT_SPREAD = {"spread_source": False}


@pytest.mark.parametrize(
    ("system", "changes", "encoder", "decoder"),
    [  # which layers of three have states with a gradient
        ("abnet", NOT_SPREAD, [True, True, True], [False, True, True]),
        (
            "abnet",
            {**NOT_SPREAD, "decoder_adapter_layers": 1},
            [True, True, True],
            [False, False, False],
        ),
        (
            "abnet",
            {**NOT_SPREAD, "encoder_adapter_layers": 1},
            [True, True, True],
            [False, True, True],
        ),
        ("abnet", {}, [True, True, True], [True, True, True]),
        (
            "abnet_causal",
            {"encoder_adapter_layers": 1, "decoder_adapter_layers": 2},
            [False, False, False],
            [False, False, True],
        ),
        ("abnet_fb", {}, [True, True, True], [True, True, True]),
    ],
)
def test_where_the_gradient_begins(
    system: str, changes: dict[str, Any], encoder: list[bool], decoder: list[bool], toys: Toys
) -> None:
    """The states that each layer of a BERT puts out, before the adapter behind it."""
    model = small_model(system, toys, **changes).train()
    for side, expected in ((model.encoder, encoder), (model.decoder, decoder)):
        followed: list[bool] = []

        def look(module: Any, inputs: Any, output: Tensor, followed: list[bool] = followed) -> None:
            followed.append(output.requires_grad)

        handles = [layer.register_forward_hook(look) for layer in side.backbone.layers]
        training_loss(model, model, small_pairs(model), torch.Generator(), training=True)
        for handle in handles:
            handle.remove()
        assert followed == expected
