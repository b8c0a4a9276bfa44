"""Hugging Face's `generate` on a BERT2BERT of the benchmark's size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from abnet.bench.engine import Materials, Output, Row, module_bytes, release_torch
from abnet.bench.work import Parts, Product, linears
from abnet.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import EncoderDecoderModel


def rows(device: torch.device) -> list[Row]:
    """BERT2BERT with beam search and greedily."""
    precision = "float32" if device.type == "cpu" else "float16"
    return [
        Row(
            name=f"bert2bert-transformers-beam{beam}-{precision}",
            system="bert2bert",
            peer=True,
            engine="transformers",
            decoding=f"beam {beam}",
            precision=precision,
            build=partial(_build, precision=precision, beam=beam),
        )
        for beam in (5, 1)
    ]


def _build(materials: Materials, precision: str, beam: int) -> GenerateEngine:
    model = materials.shared(f"bert2bert {precision}", lambda: _make_model(materials, precision))
    return GenerateEngine(model, materials.tokenizers, materials.device, beam)


def _make_model(materials: Materials, precision: str) -> EncoderDecoderModel:
    """Two BERTs of the size with random weights, cross-attention in the second one."""
    from transformers import BertConfig, BertLMHeadModel, BertModel, EncoderDecoderModel

    shape = materials.size.bert

    def config(tokenizer: Tokenizer, **more: Any) -> BertConfig:
        return BertConfig(
            vocab_size=len(tokenizer.vocabulary),
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.ffn,
            max_position_embeddings=shape.max_positions,
            **more,
        )

    source, target = materials.tokenizers
    decoder = config(target, is_decoder=True, add_cross_attention=True)
    model: Any = EncoderDecoderModel(
        encoder=BertModel(config(source), add_pooling_layer=False),
        decoder=BertLMHeadModel(decoder),
    )
    return model.eval().to(materials.device, getattr(torch, precision))


class GenerateEngine:
    """`generate` of transformers."""

    in_torch = True

    def __init__(
        self,
        model: EncoderDecoderModel,
        tokenizers: tuple[Tokenizer, Tokenizer],
        device: torch.device,
        beam: int,
    ) -> None:
        self.model: Any = model
        self.source, self.target = tokenizers
        self.device = device
        self.beam = beam
        self.weight_bytes = module_bytes(model)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line with [CLS] and [SEP]."""
        symbols = self.source.symbols
        return [[symbols.cls, *ids, symbols.sep] for ids in self.source.encode_batch(lines)]

    def decode(self, encoded: list[list[int]], length: int | None) -> Output:
        """Translates a batch; see `Engine.decode`."""
        symbols = self.target.symbols
        padded = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(ids) for ids in encoded], True, self.source.symbols.pad
        ).to(self.device)
        longest = self.model.config.decoder.max_position_embeddings - 1
        with torch.inference_mode():
            found = self.model.generate(
                input_ids=padded,
                attention_mask=padded.ne(self.source.symbols.pad).long(),
                num_beams=self.beam,
                do_sample=False,
                min_new_tokens=length or 1,
                max_new_tokens=length or longest,
                decoder_start_token_id=symbols.cls,
                pad_token_id=symbols.pad,
                eos_token_id=symbols.sep,
            )
        sentences = [_up_to(ids[1:], symbols.sep) for ids in found.tolist()]
        return Output(sentences, [len(ids) for ids in sentences], found.size(1) - 1)

    def join(self, output: Output) -> list[str]:
        """Raw text."""
        return [self.target.decode(ids) for ids in output.sentences]

    def work(self, encoded: list[list[int]], length: int | None) -> list[Product] | None:
        """Counted from the lengths."""
        lengths = self.decode(encoded, None).lengths if length is None else [length] * len(encoded)
        return parts_of(self.model).word_by_word(
            len(encoded), max(map(len, encoded)), lengths, self.beam
        )

    def release(self) -> None:
        """See `Engine.release`."""
        release_torch(self.device)


def parts_of(model: EncoderDecoderModel) -> Parts:
    """What a BERT2BERT computes with."""
    whole: Any = model
    encoder, decoder = whole.config.encoder, whole.config.decoder
    layers = whole.decoder.bert.encoder.layer

    def is_projection(name: str) -> bool:
        return name.endswith(("crossattention.self.key", "crossattention.self.value"))

    return Parts(
        encoder=tuple(linears(whole.encoder.encoder.layer)),
        encoder_layers=encoder.num_hidden_layers,
        encoder_heads=encoder.num_attention_heads,
        encoder_width=encoder.hidden_size,
        project=tuple(linears(layers, is_projection)),
        decoder=tuple(linears(layers, lambda name: not is_projection(name))),
        decoder_layers=decoder.num_hidden_layers,
        decoder_heads=decoder.num_attention_heads,
        decoder_width=decoder.hidden_size,
        cross_layers=decoder.num_hidden_layers,
        cross_heads=decoder.num_attention_heads,
        head=tuple(linears(whole.decoder.cls)),
    )


def _up_to(ids: list[int], end: int) -> list[int]:
    """Ids up to the end, which is kept."""
    return ids[: ids.index(end) + 1] if end in ids else ids
