"""One pass over the logits, beside torch's own loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abnet.training.word_loss import WordLoss, rows_at_once, word_loss, word_loss_of_states
from tests.systems import Toys, small_model, small_pairs


def example(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 12, generator=generator) * 3
    gold = torch.tensor([3, 0, 11, 5, 5, 2, 9])
    return logits.to(dtype).requires_grad_(), gold


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows", [2, 100])
def test_sums_and_gradient_are_torchs(
    smoothing: float, dtype: torch.dtype, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.training.word_loss.rows_at_once", lambda *_: rows)
    logits, gold = example(dtype)
    found = word_loss(logits, gold, smoothing)
    expected = F.cross_entropy(logits.float(), gold, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.nll, F.cross_entropy(logits.float(), gold, reduction="sum"))
    assert int(found.right) == int(logits.argmax(dim=1).eq(gold).sum())
    (ours,) = torch.autograd.grad(found.loss * 128, logits)
    (theirs,) = torch.autograd.grad(expected * 128, logits)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs)


def head_of(trained: bool) -> nn.Module:
    torch.manual_seed(1)
    head = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 12))
    return head.requires_grad_(trained)


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
@pytest.mark.parametrize("trained", [False, True])
def test_chunks_change_nothing(rows: int, trained: bool) -> None:
    _, gold = example()
    head = head_of(trained)
    states = torch.randn(7, 4, requires_grad=True)
    inputs = [states, *(p for p in head.parameters() if p.requires_grad)]
    chunked = word_loss_of_states(head, states, gold, 0.1, rows)
    whole = word_loss(head(states), gold, 0.1)
    torch.testing.assert_close(chunked, whole)
    ours = torch.autograd.grad(chunked.loss * 2, inputs)
    torch.testing.assert_close(ours, torch.autograd.grad(whole.loss * 2, inputs))
    assert not chunked.nll.requires_grad


class Widest(nn.Module):
    """A head that notes how many states it got at once, and whether for a gradient."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.inner = head_of(trained)
        self.most = 0
        self.for_gradient = False

    def forward(self, states: Tensor) -> Tensor:
        self.most = max(self.most, len(states))
        logits: Tensor = self.inner(states)
        self.for_gradient |= logits.requires_grad
        return logits


@pytest.mark.parametrize("trained", [True, False])
def test_no_more_logits_at_once_than_asked_for_and_no_gradient_without_need(trained: bool) -> None:
    _, gold = example()
    head = Widest(trained)
    with torch.no_grad():
        found = word_loss_of_states(head, torch.randn(7, 4), gold, 0.1, 2)
    assert head.most == 2
    assert not head.for_gradient
    assert not found.loss.requires_grad


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16, None])
def test_float16_has_its_gradients_scaled_under_autocast_as_well(
    autocast: torch.dtype | None, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the gradient of the loss: gradients made before it comes would vanish."""
    model = small_model("transformer_base", toys)
    pairs, whole = small_pairs(model), []

    def spy(logits: Tensor, gold: Tensor, smoothing: float) -> WordLoss:
        whole.append(logits.dtype)
        return word_loss(logits, gold, smoothing)

    monkeypatch.setattr("abnet.decoder.word_loss", spy)
    words = pairs.target.ne(model.target_symbols.pad)
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        model(pairs.source, pairs.target, words, pairs.target[words])
    assert whole == ([torch.float16] if autocast == torch.float16 else [])


def test_nothing_to_predict_is_no_loss() -> None:
    states = torch.randn(0, 4, requires_grad=True)
    found = word_loss_of_states(head_of(False), states, torch.zeros(0, dtype=torch.long), 0.1, 3)
    found.loss.backward()
    assert (float(found.loss.detach()), int(found.right)) == (0.0, 0)
    assert states.grad is not None
    assert states.grad.shape == (0, 4)


def test_rows_at_once_bound_the_memory() -> None:
    assert rows_at_once(30_522, torch.device("cuda")) == 2198  # 256 MiB of logits
    assert rows_at_once(1000, torch.device("cpu")) == 1048
    assert rows_at_once(30_522, torch.device("cpu")) == 128
