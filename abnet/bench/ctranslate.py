"""CTranslate2 on a folder that one of its converters wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from abnet.bench.engine import Materials, Output, Row
from abnet.bench.work import Parts, Product
from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer

Convert = Callable[[Materials, str], tuple[Path, Parts | None]]
"""Makes a folder of a model with weights of a type of CTranslate2, and tells the model's parts."""


def compute_types(device: torch.device) -> tuple[str, str]:
    """The exact type and the fast one."""
    return ("float32", "int8") if device.type == "cpu" else ("float16", "int8_float16")


def rows(system: str, device: torch.device, convert: Convert) -> list[Row]:
    """A model with beam search and greedily, in each compute type.

    Args:
        system: its name.
        device: to translate on.
        convert: makes its folder.
    """

    def build(beam: int, compute_type: str) -> Callable[[Materials], CTranslate2Engine]:
        def make(materials: Materials) -> CTranslate2Engine:
            folder, parts = convert(materials, compute_type)
            return CTranslate2Engine(folder, materials, beam, compute_type, parts)

        return make

    return [
        Row(
            name=f"{system}-ctranslate2-beam{beam}-{compute_type}",
            system=system,
            peer=True,
            engine="ctranslate2",
            decoding=f"beam {beam}",
            precision=compute_type,
            build=build(beam, compute_type),
        )
        for compute_type in compute_types(device)
        for beam in (5, 1)
    ]


def folder_rows(folder: Path, device: torch.device) -> list[Row]:
    """The rows of a folder that is there.

    Raises:
        AbNetError: it is no folder of CTranslate2.
    """
    if not (folder / "model.bin").is_file():
        raise AbNetError(
            f"`--ctranslate2` must be a folder that a converter of CTranslate2 wrote, with a "
            f"model.bin, but {folder} has none."
        )
    return rows(folder.name, device, lambda materials, compute_type: (folder, None))


class CTranslate2Engine:
    """CTranslate2's Translator.

    Args:
        folder: of a model that knows the pieces of our vocabularies.
        materials: of the run.
        beam: hypotheses a sentence.
        compute_type: of CTranslate2.
        parts: of the model; `None` if not known, then there is no floor.

    Raises:
        AbNetError: CTranslate2 is not installed or cannot use the folder or the device.
    """

    in_torch = False

    def __init__(
        self,
        folder: Path,
        materials: Materials,
        beam: int,
        compute_type: str,
        parts: Parts | None,
    ) -> None:
        try:
            import ctranslate2
        except ImportError:
            raise AbNetError(
                "CTranslate2 is not installed: `pip install ab-net[bench]` brings it."
            ) from None
        self.source: Tokenizer
        self.target: Tokenizer
        self.source, self.target = materials.tokenizers
        self.beam = beam
        self.parts = parts
        self.longest = materials.size.bert.max_positions

        def load() -> Any:
            loaded = ctranslate2.Translator(
                str(folder),
                device=materials.device.type,
                compute_type=compute_type,
                inter_threads=1,
                intra_threads=materials.threads,
            )
            # Libraries of CUDA that are not there are missed no sooner.
            loaded.translate_batch([self.source.vocabulary[-1:]], max_decoding_length=1)
            return loaded

        try:
            self.translator: Any = materials.shared(
                f"{folder} {compute_type} {materials.threads}", load
            )
        except (RuntimeError, ValueError) as error:
            raise AbNetError(f"CTranslate2 cannot use {folder}: {error}") from error
        self.weight_bytes = (folder / "model.bin").stat().st_size

    def encode(self, lines: Sequence[str]) -> list[list[str]]:
        """The pieces of each line."""
        vocabulary = self.source.vocabulary
        return [[vocabulary[id] for id in ids] for ids in self.source.encode_batch(lines)]

    def decode(self, encoded: list[list[str]], length: int | None) -> Output:
        """Translates a batch; see `Engine.decode`."""
        found = self.translator.translate_batch(
            encoded,
            beam_size=self.beam,
            min_decoding_length=length or 1,
            max_decoding_length=length or self.longest,
            return_end_token=True,
        )
        sentences = [result.hypotheses[0] for result in found]
        lengths = [len(pieces) for pieces in sentences]
        return Output(sentences, lengths, max(lengths))

    def join(self, output: Output) -> list[str]:
        """Raw text."""
        return [
            self.target.join([piece for piece in pieces if piece != "</s>"])
            for pieces in output.sentences
        ]

    def work(self, encoded: list[list[str]], length: int | None) -> list[Product] | None:
        """Counted from the lengths, if the model's parts are known."""
        if self.parts is None:
            return None
        lengths = self.decode(encoded, None).lengths if length is None else [length] * len(encoded)
        longest = max(map(len, encoded)) + 1
        return self.parts.word_by_word(len(encoded), longest, lengths, self.beam)

    def release(self) -> None:
        """Gives the memory of the device back; the next `decode` of a row builds it up again."""
        self.translator.unload_model()
        self.translator.load_model()
