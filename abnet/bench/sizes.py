"""The sizes that a benchmark builds systems in when it is given no checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from abnet.backbone import TransformerShape
from abnet.pretraining.options import BertShape


@dataclass(frozen=True)
class Size:
    """One size of all systems.

    Attributes:
        bert: both BERTs; its vocabulary is every system's.
        adapter_dim: dAenc.
        transformer: layers of either side, width, and so on, of a Transformer from scratch.
        deep: layers of encoder and decoder of the deep-encoder/shallow-decoder Transformer.
    """

    bert: BertShape
    adapter_dim: int
    transformer: TransformerShape
    deep: tuple[int, int]


SIZES = {
    "tiny": Size(
        BertShape(layers=2, hidden=16, heads=2, ffn=32, vocab_size=300, max_positions=64),
        adapter_dim=8,
        transformer=TransformerShape(layers=2, width=16, ffn_dim=32, heads=2, dropout=0.0),
        deep=(3, 1),
    ),
    "small": Size(
        BertShape(layers=4, hidden=256, heads=4, ffn=1024, vocab_size=8000),
        adapter_dim=512,
        transformer=TransformerShape(layers=3, width=256, ffn_dim=1024, heads=4, dropout=0.0),
        deep=(6, 1),
    ),
    "base": Size(
        BertShape(layers=12, hidden=768, heads=12, ffn=3072, vocab_size=30_522),
        adapter_dim=2048,
        transformer=TransformerShape(layers=6, width=512, ffn_dim=2048, heads=8, dropout=0.0),
        deep=(12, 1),
    ),
}
"""tiny: to try a benchmark out; small: for a CPU; base: BERT-Base and Transformer-Base."""
