"""The comparison's trained Transformer in CTranslate2: the same weights in a faster engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abnet.text import read_lines
from scripts.reproduce.recipes import PLUGINS, Multi30k
from scripts.reproduce.steps import Step

SYSTEM = "transformer"


def conversion(work: Multi30k, direction: str, seed: int, precision: str) -> Step:
    """CTranslate2's own converter on the averaged checkpoint.

    Args:
        work: whose Transformer it is.
        direction, seed: of its training.
        precision: of the weights, "float32", "int8" or "float16".
    """
    run = work.trained_run(SYSTEM, direction, seed)
    source, target = direction.split("-")
    folder = run / f"ctranslate2-{precision}"
    command = [
        "ct2-fairseq-converter",
        "--model_path",
        str(work.checkpoint(SYSTEM, direction, seed)),
    ]
    command += ["--data_dir", str(work.prepared_for_rivals(direction)), "--user_dir", PLUGINS]
    command += ["--source_lang", source, "--target_lang", target]
    command += ["--output_dir", str(folder), "--force"]
    command += [] if precision == "float32" else ["--quantization", precision]
    needs = (work.average(SYSTEM, direction, seed).stamp,)
    return Step(folder.name, run, tuple(command), needs)


class Converted:
    """The converted Transformer, with some lines to translate one by one.

    Args:
        folder: that the conversion wrote.
        precision: of the weights.
        lines: in pieces.
        beam: hypotheses a sentence.
        threads: of a CPU.
        on_gpu: where to run.
    """

    def __init__(
        self,
        folder: Path,
        precision: str,
        lines: Sequence[list[str]],
        beam: int,
        threads: int,
        on_gpu: bool,
    ) -> None:
        import ctranslate2

        self.lines = list(lines)
        self.beam = beam
        self.translator: Any = ctranslate2.Translator(
            str(folder),
            device="cuda" if on_gpu else "cpu",
            compute_type=precision,
            inter_threads=1,
            intra_threads=threads,
        )

    def decode(self) -> list[list[str]]:
        """The best translation of each line, in pieces."""
        return [self._translate([line])[0] for line in self.lines]

    def write(self, path: Path) -> None:
        """All lines translated at once, as `fairseq-generate` would have printed them."""
        found = self._translate(self.lines)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = (f"D-{at}\t0\t{' '.join(pieces)}\n" for at, pieces in enumerate(found))
        path.write_text("".join(rows), encoding="utf-8")

    def _translate(self, lines: list[list[str]]) -> list[list[str]]:
        found = self.translator.translate_batch(lines, beam_size=self.beam, max_batch_size=32)
        return [result.hypotheses[0] for result in found]


def read_pieces(work: Multi30k, direction: str, split: str) -> list[list[str]]:
    """A split's source side in the pieces that the Transformer reads."""
    path = work.prepared(direction) / "pieces" / f"{split}.{direction.split('-')[0]}"
    return [line.split(" ") if line else [] for line in read_lines(path)]
