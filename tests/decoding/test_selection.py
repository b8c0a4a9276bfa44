"""The choice of tokens, beside what it is by definition."""

from __future__ import annotations

import pytest
import torch

from abnet.decoding.selection import BLOCK, best_of, choose


@pytest.mark.parametrize("tokens", [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_the_best_of_a_row_is_its_first_largest(tokens: int) -> None:
    """Among few different values, so that most rows have several largest ones."""
    torch.manual_seed(0)
    for values in (3, 1000):
        scores = torch.randint(values, (50, tokens)).float()
        scores[:3] = -torch.inf
        scores[3:6, -1] = values
        best, places = best_of(scores)
        assert best.tolist() == [max(row) for row in scores.tolist()]
        assert places.tolist() == [row.index(max(row)) for row in scores.tolist()]


class Given:
    """A head whose states are logits."""

    def logits(self, states: torch.Tensor, part: slice) -> torch.Tensor:
        return states[part].clone()


def test_a_choice_is_the_best_of_the_allowed_tokens() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(1500, 2 * BLOCK + 5)
    may_end = torch.rand(1500) < 0.5
    banned, sep = torch.tensor([0, 7]), 3
    choice = choose(Given(), logits, may_end, banned, sep, with_second=True)
    allowed = logits.clone()
    allowed[:, banned] = -torch.inf
    allowed[~may_end, sep] = -torch.inf
    expected = allowed.log_softmax(dim=1).topk(2, dim=1)
    assert choice.second_tokens is not None
    assert choice.second_scores is not None
    torch.testing.assert_close(choice.scores, expected.values[:, 0])
    torch.testing.assert_close(choice.second_scores, expected.values[:, 1])
    assert choice.tokens.equal(expected.indices[:, 0])
    assert choice.second_tokens.equal(expected.indices[:, 1])
