"""Backbones from Hugging Face names and folders, from shapes, and from scratch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    PretrainedConfig,
    PreTrainedModel,
    RobertaPreLayerNormConfig,
    RobertaPreLayerNormModel,
)

from abnet.backbone.backbone import Backbone
from abnet.backbone.families import FAMILIES, TiedHead, is_causal
from abnet.errors import AbNetError

P = ParamSpec("P")
T = TypeVar("T")
TURN = threading.RLock()


def one_at_a_time(build: Callable[P, T]) -> Callable[P, T]:
    """Lets one thread after the other do this.

    transformers ties no weights anywhere while it loads a model, nor ever after two overlapped.
    """

    @wraps(build)
    def in_turn(*args: P.args, **kwargs: P.kwargs) -> T:
        with TURN:
            return build(*args, **kwargs)

    return in_turn


def load_bert_config(name: str) -> PretrainedConfig:
    """The Hugging Face config of a name or folder, of a family that AB-Net can take apart.

    Raises:
        AbNetError: nothing is found under the name, or the model's kind is not supported.
    """
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise AbNetError(f"The BERT folder {name!r} must hold a config.json, but has none.")
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise AbNetError(
            f"No BERT found under {name!r}: it must be a local folder with a saved Hugging Face "
            f"model or a model name that can be downloaded or is in the cache. ({error})"
        ) from error
    check_family(name, config)
    return config


def check_family(name: str, config: PretrainedConfig) -> None:
    """Raises an `AbNetError` unless the config is of a kind in `FAMILIES`, position by position."""
    if config.model_type not in FAMILIES:
        raise AbNetError(
            f"The model {name!r} must be of one of the kinds {sorted(FAMILIES)}, but is "
            f"{config.model_type!r} ({', '.join(config.architectures or ['no architecture'])}) "
            "instead."
        )
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if positions != "absolute":
        raise AbNetError(
            f"The model {name!r} must have absolute positions, the only ones that transformers "
            f"computes for its kind, but has {positions!r} ones instead."
        )


@one_at_a_time
def load_backbone(name: str, with_head: bool, dropout: float) -> Backbone:
    """Loads the BERT of a Hugging Face name or folder in 32 bits.

    Args:
        with_head: whether the masked-LM head is needed (target side).
        dropout: probability inside the BERT, hidden states and attention alike.

    Raises:
        AbNetError: nothing there, an unsupported kind, weights missing, or no masked-LM head.
    """
    config = load_bert_config(name)
    for option in FAMILIES[config.model_type].dropouts:
        setattr(config, option, dropout)
    loader = _loader(name, config, with_head)
    model, report = _load(loader, name, config)
    kind = "a language model" if is_causal(config) else "a masked LM"
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise AbNetError(
            f"The BERT {name!r} must bring all weights of "
            + (f"{kind}, head included" if with_head else "an encoder")
            + f", but {len(missing)} are missing: {', '.join(missing[:5])}."
        )
    return take_apart(model, with_head)


@one_at_a_time
def shape_backbone(config: PretrainedConfig, with_head: bool) -> Backbone:
    """A backbone of the config's shape without weights (on the meta device), for counting."""
    loader = _loader("", config, with_head)
    with torch.device("meta"):
        return take_apart(_new(loader, config), with_head)


@one_at_a_time
def random_backbone(config: PretrainedConfig, with_head: bool, dropout: float) -> Backbone:
    """A backbone of the config's shape whose weights are drawn as its family draws them."""
    for option in FAMILIES[config.model_type].dropouts:
        setattr(config, option, dropout)
    return take_apart(_new(_loader("", config, with_head), config), with_head)


class TransformerShape(NamedTuple):
    """An encoder or decoder from scratch; `pre_norm` has the norms in the branches."""

    layers: int
    width: int
    ffn_dim: int
    heads: int
    dropout: float
    attention_dropout: float = 0.0
    pre_norm: bool = False

    @property
    def layer_options(self) -> dict[str, Any]:
        """What a layer is, as transformers' configs have it."""
        return {
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "intermediate_size": self.ffn_dim,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.attention_dropout,
        }


@one_at_a_time
def transformer_backbone(
    shape: TransformerShape, vocab_size: int, with_head: bool, pad: int
) -> Backbone:
    """A Transformer from scratch on a BERT's vocabulary, in the shape that Mask-Predict has.

    Learned positions, layer norm behind each sum, GELU, weights from N(0, 0.02) (Ghazvininejad et
    al. 2019); with `pre_norm` the norms are in the branches, and one more is behind the last layer.
    The logits are those of the word embeddings, without a transform or a bias.

    Raises:
        AbNetError: the heads do not divide the width.
    """
    if shape.width % shape.heads:
        raise AbNetError(
            f"`transformer_heads` must divide `transformer_dim` = {shape.width}, but is "
            f"{shape.heads} instead."
        )
    config = BertConfig(
        vocab_size=vocab_size,
        num_hidden_layers=0 if shape.pre_norm else shape.layers,
        type_vocab_size=1,
        pad_token_id=pad,
        **shape.layer_options,
    )
    config._attn_implementation = "sdpa"
    backbone = take_apart(BertModel(config, add_pooling_layer=False), with_head=False)
    backbone.settings = ""
    if shape.pre_norm:
        inner = take_apart(_pre_norm_layers(shape), with_head=False)
        backbone.layers, backbone.final_norm = inner.layers, inner.final_norm
        backbone.halves = inner.halves
    if with_head:
        words: Any = backbone.embeddings
        backbone.lm_head = TiedHead(words.word_embeddings)
    return backbone


def _pre_norm_layers(shape: TransformerShape) -> PreTrainedModel:
    """Layers of random weights whose norms stand in the branches, behind embeddings of no use."""
    config = RobertaPreLayerNormConfig(
        vocab_size=1,
        num_hidden_layers=shape.layers,
        max_position_embeddings=1,
        pad_token_id=0,
        **shape.layer_options,
    )
    config._attn_implementation = "sdpa"
    return RobertaPreLayerNormModel(config, add_pooling_layer=False)


def take_apart(model: PreTrainedModel, with_head: bool) -> Backbone:
    """The parts of a loaded model that AB-Net uses; pooler and other heads are left behind."""
    config = model.config
    family = FAMILIES[config.model_type]
    trunk = model.get_submodule(family.trunk) if with_head else model
    projected = config.model_type == "electra" and config.embedding_size != config.hidden_size
    projection = trunk.get_submodule("embeddings_project") if projected else nn.Identity()
    return Backbone(
        embeddings=family.embeddings(trunk),
        embedding_projection=projection,
        layers=family.layers(trunk),
        lm_head=family.head(model) if with_head else None,
        hidden_size=config.hidden_size,
        num_heads=config.num_attention_heads,
        vocab_size=config.vocab_size,
        max_positions=config.max_position_embeddings - family.first_position(config),
        first_position=family.first_position(config),
        norm_eps=_norm_eps(config),
        halves=family.halves,
        final_norm=family.final_norm(trunk),
        causal=is_causal(config),
        settings=_settings(config),
    )


def _loader(name: str, config: PretrainedConfig, with_head: bool) -> Any:
    """The class of transformers that loads a model.

    Raises:
        AbNetError: it can only decode, but is to encode.
    """
    if with_head:
        return FAMILIES[config.model_type].language_model
    if is_causal(config):
        raise AbNetError(
            f"`source_bert` must be a model that sees the whole sentence, but {name!r} is a "
            f"{config.model_type!r}, which can only be the target side."
        )
    return AutoModel


def _new(loader: Any, config: PretrainedConfig) -> Any:
    """A model of the config's shape in 32 bits, whatever the weights were saved in."""
    return loader.from_config(config, dtype=torch.float32, attn_implementation="sdpa")


def _settings(config: PretrainedConfig) -> str:
    names = ("hidden_act", "activation", "activation_function")
    [activation, *_] = (getattr(config, name) for name in names if hasattr(config, name))
    heads, first = config.num_attention_heads, FAMILIES[config.model_type].first_position(config)
    told = f"{config.model_type}, {heads} heads, {activation}, norms' eps {_norm_eps(config):g}"
    return f"{told}, positions from {first}"


def _norm_eps(config: PretrainedConfig) -> float:
    for name in ("layer_norm_eps", "layer_norm_epsilon"):
        if hasattr(config, name):
            return float(getattr(config, name))
    return 1e-12  # DistilBERT's, which is no choice of its config


def _load(loader: Any, name: str, config: PretrainedConfig) -> Any:
    """The model with its weights, and transformers' report of what it found, which it says not."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # its report lists heads we do not want as "unused"
    progress = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        return loader.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise AbNetError(f"The weights of the BERT {name!r} cannot be loaded: {error}") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        if progress:
            transformers.logging.enable_progress_bar()
