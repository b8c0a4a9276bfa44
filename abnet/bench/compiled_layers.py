"""Layers and adapters compiled by torch, for training."""

from __future__ import annotations

import torch

from abnet.model import AbNet

BACKEND = "inductor"  # of `torch.compile`


def compile_layers(model: AbNet) -> None:
    """Compiles each layer and adapter by itself, for all lengths; the first steps take a while.

    Layers of one kind share what is compiled. Embeddings, output head and loss stay as they are.

    Args:
        model: on its device and in its precision; is changed.
    """
    for side in (model.encoder, model.decoder):
        for layer in (*side.backbone.layers, *side.adapters.values()):
            layer.forward = torch.compile(layer.forward, backend=BACKEND, dynamic=True)
