"""What the options of every way to decode refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from abnet.decoding.beam_search import BeamOptions, beam_search
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions
from tests.systems import Toys, small_model

KINDS = (BeamOptions, CtcOptions, DagOptions, DecodingOptions)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (float("nan"), "`length_penalty` must be a finite number, but is nan instead"),
        (float("inf"), "`length_penalty` must be a finite number, but is inf instead"),
        (300.0, "`length_penalty` must be from -10 to 10, but is 300.0 instead"),
        (-300.0, "`length_penalty` must be from -10 to 10, but is -300.0 instead"),
    ],
)
def test_length_penalties_that_cannot_be(kind: type, penalty: float, message: str) -> None:
    with pytest.raises(AbNetError, match=message):
        kind(length_penalty=penalty)


def test_rewards_that_cannot_be() -> None:
    assert DagOptions(word_reward=-100.0).word_reward == -100
    with pytest.raises(AbNetError, match="`word_reward` must be from -100 to 100, but is 1000"):
        DagOptions(word_reward=1e9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("penalty", [-10.0, 0.0, 10.0])
def test_length_penalties_that_can_be(kind: type, penalty: float) -> None:
    assert kind(length_penalty=penalty).length_penalty == penalty


@pytest.mark.parametrize(
    "lengths", [[4], torch.tensor([4, 9]), torch.tensor([4.0]), torch.tensor([0])]
)
def test_gold_lengths_are_one_a_sentence(tiny_model: AbNet, lengths: Any) -> None:
    source = torch.tensor([[5, 6, 7, 3]])
    with pytest.raises(AbNetError, match="`gold_lengths` must be a tensor of 1 whole numbers of"):
        mask_predict(tiny_model, source, DecodingOptions(length_beam=1), lengths)


def test_ways_to_decode_say_what_they_need(tiny_model: AbNet, toys: Toys) -> None:
    source = torch.tensor([[5, 6, 7, 3]])
    word_by_word = small_model("abnet_causal", toys).eval()
    for decode, model, own, other in (
        (mask_predict, tiny_model, DecodingOptions(), BeamOptions()),
        (beam_search, word_by_word, BeamOptions(), DecodingOptions()),
    ):
        assert decode(model, source[:0], own) == []
        with pytest.raises(AbNetError, match=f"must be {type(own).__name__}, but are"):
            decode(model, source, other)
        with pytest.raises(AbNetError, match=r"ids of the shape \(B, S\), but has 1 dimensions"):
            decode(model, source[0], own)
        with pytest.raises(AbNetError, match="must be in evaluation mode to translate"):
            decode(model.train(), source, own)
