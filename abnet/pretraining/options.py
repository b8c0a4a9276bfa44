"""What is pre-trained: the size of a new BERT, the budget and the objective."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abnet.errors import AbNetError

if TYPE_CHECKING:
    from transformers import BertConfig


@dataclass(frozen=True)
class BertShape:
    """Size of a BERT that is trained from random weights.

    Attributes:
        layers: number of Transformer layers.
        hidden: width.
        heads: attention heads; must divide `hidden`.
        ffn: width of the feed-forward blocks.
        vocab_size: most pieces of the vocabulary, the five symbols included.
        max_positions: longest sequence, symbols included.
    """

    layers: int = 4
    hidden: int = 256
    heads: int = 4
    ffn: int = 1024
    vocab_size: int = 8000
    max_positions: int = 512

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")
        if self.hidden % self.heads:
            raise AbNetError(
                f"`heads` must divide `hidden` ({self.hidden}), but is {self.heads} instead."
            )
        if self.max_positions < 4:
            raise AbNetError(
                f"`max_positions` must be at least 4, but is {self.max_positions} instead."
            )

    def config(self, pieces: int, **more: Any) -> BertConfig:
        """As transformers has it, for a vocabulary of so many pieces; `more` of its fields."""
        from transformers import BertConfig

        return BertConfig(
            vocab_size=pieces,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.ffn,
            max_position_embeddings=self.max_positions,
            **more,
        )


@dataclass(frozen=True)
class PretrainingOptions:
    """How to pre-train. Exactly one of `updates` and `minutes` is the budget.

    Attributes:
        shape: size of a new BERT; `None` with `start`.
        start: name or folder of a BERT to continue from; `None` for a new one.
        head_only: train nothing but the masked-LM head of `start`, made anew if it has none.
        lowercase: fold case in a new vocabulary.
        with_cls: sequences are `[CLS] w1 .. wn [SEP]`, or without the [CLS].
        updates: number of optimizer steps.
        minutes: wall-clock time of training; the learning rate reaches zero at its end.
        batch_tokens: most tokens of a batch, padding included.
        learning_rate: the highest, after warm-up over the first 5 % of the budget.
        dropout: of a new BERT.
        masking: "bert": `mask_share` of the words, of which 80 % become [MASK], 10 % a random
            piece and 10 % stay. "decoder": as AB-Net's decoder will see it, a number of
            [MASK] drawn from 1 to all, [SEP] among the words.
        mask_share: share of words that "bert" masking predicts. BERT's own is 0.15; AB-Net gains
            much from more (docs/recipe.md).
        precision: "fp32", "bf16" or "fp16" (mixed).
        seed: of weights, masks, order and held-out lines.
        save_minutes: time between checkpoints for `resume`.
        resume: continue an interrupted run in the same folder, or keep a finished one.
    """

    shape: BertShape | None = dataclasses.field(default_factory=BertShape)
    start: str | None = None
    head_only: bool = False
    lowercase: bool = False
    with_cls: bool = True
    updates: int | None = None
    minutes: float | None = None
    batch_tokens: int = 4096
    learning_rate: float = 5e-4
    dropout: float = 0.1
    masking: str = "bert"
    mask_share: float = 0.4
    precision: str = "fp32"
    seed: int = 1
    save_minutes: float = 5.0
    resume: bool = False

    def __post_init__(self) -> None:
        if (self.shape is None) == (self.start is None):
            raise AbNetError("give either the shape of a new BERT or one to continue, not both.")
        if self.head_only and self.start is None:
            raise AbNetError("`head_only` must come with `start`, the BERT whose head trains.")
        if (self.updates is None) == (self.minutes is None):
            raise AbNetError("give either `updates` or `minutes` as the budget.")
        for name in ("updates", "minutes", "batch_tokens", "learning_rate", "save_minutes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise AbNetError(f"`{name}` must be positive, but is {value} instead.")
        if not 0 <= self.seed < 2**32:  # as transformers' and NumPy's
            raise AbNetError(f"`seed` must be in [0, 2**32), but is {self.seed} instead.")
        if not 0.0 <= self.dropout < 1.0:
            raise AbNetError(f"`dropout` must be in [0, 1), but is {self.dropout} instead.")
        if not 0.0 < self.mask_share < 1.0:
            raise AbNetError(f"`mask_share` must be in (0, 1), but is {self.mask_share} instead.")
        if self.masking not in ("bert", "decoder"):
            raise AbNetError(
                f"`masking` must be 'bert' or 'decoder', but is {self.masking!r} instead."
            )
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise AbNetError(
                f"`precision` must be 'fp32', 'bf16' or 'fp16', but is {self.precision!r} instead."
            )
