"""The decoder's layers compiled by torch, for few shapes.

Legend: B sentences, C candidates a sentence, R candidates there are, S source positions, T target
positions, H the width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.adapters import KeysValues
from abnet.bert_fused import FusedKeysValues
from abnet.decoder import Decoder, Memory
from abnet.decoding.ensemble import Ensemble
from abnet.errors import AbNetError
from abnet.model import AbNet

SOURCE_STEP = 16
TARGET_STEP = 8


def compile_decoder(system: AbNet | Ensemble, backend: str = "inductor") -> None:
    """Compiles the decoder of every model for decoding; the first batches then take a while.

    On a GPU with inductor each shape becomes a CUDA graph, so that a pass is one launch for all
    layers. The encoder, the output head and the choice of tokens stay as they are.

    Args:
        system: in evaluation mode, on its device and in its precision.
        backend: of `torch.compile`.

    Raises:
        AbNetError: the system is autoregressive, whose steps all have shapes of their own.
    """
    for model in system.models if isinstance(system, Ensemble) else (system,):
        if model.config.objective == "autoregressive":
            raise AbNetError(
                "`compile` must be left out: this system is autoregressive, and only parallel "
                "decoding has few shapes."
            )
        mode = "reduce-overhead" if backend == "inductor" else None
        compiled = torch.compile(model.decoder.hidden, backend=backend, mode=mode, dynamic=True)
        model.decoder.fast = Bucketed(model.decoder, compiled)


class Bucketed:
    """Runs a decoder at the next larger shape of few, and cuts out what was asked for.

    Sentences are filled up to a power of two, source and target positions to a multiple of
    `SOURCE_STEP` and `TARGET_STEP`; each sentence has as many candidates. What is filled in is
    padding, which no true position sees.

    Args:
        decoder: whose `hidden` it stands for.
        run: the decoder's `hidden`, compiled.
    """

    def __init__(self, decoder: Decoder, run: Callable[[Tensor, Memory], Tensor]) -> None:
        self.pad = decoder.symbols.pad
        self.longest = decoder.max_positions
        self.run = run
        self.of: Tensor | None = None
        self.filled: Memory | None = None

    def __call__(self, target: Tensor, memory: Memory) -> Tensor:
        """(R, T) ids and the memory of B sentences to (R, T, H).

        Raises:
            AbNetError: torch cannot compile here.
        """
        sentences = memory.visible.size(0)
        places = memory.places
        slots = None if places is None else places.slots
        width = target.size(0) // sentences if places is None else places.candidates
        rows, length = power_of_two(sentences) * width, target.size(1)
        bucket = max(length, min(-(-length // TARGET_STEP) * TARGET_STEP, self.longest))
        grid = target.new_full((rows, bucket), self.pad)
        if slots is None:
            grid[: target.size(0), :length] = target
        else:
            grid[:, :length].index_copy_(0, slots, target)
        try:
            hidden = self.run(grid, self._fill(memory))[:, :length]
        except _failure() as error:
            raise AbNetError(
                f"`compile` must be left out where torch cannot compile: {error.args[0]} A CPU "
                "needs a C++ compiler for it, a GPU triton."
            ) from error
        # a copy in either case: the next call of a CUDA graph writes over its output
        if slots is None:
            return hidden[: target.size(0)].clone()
        return hidden.index_select(0, slots)

    def _fill(self, memory: Memory) -> Memory:
        """The memory at the larger shape, made once for all passes that read the same."""
        if self.filled is None or self.of is not memory.visible:
            sentences, *_, length = memory.visible.shape
            more = power_of_two(sentences) - sentences
            padding = -length % SOURCE_STEP

            def fill(source: KeysValues) -> KeysValues:
                pads = (0, 0, 0, padding, 0, 0, 0, more)
                return KeysValues(F.pad(source.keys, pads), F.pad(source.values, pads))

            layers: dict[str, KeysValues | FusedKeysValues] = {
                index: fill(source)
                if isinstance(source, KeysValues)
                else FusedKeysValues(fill(source.encoder), fill(source.bert))
                for index, source in memory.layers.items()
            }
            visible = F.pad(memory.visible, (0, padding, 0, 0, 0, 0, 0, more))
            visible[sentences:, ..., 0] = True  # or nothing would be left to attend to
            spread = memory.spread
            if spread is not None:
                spread = spread.each(lambda own: F.pad(own, (0, 0, 0, padding, 0, more)))
            self.of, self.filled = memory.visible, Memory(layers, visible, spread)
        return self.filled


def power_of_two(number: int) -> int:
    """The least that is not smaller."""
    return 1 << (number - 1).bit_length()


def _failure() -> type[Exception]:
    """What a compiler that is missing or fails raises; only once it does, since it loads slowly."""
    from torch._dynamo.exc import BackendCompilerFailed

    return BackendCompilerFailed
