"""One model taken apart so that adapters fit between its layers.

Legend: B sentences, T positions, H the width, V the vocabulary.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from abnet.backbone.families import Halves
from abnet.errors import AbNetError


class Backbone(nn.Module):
    """One BERT, taken apart so that adapters fit between its layers.

    Attributes:
        layers: the Transformer layers; `layer(hidden, attention_mask=mask)` returns hidden states.
        final_norm: behind the last layer.
        lm_head: hidden states (..., H) to logits (..., V); `None` without a head.
        hidden_size, num_heads, vocab_size: of the BERT.
        max_positions: the longest input, in tokens.
        norm_eps: of its layer norms.
        halves: how its layers are split and run step by step; `None` if they cannot be.
        causal: whether it was trained to predict each token from those before it.
        settings: what its config says that no weight shows, such as the activation; "" for a
            Transformer from scratch, which has none.
    """

    def __init__(
        self,
        embeddings: nn.Module,
        embedding_projection: nn.Module,
        layers: nn.ModuleList,
        lm_head: nn.Module | None,
        hidden_size: int,
        num_heads: int,
        vocab_size: int,
        max_positions: int,
        first_position: int,
        norm_eps: float,
        halves: Halves | None,
        final_norm: nn.Module | None = None,
        causal: bool = False,
        settings: str = "",
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.embedding_projection = embedding_projection
        self.layers = layers
        self.lm_head = lm_head
        self.hidden_size = hidden_size
        self.num_heads = num_heads
        self.vocab_size = vocab_size
        self.max_positions = max_positions
        self.first_position = first_position
        self.norm_eps = norm_eps
        self.halves = halves
        self.final_norm = final_norm or nn.Identity()
        self.causal = causal
        self.settings = settings

    @property
    def pre_norm(self) -> bool:
        """Whether the norms of its layers stand in the branches, as far as that is known."""
        return self.halves is not None and self.halves.pre_norm

    def embed(self, ids: Tensor, start: int = 0) -> Tensor:
        """Token ids (B, T) to BERT's embeddings (B, T, H).

        Word, position and type embeddings, layer norm and dropout: what the first layer gets.

        Args:
            ids: tokens.
            start: how many tokens stand before them.

        Raises:
            AbNetError: more tokens than the BERT has positions.
        """
        length = start + ids.size(1)
        if length > self.max_positions:
            raise AbNetError(
                f"A sentence must have at most {self.max_positions} tokens for this BERT, "
                f"but has {length} instead. Shorten or drop it."
            )
        first = self.first_position
        positions = torch.arange(first + start, first + length, device=ids.device).unsqueeze(0)
        hidden: Tensor = self.embedding_projection(
            self.embeddings(input_ids=ids, position_ids=positions)
        )
        return hidden

    def head_parameters(self, part: str) -> list[nn.Parameter]:
        """Weights of the masked-LM head that may train; never those tied to the embeddings.

        Args:
            part: "none", "bias" (one value a piece) or "transform" (all but the tied weights).
        """
        if part == "none" or self.lm_head is None:
            return []
        others = (*self.embeddings.parameters(), *self.idle_parameters())
        left_out = {id(parameter) for parameter in others}
        own = [one for one in self.lm_head.parameters() if id(one) not in left_out]
        if part == "transform":
            return own
        return [parameter for parameter in own if parameter.shape == (self.vocab_size,)]

    def idle_parameters(self) -> list[nn.Parameter]:
        """Weights that nothing is computed with.

        A masked-LM head of transformers has its bias twice; where the head is not tied to the
        embeddings these are two weights, of which its last layer has the one that counts.
        """
        last, bias = (getattr(self.lm_head, name, None) for name in ("decoder", "bias"))
        if not isinstance(last, nn.Linear) or not isinstance(bias, nn.Parameter):
            return []
        return [] if last.bias is bias else [bias]

    def weight_hash(self) -> str:
        """SHA-256 over the names, shapes and 32-bit values of all weights, as "sha256:<hex>"."""
        digest = hashlib.sha256()
        for name, parameter in sorted(self.named_parameters()):
            digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
            digest.update(parameter.detach().float().cpu().contiguous().numpy().data)
        return f"sha256:{digest.hexdigest()}"


def attention_bias(padding: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask (batch, 1, 1, length) from padding (batch, length), `True` at pads.

    Additive, because transformers' eager attention misreads boolean masks.
    """
    bias = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
    return bias.masked_fill(padding, torch.finfo(dtype).min)[:, None, None, :]


def causal_bias(length: int, like: Tensor) -> Tensor:
    """Additive attention mask (1, 1, length, length) that hides what comes later."""
    least = torch.finfo(like.dtype).min
    hidden = torch.full((length, length), least, dtype=like.dtype, device=like.device)
    return hidden.triu(1)[None, None]
