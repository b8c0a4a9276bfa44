"""What the benchmark asks of a system, whoever wrote it, and the rows it makes of systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import nn

from abnet.bench.sizes import Size
from abnet.bench.work import Product
from abnet.decoding.linear import DecodingLinear
from abnet.tokenizer import Tokenizer

Made = TypeVar("Made")

RECORDINGS = 3  # calls of a compiled decoder until the CUDA graph of a shape is there


class Output(NamedTuple):
    """What a decoding brought, on the host.

    Attributes:
        sentences: of each line the ids or pieces, as `Engine.join` takes them.
        lengths: tokens written for each line, the end counted.
        passes: calls of the decoder.
    """

    sentences: list[Any]
    lengths: list[int]
    passes: float


class Engine(Protocol):
    """A system that is ready to translate.

    Attributes:
        weight_bytes: of its weights in memory.
        in_torch: whether torch's allocator holds its memory.
    """

    weight_bytes: int
    in_torch: bool

    def encode(self, lines: Sequence[str]) -> Any:
        """Raw text to what `decode` takes."""

    def decode(self, encoded: Any, length: int | None) -> Output:
        """Translates a batch.

        Args:
            encoded: of `encode`.
            length: target tokens to write, the end counted: exactly as many word by word; those
                of `forced_lengths` in parallel. `None` leaves the length to the model.
        """

    def join(self, output: Output) -> list[str]:
        """Raw text."""

    def work(self, encoded: Any, length: int | None) -> list[Product] | None:
        """The matrix products of a `decode`, which it may do to see; `None` if not to be known."""

    def release(self) -> None:
        """Gives back memory that is kept for the next call."""


@dataclass
class Materials:
    """What all systems of a run are built from.

    Attributes:
        size: of systems with random weights.
        tokenizers: of source and target, which all systems share.
        device: to translate on.
        folder: for files that an engine reads.
        threads: of a CPU; engines of a CPU that were built with another number are built anew.
        checkpoint: of an AB-Net with trained weights, whose lengths are its own; or `None`.
    """

    size: Size
    tokenizers: tuple[Tokenizer, Tokenizer]
    device: torch.device
    folder: str
    threads: int = 1
    checkpoint: str | None = None
    _made: dict[str, Any] = field(default_factory=dict, init=False)

    def shared(self, name: str, make: Callable[[], Made]) -> Made:
        """What `make` makes, once a name: models are shared by rows that only decode otherwise."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made


@dataclass(frozen=True)
class Row:
    """One system as it is decoded: a row of the tables, and the fields of its results.

    Attributes:
        name: of the row, unique.
        system: "abnet", "transformer", ...
        peer: whether it is others' system.
        engine: "abnet", "fairseq", "ctranslate2", "transformers".
        decoding: in words.
        precision: of the weights, as torch names it; int8 beginning with "int8".
        build: makes the engine; may raise an `ImportError` or `AbNetError` to be left out.
        compiled: whether each shape has to be called `RECORDINGS` times before calls count.
    """

    name: str
    system: str
    peer: bool
    engine: str
    decoding: str
    precision: str
    build: Callable[[Materials], Engine]
    compiled: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        if self.precision.startswith("int8"):
            return torch.int8
        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype


def forced_lengths(length: int, beam: int) -> list[int]:
    """The length candidates around a reference's length, as fairseq's CMLM chooses them."""
    return [max(length + offset - beam // 2, 1) for offset in range(beam)]


def module_bytes(module: nn.Module) -> int:
    """Of all weights and buffers, and of what layers for decoding hold instead."""
    values = [*module.parameters(), *module.buffers()]
    packed = [part.weight_bytes for part in module.modules() if isinstance(part, DecodingLinear)]
    return sum(value.numel() * value.element_size() for value in values) + sum(packed)


def release_torch(device: torch.device) -> None:
    """Gives torch's unused memory on a GPU back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
