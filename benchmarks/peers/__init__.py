"""Others' systems for the benchmark of speed: fairseq's, and the same weights in CTranslate2.

The library never imports fairseq, so these rows stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from abnet.bench import ctranslate
from abnet.bench.engine import Engine, Materials, Row
from benchmarks.peers.conversion import convert
from benchmarks.peers.engines import LENGTH_BEAM, PASSES, BeamEngine, CmlmEngine
from benchmarks.peers.models import SHALLOW, model


def rows(device: torch.device) -> list[Row]:
    """All peers; the first is the one that tables compare with."""
    half = "float32" if device.type == "cpu" else "float16"
    found = []
    for system in ("transformer", SHALLOW):
        for beam in (5, 1):
            make = partial(BeamEngine, beam=beam)
            found.append(_row(system, f"beam{beam}", f"beam {beam}", half, make))
        found += ctranslate.rows(system, device, partial(convert, system=system))
    words = f"{PASSES} passes, length beam {LENGTH_BEAM}"
    return [*found, _row("cmlm", str(PASSES), words, half, CmlmEngine)]


def _row(
    system: str, name: str, decoding: str, precision: str, make: Callable[[Materials, Any], Engine]
) -> Row:
    """A row of fairseq's."""
    return Row(
        name=f"{system}-fairseq-{name}-{precision}",
        system=system,
        peer=True,
        engine="fairseq",
        decoding=decoding,
        precision=precision,
        build=lambda materials: make(materials, model(materials, system, precision)),
    )
