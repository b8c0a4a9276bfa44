"""The loss of CTC, against sums over all paths written out."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from abnet.one_pass.frame_loss import frame_loss, label_scores
from abnet.training.objective import training_loss
from tests.one_pass.test_ctc import (
    FIRST,
    SECOND,
    SYMBOLS,
    VOCABULARY,
    all_labelings,
    collapse,
    frames_of,
)
from tests.systems import Toys, lively_model, small_pairs
from tests.training.test_objective import Spy


def test_the_loss_is_minus_the_log_of_the_sum_over_all_paths() -> None:
    torch.manual_seed(1)
    frames = frames_of(4, 3)
    logits = torch.randn(2, 4, VOCABULARY)
    target = torch.tensor(
        [[FIRST, FIRST, SYMBOLS.sep, SYMBOLS.pad], [SECOND, FIRST, SECOND, SYMBOLS.sep]]
    )
    parts = frame_loss(logits.view(-1, VOCABULARY), frames, target, SYMBOLS)
    probabilities = logits.double().softmax(dim=2)
    first = all_labelings(probabilities[0])[FIRST, FIRST]
    second = all_labelings(probabilities[1, :3])[SECOND, FIRST, SECOND]
    expected = -torch.tensor([first, second]).log().sum()
    torch.testing.assert_close(parts.loss, expected, rtol=1e-5, atol=1e-5)
    assert (parts.sample_size, parts.tokens, parts.sentences) == (5, 5, 2)
    assert parts.impossible == 0


def test_given_words_leave_the_paths_that_have_them_at_their_frames() -> None:
    torch.manual_seed(1)
    frames = frames_of(4)
    given = torch.tensor([[SYMBOLS.mask, FIRST, SYMBOLS.mask, SYMBOLS.mask]])
    logits = torch.randn(1, 4, VOCABULARY, requires_grad=True)
    target = torch.tensor([[FIRST, SECOND, SYMBOLS.sep]])
    parts = frame_loss(logits.view(-1, VOCABULARY), frames, target, SYMBOLS, given)
    chances = logits.detach().double().softmax(dim=2)[0]
    chances[1] = torch.eye(VOCABULARY)[FIRST]
    expected = -torch.tensor(all_labelings(chances)[FIRST, SECOND]).log()
    torch.testing.assert_close(parts.loss, expected, rtol=1e-5, atol=1e-5)
    parts.loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 1].eq(0).all()
    assert logits.grad[0, [0, 2, 3]].abs().sum(dim=1).gt(1e-3).all()


def test_targets_without_room_are_counted_and_left_out() -> None:
    frames = frames_of(2, 2, 2)
    logits = torch.zeros(3, 2, VOCABULARY)
    words = [[FIRST, SECOND, FIRST], [FIRST, FIRST, SYMBOLS.sep], [FIRST, SECOND, SYMBOLS.sep]]
    target = torch.tensor([[*row, SYMBOLS.sep][:4] for row in words])
    target[1:, 3] = SYMBOLS.pad
    parts = frame_loss(logits.view(-1, VOCABULARY), frames, target, SYMBOLS)
    assert parts.impossible == 2  # three words; two equal ones that need a blank between them
    assert float(parts.loss) == pytest.approx(2 * float(torch.tensor(7.0).log()))
    assert (parts.sample_size, parts.masked, parts.tokens) == (2, 2, 7)


def loss_over_paths(probabilities: Tensor, words: tuple[int, ...]) -> Tensor:
    """-log of the sum over all paths that become the words; probabilities: (F, V)."""
    labels = (SYMBOLS.mask, *sorted(set(words)))
    frames = range(probabilities.size(0))
    paths = [path for path in product(labels, repeat=len(frames)) if collapse(path) == words]
    return -torch.stack([probabilities[frames, list(path)].prod() for path in paths]).sum().log()


def test_the_gradient_is_that_of_the_sum_over_all_paths() -> None:
    torch.manual_seed(2)
    frames = frames_of(5, 4, 2)
    third = 6  # beside the words of both targets
    target = torch.tensor(
        [
            [FIRST, SECOND, FIRST, SYMBOLS.sep],
            [third, SYMBOLS.sep, SYMBOLS.pad, SYMBOLS.pad],
            [FIRST, FIRST, SYMBOLS.sep, SYMBOLS.pad],  # without room: not in the loss
        ]
    )
    given = frames.clone()
    given[0, 3] = FIRST
    logits = torch.randn(3, 5, 9, dtype=torch.float64, requires_grad=True)
    chances = logits.softmax(dim=2)
    pinned = torch.where(given[0].eq(FIRST)[:, None], torch.eye(9)[FIRST], chances[0])
    (
        loss_over_paths(pinned, (FIRST, SECOND, FIRST)) + loss_over_paths(chances[1, :4], (third,))
    ).backward()
    single = logits.detach().float().requires_grad_()
    parts = frame_loss(single.view(-1, 9), frames, target, SYMBOLS, given)
    (2 * parts.loss).backward()
    assert parts.impossible == 1
    assert logits.grad is not None
    torch.testing.assert_close(single.grad, 2 * logits.grad.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_those_of_a_softmax(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    rows, vocabulary = 600, 5000  # of more rows than are taken at once
    labels = torch.randint(vocabulary, (rows, 7))
    labels[:, 6] = labels[:, 2]
    weights = torch.randn(rows, 7)
    logits = torch.randn(rows, vocabulary).to(dtype).requires_grad_()
    expected = logits.float().log_softmax(dim=1).gather(1, labels)
    [gradient] = torch.autograd.grad((expected * weights).sum(), logits)
    for _ in range(2):  # the second finds the logits as they were
        scores = label_scores(logits, labels)
        [found] = torch.autograd.grad((scores * weights).sum(), logits)
        torch.testing.assert_close(scores, expected)
        torch.testing.assert_close(found, gradient)


@pytest.mark.parametrize("system", ["abnet_ctc", "abnet_dag"])
def test_revealed_frames_are_for_training_alone_and_change_the_loss(
    system: str, toys: Toys
) -> None:
    model = lively_model(system, toys, reveal_frames=1.0)
    plain = lively_model(system, toys, reveal_frames=0.0)
    pairs = small_pairs(model)
    losses = [
        float(training_loss(one, one, pairs, torch.Generator(), training).loss.detach())
        for one in (model, plain)
        for training in (True, False)
    ]
    assert losses[1:] == pytest.approx([losses[2]] * 3)
    assert losses[0] < 0.95 * losses[2]  # what is given need not be found


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_words_are_revealed_in_a_share_of_the_targets(toys: Toys, share: float) -> None:
    model = lively_model("abnet_ctc", toys, reveal_frames=share)
    pairs, spy = small_pairs(model), Spy(model)
    generator = torch.Generator().manual_seed(1)
    for _ in range(100):
        training_loss(model, spy, pairs, generator, training=True)
    symbols = model.target_symbols
    seen = [target for _, target, _ in spy.calls]
    known = [frames.ne(symbols.mask) & frames.ne(symbols.pad) for frames in seen]
    revealed = torch.stack([of.any(dim=1) for of in known]).float()
    paths = (symbols.words(pairs.target) & pairs.target.ne(symbols.sep)).sum(dim=1)
    # U{1..n} of n frames stay hidden: all of them once in n times.
    assert float(revealed.mean()) == pytest.approx(share * float((1 - 1 / paths).mean()), abs=0.06)
    for frames, of in zip(seen, known, strict=True):
        for row, words, shown in zip(frames, pairs.target, of, strict=True):
            assert set(row[shown].tolist()) <= set(words.tolist())


def test_r_drop_adds_the_disagreement_where_words_are_hidden(toys: Toys) -> None:
    found = {}
    for weight in (1e-9, 2.0):
        model = lively_model("abnet_ctc", toys, r_drop=weight, bert_dropout=0.3).train()
        pairs, spy = small_pairs(model), Spy(model)
        torch.manual_seed(12)  # the same dropout each time
        parts = training_loss(model, spy, pairs, torch.Generator().manual_seed(1), True)
        found[weight] = float(parts.loss.detach())
    assert parts.sentences == 2 * len(pairs.source)
    [(_, frames, _)], [output] = spy.calls, spy.outputs
    (first, second), symbols = frames.chunk(2), model.target_symbols
    assert first.equal(second)
    hidden = first.eq(symbols.mask).flatten()
    assert (~hidden & first.ne(symbols.pad).flatten()).any()
    one, two = output.word_logits.detach().log_softmax(dim=1).chunk(2)
    apart = ((one.exp() - two.exp()) * (one - two)).sum(dim=1)[hidden].sum() / 2
    assert float(apart) > 1.0
    assert found[2.0] - found[1e-9] == pytest.approx(2 * float(apart), rel=1e-3)
    quiet = training_loss(model.eval(), model, pairs, torch.Generator(), training=False)
    assert quiet.sentences == len(pairs.source)
