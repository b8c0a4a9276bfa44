"""Beam search on a model that is a table; `tests/parity` holds it against Hugging Face's."""

from __future__ import annotations

import itertools
import math
import sys

import pytest
import torch
from torch import Tensor

from abnet.decoder import DecoderState, Memory
from abnet.decoding.beam_search import BeamOptions, beam_search
from abnet.encoder import EncoderOutput
from abnet.errors import AbNetError
from abnet.tokenizer import SymbolIds

SYMBOLS = SymbolIds(pad=0, unk=1, cls=2, sep=3, mask=4)
WORDS = (1, 5, 6)
VOCABULARY = 7


class Bigrams:
    """The next token depends on the last one and the source's first id."""

    source_symbols = SYMBOLS
    target_symbols = SYMBOLS
    max_target_positions = 6

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.logits = torch.randn(8, VOCABULARY, VOCABULARY, generator=generator)
        self.logits[:, :, [0, 4]] += 5.0  # what must never be predicted is likely
        self.calls = 0

    def encode(self, source: Tensor) -> EncoderOutput:
        return EncoderOutput(source[:, :1, None].float(), source.eq(0), None)

    def project(self, encoded: EncoderOutput) -> Memory:
        return Memory({}, encoded.memory[:, :1, None, :].long())  # carries the first id

    def new_state(self) -> DecoderState:
        return DecoderState()

    def step(self, tokens: Tensor, memory: Memory, state: DecoderState) -> Tensor:
        self.calls += 1
        first = memory.visible.flatten().repeat_interleave(len(tokens) // len(memory.visible))
        return self.logits[first, tokens]


def best_by_enumeration(model: Bigrams, first: int, longest: int, penalty: float) -> list[int]:
    """Every sequence there is."""
    logits = model.logits[first].clone()
    logits[:, [0, 2, 4]] = -torch.inf
    log_probs = logits.log_softmax(dim=1)
    scored = []
    for length in range(1, longest):  # [SEP] is never first
        for words in itertools.product(WORDS, repeat=length):
            ids = [*words, SYMBOLS.sep]
            total = sum(float(log_probs[a, b]) for a, b in zip([2, *ids], ids, strict=False))
            scored.append((total / len(ids) ** penalty, ids))
    return max(scored)[1]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all(penalty: float) -> None:
    model = Bigrams()
    source = torch.tensor([[5, 3], [6, 3], [7, 3], [1, 3]])
    options = BeamOptions(beam=600, length_penalty=penalty)
    found = beam_search(model, source, options)
    for row, first in enumerate([5, 6, 7, 1]):
        expected = best_by_enumeration(model, first, 6, penalty)
        assert found[row][0].tokens.tolist() == expected
        scores = found[row][0].token_scores
        assert found[row][0].score == pytest.approx(
            float(scores.sum()) / len(expected) ** penalty, abs=1e-5
        )


def test_sentences_do_not_depend_on_their_batch() -> None:
    source = torch.tensor([[5, 3], [6, 3], [7, 3], [1, 3]])
    together = beam_search(Bigrams(), source, BeamOptions(beam=3))
    for row in range(4):
        (alone,) = beam_search(Bigrams(), source[row : row + 1], BeamOptions(beam=3))
        assert alone[0].tokens.equal(together[row][0].tokens)


def test_the_longest_length_is_kept_and_ended() -> None:
    options = BeamOptions(beam=2, n_best=2, max_length_factor=0.5, max_length_offset=1)
    model = Bigrams()
    model.logits[:, :, 3] -= 8.0  # it would never end by itself
    (found,) = beam_search(model, torch.tensor([[5, 5, 5, 3]]), options)
    assert [len(one.tokens) for one in found] == [3, 3]
    assert all(one.tokens[-1] == SYMBOLS.sep for one in found)
    assert model.calls == 3
    assert found[0].score >= found[1].score


@pytest.mark.parametrize(("factor", "offset"), [(1e20, 1), (1.0, sys.maxsize)])
def test_no_length_is_too_long_to_be_allowed(factor: float, offset: int) -> None:
    source = torch.tensor([[5, 3], [6, 3], [7, 3], [1, 3]])
    most = BeamOptions(max_length_factor=factor, max_length_offset=offset)
    for [found], [expected] in zip(
        beam_search(Bigrams(), source, most),
        beam_search(
            Bigrams(), source, BeamOptions(max_length_offset=Bigrams().max_target_positions)
        ),
        strict=True,
    ):
        assert found.tokens.equal(expected.tokens)


def test_there_are_as_many_as_were_asked_for() -> None:
    options = BeamOptions(beam=3, n_best=3, max_length_factor=0.0, max_length_offset=1)
    (found,) = beam_search(Bigrams(), torch.tensor([[5, 3]]), options)
    assert [one.tokens.tolist() for one in found] == [[3]] * 3


class Followed(DecoderState):
    """Notes how often its rows move."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[list[int]] = []

    def select(self, rows: Tensor) -> None:
        self.moves.append(rows.tolist())


def followed(model: Bigrams, monkeypatch: pytest.MonkeyPatch) -> Followed:
    state = Followed()
    monkeypatch.setattr(model, "new_state", lambda: state)
    return state


def test_keys_and_values_are_moved_only_where_a_sentence_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Bigrams()
    state = followed(model, monkeypatch)
    options = BeamOptions(beam=1, max_length_factor=1.0, max_length_offset=1)
    model.logits[:, :, 3] -= 8.0  # it would never end by itself
    beam_search(model, torch.tensor([[5, 3, 0], [6, 6, 3], [7, 3, 0]]), options)
    assert state.moves == [[1], []]  # after the third step of four, and at the end
    assert model.calls == 4


def test_with_a_beam_they_follow_the_hypotheses_that_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Bigrams()
    state = followed(model, monkeypatch)
    model.logits[:] = 0.0
    model.logits[:, :, 3] = -9.0
    model.logits[:, 2, 5], model.logits[:, 2, 6] = 2.0, 1.0  # 5 and 6 come first; then
    model.logits[:, 6, 6] = 9.0  # [6 6] is better than the likes of [5 1]
    model.logits[:, 5, 5] = 8.9
    options = BeamOptions(beam=2, max_length_factor=0.0, max_length_offset=4)
    [[best]] = beam_search(model, torch.tensor([[5, 3]]), options)
    assert best.tokens.tolist() == [5, 5, 5, 3]
    assert state.moves == [[0, 0], []]  # of the two equal rows at first; then each stays


def test_options_are_checked() -> None:
    with pytest.raises(AbNetError, match="`beam` must be at least 1, but is 0 instead"):
        BeamOptions(beam=0)
    with pytest.raises(AbNetError, match="`n_best` must be at most `beam` = 5, but is 6 instead"):
        BeamOptions(n_best=6)
    with pytest.raises(AbNetError, match="`max_length_offset` at least 1"):
        BeamOptions(max_length_offset=0)
    with pytest.raises(AbNetError, match="`length_penalty` must be a finite number, but is nan"):
        BeamOptions(length_penalty=math.nan)
