"""The shapes of published BERTs and GPT-2s, so that a model can be described without a download."""

from __future__ import annotations

from typing import Any

from transformers import (
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    GPT2Config,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from abnet.backbone import load_bert_config

OWNERS = ("google-bert", "FacebookAI", "openai-community", "almanach", "distilbert")
"""Who publishes them: `FacebookAI/roberta-base` is `roberta-base`."""


def _size(large: bool) -> dict[str, int]:
    width, layers, heads = (1024, 24, 16) if large else (768, 12, 12)
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


def _bert(vocab_size: int, large: bool = False) -> BertConfig:
    return BertConfig(vocab_size=vocab_size, **_size(large))


def _roberta(vocab_size: int, kind: Any = RobertaConfig, **size: int) -> PretrainedConfig:
    """Two more positions, since they begin behind the padding id, and one type."""
    config: PretrainedConfig = kind(
        vocab_size=vocab_size,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        **size,
    )
    return config


def _gpt2(width: int, layers: int, heads: int) -> GPT2Config:
    return GPT2Config(n_embd=width, n_layer=layers, n_head=heads)


SHAPES: dict[str, PretrainedConfig] = {
    "bert-base-uncased": _bert(30522),
    "bert-base-cased": _bert(28996),
    "bert-base-german-cased": _bert(30000),
    "bert-base-chinese": _bert(21128),
    "bert-base-multilingual-uncased": _bert(105879),
    "bert-base-multilingual-cased": _bert(119547),
    "bert-large-uncased": _bert(30522, large=True),
    "bert-large-cased": _bert(28996, large=True),
    "distilbert-base-uncased": DistilBertConfig(vocab_size=30522),
    "distilbert-base-cased": DistilBertConfig(vocab_size=28996),
    "distilbert-base-multilingual-cased": DistilBertConfig(vocab_size=119547),
    "roberta-base": _roberta(50265, **_size(large=False)),
    "roberta-large": _roberta(50265, **_size(large=True)),
    "distilroberta-base": _roberta(50265, **{**_size(large=False), "num_hidden_layers": 6}),
    "xlm-roberta-base": _roberta(250002, XLMRobertaConfig, **_size(large=False)),
    "xlm-roberta-large": _roberta(250002, XLMRobertaConfig, **_size(large=True)),
    "camembert-base": _roberta(32005, CamembertConfig, **_size(large=False)),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "distilgpt2": _gpt2(768, 6, 12),
}


def bert_shape(name: str) -> PretrainedConfig:
    """The config of a built-in shape, or of a Hugging Face name or folder.

    Raises:
        AbNetError: neither.
    """
    owner, _, rest = name.rpartition("/")
    known = rest if owner in ("", *OWNERS) else name
    return SHAPES[known] if known in SHAPES else load_bert_config(name)
