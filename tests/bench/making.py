"""What the tests of the benchmark, with and without fairseq, work on."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from abnet.bench.engine import Engine, Materials
from abnet.bench.materials import make_tokenizers
from abnet.bench.sizes import SIZES
from tests.tiny import ENGLISH, GERMAN

LINES = [GERMAN[0], GERMAN[4], GERMAN[6]]


def materials_in(folder: Path) -> Materials:
    """Of the tiny size."""
    size = SIZES["tiny"]
    tokenizers = make_tokenizers(size, GERMAN, ENGLISH, folder)
    return Materials(size, tokenizers, torch.device("cpu"), str(folder))


def counted_by_torch(engine: Engine, length: int) -> int:
    """Multiply-adds of translating `LINES`, as torch's own counter has them.

    It counts no fused attention on a CPU, so that attention is written out.
    """
    encoded = engine.encode(LINES)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        engine.decode(encoded, length)
    return int(counter.get_total_flops()) // 2
