"""The one-pass systems through fairseq's commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fairseq import checkpoint_utils

from abnet.checkpoint import load_checkpoint
from abnet.errors import AbNetError
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions
from abnet.translator import Translator
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, logged, run, train
from tests.fairseq_plugins.conftest import EMPTY, OVERLONG, UNKNOWN, Corpus, Trained

SYSTEM = ("--arch", "abnet_ctc", "--criterion", "ctc_lm", "--decoder-adapter-ffn-dim", "32")
DAG = ("--arch", "abnet_dag", "--criterion", "dag_lm", "--decoder-adapter-ffn-dim", "32")


@pytest.fixture(scope="module")
def one_pass(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """AB-Net with CTC after a few updates: for long, later ones give blanks alone."""
    folder = tmp_path_factory.mktemp("ctc")
    output = train(
        corpus.data_bin, folder, tiny_berts, *SYSTEM,
        *("--max-update", 12, "--lr", "0.001", "--adapter-init", "released"),
        "--no-epoch-checkpoints",
    )  # fmt: skip
    return Trained(folder, folder / "checkpoint_last.pt", output)


@pytest.fixture(scope="module")
def graph(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """AB-Net with a graph of words after a few updates."""
    folder = tmp_path_factory.mktemp("dag")
    options = ("--max-update", 60, "--lr", "0.003", "--no-epoch-checkpoints")
    output = train(corpus.data_bin, folder, tiny_berts, *DAG, *options)
    return Trained(folder, folder / "checkpoint_last.pt", output)


def generate(corpus: Corpus, trained: Trained, *arguments: object) -> str:
    return run(
        "generate",
        *(corpus.data_bin, "--path", trained.checkpoint, "--cpu", "--num-workers", 0),
        *arguments,
    )


def test_it_learns_and_logs_what_has_no_room(one_pass: Trained) -> None:
    losses = logged(one_pass.output, "train_inner", "nll_loss")
    assert losses[-1] < losses[0] - 0.5
    assert 0 <= logged(one_pass.output, "valid", "impossible")[-1] < 100
    assert logged(one_pass.output, "valid", "length_accuracy")
    assert not logged(one_pass.output, "valid", "masked_accuracy")


@pytest.mark.parametrize(("beam", "penalty", "iterations"), [(1, 2.0, 1), (4, 0.0, 1), (1, 2.0, 3)])
def test_generate_gives_what_the_library_gives(
    corpus: Corpus, one_pass: Trained, beam: int, penalty: float, iterations: int
) -> None:
    flags = ("--ctc-beam", beam, "--ctc-blank-penalty", penalty, "--lenpen", 0.5)
    output = generate(corpus, one_pass, *flags, "--ctc-iterations", iterations)
    found = lines(output, "H")
    assert sorted(found) == list(range(13))
    translator = Translator(load_checkpoint(one_pass.checkpoint), "cpu")
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    expected = translator.translate_n_best(sources, CtcOptions(beam, penalty, 0.5, 1, iterations))
    for row, hypotheses in found.items():
        if row not in (EMPTY, OVERLONG, UNKNOWN):
            assert hypotheses == [" ".join(expected[row][0].pieces)]
    assert len({tuple(hypotheses) for hypotheses in found.values()}) > 3


def test_a_graph_learns_and_logs_what_has_no_room(graph: Trained) -> None:
    losses = logged(graph.output, "train_inner", "nll_loss")
    assert losses[-1] < losses[0] - 0.5
    assert 0 <= logged(graph.output, "valid", "impossible")[-1] < 100
    assert not logged(graph.output, "valid", "length_accuracy")


def test_generate_gives_a_graphs_best_path(corpus: Corpus, graph: Trained) -> None:
    found = lines(generate(corpus, graph, "--dag-word-reward", 2.5, "--lenpen", 0.5), "H")
    translator = Translator(load_checkpoint(graph.checkpoint), "cpu")
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    expected = translator.translate_n_best(sources, DagOptions(2.5, 0.5))
    for row, hypotheses in found.items():
        if row not in (EMPTY, OVERLONG, UNKNOWN):
            assert hypotheses == [" ".join(expected[row][0].pieces)]
    assert len({tuple(hypotheses) for hypotheses in found.values()}) > 3


def test_generate_gives_what_the_target_bert_has_chosen(corpus: Corpus, graph: Trained) -> None:
    flags = ("--dag-beam", 4, "--dag-lm-weight", 0.5, "--nbest", 2)
    found = lines(generate(corpus, graph, *flags), "H")
    translator = Translator(load_checkpoint(graph.checkpoint), "cpu")
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    options = DagOptions(n_best=2, beam=4, lm_weight=0.5)
    expected = translator.translate_n_best(sources, options)
    different = 0
    for row, hypotheses in found.items():
        if row not in (EMPTY, OVERLONG, UNKNOWN):
            assert hypotheses == [" ".join(one.pieces) for one in expected[row]]
            different += hypotheses[0] != hypotheses[1]
    assert different > 3


def test_a_graph_is_trained_on_for_ngrams(
    corpus: Corpus, graph: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    system = ("--arch", "abnet_dag_fuzzy", "--criterion", "dag_lm", "--warm-start")
    options = ("--decoder-adapter-ffn-dim", "32", "--max-update", 60, "--lr", "0.003")
    alone = ("--fuzzy-likelihood-weight", 0)
    untaught = (*system[:-1], *options, "--max-update", 1)
    told = train(corpus.data_bin, tmp_path / "untaught", tiny_berts, *untaught)
    assert "hardly anything from `--fuzzy-ngrams`" in told
    start = (*system, graph.checkpoint)
    output = train(corpus.data_bin, tmp_path, tiny_berts, *start, *options, *alone)
    assert "learns hardly anything" not in output
    losses = logged(output, "train_inner", "loss")
    assert -1 < losses[-1] < losses[0] < 0  # minus a precision, not a likelihood in bits
    before, after = logged(graph.output, "valid", "nll_loss"), logged(output, "valid", "nll_loss")
    assert after[0] == pytest.approx(before[-1], rel=0.3)
    trained = Trained(tmp_path, tmp_path / "checkpoint_last.pt", output)
    assert len(lines(generate(corpus, trained), "H")) == 13


def test_a_run_goes_on_with_its_own_frames(
    corpus: Corpus, graph: Trained, tiny_berts: TinyBerts
) -> None:
    with pytest.raises(AbNetError, match="`--frames-per-piece` must be 4 as in the checkpoint"):
        train(corpus.data_bin, graph.folder, tiny_berts, *DAG, "--frames-per-piece", 3)


@pytest.fixture
def loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that `fairseq-generate` has read is kept for its next call."""
    load, kept = checkpoint_utils.load_model_ensemble, {}

    def load_once(paths: list[str], **how: Any) -> Any:
        key = tuple(paths)
        if key not in kept:
            kept[key] = load(paths, **how)
        return kept[key]

    monkeypatch.setattr(checkpoint_utils, "load_model_ensemble", load_once)


@pytest.mark.usefixtures("loads_once")
def test_options_of_others_are_refused(
    corpus: Corpus, one_pass: Trained, graph: Trained, trained: Trained
) -> None:
    for system, flags, message in (
        (one_pass, ("--iter-decode-with-beam", 3), "with-beam` must be left out, a one-pass sys"),
        (one_pass, ("--nbest", 2), "--nbest` must be left out.*one translation a sentence"),
        (one_pass, ("--beam", 3), "--beam` must be left out.*--ctc-beam"),
        (one_pass, ("--iter-decode-ban-repeats",), "ban-repeats` must be left out: the system is"),
        (one_pass, ("--ctc-beam", 0), "`--ctc-beam` must be at least 1, but is 0"),
        (one_pass, ("--ctc-iterations", 0), "`--ctc-iterations` must be at least 1, but is 0"),
        (trained, ("--ctc-beam", 3), "`--ctc-beam` must be left out: the system is not one of ctc"),
        (graph, ("--ctc-iterations", 2), "`--ctc-iterations` must be left out: the system is"),
        (one_pass, ("--dag-word-reward", 2), "`--dag-word-reward` must be left out: the system is"),
        (trained, ("--dag-lm-weight", 1), "`--dag-lm-weight` must be left out: the system is not"),
        (graph, ("--dag-lm-weight", 1), "`--dag-beam` must be .* with an `--dag-lm-weight`"),
        (graph, ("--nbest", 2), "`--nbest` must be from 1 to the `--dag-beam` of 1, but is 2"),
        (graph, ("--iter-decode-max-iter", 3), "max-iter` must be .* it decodes in one pass"),
        (one_pass, ("--iter-decode-max-iter", 3), "--ctc-iterations is the number of passes"),
        (graph, ("--max-len-b", 30), "max-len-b` must be left out.* source gives it its frames"),
        (graph, ("--iter-decode-ban-repeats",), "ban-repeats` must be left out: the system is"),
        (trained, ("--ctc-iterations", 2), "`--ctc-iterations` must be left out: the system is"),
        (trained, ("--ctc-blank-penalty", 1), "`--ctc-blank-penalty` must be left out: the sys"),
    ):
        with pytest.raises(AbNetError, match=message):
            generate(corpus, system, *flags)


def test_the_criterion_must_be_its_own(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    with pytest.raises(AbNetError, match="`--criterion` must be ctc_lm for this model"):
        train(corpus.data_bin, tmp_path, tiny_berts, "--arch", "abnet_ctc")
