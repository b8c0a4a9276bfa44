from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from abnet.checkpoint import save_checkpoint
from abnet.cli import main
from abnet.decoding.decode import Options
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.mask_predict import DecodingOptions
from abnet.decoding.reranking import Reranker
from abnet.model import AbNet
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions
from abnet.translator import InputReport, Translator
from tests.systems import Toys, lively_model, small_model
from tests.tiny import GERMAN

Translate = Callable[..., "Outcome"]


class Outcome(NamedTuple):
    status: int
    lines: list[str]
    errors: str


@pytest.fixture
def checkpoint(tiny_model: AbNet, tmp_path: Path) -> str:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, tiny_model)
    return str(path)


@pytest.fixture
def translate(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Translate:
    """Runs the command on lines of standard input."""

    def run(text: bytes, *arguments: str) -> Outcome:
        stdin = io.TextIOWrapper(io.BytesIO(text))
        monkeypatch.setattr("sys.stdin", stdin)
        status = main(["translate", checkpoint, *arguments])
        captured = capsys.readouterr()
        assert captured.out.endswith("\n") or not captured.out
        return Outcome(status, captured.out.split("\n")[:-1], captured.err)

    return run


def test_one_line_a_line_in_order(translate: Translate, tiny_model: AbNet) -> None:
    lines = ["", GERMAN[3], "\t", *GERMAN, "שלום", ""]
    expected = Translator(tiny_model, "cpu").translate_n_best(
        lines, DecodingOptions(), report=InputReport()
    )
    texts = [translations[0].text for translations in expected]
    text = "\r\n".join(lines).encode() + b"\n"
    everything = translate(text, "--device", "cpu")
    assert everything.status == 0
    assert everything.lines == texts
    assert "Line 12 is made of unknown words for the most part" in everything.errors
    small = translate(text, "--batch-size", "2", "--buffer-size", "3")
    assert (small.lines, small.errors) == (everything.lines, everything.errors)


def test_a_file(translate: Translate, tmp_path: Path) -> None:
    path = tmp_path / "raw.de"
    path.write_text("\n".join(GERMAN), encoding="utf-8")
    assert translate(b"", str(path)).lines == translate("\n".join(GERMAN).encode()).lines


def test_n_best_and_scores(translate: Translate, tiny_model: AbNet) -> None:
    outcome = translate(
        f"{GERMAN[0]}\n\n{GERMAN[1]}\n".encode(),
        "--n-best=2", "--scores", "--iterations=3", "--length-beam=3", "--length-penalty=0.5",
    )  # fmt: skip
    options = DecodingOptions(iterations=3, length_beam=3, length_penalty=0.5, n_best=2)
    expected = Translator(tiny_model, "cpu").translate_n_best([GERMAN[0], "", GERMAN[1]], options)
    assert outcome.lines == [
        f"{translation.score:.4f}\t{translation.text}"
        for translations in expected
        for translation in translations
    ]
    assert outcome.lines[2:4] == ["0.0000\t"] * 2


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--length-weight=3"], DecodingOptions(length_weight=3.0)),
        (["--lm-weight=2"], DecodingOptions(lm_weight=2.0)),
        (["--rescore-weight=2"], DecodingOptions(rescore_weight=2.0)),
        (["--ban-repeats"], DecodingOptions(ban_repeats=True)),
        (["--repredict"], DecodingOptions(repredict=True)),
        (["--patience=1"], DecodingOptions(patience=1)),
        (["--force-max-iterations"], DecodingOptions(force_max_iterations=True)),
        (["--confidence=1e-6"], DecodingOptions(confidence=1e-6)),
        (
            ["--prune-after=1", "--prune-keep=1", "--prune-margin=9"],
            DecodingOptions(prune_after=1, prune_keep=1, prune_margin=9.0),
        ),
    ],
)
def test_options_of_decoding(
    translate: Translate, tiny_model: AbNet, arguments: list[str], options: DecodingOptions
) -> None:
    text = "".join(f"{line}\n" for line in GERMAN).encode()
    expected = Translator(tiny_model, "cpu").translate_n_best(GERMAN, options)
    found = translate(text, "--scores", *arguments).lines
    assert found == [f"{best.score:.4f}\t{best.text}" for (best,) in expected]
    assert found != translate(text, "--scores").lines


@pytest.mark.parametrize(
    ("system", "argument", "options"),
    [
        ("abnet_ctc", "--blank-penalty=2", CtcOptions(blank_penalty=2.0)),
        ("abnet_dag", "--word-reward=9", DagOptions(word_reward=9.0)),
    ],
)
def test_options_of_one_pass(
    translate: Translate, toys: Toys, checkpoint: str, system: str, argument: str, options: Options
) -> None:
    model = lively_model(system, toys)
    save_checkpoint(checkpoint, model)
    text = "".join(f"{line}\n" for line in GERMAN).encode()
    expected = Translator(model, "cpu").translate_n_best(GERMAN, options)
    found = translate(text, "--scores", argument).lines
    assert found == [f"{best.score:.4f}\t{best.text}" for (best,) in expected]
    assert found != translate(text, "--scores").lines


class Terminal(io.TextIOWrapper):
    """Standard input that someone types."""

    def isatty(self) -> bool:
        return True


def test_lines_typed_by_hand_are_translated_one_by_one(
    translate: Translate, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = Translator.translate_n_best

    def watched(self: Translator, lines: Sequence[str], *given: Any, **named: Any) -> Any:
        sizes.append(len(lines))
        return original(self, lines, *given, **named)

    monkeypatch.setattr(Translator, "translate_n_best", watched)
    text = "".join(f"{line}\n" for line in GERMAN[:3]).encode()
    translate(text)
    assert sizes == [3]
    monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO(text)))
    assert main(["translate", checkpoint]) == 0
    assert sizes == [3, 1, 1, 1]


def test_precision_and_compiling_reach_the_translator(
    translate: Translate, tiny_model: AbNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"{line}\n" for line in GERMAN).encode()
    exact = translate(text, "--scores").lines
    rounded = translate(text, "--scores", "--dtype=bfloat16").lines
    found = Translator(tiny_model, "cpu", dtype="bfloat16").translate_n_best(
        GERMAN, DecodingOptions()
    )
    assert rounded == [f"{best.score:.4f}\t{best.text}" for (best,) in found]
    assert rounded != exact
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda run, **options: compiled.append(run) or run)
    assert translate(text, "--compile", "--scores").lines == exact
    assert len(compiled) == 1


def test_an_ensemble_with_a_reranker(
    tiny_model: AbNet,
    toys: Toys,
    checkpoint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other, judge = small_model("mask_predict", toys), small_model("abnet_causal", toys)
    for name, model in (("other", other), ("judge", judge), ("of:two", other)):
        save_checkpoint(tmp_path / f"{name}.safetensors", model)
    source = tmp_path / "raw.de"
    source.write_text("\n".join(GERMAN), encoding="utf-8")

    def translate(paths: str, *arguments: str) -> list[str]:
        assert main(["translate", paths, str(source), "--scores", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    def expected(model: AbNet | Ensemble, reranker: Reranker | None = None) -> list[str]:
        translator = Translator(model, "cpu", reranker)
        found = translator.translate_n_best(GERMAN, DecodingOptions())
        return [f"{best.score:.4f}\t{best.text}" for (best,) in found]

    both, second = Ensemble([tiny_model, other]), str(tmp_path / "other.safetensors")
    reranker = ("--reranker", str(tmp_path / "judge.safetensors"))
    paths = f"{checkpoint}:{second}"
    assert translate(paths) == expected(both)
    assert translate(paths, *reranker) == expected(both, Reranker(judge))
    assert translate(second, *reranker, "--rerank-weight=0.25") == expected(
        other, Reranker(judge, 0.25)
    )
    assert translate(str(tmp_path / "of:two.safetensors")) == expected(other)  # one file, named so


def test_one_warning_for_all_buffers(translate: Translate) -> None:
    long = " ".join(["Hund"] * 100)
    outcome = translate(f"{long}\nder Hund\n{long}\n".encode(), "--buffer-size=1")
    assert outcome.status == 0
    assert len(outcome.lines) == 3
    assert outcome.errors.count("warning") == 1
    assert "2 lines (the first is line 1) are longer than the" in outcome.errors


def test_overlong_lines_are_refused_by_choice(
    translate: Translate, tiny_model: AbNet, tmp_path: Path
) -> None:
    longest = Translator(tiny_model, "cpu").max_pieces
    fits, long = " ".join(["Hund"] * longest), " ".join(["Hund"] * (longest + 1))
    path = tmp_path / "raw.de"
    path.write_text(f"{fits}\n{GERMAN[0]}\n{GERMAN[1]}\n{long}\n{GERMAN[2]}\n", encoding="utf-8")
    cut = translate(b"", str(path), "--buffer-size=2")
    assert (cut.status, len(cut.lines)) == (0, 5)
    assert "warning: Line 4 is longer than the" in cut.errors
    refused = translate(b"", str(path), "--buffer-size=2", "--overlong=refuse")
    assert refused.status == 2
    assert refused.lines == cut.lines[:2]  # the buffer with line 4 has no output
    assert f"raw.de, line 4: a line must have at most {longest} pieces of " in refused.errors
    assert f", but has {longest + 1}. Split it into sentences, or choose" in refused.errors
    text = f"{fits}\n{GERMAN[0]}\n".encode()
    assert translate(text, "--overlong=refuse") == translate(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n-best=5"], "`n_best` must be at most `length_beam` = 4, but is 5 instead."),
        (["--batch-size=0"], "`batch_size` must be at least 1, but is 0 instead."),
        (["--buffer-size=0"], "`buffer_size` must be at least 1, but is 0 instead."),
        (["--device=nowhere"], "`device` must be one that this torch can use"),
        (["no-such-file"], "Cannot read no-such-file: No such file or directory."),
        (["--source-bert=/nowhere"], "/nowhere is no folder"),
        (["--target-bert=/nowhere"], "/nowhere is no folder"),
        (["--dtype=int4"], "`dtype` must be one of float32, bfloat16, float16, int8, but is int4"),
        (["--confidence=7"], "`confidence` must be between 0 and 1, but is 7.0 instead."),
        (["--prune-after=1"], "`prune_after` must go with `prune_keep`, `prune_margin` or both."),
        (["--rerank-weight=1"], "`--rerank-weight` must go with `--reranker`."),
        (["--reranker=nothing.pt"], "There is no checkpoint 'nothing.pt'."),
    ],
)
def test_arguments_that_cannot_be(translate: Translate, arguments: list[str], message: str) -> None:
    outcome = translate(b"der Hund\n", *arguments)
    assert outcome.status == 2
    assert message in outcome.errors
    assert outcome.lines == []


def test_bad_bytes_name_the_line_and_what_came_before_is_translated(translate: Translate) -> None:
    outcome = translate(b"der Hund\nder Ball\n" + b"sch\xf6n\n", "--buffer-size=1")
    assert outcome.status == 2
    assert "standard input, line 3: the text must be UTF-8" in outcome.errors
    assert len(outcome.lines) == 2


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "abnet.cli", "translate", *arguments]


def test_a_pipeline_gets_each_line_at_once_and_may_leave(checkpoint: str) -> None:
    """The second half of `abnet translate --buffer-size 1 | head -n 1` hears of no error."""
    process = subprocess.Popen(
        command(checkpoint, "--buffer-size=1", "--device=cpu"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(b"der Hund\n")
    process.stdin.flush()
    assert process.stdout.readline().endswith(b"\n")  # while the input is still open
    process.stdout.close()
    process.stdin.write(b"der Ball\n")
    process.stdin.close()
    errors = process.stderr.read()
    process.wait(timeout=60)
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors


def test_ctrl_c_ends_cleanly(checkpoint: str) -> None:
    process = subprocess.Popen(
        command(checkpoint, "--buffer-size=1", "--device=cpu"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A suite in the background passes on that it ignores the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"der Hund\n")
    process.stdin.flush()
    assert process.stdout.readline().endswith(b"\n")
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
