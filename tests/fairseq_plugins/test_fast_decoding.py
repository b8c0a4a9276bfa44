"""What makes decoding faster at the price of another output, through fairseq's commands."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch

from abnet.decoding import linear
from abnet.decoding.mask_predict import DecodingOptions
from abnet.errors import AbNetError
from abnet.translator import InputReport, Translator
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, train
from tests.fairseq_plugins.conftest import EMPTY, OVERLONG, UNKNOWN, Corpus, Trained
from tests.fairseq_plugins.test_commands import generate


def expected(
    corpus: Corpus, trained: Trained, options: DecodingOptions, dtype: str = "float32"
) -> dict[int, list[str]]:
    translator = Translator.from_checkpoint(trained.checkpoint, "cpu", dtype=dtype)
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    found = translator.translate_n_best(sources, options, batch_size=1, report=InputReport())
    return {
        row: [" ".join(best.pieces)]
        for row, (best,) in enumerate(found)
        if row not in (EMPTY, OVERLONG, UNKNOWN)
    }


def test_pruning_and_confidence(corpus: Corpus, trained: Trained) -> None:
    for flags, options in (
        (("prune-after", 1, "prune-keep", 1), DecodingOptions(prune_after=1, prune_keep=1)),
        (("prune-after", 1, "prune-margin", 0), DecodingOptions(prune_after=1, prune_margin=0)),
        (("confidence", 1e-9), DecodingOptions(confidence=1e-9)),
    ):
        given = [f"--iter-decode-{one}" if isinstance(one, str) else one for one in flags]
        output = generate(corpus, trained, *given, "--print-step")
        wanted = expected(corpus, trained, DecodingOptions(**{**vars(options), "length_beam": 3}))
        found = lines(output, "H")
        assert {row: found[row] for row in wanted} == wanted
        steps = {int(text) for row, (text,) in lines(output, "I").items() if row != EMPTY}
        assert (steps == {1}) == (options.confidence is not None)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_lower_precision(
    corpus: Corpus, trained: Trained, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "SMALLEST", 8)
    found = lines(generate(corpus, trained, "--iter-decode-dtype", dtype, "--batch-size", 1), "H")
    wanted = expected(corpus, trained, DecodingOptions(length_beam=3), dtype)
    assert {row: found[row] for row in wanted} == wanted


def test_a_compiled_decoder(
    corpus: Corpus, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def compile(function: object, **options: object) -> object:
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", compile)
    found = lines(generate(corpus, trained, "--iter-decode-compile"), "H")
    wanted = expected(corpus, trained, DecodingOptions(length_beam=3))
    assert {row: found[row] for row in wanted} == wanted
    assert len(compiled) == 1


def test_matrices_are_packed_unless_they_train(
    corpus: Corpus,
    trained: Trained,
    tiny_berts: TinyBerts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored: list[object] = []
    task = import_module("fairseq_plugins.tasks.translation_abnet")
    monkeypatch.setattr(task, "pack_weights", stored.append)
    train(corpus.data_bin, tmp_path, tiny_berts, "--max-update", 1, "--eval-bleu")
    assert not stored
    generate(corpus, trained)
    assert [type(system).__name__ for system in stored] == ["AbNet"]


def test_what_cannot_be(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    for flags, message in (
        (("--iter-decode-dtype", "int4"), "`--iter-decode-dtype` must be one of float32, "),
        (("--iter-decode-prune-keep", 1), "prune-keep` must go with `--iter-decode-prune-after`"),
        (
            ("--iter-decode-confidence", 2),
            "`--iter-decode-confidence` must be between 0 and 1, but",
        ),
    ):
        with pytest.raises(AbNetError, match=message):
            generate(corpus, trained, *flags)
    with pytest.raises(AbNetError, match="must be left out with `--eval-bleu`, which decodes with"):
        train(
            corpus.data_bin, tmp_path, tiny_berts, "--eval-bleu", "--iter-decode-dtype", "bfloat16"
        )
