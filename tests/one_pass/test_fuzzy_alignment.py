"""Expected n-grams of a graph, against all paths written out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import chain, pairwise

import pytest
import torch
from torch import Tensor

from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass.dag_loss import dag_loss
from abnet.one_pass.frame_loss import scores_at_frames
from abnet.one_pass.frames import NEVER, make_frames
from abnet.one_pass.fuzzy_alignment import fuzzy_alignment
from abnet.training.objective import Pairs, training_loss
from tests.one_pass.test_ctc import SYMBOLS
from tests.one_pass.test_dag import COUNTS, TARGETS, V, all_paths, example, words_of
from tests.systems import Toys, lively_model, small_config, small_model, small_pairs

ENDS = (SYMBOLS.cls, SYMBOLS.sep)


def expected_score(said: Tensor, steps: Tensor, words: list[int], count: int, n: int) -> Tensor:
    """Of one graph, from each path's probability and each word's; said: (F, V), steps: (F, F)."""
    sentence = [SYMBOLS.cls, *words, SYMBOLS.sep]
    grams = Counter(tuple(sentence[at : at + n]) for at in range(len(sentence) - n + 1))
    expected = {gram: torch.zeros((), dtype=said.dtype) for gram in grams}
    length = torch.zeros((), dtype=said.dtype)

    def says(frame: int, word: int) -> Tensor:
        if frame in (0, count - 1):
            return torch.tensor(float(word == ENDS[frame > 0]), dtype=said.dtype)
        return said[frame, word] * (word not in ENDS)

    for path in chain.from_iterable(all_paths(count, size) for size in range(count - 1)):
        stations = (0, *path, count - 1)
        taken = torch.stack([steps[a, b] for a, b in pairwise(stations)]).prod()
        length = length + taken * len(stations)
        for at in range(len(stations) - n + 1):
            for gram in grams:
                words_there = zip(stations[at : at + n], gram, strict=True)
                said_there = torch.stack([says(frame, word) for frame, word in words_there])
                expected[gram] = expected[gram] + taken * said_there.prod()
    found = torch.stack([expected[gram].clamp(max=times) for gram, times in grams.items()]).sum()
    brevity = (1 - len(sentence) / length).clamp(max=0).exp()
    return found / (length - n + 1).clamp(min=1) * brevity


def next_frames(links: Tensor) -> Tensor:
    """With probabilities that sum to 1 where there is a next frame."""
    allowed = links > NEVER / 2
    return links.log_softmax(dim=2).masked_fill(~allowed, NEVER)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_score_and_gradient_are_those_of_all_paths_written_out(n: int, seed: int) -> None:
    logits, links, frames = example(seed)
    logits[:3, :, words_of(0)[0]] += 3  # often enough for one to be expected too often
    logits.requires_grad_()
    links.requires_grad_()
    said, steps = logits.softmax(dim=2), next_frames(links).exp()
    rows = (0, 1, 2)
    expected = torch.stack(
        [expected_score(said[row], steps[row], words_of(row), COUNTS[row], n) for row in rows]
    )
    gradients = torch.autograd.grad(expected.sum(), (logits, links))
    single = [of.detach().float().requires_grad_() for of in (logits, links)]
    scores = scores_at_frames(single[0].view(-1, V), frames, TARGETS, SYMBOLS)
    found = fuzzy_alignment(scores, next_frames(single[1]), frames, TARGETS, SYMBOLS, n)[:3]
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-6)
    assert (found[:2] > 0).all()
    assert (found < 1).all()
    for one, other in zip(torch.autograd.grad(found.sum(), single), gradients, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-6)


def test_a_sure_path_scores_as_its_sentence_does() -> None:
    """One path for certain: clipped bigram precision and brevity are those of BLEU by hand."""
    frames = example()[2][:1]
    target = TARGETS[:1]  # FIRST SECOND FIRST [SEP]
    links = torch.full((1, 6, 6), NEVER)
    for here, there in pairwise((0, 2, 4, 5)):
        links[0, here, there] = 0.0
    logits = torch.zeros(1, 6, V)
    logits[0, 2, words_of(0)[0]] = logits[0, 4, words_of(0)[1]] = 100.0
    said = scores_at_frames(logits.view(-1, V), frames, target, SYMBOLS)
    found = fuzzy_alignment(said, links, frames, target, SYMBOLS, 2)
    # Of [CLS] FIRST, FIRST SECOND, SECOND [SEP] the target has two; it has 5 words rather than 4.
    assert found.tolist() == pytest.approx([2 / 3 * math.exp(1 - 5 / 4)])


@pytest.mark.parametrize("n", [3, 5])
def test_a_target_that_is_shorter_than_an_ngram_scores_nothing(n: int) -> None:
    logits, links, frames = (part[3:].float() for part in example())
    empty = TARGETS[3:, :1]  # [CLS] [SEP]
    said = scores_at_frames(logits.view(-1, V), frames.long(), empty, SYMBOLS)
    found = fuzzy_alignment(said, links, frames.long(), empty, SYMBOLS, n)
    assert found.tolist() == [0.0]


def test_words_that_are_given_are_said_for_sure() -> None:
    logits, links, frames = (part[:1] for part in example())
    given = frames.clone()
    given[0, 1] = words_of(0)[0]
    links = torch.full((1, 6, 6), NEVER)
    for here, there in pairwise((0, 1, 2, 5)):
        links[0, here, there] = 0.0
    first, second = logits.float().softmax(dim=2)[0, 2, words_of(0)[:2]]
    said = scores_at_frames(logits.float().view(-1, V), frames, TARGETS[:1], SYMBOLS, given)
    found = fuzzy_alignment(said, links, frames, TARGETS[:1], SYMBOLS, 2)
    expected = (1 + first + second) / 3 * math.exp(1 - 5 / 4)  # [CLS] FIRST is sure
    assert float(found) == pytest.approx(float(expected))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_loss_weighs_targets_by_their_words_and_logs_the_likelihood(
    toys: Toys, training: bool, weight: float
) -> None:
    model = lively_model("abnet_dag_fuzzy", toys, fuzzy_likelihood_weight=weight)
    pairs, symbols = small_pairs(model), model.target_symbols
    parts = training_loss(model, model, pairs, torch.Generator(), training)
    frames = make_frames(model, pairs.source)
    states, links = model.dag(frames, model.project(model.encode(pairs.source)))
    said = scores_at_frames(model.logits(states, slice(None)), frames, pairs.target, symbols)
    scores = fuzzy_alignment(said, links, frames, pairs.target, symbols, 2)
    words = pairs.target.ne(symbols.pad).sum(dim=1) - 1
    likelihood = dag_loss(said, links, frames, pairs.target, symbols).loss
    expected = weight * likelihood - (scores * words).sum()
    torch.testing.assert_close(parts.loss, expected)
    assert float(parts.word_nll) == pytest.approx(float(likelihood.detach()))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    found, other = (torch.autograd.grad(of, trained) for of in (parts.loss, expected))
    torch.testing.assert_close(found, other)
    assert parts.sample_size == words.sum()


@pytest.mark.slow
def test_a_graph_goes_on_from_likelihood_to_ngrams(toys: Toys) -> None:
    """It learns, and gives up likelihood for them, in as many updates as likelihood alone."""
    found = {}
    for n in (0, 2):
        model = small_model("abnet_dag", toys, reveal_frames=0.0)
        pairs = small_pairs(model)
        _update(model, pairs, 60)
        model.config = replace(model.config, fuzzy_ngrams=n)
        _update(model, pairs, 60)
        model.config = replace(model.config, fuzzy_ngrams=2)
        with torch.no_grad():
            parts = training_loss(model.eval(), model, pairs, torch.Generator(), False)
        found[n] = float(-parts.loss / parts.tokens), float(parts.word_nll / parts.tokens)
    assert found[2][0] > 1.5 * found[0][0]
    assert found[2][1] > found[0][1]


def _update(model: AbNet, pairs: Pairs, updates: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(updates):
        parts = training_loss(model.train(), model, pairs, torch.Generator(), training=True)
        optimizer.zero_grad()
        (parts.loss / parts.sample_size).backward()
        optimizer.step()


def test_only_a_graph_has_them(toys: Toys) -> None:
    with pytest.raises(AbNetError, match="`fuzzy_ngrams` must be 0 for the objective ctc"):
        small_config("abnet_ctc", toys, fuzzy_ngrams=2)
    with pytest.raises(AbNetError, match="`fuzzy_ngrams` must be at least 0"):
        small_config("abnet_dag", toys, fuzzy_ngrams=-1)
    with pytest.raises(AbNetError, match="`fuzzy_likelihood_weight` must be 0 without `fuzzy_ng"):
        small_config("abnet_dag", toys, fuzzy_likelihood_weight=0.1)
