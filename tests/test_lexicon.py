"""Counted translations, and the vectors that are made of them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import torch
from nltk.translate import AlignedSent, IBMModel1
from safetensors import SafetensorError
from transformers import AutoModel

from abnet import lexicon
from abnet.backbone import load_backbone
from abnet.errors import AbNetError
from abnet.lexicon import (
    Lexicon,
    check_place,
    piece_vectors,
    translation_table,
    word_inputs,
    write_lexicon,
)
from abnet.model import AbNet
from abnet.tokenizer import Tokenizer
from tests.systems import Toys, small_config
from tests.tiny import ENGLISH, GERMAN, make_bert

Pairs = list[tuple[list[int], list[int]]]


def random_pairs(sentences: int, words: int, seed: int = 1) -> Pairs:
    numbers = random.Random(seed)

    def sentence() -> list[int]:
        return [numbers.randrange(words) for _ in range(numbers.randint(1, 6))]

    # nltk takes a word that a target has twice for one, so there is none.
    return [(sentence(), list(dict.fromkeys(sentence()))) for _ in range(sentences)]


def probabilities(pairs: Pairs, iterations: int) -> dict[tuple[int, int], float]:
    table = translation_table(pairs, iterations)
    keys = zip(table.source.tolist(), table.target.tolist(), strict=True)
    return dict(zip(keys, table.probability.tolist(), strict=True))


@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_the_table_is_that_of_nltk(iterations: int) -> None:
    pairs = random_pairs(40, 9)
    found = probabilities(pairs, iterations)
    peer = IBMModel1([AlignedSent(target, source) for source, target in pairs], iterations)
    expected = {
        (-1 if source is None else source, target): peer.translation_table[target][source]
        for source, target in (
            (source, target)
            for sources, targets in pairs
            for source, target in itertools.product([None, *sources], targets)
        )
    }
    assert found == pytest.approx(expected)


def test_what_is_counted_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = random_pairs(50, 12)
    expected = probabilities(pairs, 4)
    monkeypatch.setattr(lexicon, "PAIRS_AT_ONCE", 7)
    assert probabilities(pairs, 4) == pytest.approx(expected)


def test_the_words_of_another_language_are_found() -> None:
    words = 60
    other = random.Random(2).sample(range(words), words)
    numbers = random.Random(3)
    pairs = []
    for source, _ in random_pairs(300, words, seed=4):
        target = [other[word] for word in source]
        numbers.shuffle(target)
        pairs.append((source, target))
    found = probabilities(pairs, 8)
    seen = {word for source, _ in pairs for word in source}
    for word in seen:
        best = max((p, target) for (source, target), p in found.items() if source == word)
        assert best[1] == other[word]
    for word in (-1, *seen):
        assert sum(p for (source, _), p in found.items() if source == word) == pytest.approx(1)


def test_pairs_without_words_are_left_out() -> None:
    pairs: Pairs = [([1, 2], []), ([], [3]), ([4], [5])]
    assert probabilities(pairs, 2) == {(4, 5): 1.0, (-1, 5): 1.0}
    with pytest.raises(AbNetError, match="must have words on both sides"):
        translation_table(pairs[:2])


def test_vectors_are_the_mean_of_the_translations() -> None:
    pairs = random_pairs(30, 7)
    table = translation_table(pairs)
    torch.manual_seed(1)
    words = torch.randn(7, 5)
    expected, total = torch.zeros(9, 5, dtype=torch.float64), torch.zeros(9, 1, dtype=torch.float64)
    for (source, target), p in probabilities(pairs, lexicon.ITERATIONS).items():
        if source >= 0:
            expected[source] += p**2 * words[target]
            total[source] += p**2
    expected[:7] /= total[:7]
    found = piece_vectors(table, words, source_size=9)
    torch.testing.assert_close(found.vectors @ found.axes, expected.float())
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(5))
    held = found.vectors.square().sum(dim=0)
    assert held.sort(descending=True).values.equal(held)
    assert not found.vectors[7:].any()


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_words_are_what_transformers_makes_of_them(kind: str, tmp_path: Path) -> None:
    folder = str(make_bert(tmp_path / kind, ENGLISH, seed=1, kind=kind))
    tokenizer, peer = Tokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    size, mask = len(tokenizer.vocabulary), tokenizer.symbols.mask
    ids = torch.full((size, lexicon.PLACE + 1), tokenizer.symbols.cls)  # no padding before it
    ids[:, -1] = torch.arange(size)
    with torch.inference_mode():
        inputs = peer.embeddings(input_ids=ids)
        if kind == "electra":
            inputs = peer.embeddings_project(inputs)
    bert = load_backbone(folder, with_head=True, dropout=0.0).eval()
    found = word_inputs(bert, tokenizer.symbols, size)
    expected = inputs[:, -1] - inputs[mask, -1]
    real = torch.arange(size) != tokenizer.symbols.pad  # whose RoBERTa position is another
    torch.testing.assert_close(found[real], expected[real])


@pytest.fixture
def german(toys: Toys) -> Tokenizer:
    return Tokenizer.from_pretrained(toys.german)


def some_lexicon(tokenizer: Tokenizer) -> Lexicon:
    size = len(tokenizer.vocabulary)
    return Lexicon(torch.eye(size), torch.eye(size))


def test_a_decoder_begins_with_the_words_themselves(
    toys: Toys, german: Tokenizer, tmp_path: Path
) -> None:
    english = Tokenizer.from_pretrained(toys.english)
    of, words = german.encode(GERMAN[0]), english.encode(ENGLISH[0])
    one_to_one = dict(zip(of, words, strict=False))
    assert len(one_to_one) > 3
    pairs = [([one], [other]) for one, other in one_to_one.items()]
    bert = AbNet.from_pretrained(small_config("abnet", toys)).decoder.backbone.eval()
    inputs = word_inputs(bert, english.symbols, len(english.vocabulary))
    made = piece_vectors(translation_table(pairs), inputs, len(german.vocabulary))
    path = tmp_path / "lexicon.safetensors"
    write_lexicon(path, made, german, {}, english)
    shape = {"lexical_adapter_dim": 24, "gloss_source": True}
    config = small_config("abnet_dag", toys, lexicon=str(path), **shape)
    model = AbNet.from_pretrained(config).eval()
    assert model.decoder.spread is not None
    source = torch.tensor([[*(one for [one], _ in pairs), german.symbols.sep]])
    memory = model.project(model.encode(source))
    assert memory.spread is not None
    assert memory.spread.glosses is not None
    first = int(config.keep_cls)
    masks = bert.embed(torch.tensor([[english.symbols.mask]]), lexicon.PLACE)
    said = bert.embed(torch.tensor([[other] for _, [other] in pairs]), lexicon.PLACE)
    glosses = memory.spread.glosses[0, first : first + len(pairs), None]
    torch.testing.assert_close(masks + glosses, said, atol=1e-5, rtol=1e-5)
    assert not memory.spread.glosses[0, first + len(pairs) :].any()  # [SEP] has none


def test_a_place_is_only_tried(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lexicon.safetensors"
    check_place(path)
    assert list(path.parent.iterdir()) == []
    path.write_text("older")
    check_place(path)
    assert path.read_text() == "older"


def test_an_interrupted_write_leaves_the_older_file(
    german: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lexicon.safetensors"
    write_lexicon(path, some_lexicon(german), german, {})
    before = path.read_bytes()

    for error in (OSError(28, "No space left on device"), SafetensorError("No space left")):

        def full(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(lexicon, "save_file", full)
        with pytest.raises(AbNetError, match=r"cannot be written .*No space left.*is untouched"):
            write_lexicon(path, some_lexicon(german), german, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
