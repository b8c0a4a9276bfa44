from __future__ import annotations

import pytest
import torch

from abnet.errors import AbNetError
from abnet.length import LengthPredictor, length_beam


def test_the_beam_holds_the_most_probable_lengths() -> None:
    logits = torch.log(torch.tensor([[0.9, 0.1, 0.2, 0.4, 0.3], [0.0, 0.5, 0.1, 0.1, 0.3]]) + 1e-9)
    beam = length_beam(logits, candidates=2, longest=10)
    assert beam.lengths.tolist() == [[3, 4], [1, 4]]  # class 0 never, whatever its logit
    torch.testing.assert_close(beam.log_probs.exp(), torch.tensor([[0.4, 0.3], [0.5, 0.3]]))


def test_lengths_beyond_the_decoder_are_not_predicted() -> None:
    logits = torch.arange(8.0)[None]
    assert length_beam(logits, candidates=3, longest=4).lengths.tolist() == [[4, 3, 2]]


@pytest.mark.parametrize("candidates", [0, 8])
def test_a_beam_larger_than_the_classes_is_an_error(candidates: int) -> None:
    message = f"between 1 and the 7 lengths that the model can predict, but is {candidates} instead"
    with pytest.raises(AbNetError, match=message):
        length_beam(torch.zeros(1, 8), candidates, longest=20)


def test_head_and_vector_are_one_table() -> None:
    predictor = LengthPredictor(classes=6, width=4)
    embedded = predictor.prepend(torch.zeros(2, 3, 4))
    assert embedded[:, 0].equal(predictor.table.weight[0].expand(2, -1))
    assert embedded[:, 1:].eq(0).all()
    logits = predictor(predictor.table.weight[3][None])
    expected = predictor.table.weight @ predictor.table.weight[3]
    torch.testing.assert_close(logits[0, 1:], expected[1:])
    assert float(logits[0, 0]) == -1e4
