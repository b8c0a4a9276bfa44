"""A small data-bin and one checkpoint trained on it, made once for all tests of the plugin."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import run, train
from tests.tiny import ENGLISH, GERMAN

LANGUAGES = ("de", "en")
EMPTY, OVERLONG, UNKNOWN = 3, 5, 6  # what lines of the test set are


class Corpus(NamedTuple):
    """Folders of one small corpus; each has {train,valid,test}.{de,en}."""

    raw: Path
    pieces: Path
    data_bin: Path


def write_corpus(
    root: Path, berts: TinyBerts, splits: dict[str, list[tuple[str, str]]], *arguments: object
) -> Corpus:
    """Raw text, pieces and a data-bin of German-English pairs."""
    corpus = Corpus(root / "raw", root / "pieces", root / "data-bin")
    for folder in (corpus.raw, corpus.pieces):
        folder.mkdir(parents=True)
    for side, (language, bert) in enumerate(zip(LANGUAGES, berts, strict=True)):
        tokenizer = Tokenizer.from_pretrained(bert)
        for split, pairs in splits.items():
            texts = [pair[side] for pair in pairs]
            pieces = [" ".join(tokenizer.pieces(text)) for text in texts]
            for folder, contents in ((corpus.raw, texts), (corpus.pieces, pieces)):
                (folder / f"{split}.{language}").write_text(
                    "".join(f"{line}\n" for line in contents), encoding="utf-8"
                )
    prefixes = [a for s in splits for a in (f"--{s}pref", corpus.pieces / s)]
    preprocess(corpus.data_bin, berts, *prefixes, *arguments)
    return corpus


def preprocess(data_bin: Path, berts: TinyBerts, *arguments: object) -> str:
    """`fairseq-preprocess` with the vocabularies of the BERTs."""
    return run(
        "preprocess",
        *("-s", "de", "-t", "en", "--srcdict", berts.german, "--tgtdict", berts.english),
        *("--destdir", data_bin),
        *arguments,
    )


def sentence_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Beginnings of the example sentences, of many lengths."""
    generator = random.Random(seed)
    pairs = []
    for _ in range(count):
        index = generator.randrange(len(GERMAN))
        german, english = GERMAN[index].split(), ENGLISH[index].split()
        words = generator.randrange(2, len(german) + 1)
        pairs.append((" ".join(german[:words]), " ".join(english[: max(1, words - 1)])))
    return pairs


@pytest.fixture(scope="session")
def corpus(tiny_berts: TinyBerts, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """60 / 11 / 13 pairs; the test set has an empty, an overlong and an unknown source line."""
    test = sentence_pairs(13, seed=3)
    for line, source in ((EMPTY, ""), (OVERLONG, " ".join(GERMAN * 2)), (UNKNOWN, "漢字 語")):
        test[line] = (source, test[line][1])
    splits = {"train": sentence_pairs(60, 1), "valid": sentence_pairs(11, 2), "test": test}
    return write_corpus(tmp_path_factory.mktemp("corpus"), tiny_berts, splits)


class Trained(NamedTuple):
    """A finished run."""

    folder: Path
    checkpoint: Path
    output: str


@pytest.fixture(scope="session")
def trained(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Nine updates (two epochs and one more) of a preset with overrides, BLEU and TensorBoard."""
    folder = tmp_path_factory.mktemp("checkpoints")
    output = train(
        corpus.data_bin,
        folder,
        tiny_berts,
        *("--arch", "abnet_released_iwslt_de_en", "--decoder-adapter-ffn-dim", "24"),
        *("--max-update", "9", "--save-interval-updates", "3", "--keep-last-epochs", "1"),
        *("--eval-bleu", "--eval-bleu-args", '{"iter_decode_with_beam": 2, "nbest": 1}'),
        *("--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"),
        *("--tensorboard-logdir", folder / "tensorboard"),
    )
    return Trained(folder, folder / "checkpoint_last.pt", output)
