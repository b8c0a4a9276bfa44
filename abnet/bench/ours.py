"""Our systems: each way of decoding them is a row of `rows`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from abnet.bench.engine import (
    Materials,
    Output,
    Row,
    forced_lengths,
    module_bytes,
    release_torch,
)
from abnet.bench.work import Parts, Product, gather, linears
from abnet.checkpoint import load_checkpoint
from abnet.config import AbNetConfig
from abnet.decoder import Memory
from abnet.decoding.compiling import compile_decoder
from abnet.decoding.layout import pack_weights
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.decoding.precision import set_precision
from abnet.doctor import computes_in_bfloat16
from abnet.encoder import Encoder, EncoderOutput
from abnet.length import LengthBeam
from abnet.model import AbNet
from abnet.one_pass.ctc import CtcOptions, ctc_decode
from abnet.one_pass.dag import DagOptions, dag_decode
from abnet.tokenizer import Tokenizer
from abnet.translator import Translator

ParallelOptions = DecodingOptions | CtcOptions | DagOptions
PRUNE_AFTER = 1  # pass
COMPILED = ("abnet-1", "abnet-4", "abnet-10", "abnet_ctc-1")  # with few shapes, on a GPU


def rows(device: torch.device, checkpoint: str | None = None) -> list[Row]:
    """Our rows on a device. A new way of decoding is a new line of the table below.

    Args:
        device: GPUs also get half precision, and that compiled; CPUs 8-bit weights and, where they
            multiply in it, bfloat16.
        checkpoint: of an AB-Net, instead of random weights; then there is no AB-Net-Enc.
    """
    table: list[tuple[str, str, ParallelOptions, str]] = [  # name, system, how, in words
        *((f"abnet-{passes}", "abnet", *_mask_predict(passes)) for passes in (1, 4, 10)),
        *((f"abnet-{passes}-pruned", "abnet", *_pruned(passes)) for passes in (4, 10)),
        ("abnet_enc-10", "abnet_enc", *_mask_predict(10)),
        ("abnet_ctc-1", "abnet_ctc", CtcOptions(), "1 pass, best path"),
        ("abnet_dag-1", "abnet_dag", DagOptions(), "1 pass, best path"),
    ]
    precisions = ["float32", "int8"] if device.type == "cpu" else ["bfloat16", "float32"]
    if device.type == "cpu" and computes_in_bfloat16():
        precisions.append("bfloat16")
    ways = [(precision, False) for precision in precisions]
    if device.type == "cuda":
        ways.append(("bfloat16", True))  # the last, since it takes minutes before it is fast
    found = [
        Row(
            name=f"{name}-{precision}{'-compiled' * compiled}",
            system=system,
            peer=False,
            engine="abnet",
            decoding=f"{decoding}{', compiled' * compiled}",
            precision=precision,
            build=partial(_build, system, precision, options, compiled),
            compiled=compiled,
        )
        for precision, compiled in ways
        for name, system, options, decoding in table
        if (checkpoint is None or system == "abnet") and (not compiled or name in COMPILED)
    ]
    if device.type == "cuda":
        at = next(at for at, row in enumerate(found) if row.name == "abnet-10-bfloat16")
        found.insert(at + 1, _with_every_logit(found[at]))
    return found


def _with_every_logit(row: Row) -> Row:
    """Ten passes in bfloat16 with the logits of all positions, to compare the largest batches."""
    options, _ = _mask_predict(10)
    return replace(
        row,
        name=f"{row.name}-every-logit",
        decoding=f"{row.decoding}, all logits at once",
        build=partial(_build, row.system, row.precision, options, False, every_logit=True),
    )


def _mask_predict(passes: int) -> tuple[DecodingOptions, str]:
    """All passes of the paper's decoding."""
    options = DecodingOptions(iterations=passes, length_beam=4, force_max_iterations=True)
    return options, f"{passes} pass{'es' if passes > 1 else ''}, length beam 4"


def _pruned(passes: int) -> tuple[DecodingOptions, str]:
    """The same, but the best length of a sentence goes on alone; it may change the output."""
    options, words = _mask_predict(passes)
    options = replace(options, prune_after=PRUNE_AFTER, prune_keep=1)
    return options, f"{words}, of which 1 after pass {PRUNE_AFTER}"


def _build(
    system: str,
    precision: str,
    options: ParallelOptions,
    compiled: bool,
    materials: Materials,
    every_logit: bool = False,
) -> ParallelEngine:
    """An engine; rows of one system and precision, compiled or not, share the model."""
    model = materials.shared(
        f"{system} {precision} {compiled}",
        lambda: _make_model(materials, system, precision, compiled),
    )
    return ParallelEngine(model, materials.device, options, every_logit)


def _make_model(materials: Materials, system: str, precision: str, compiled: bool) -> AbNet:
    """A model of the size, or the checkpoint's."""
    if materials.checkpoint is not None:
        model = load_checkpoint(materials.checkpoint)
    else:
        size = materials.size
        source, target = materials.tokenizers
        config = AbNetConfig.from_preset(
            "abnet_wmt_en_de" if system == "abnet" else system,
            source_bert=source.name,
            target_bert=target.name,
            source_weights="random",
            target_weights="random",
            encoder_adapter_dim=size.adapter_dim,
            adapter_init="released",
            transformer_decoder_layers=size.transformer.layers,
            transformer_dim=size.transformer.width,
            transformer_ffn_dim=size.transformer.ffn_dim,
            transformer_heads=size.transformer.heads,
        )
        if config.decoder_adapter_ffn_dim:
            config = replace(config, decoder_adapter_ffn_dim=size.adapter_dim)
        model = AbNet.from_pretrained(config)
    model = model.eval().to(materials.device)
    set_precision(model, precision)
    if compiled:
        compile_decoder(model)
    else:
        pack_weights(model)
    return model


class Shape(NamedTuple):
    """Of a pass: sentences, copies a sentence, rows in all, positions, source and predictions."""

    sentences: int
    copies: int
    rows: int
    targets: int
    source: int
    predicted: int


class Watched:
    """A model whose lengths may be given, and that notes the shapes of its passes.

    Args:
        model: that decodes.
        length: of the reference in tokens; `None` for the model's own lengths.
    """

    def __init__(self, model: AbNet, length: int | None) -> None:
        self.model = model
        self.length = length
        self.config = model.config
        self.source_symbols, self.target_symbols = model.source_symbols, model.target_symbols
        self.noting = False
        self.passes = 0
        self.shapes: list[Shape] = []

    @property
    def max_target_positions(self) -> int:
        """See `AbNet.max_target_positions`."""
        return self.model.max_target_positions

    def encode(self, source: Tensor) -> EncoderOutput:
        """See `AbNet.encode`."""
        return self.model.encode(source)

    def project(self, encoded: EncoderOutput) -> Memory:
        """See `AbNet.project`."""
        return self.model.project(encoded)

    def predict_length(self, encoded: EncoderOutput, candidates: int) -> LengthBeam:
        """The given lengths; what the model predicts is computed all the same."""
        found = self.model.predict_length(encoded, candidates)
        if self.length is None:
            return found
        most = self.model.max_target_positions
        given = [min(length, most) for length in forced_lengths(self.length, candidates)]
        return LengthBeam(torch.tensor(given).expand_as(found.lengths).to(found.lengths), found[1])

    def states(self, target: Tensor, memory: Memory, positions: Tensor) -> Tensor:
        """See `AbNet.states`."""
        self._note(target, memory, positions.numel())
        return self.model.states(target, memory, positions)

    def logits(self, states: Tensor, part: slice) -> Tensor:
        """See `AbNet.logits`."""
        return self.model.logits(states, part)

    def dag(self, frames: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """See `AbNet.dag`."""
        self._note(frames, memory, frames.numel())
        return self.model.dag(frames, memory)

    def bert_states(self, target: Tensor, positions: Tensor) -> Tensor:
        """See `AbNet.bert_states`; not noted, since no row asks for it."""
        return self.model.bert_states(target, positions)

    def _note(self, target: Tensor, memory: Memory, predicted: int) -> None:
        self.passes += 1
        if self.noting:
            sentences, source = memory.visible.size(0), memory.visible.size(-1)
            rows, length = target.shape
            copies = rows // sentences if memory.places is None else memory.places.candidates
            self.shapes.append(Shape(sentences, copies, rows, length, source, predicted))


class EveryLogit(Watched):
    """The same, but with the log-probabilities of all positions and words at once in each pass.

    The released code and fairseq's CMLM decode so; the tokens are the same.
    """

    def states(self, target: Tensor, memory: Memory, positions: Tensor) -> Tensor:
        """(N, V) in 32 bits, of which `logits` gives parts."""
        everywhere = torch.arange(target.numel(), device=target.device)
        states = super().states(target, memory, everywhere)
        every = self.model.logits(states, slice(None)).float().log_softmax(dim=1)
        return every.index_select(0, positions)

    def logits(self, states: Tensor, part: slice) -> Tensor:
        """Log-probabilities, ready."""
        return states[part]


class ParallelEngine:
    """AB-Net or AB-Net-Enc with Mask-Predict, or in one pass.

    One pass has as many frames as the source gives, whatever the length is to be.
    """

    in_torch = True

    def __init__(
        self, model: AbNet, device: torch.device, options: ParallelOptions, every_logit: bool
    ) -> None:
        # For its way from text to ids.
        self.translator = Translator(model, device, dtype=model.precision)
        self.model = model
        self.device = device
        self.options = options
        self.watched = EveryLogit if every_logit else Watched
        self.weight_bytes = module_bytes(model)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of each line."""
        encoded = self.translator.source_tokenizer.encode_batch(lines)
        return [ids[: self.translator.max_pieces] for ids in encoded]

    def decode(self, encoded: list[list[int]], length: int | None) -> Output:
        """Translates a batch; see `Engine.decode`."""
        return self._decode(encoded, self.watched(self.model, length))

    def _decode(self, encoded: list[list[int]], watched: Watched) -> Output:
        source = self.translator.collate(encoded)
        if isinstance(self.options, CtcOptions):
            found = ctc_decode(watched, source, self.options)
        elif isinstance(self.options, DagOptions):
            found = dag_decode(watched, source, self.options)
        else:
            found = mask_predict(watched, source, self.options)
        sentences = [hypotheses[0].tokens for hypotheses in found]
        return Output(sentences, [tokens.numel() for tokens in sentences], watched.passes)

    def join(self, output: Output) -> list[str]:
        """Raw text."""
        target: Tokenizer = self.translator.target_tokenizer
        return [target.decode(tokens.tolist()) for tokens in output.sentences]

    def work(self, encoded: list[list[int]], length: int | None) -> list[Product] | None:
        """Decodes, and counts what was done, padding included."""
        if type(self.model.encoder) is not Encoder:
            return None  # reads another model besides
        watched = self.watched(self.model, length)
        watched.noting = True
        self._decode(encoded, watched)
        parts = parts_of(self.model)
        batch = len(encoded)
        longest = max(map(len, encoded)) + 1 + int(self.model.config.keep_cls)
        if self.model.encoder.length is None:
            products = parts.encode(batch, longest)
        else:
            products = parts.encode(batch, longest + 1)  # with [LENGTH]
            products.append(Product(batch, parts.encoder_width, self.model.config.length_classes))
        products += parts.project_source(batch, longest)
        added = int(self.model.config.keep_cls)
        for shape in watched.shapes:
            seen = shape.targets + added
            products += parts.decode(
                shape.sentences, shape.copies, seen, seen, shape.source, shape.predicted, shape.rows
            )
            links = self.model.decoder.links
            if links is not None:
                each = parts.decoder_width // links.heads
                times = shape.rows * links.heads
                products.append(Product(shape.targets, each, shape.targets, times, weight=False))
        return gather(products)

    def release(self) -> None:
        """See `Engine.release`."""
        release_torch(self.device)


def parts_of(model: AbNet) -> Parts:
    """What a system of one BERT or Transformer a side computes with."""
    encoder, decoder = model.encoder, model.decoder
    adapters: Any = decoder.adapters

    def is_projection(name: str) -> bool:
        return name.rpartition(".")[2] in ("k_proj", "v_proj")

    width = decoder.backbone.hidden_size
    head = linears(decoder.lm_head) or [(width, decoder.backbone.vocab_size)]  # tied: not a layer
    beside = [part for part in (decoder.spread, encoder.lexical) if part is not None]
    at_frames = [part for part in (decoder.blank, decoder.links) if part is not None]
    return Parts(
        encoder=(*linears(encoder.backbone.layers), *linears(encoder.adapters)),
        encoder_layers=len(encoder.backbone.layers),
        encoder_heads=encoder.backbone.num_heads,
        encoder_width=encoder.backbone.hidden_size,
        project=(*linears(adapters, is_projection), *linears(nn.ModuleList(beside))),
        decoder=(
            *linears(decoder.backbone.layers),
            *linears(adapters, lambda name: not is_projection(name)),
        ),
        decoder_layers=len(decoder.backbone.layers),
        decoder_heads=decoder.backbone.num_heads,
        decoder_width=width,
        cross_layers=len(adapters),
        cross_heads=next((a.attention.heads for a in adapters.values()), 1),
        head=(*head, *linears(nn.ModuleList(at_frames))),
    )
