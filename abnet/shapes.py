"""The shapes of published BERTs, so that a model can be described without a download."""

from __future__ import annotations

from transformers import BertConfig, PretrainedConfig

from abnet.backbone import load_bert_config


def _bert(vocab_size: int, large: bool = False) -> BertConfig:
    width, layers, heads = (1024, 24, 16) if large else (768, 12, 12)
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )


SHAPES: dict[str, BertConfig] = {
    "bert-base-uncased": _bert(30522),
    "bert-base-cased": _bert(28996),
    "bert-base-german-cased": _bert(30000),
    "bert-base-multilingual-cased": _bert(119547),
    "bert-large-cased": _bert(28996, large=True),
}


def bert_shape(name: str) -> PretrainedConfig:
    """The config of a built-in shape, or of a Hugging Face name or folder.

    Raises:
        AbNetError: neither.
    """
    return SHAPES[name] if name in SHAPES else load_bert_config(name)
