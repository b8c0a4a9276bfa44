"""A Hugging Face masked LM as `embed`, `layers` and `lm_head`.

The one file that knows transformers' internals. BERT, RoBERTa / XLM-R / CamemBERT, ELECTRA
(generators) and DistilBERT style models come in through `FAMILIES`.

Legend: B sentences, T positions, H the width, V the vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertModel,
    DynamicCache,
    PretrainedConfig,
    PreTrainedModel,
)

from abnet.errors import AbNetError


class _Family(NamedTuple):
    """How one kind of Hugging Face model is taken apart."""

    trunk: str  # the attribute of the masked LM that holds embeddings and layers
    layers: Callable[[Any], nn.ModuleList]  # trunk -> layers
    head: Callable[[Any], nn.Module]  # masked LM -> hidden states to vocabulary logits
    first_position: Callable[[PretrainedConfig], int]  # position id of the first token
    dropouts: tuple[str, str]  # names in the config: hidden, attention
    halves: bool = True  # whether a layer can be split and can cache keys and values


class _TiedHead(nn.Module):
    """Logits by the word embeddings alone, as in the Transformer; no weight of its own."""

    def __init__(self, words: nn.Embedding) -> None:
        super().__init__()
        self.words = words

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden @ self.words.weight.t()


class _DistilBertHead(nn.Module):
    """The four pieces that DistilBERT's masked LM keeps apart, as one module."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.transform = model.vocab_transform
        self.activation = model.activation
        self.norm = model.vocab_layer_norm
        self.projector = model.vocab_projector

    def forward(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.projector(self.norm(self.activation(self.transform(hidden))))
        return logits


def _encoder_layers(trunk: Any) -> nn.ModuleList:
    layers: nn.ModuleList = trunk.encoder.layer
    return layers


def _zero(config: PretrainedConfig) -> int:
    return 0


def _after_padding(config: PretrainedConfig) -> int:
    """RoBERTa's positions start behind the padding id."""
    return int(config.pad_token_id) + 1


_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_ROBERTA = _Family("roberta", _encoder_layers, lambda m: m.lm_head, _after_padding, _BERT_DROPOUTS)
FAMILIES: dict[str, _Family] = {
    "bert": _Family("bert", _encoder_layers, lambda m: m.cls.predictions, _zero, _BERT_DROPOUTS),
    "roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": _Family(
        "electra",
        _encoder_layers,
        lambda m: nn.Sequential(m.generator_predictions, m.generator_lm_head),
        _zero,
        _BERT_DROPOUTS,
    ),
    "distilbert": _Family(
        "distilbert",
        lambda trunk: trunk.transformer.layer,
        _DistilBertHead,
        _zero,
        ("dropout", "attention_dropout"),
        halves=False,
    ),
}


class Backbone(nn.Module):
    """One BERT, taken apart so that adapters fit between its layers.

    Attributes:
        layers: the Transformer layers; `layer(hidden, attention_mask=mask)` returns hidden states.
        lm_head: hidden states (..., hidden) to logits (..., vocabulary); `None` without a head.
        hidden_size, num_heads, vocab_size: of the BERT.
        max_positions: the longest input, in tokens.
        norm_eps: of its layer norms.
        halves: whether its layers can be split (`attend`, `feed_forward`) and run step by step.
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
        norm_eps: float = 1e-12,
        halves: bool = True,
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

    def attend(
        self, index: int, hidden: Tensor, bias: Tensor | None, cache: DynamicCache | None = None
    ) -> Tensor:
        """The first half of layer `index`: self-attention with its residual and norm.

        Args:
            index: of the layer.
            hidden: (B, T, H).
            bias: additive, (B or 1, 1, T or 1, T).
            cache: keys and values of the tokens before, to which those of `hidden` are added.
        """
        layer: Any = self.layers[index]
        attended: Tensor = layer.attention(hidden, bias, past_key_values=cache)[0]
        return attended

    def feed_forward(self, index: int, hidden: Tensor) -> Tensor:
        """The second half of layer `index`: (B, T, H) -> (B, T, H)."""
        layer: Any = self.layers[index]
        output: Tensor = layer.feed_forward_chunk(hidden)
        return output

    def head_parameters(self, part: str) -> list[nn.Parameter]:
        """Weights of the masked-LM head that may train; never those tied to the embeddings.

        Args:
            part: "none", "bias" (one value a piece) or "transform" (all but the tied weights).
        """
        if part == "none" or self.lm_head is None:
            return []
        tied = {id(parameter) for parameter in self.embeddings.parameters()}
        own = [parameter for parameter in self.lm_head.parameters() if id(parameter) not in tied]
        if part == "transform":
            return own
        return [parameter for parameter in own if parameter.shape == (self.vocab_size,)]

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
    hidden = torch.full((length, length), torch.finfo(like.dtype).min, device=like.device)
    return hidden.to(like.dtype).triu(1)[None, None]


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
    """Raises an `AbNetError` unless the config is of a kind in `FAMILIES`."""
    if config.model_type not in FAMILIES:
        raise AbNetError(
            f"The model {name!r} must be of one of the kinds {sorted(FAMILIES)}, but is "
            f"{config.model_type!r} ({', '.join(config.architectures or ['no architecture'])}) "
            "instead."
        )


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
    loader = AutoModelForMaskedLM if with_head else AutoModel
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # its report lists heads we do not want as "unused"
    progress = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        model, report = loader.from_pretrained(
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
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise AbNetError(
            f"The BERT {name!r} must bring all weights of "
            + ("a masked LM, head included" if with_head else "an encoder")
            + f", but {len(missing)} are missing: {', '.join(missing[:5])}."
        )
    return take_apart(model, with_head)


def shape_backbone(config: PretrainedConfig, with_head: bool) -> Backbone:
    """A backbone of the config's shape without weights (on the meta device), for counting."""
    loader = AutoModelForMaskedLM if with_head else AutoModel
    with torch.device("meta"):
        return take_apart(loader.from_config(config, attn_implementation="sdpa"), with_head)


def random_backbone(config: PretrainedConfig, with_head: bool, dropout: float) -> Backbone:
    """A backbone of the config's shape whose weights are drawn as its family draws them."""
    for option in FAMILIES[config.model_type].dropouts:
        setattr(config, option, dropout)
    loader = AutoModelForMaskedLM if with_head else AutoModel
    return take_apart(loader.from_config(config, attn_implementation="sdpa"), with_head)


class TransformerShape(NamedTuple):
    """An encoder or decoder from scratch."""

    layers: int
    width: int
    ffn_dim: int
    heads: int
    dropout: float


def transformer_backbone(
    shape: TransformerShape, vocab_size: int, with_head: bool, pad: int
) -> Backbone:
    """A Transformer from scratch on a BERT's vocabulary, in the shape that Mask-Predict has.

    Learned positions, layer norm behind each sum, GELU, weights from N(0, 0.02) (Ghazvininejad et
    al. 2019). The logits are those of the word embeddings, without a transform or a bias.

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
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn_dim,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        type_vocab_size=1,
        pad_token_id=pad,
    )
    config._attn_implementation = "sdpa"
    backbone = take_apart(BertModel(config, add_pooling_layer=False), with_head=False)
    if with_head:
        words: Any = backbone.embeddings
        backbone.lm_head = _TiedHead(words.word_embeddings)
    return backbone


def take_apart(model: PreTrainedModel, with_head: bool) -> Backbone:
    """The parts of a loaded model that AB-Net uses; pooler and other heads are left behind."""
    config = model.config
    family = FAMILIES[config.model_type]
    trunk = model.get_submodule(family.trunk) if with_head else model
    projected = config.model_type == "electra" and config.embedding_size != config.hidden_size
    projection = trunk.get_submodule("embeddings_project") if projected else nn.Identity()
    return Backbone(
        embeddings=trunk.get_submodule("embeddings"),
        embedding_projection=projection,
        layers=family.layers(trunk),
        lm_head=family.head(model) if with_head else None,
        hidden_size=config.hidden_size,
        num_heads=config.num_attention_heads,
        vocab_size=config.vocab_size,
        max_positions=config.max_position_embeddings - family.first_position(config),
        first_position=family.first_position(config),
        norm_eps=getattr(config, "layer_norm_eps", 1e-12),
        halves=family.halves,
    )
