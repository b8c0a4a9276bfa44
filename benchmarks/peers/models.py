"""fairseq's models with random weights."""

from __future__ import annotations

from argparse import Namespace
from copy import deepcopy
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.dataclass.configs import GenerationConfig
from fairseq.models.nat import CMLMNATransformerModel
from fairseq.models.nat.cmlm_transformer import cmlm_base_architecture
from fairseq.models.nat.nonautoregressive_transformer import NATransformerDecoder
from fairseq.models.transformer import TransformerModel, base_architecture
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from torch import Tensor

from abnet.bench.engine import Materials
from abnet.bench.work import Parts, linears
from abnet.errors import AbNetError

SHALLOW = "transformer_deep_shallow"
"""The name of the Transformer with a deep encoder and a shallow decoder (Kasai et al. 2020)."""


def task_of(materials: Materials) -> TranslationTask:
    """The translation task on dictionaries whose id of a piece is ours + 4."""

    def make() -> TranslationTask:
        dictionaries = []
        for tokenizer in materials.tokenizers:
            dictionary = Dictionary()
            for piece in tokenizer.vocabulary:
                dictionary.add_symbol(piece)
            if len(dictionary) != dictionary.nspecial + len(tokenizer.vocabulary):
                raise AbNetError(
                    "the vocabulary must have none of fairseq's own symbols "
                    f"({', '.join(dictionary.symbols[: dictionary.nspecial])}), but has."
                )
            dictionaries.append(dictionary)
        return TranslationTask(TranslationConfig(), *dictionaries)

    return materials.shared("fairseq task", make)


def first_model(materials: Materials, system: str) -> Any:
    """A system's model on the CPU in 32 bits, as `fairseq-generate` prepares it.

    All others are copies of it. Prepared decoder layers compute no attention weights to look at.
    """

    def make() -> Any:
        shape = materials.size.transformer
        layers = materials.size.deep if system == SHALLOW else (shape.layers, shape.layers)
        args = Namespace(
            encoder_embed_dim=shape.width,
            encoder_ffn_embed_dim=shape.ffn_dim,
            encoder_attention_heads=shape.heads,
            decoder_attention_heads=shape.heads,
            encoder_layers=layers[0],
            decoder_layers=layers[1],
            share_decoder_input_output_embed=True,
            share_all_embeddings=False,
            dropout=0.0,
        )
        kind: Any = TransformerModel
        if system == "cmlm":
            kind = ForcedCmlm
            cmlm_base_architecture(args)
        else:
            base_architecture(args)
        torch.manual_seed(1)
        made = kind.build_model(args, task_of(materials)).eval()
        made.prepare_for_inference_(Namespace(generation=GenerationConfig()))
        return made

    return materials.shared(f"fairseq {system}", make)


def model(materials: Materials, system: str, precision: str) -> Any:
    """A system's model on the run's device."""
    first = first_model(materials, system)
    if precision == "float32" and materials.device.type == "cpu":
        return first
    dtype = getattr(torch, precision)
    return materials.shared(
        f"fairseq {system} {precision}", lambda: deepcopy(first).to(materials.device, dtype)
    )


class ForcedDecoder(NATransformerDecoder):
    """The CMLM's decoder, told how long the translations are."""

    forced: int | None = None

    def forward_length_prediction(
        self, length_out: Tensor, encoder_out: Any, tgt_tokens: Tensor | None = None
    ) -> Tensor:
        """The forced length, with both ends, or the predicted ones."""
        lengths = super().forward_length_prediction(length_out, encoder_out, tgt_tokens)
        return lengths if self.forced is None else torch.full_like(lengths, self.forced)


class ForcedCmlm(CMLMNATransformerModel):
    """The CMLM with that decoder."""

    @classmethod
    def build_decoder(cls, args: Namespace, tgt_dict: Dictionary, embed_tokens: Any) -> Any:
        """See fairseq."""
        return ForcedDecoder(args, tgt_dict, embed_tokens)


def parts_of(model: Any) -> Parts:
    """What a Transformer of fairseq computes with."""
    encoder, decoder = model.encoder, model.decoder
    first, width = decoder.layers[0], decoder.embed_tokens.embedding_dim

    def is_projection(name: str) -> bool:
        return name.endswith(("encoder_attn.k_proj", "encoder_attn.v_proj"))

    return Parts(
        encoder=tuple(linears(encoder.layers)),
        encoder_layers=len(encoder.layers),
        encoder_heads=encoder.layers[0].self_attn.num_heads,
        encoder_width=encoder.embed_tokens.embedding_dim,
        project=tuple(linears(decoder.layers, is_projection)),
        decoder=tuple(linears(decoder.layers, lambda name: not is_projection(name))),
        decoder_layers=len(decoder.layers),
        decoder_heads=first.self_attn.num_heads,
        decoder_width=width,
        cross_layers=len(decoder.layers),
        cross_heads=first.encoder_attn.num_heads,
        head=((width, decoder.embed_tokens.num_embeddings),),
    )
