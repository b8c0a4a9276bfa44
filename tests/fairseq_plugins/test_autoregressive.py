"""An autoregressive system through fairseq's commands."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from abnet.checkpoint import load_checkpoint
from abnet.decoding.beam_search import BeamOptions
from abnet.decoding.mask_predict import DecodingOptions
from abnet.decoding.reranking import Reranker
from abnet.errors import AbNetError
from abnet.translator import InputReport, Translator
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, logged, run, train
from tests.fairseq_plugins.conftest import EMPTY, OVERLONG, UNKNOWN, Corpus, Trained

SMALL = (
    *("--transformer-dim", "16", "--transformer-ffn-dim", "32", "--transformer-heads", "4"),
    *("--transformer-decoder-layers", "2"),
)
SYSTEM = ("--arch", "abnet_enc_ar", "--criterion", "autoregressive_lm", *SMALL)


@pytest.fixture(scope="module")
def one_by_one(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Forty updates of AB-Net-Enc."""
    folder = tmp_path_factory.mktemp("enc-ar")
    output = train(
        corpus.data_bin, folder, tiny_berts, *SYSTEM,
        *("--max-update", 40, "--lr", "0.01", "--no-epoch-checkpoints"),
        *("--eval-bleu", "--eval-bleu-args", '{"beam": 2}'),
    )  # fmt: skip
    return Trained(folder, folder / "checkpoint_last.pt", output)


def generate(corpus: Corpus, trained: Trained, *arguments: object) -> str:
    return run(
        "generate",
        *(corpus.data_bin, "--path", trained.checkpoint, "--cpu", "--num-workers", 0),
        *arguments,
    )


def test_it_learns_and_logs_no_length(one_by_one: Trained) -> None:
    losses = logged(one_by_one.output, "train_inner", "nll_loss")
    assert losses[-1] < losses[0] - 0.5
    assert logged(one_by_one.output, "valid", "accuracy")
    assert logged(one_by_one.output, "valid", "bleu")
    assert not logged(one_by_one.output, "valid", "length_loss")


def test_generate_gives_what_the_library_gives(corpus: Corpus, one_by_one: Trained) -> None:
    output = generate(corpus, one_by_one, "--beam", 3, "--nbest", 2, "--max-len-b", 9)
    found = lines(output, "H")
    assert sorted(found) == list(range(13))
    translator = Translator(load_checkpoint(one_by_one.checkpoint), "cpu")
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    options = BeamOptions(beam=3, n_best=2, max_length_factor=0.0, max_length_offset=9)
    expected = translator.translate_n_best(sources, options)
    for row, hypotheses in found.items():
        if row not in (EMPTY, OVERLONG, UNKNOWN):
            ours = [" ".join(one.pieces) for one in expected[row]]
            assert hypotheses == ours
    assert len({tuple(hypotheses) for hypotheses in found.values()}) > 3


def test_scores_need_not_be_divided_by_lengths(corpus: Corpus, one_by_one: Trained) -> None:
    flags = ("--beam", 3, "--max-len-b", 9)
    output = generate(corpus, one_by_one, *flags, "--unnormalized")
    assert lines(output, "H") == lines(generate(corpus, one_by_one, *flags, "--lenpen", 0), "H")
    assert lines(output, "H") != lines(generate(corpus, one_by_one, *flags), "H")


@pytest.mark.parametrize("weight", [None, 0.5])
def test_it_reranks_what_mask_predict_gives(
    corpus: Corpus, one_by_one: Trained, trained: Trained, weight: float | None
) -> None:
    flags: list[object] = ["--iter-decode-with-external-reranker"]
    flags += [] if weight is None else ["--iter-decode-rerank-weight", weight]
    output = generate(
        corpus, trained, *flags, "--path", f"{trained.checkpoint}:{one_by_one.checkpoint}",
        "--iter-decode-with-beam", 4, "--nbest", 2,
    )  # fmt: skip
    model, judge = (load_checkpoint(one.checkpoint) for one in (trained, one_by_one))
    reranker = Reranker(judge) if weight is None else Reranker(judge, weight)
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    options = DecodingOptions(length_beam=4, n_best=2)
    report = InputReport()
    expected = Translator(model, "cpu", reranker).translate_n_best(sources, options, report=report)
    unranked = Translator(model, "cpu").translate_n_best(sources, options, report=report)
    scores = [float(found) for found in re.findall(r"^H-1\t(\S+)", output, re.MULTILINE)]
    for row, hypotheses in lines(output, "H").items():
        if row not in (EMPTY, OVERLONG, UNKNOWN):
            assert hypotheses == [" ".join(one.pieces) for one in expected[row]]
    in_bits = [one.score / math.log(2) for one in expected[1]]  # as fairseq prints them
    assert scores == pytest.approx(in_bits, abs=1e-4)
    assert [row[0].text for row in unranked] != [row[0].text for row in expected]


def test_what_cannot_rerank_is_refused(
    corpus: Corpus, one_by_one: Trained, trained: Trained
) -> None:
    rerank = "--iter-decode-with-external-reranker"
    for first, last, flags, message in (
        (trained, trained, (rerank,), "`reranker` must be an autoregressive system"),
        (one_by_one, one_by_one, (rerank,), "with-external-reranker` must be left out, an auto"),
        (
            trained,
            one_by_one,
            (rerank, "--iter-decode-with-beam", 1),
            "`--iter-decode-with-beam` must be at least 2 with a reranker",
        ),
        (
            trained,
            one_by_one,
            (rerank, "--iter-decode-rerank-weight", 2),
            "`--iter-decode-rerank-weight` must be between 0 and 1, but is 2",
        ),
        (trained, one_by_one, (), "are of the objectives conditional_masked_lm and autoregress"),
    ):
        paths = f"{first.checkpoint}:{last.checkpoint}"
        with pytest.raises(AbNetError, match=message):
            generate(corpus, trained, "--path", paths, *flags)


def test_options_of_mask_predict_are_refused(corpus: Corpus, one_by_one: Trained) -> None:
    for flags, message in (
        (("--iter-decode-with-beam", 3), "--iter-decode-with-beam` must be left out.*--beam is"),
        (("--iter-decode-ban-repeats",), "--iter-decode-ban-repeats` must be left out"),
        (("--iter-decode-confidence", 0.5), "--iter-decode-confidence` must be left out"),
        (("--iter-decode-compile",), "--iter-decode-compile` must be left out: the system is aut"),
        (
            ("--diverse-beam-groups", 2),
            "--diverse-beam-groups` must be left out, an autoregressive system",
        ),
    ):
        with pytest.raises(AbNetError, match=message):
            generate(corpus, one_by_one, *flags)


def test_errors_of_beam_search_name_the_flags(corpus: Corpus, one_by_one: Trained) -> None:
    for flags, message in (
        (("--beam", 0), "`--beam` must be at least 1, but is 0"),
        (("--nbest", 6), "`--nbest` must be at most `--beam` = 5, but is 6"),
        (("--lenpen", "nan"), "`--lenpen` must be a finite number"),
        (("--max-len-a", -1), "`--max-len-a` must be at least 0 and `--max-len-b` at least"),
    ):
        with pytest.raises(AbNetError, match=message):
            generate(corpus, one_by_one, *flags)


def test_the_criterion_must_be_the_objectives(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    with pytest.raises(AbNetError, match="`--criterion` must be autoregressive_lm"):
        train(
            corpus.data_bin, tmp_path, tiny_berts,
            *SYSTEM, "--criterion", "conditional_masked_lm",
        )  # fmt: skip
    with pytest.raises(AbNetError, match="`--criterion` must be conditional_masked_lm"):
        train(corpus.data_bin, tmp_path, tiny_berts, "--criterion", "autoregressive_lm")


def test_two_systems_of_one_shape_are_not_taken_for_each_other(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    shape = ("--arch", "abnet_causal", "--criterion", "autoregressive_lm")
    train(corpus.data_bin, tmp_path, tiny_berts, *shape, "--max-update", 1)
    with pytest.raises(AbNetError, match="`--cross-attention` must be 'behind' as in"):
        train(corpus.data_bin, tmp_path, tiny_berts, *shape, "--cross-attention", "inside")
