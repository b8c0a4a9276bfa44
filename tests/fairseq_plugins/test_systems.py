"""Every system from training to a translation, through fairseq's commands at toy size."""

from __future__ import annotations

from pathlib import Path

import pytest

from abnet.checkpoint import load_checkpoint
from abnet.systems import SYSTEMS
from abnet.translator import Translator
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, logged, run
from tests.fairseq_plugins.conftest import Corpus, sentence_pairs, write_corpus
from tests.systems import Toys, berts_of, needs, small_options


@pytest.fixture(scope="module")
def corpora(toys: Toys, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Corpus]:
    """The same sentences for each pair of models."""
    splits = {"train": sentence_pairs(24, 1), "valid": sentence_pairs(4, 2)}
    splits["test"] = sentence_pairs(6, 3)
    pairs = sorted({berts_of(name, toys) for name in SYSTEMS})
    return {
        pair: write_corpus(tmp_path_factory.mktemp("corpus"), TinyBerts(*pair), splits)
        for pair in pairs
    }


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_from_training_to_a_translation(
    corpora: dict[tuple[str, str], Corpus], toys: Toys, tmp_path: Path, name: str
) -> None:
    source, target = berts_of(name, toys)
    corpus = corpora[source, target]
    small = [
        text
        for option, value in {**small_options(name), **needs(name, toys)}.items()
        for text in ("--" + option.replace("_", "-"), str(value))
    ]
    output = run(
        "train", corpus.data_bin, "--save-dir", tmp_path, "--cpu", "--num-workers", 0,
        *("--arch", name, "--criterion", SYSTEMS[name].criterion),
        *("--source-bert", source, "--target-bert", target, *small),
        *("--optimizer", "adam", "--lr", "0.001", "--max-tokens", 150, "--max-update", 3),
        *("--log-format", "simple", "--log-interval", 1, "--no-epoch-checkpoints"),
    )  # fmt: skip
    losses = logged(output, "train_inner", "loss")
    assert len(losses) == 3
    checkpoint = tmp_path / "checkpoint_last.pt"
    objective = SYSTEMS[name].objective
    longest: tuple[object, ...] = ()
    if objective == "autoregressive":
        longest = ("--max-len-a", 2, "--max-len-b", 50)  # as the library has it
    options = ("--path", checkpoint, "--cpu", "--num-workers", 0, *longest)
    printed = run("generate", corpus.data_bin, *options)
    found = lines(printed, "D")
    assert sorted(found) == list(range(6))
    translator = Translator(load_checkpoint(checkpoint), "cpu")
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    given = {"length_beam": 1} if objective == "conditional_masked_lm" else {}
    ours = translator.translate(sources, **given)
    assert [found[row][0] for row in range(6)] == ours
