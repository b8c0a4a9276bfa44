"""How each kind of Hugging Face model is taken apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PretrainedConfig


class Halves(NamedTuple):
    """A layer in two: self-attention and feed-forward part, each with residual and norm.

    Attributes:
        norm: layer to the norm of its first half.
        attention: layer, what its branch reads (B, T, H), additive bias or `None`, cache or `None`
            to the branch of self-attention alone: with its dropout, not yet added to anything.
        feed_forward: layer and hidden states to hidden states.
        pre_norm: whether the norms stand in the branches, rather than behind the sums.
    """

    norm: Callable[[Any], nn.Module]
    attention: Callable[[Any, Tensor, Tensor | None, Any], Tensor]
    feed_forward: Callable[[Any, Tensor], Tensor]
    pre_norm: bool

    def before(self, layer: Any, hidden: Tensor) -> Tensor:
        """What the branches of the first half read of the hidden states."""
        read: Tensor = self.norm(layer)(hidden) if self.pre_norm else hidden
        return read

    def after(self, layer: Any, total: Tensor) -> Tensor:
        """What follows the sum of hidden states and branch."""
        follows: Tensor = total if self.pre_norm else self.norm(layer)(total)
        return follows

    def attend(self, layer: Any, hidden: Tensor, bias: Tensor | None, cache: Any) -> Tensor:
        """The whole first half: (B, T, H) -> (B, T, H)."""
        read = self.before(layer, hidden)
        return self.after(layer, hidden + self.attention(layer, read, bias, cache))


class Family(NamedTuple):
    """One kind of model.

    Attributes:
        trunk: the attribute of the language model that holds embeddings and layers.
        layers: trunk to layers.
        head: language model to what makes logits of hidden states.
        first_position: config to the position id of the first token.
        dropouts: names in the config.
        embeddings: trunk to what makes the first layer's input of `input_ids`, `position_ids`.
        final_norm: trunk to the norm behind the last layer, or `None`.
        halves: how a layer is split and can cache keys and values; `None` if it cannot.
        language_model: the class that loads it with its head.
    """

    trunk: str
    layers: Callable[[Any], nn.ModuleList]
    head: Callable[[Any], nn.Module]
    first_position: Callable[[PretrainedConfig], int]
    dropouts: tuple[str, ...]
    embeddings: Callable[[Any], nn.Module] = lambda trunk: trunk.embeddings
    final_norm: Callable[[Any], nn.Module | None] = lambda trunk: None
    halves: Halves | None = None
    language_model: Any = AutoModelForMaskedLM


class TiedHead(nn.Module):
    """Logits by the word embeddings alone, as in the Transformer; no weight of its own."""

    def __init__(self, words: nn.Embedding) -> None:
        super().__init__()
        self.words = words

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., H) to logits (..., V)."""
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


class _GptEmbeddings(nn.Module):
    """Words and positions of GPT-2 as one module."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.words = trunk.wte
        self.positions = trunk.wpe
        self.dropout = trunk.drop

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """(B, T) and (1, T) to (B, T, H)."""
        embedded: Tensor = self.dropout(self.words(input_ids) + self.positions(position_ids))
        return embedded


def _encoder_layers(trunk: Any) -> nn.ModuleList:
    layers: nn.ModuleList = trunk.encoder.layer
    return layers


def _zero(config: PretrainedConfig) -> int:
    return 0


def _after_padding(config: PretrainedConfig) -> int:
    """RoBERTa's positions start behind the padding id."""
    return int(config.pad_token_id) + 1


def _bert_norm(layer: Any) -> nn.Module:
    norm: nn.Module = layer.attention.output.LayerNorm
    return norm


def _bert_attention(layer: Any, read: Tensor, bias: Tensor | None, cache: Any) -> Tensor:
    output = layer.attention.output
    attended = layer.attention.self(read, attention_mask=bias, past_key_values=cache)[0]
    branch: Tensor = output.dropout(output.dense(attended))
    return branch


def _bert_feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    output: Tensor = layer.feed_forward_chunk(hidden)
    return output


def _prelayernorm_norm(layer: Any) -> nn.Module:
    norm: nn.Module = layer.attention.LayerNorm
    return norm


def _gpt_norm(layer: Any) -> nn.Module:
    norm: nn.Module = layer.ln_1
    return norm


def _gpt_attention(layer: Any, read: Tensor, bias: Tensor | None, cache: Any) -> Tensor:
    attended: Tensor = layer.attn(read, past_key_values=cache, attention_mask=bias)[0]
    return attended


def _gpt_feed_forward(layer: Any, hidden: Tensor) -> Tensor:
    output: Tensor = hidden + layer.mlp(layer.ln_2(hidden))
    return output


BERT_HALVES = Halves(_bert_norm, _bert_attention, _bert_feed_forward, pre_norm=False)
_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_BERT = Family(
    "bert",
    _encoder_layers,
    lambda model: model.cls.predictions,
    _zero,
    _BERT_DROPOUTS,
    halves=BERT_HALVES,
)
_ROBERTA = _BERT._replace(
    trunk="roberta", head=lambda model: model.lm_head, first_position=_after_padding
)
FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "roberta-prelayernorm": _ROBERTA._replace(
        trunk="roberta_prelayernorm",
        final_norm=lambda trunk: trunk.LayerNorm,
        halves=BERT_HALVES._replace(norm=_prelayernorm_norm, pre_norm=True),
    ),
    "electra": _BERT._replace(
        trunk="electra",
        head=lambda model: nn.Sequential(model.generator_predictions, model.generator_lm_head),
    ),
    "distilbert": Family(
        "distilbert",
        lambda trunk: trunk.transformer.layer,
        _DistilBertHead,
        _zero,
        ("dropout", "attention_dropout"),
    ),
    "gpt2": Family(
        "transformer",
        lambda trunk: trunk.h,
        lambda model: model.lm_head,
        _zero,
        ("resid_pdrop", "attn_pdrop", "embd_pdrop"),
        embeddings=_GptEmbeddings,
        final_norm=lambda trunk: trunk.ln_f,
        halves=Halves(_gpt_norm, _gpt_attention, _gpt_feed_forward, pre_norm=True),
        language_model=AutoModelForCausalLM,
    ),
}


def is_causal(config: PretrainedConfig) -> bool:
    """Whether the model predicts each token from those before it, so that it can only decode."""
    return FAMILIES[config.model_type].language_model is AutoModelForCausalLM
