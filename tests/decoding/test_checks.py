"""What the options of every way to decode refuse."""

from __future__ import annotations

import pytest

from abnet.decoding.beam_search import BeamOptions
from abnet.decoding.mask_predict import DecodingOptions
from abnet.errors import AbNetError
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions

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
