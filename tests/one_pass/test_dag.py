"""Directed acyclic graphs of words, against all paths written out."""

from __future__ import annotations

from functools import partial
from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor

from abnet.decoding import selection
from abnet.decoding.beam_search import BeamOptions
from abnet.decoding.decode import decode, options_for
from abnet.decoding.ensemble import Ensemble
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions, dag_decode
from abnet.one_pass.dag_loss import UNREACHED, best_dag_path, dag_loss
from abnet.one_pass.frame_loss import scores_at_frames
from abnet.one_pass.frames import NEVER, make_frames
from abnet.one_pass.links import Links
from tests.one_pass.test_ctc import FIRST, SECOND, SYMBOLS, frames_of
from tests.systems import Toys, learn, lively_model, small_config, small_model, small_pairs

V = 9
TARGETS = torch.tensor(
    [
        [FIRST, SECOND, FIRST, SYMBOLS.sep],
        [SECOND, SYMBOLS.sep, SYMBOLS.pad, SYMBOLS.pad],
        [FIRST, FIRST, SYMBOLS.sep, SYMBOLS.pad],  # as many words as frames
        [SYMBOLS.sep, SYMBOLS.pad, SYMBOLS.pad, SYMBOLS.pad],
    ]
)
COUNTS = (6, 5, 3, 4)


def example(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (4, 6, V) and links (4, 6, 6) in 64 bits, and frames."""
    torch.manual_seed(seed)
    frames = frames_of(*COUNTS)
    logits = 2 * torch.randn(4, 6, V, dtype=torch.float64)
    place = torch.arange(6)
    allowed = (place > place[:, None]) & (place < torch.tensor(COUNTS)[:, None, None])
    links = 2 * torch.randn(4, 6, 6, dtype=torch.float64)
    links = links.masked_fill(~allowed, NEVER).log_softmax(dim=2).masked_fill(~allowed, NEVER)
    return logits, links, frames


def words_of(row: int) -> list[int]:
    return [id for id in TARGETS[row].tolist() if id not in (SYMBOLS.sep, SYMBOLS.pad)]


def all_paths(count: int, words: int) -> list[tuple[int, ...]]:
    """The frames between the first and the last that a path of so many words may take."""
    return list(combinations(range(1, count - 1), words))


def log_probability(
    log_probs: Tensor, links: Tensor, path: tuple[int, ...], words: list[int], count: int
) -> Tensor:
    """Of one path through one graph; log_probs: (F, V), links: (F, F)."""
    stations = (0, *path, count - 1)
    steps = [links[a, b] for a, b in pairwise(stations)]
    said = [log_probs[at, word] for at, word in zip(path, words, strict=True)]
    return torch.stack([*steps, *said]).sum()


def test_loss_and_gradient_are_those_of_the_sum_over_all_paths() -> None:
    logits, links, frames = example()
    given = frames.clone()
    given[0, 2] = FIRST
    logits.requires_grad_()
    links.requires_grad_()
    log_probs = logits.log_softmax(dim=2)
    only = torch.full((V,), NEVER, dtype=torch.float64)
    only[FIRST] = 0.0
    total = torch.zeros((), dtype=torch.float64)
    for row in (0, 1, 3):
        own = log_probs[row]
        if row == 0:
            own = torch.stack([only if at == 2 else own[at] for at in range(6)])
        paths = all_paths(COUNTS[row], len(words_of(row)))
        total = total - torch.stack(
            [log_probability(own, links[row], path, words_of(row), COUNTS[row]) for path in paths]
        ).logsumexp(dim=0)
    expected = torch.autograd.grad(total, (logits, links))
    single = [of.detach().float().requires_grad_() for of in (logits, links)]
    said = scores_at_frames(single[0].view(-1, V), frames, TARGETS, SYMBOLS, given)
    parts = dag_loss(said, single[1], frames, TARGETS, SYMBOLS)
    assert float(parts.loss.detach()) == pytest.approx(float(total.detach()), rel=1e-5)
    assert (parts.sample_size, parts.masked, parts.tokens) == (4, 4, 6)  # two have no room
    assert (parts.sentences, parts.impossible) == (4, 1)
    found = torch.autograd.grad(2 * parts.loss, single)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, 2 * other.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sharpness", "each_word"), [(1.0, 0.0), (15.0, 0.0), (60.0, 0.0), (1.0, -2000.0)]
)
def test_sums_of_sharp_and_of_improbable_graphs_are_those_of_logarithms(
    sharpness: float, each_word: float
) -> None:
    """Each frame added up in logarithms in 64 bits, where the loss has products."""
    torch.manual_seed(3)
    counts, words = torch.tensor([24, 20, 9]), torch.tensor([9, 4, 7])
    frames = frames_of(*counts.tolist())
    target = torch.full((3, 10), SYMBOLS.pad)
    for row, length in enumerate(words.tolist()):
        target[row, :length], target[row, length] = FIRST, SYMBOLS.sep
    place = torch.arange(24)
    allowed = (place > place[:, None]) & (place < counts[:, None, None])
    links = sharpness * torch.randn(3, 24, 24)
    links = links.masked_fill(~allowed, NEVER).log_softmax(dim=2).masked_fill(~allowed, NEVER)
    said = each_word - sharpness * torch.rand(3, 24, 10)
    inputs = [said.requires_grad_(), links.requires_grad_()]
    reached = links[:, 0].double() + said[:, :, 0]
    expected = []
    for position in range(1, 10):
        expected.append(reached)
        arrived = (reached[:, :, None] + links.double()).logsumexp(dim=1)
        reached = arrived + said[:, :, position]
    expected.append(reached)
    at_last = [
        (expected[int(length) - 1][row] + links[row, :, int(count) - 1]).logsumexp(dim=0)
        for row, (length, count) in enumerate(zip(words, counts, strict=True))
    ]
    total = -torch.stack(at_last).sum()
    loss = dag_loss(said, links, frames, target, SYMBOLS).loss
    assert loss.dtype == torch.float32
    assert (loss < -NEVER) == (each_word == 0.0)
    torch.testing.assert_close(loss, total.float())
    ours, theirs = (torch.autograd.grad(one, inputs) for one in (loss, total))
    torch.testing.assert_close(ours, theirs)


def test_a_long_target_in_a_graph_that_would_say_few_words() -> None:
    """Links that skip frames, by far: what cannot say the target in time must not hide what can."""
    words, count = 100, 110
    steps = torch.arange(count) - torch.arange(count)[:, None]
    logits = torch.where(steps == 2, 0.0, -15.0).masked_fill(steps <= 0, NEVER)
    target = torch.tensor([[*[FIRST] * words, SYMBOLS.sep]])
    said = torch.full((1, count, words + 1), -1.0)
    losses, gradients = [], []
    for kind in ("ours", "in logarithms"):
        inputs = logits.clone().requires_grad_()
        links = inputs.log_softmax(dim=1).masked_fill(steps <= 0, NEVER)
        if kind == "ours":
            loss = dag_loss(said, links[None], frames_of(count), target, SYMBOLS).loss
        else:
            reached = torch.full((count,), NEVER, dtype=torch.float64).index_fill(
                0, torch.tensor([0]), 0.0
            )
            for _ in range(words):
                reached = (reached[:, None] + links.double()).logsumexp(dim=0) - 1.0
            loss = -(reached + links[:, -1]).logsumexp(dim=0)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(inputs.grad)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_nothing_is_made_up_where_products_are_too_small() -> None:
    """A sum over some paths has at most the probability of all, and credit for every word."""
    words, count, cost = 180, 256, 20.0
    torch.manual_seed(0)
    steps = torch.arange(count) - torch.arange(count)[:, None]
    logits = -cost * (steps - 2).abs() + 0.1 * torch.randn(count, count)
    links = logits.masked_fill(steps <= 0, NEVER).log_softmax(dim=1).masked_fill(steps <= 0, NEVER)
    said = (2 * torch.randn(1, count, words + 1) - 8).clamp(max=-0.01).requires_grad_()
    target = torch.tensor([[*[FIRST] * words, SYMBOLS.sep]])
    loss = dag_loss(said, links[None], frames_of(count), target, SYMBOLS).loss
    reached = torch.full((count,), UNREACHED, dtype=torch.float64)
    reached[0] = 0.0
    for position in range(words):
        reached = (reached[:, None] + links.double()).logsumexp(dim=0) + said[0, :, position]
        reached[[0, -1]] = UNREACHED
    total = -(reached + links[:, -1]).logsumexp(dim=0)
    ours, theirs = (torch.autograd.grad(one, said)[0] for one in (loss, total))
    assert total < loss < 1.001 * total
    assert float(ours.sum()) == pytest.approx(-words, rel=1e-5)
    assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("seed", range(5))
def test_no_path_of_a_target_is_more_probable(seed: int) -> None:
    logits, links, frames = example(seed)
    said = scores_at_frames(logits.float().view(-1, V), frames, TARGETS, SYMBOLS)
    found = best_dag_path(said, links.float(), frames, TARGETS, SYMBOLS)
    log_probs = logits.log_softmax(dim=2)
    for row in (0, 1, 3):
        words, count = words_of(row), COUNTS[row]
        best = max(
            all_paths(count, len(words)),
            key=lambda path: float(log_probability(log_probs[row], links[row], path, words, count)),
        )
        expected = [SYMBOLS.mask] * 6
        for at, word in zip(best, words, strict=True):
            expected[at] = word
        assert found[row].tolist() == expected
    assert found[2].eq(SYMBOLS.mask).all()


class Fixed:
    """A model whose graph is given."""

    def __init__(self, logits: Tensor, links: Tensor, frames: Tensor, toys: Toys) -> None:
        self.given = logits.float().view(-1, V), links.float()
        self.frames = frames
        self.config = small_config("abnet_dag", toys, frames_per_piece=1)
        self.source_symbols = self.target_symbols = SYMBOLS
        self.max_target_positions = 50

    def encode(self, source: Tensor) -> Tensor:
        return source

    def project(self, encoded: Tensor) -> Tensor:
        return encoded

    def dag(self, frames: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        assert frames.equal(self.frames)
        return self.given

    def logits(self, states: Tensor, part: slice) -> Tensor:
        return states[part].clone()


@pytest.mark.parametrize("reward", [0.0, 1.0, 2.0])
def test_no_path_of_best_words_scores_higher(reward: float, toys: Toys) -> None:
    lengths = set()
    for seed in range(12):
        logits, links, frames = example(seed)
        logits[..., [SYMBOLS.pad, SYMBOLS.cls, SYMBOLS.sep, SYMBOLS.mask]] += 4.0  # never said
        model = Fixed(logits, links, frames, toys)
        source = torch.where(frames.eq(SYMBOLS.mask), FIRST, SYMBOLS.pad)
        found = dag_decode(model, source, DagOptions(reward, 0.5))
        allowed = logits.clone()
        allowed[..., [SYMBOLS.pad, SYMBOLS.cls, SYMBOLS.sep, SYMBOLS.mask]] = -torch.inf
        said, tokens = allowed.log_softmax(dim=2).max(dim=2)
        for row, count in enumerate(COUNTS):
            scores = {}
            for path in (path for n in range(1, count - 1) for path in all_paths(count, n)):
                words = tokens[row, list(path)].tolist()
                log = log_probability(allowed[row].log_softmax(1), links[row], path, words, count)
                scores[path] = float(log)
            best = max(scores, key=lambda path: scores[path] + reward * len(path))
            [hypothesis] = found[row]
            assert hypothesis.tokens.tolist() == tokens[row, list(best)].tolist()
            assert hypothesis.score == pytest.approx(scores[best] / len(best) ** 0.5, rel=1e-4)
            own = said[row, list(best)].tolist()
            assert hypothesis.token_scores.tolist() == pytest.approx(own, rel=1e-5)
            lengths.add(len(best))
    assert len(lengths) > 2


def test_links_are_mixed_softmaxes_over_later_frames() -> None:
    torch.manual_seed(1)
    links = Links(8, heads=2, positions=10)
    torch.nn.init.normal_(links.distance)
    hidden, counts = torch.randn(2, 6, 8), (6, 4)
    found = links(hidden, torch.tensor(counts))
    for row, count in enumerate(counts):
        states = hidden[row]
        query, key = (part(states).view(6, 2, 4) for part in (links.query, links.key))
        weights = links.mixture(states).softmax(dim=1)
        for at in range(6):
            later = list(range(at + 1, count))
            others = [place for place in range(6) if place not in later]
            assert found[row, at, others].eq(NEVER).all()
            expected = torch.zeros(len(later))
            for head in range(2):
                logits = [
                    query[at, head] @ key[to, head] / 2 + links.distance[head, to - at]
                    for to in later
                ]
                if later:
                    expected += weights[at, head] * torch.stack(logits).softmax(dim=0)
            torch.testing.assert_close(found[row, at, later].exp(), expected)


def test_few_logits_at_a_time_give_the_same(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model("abnet_dag", toys)
    source = small_pairs(model).source
    options = [DagOptions(), DagOptions(beam=4, n_best=4)]
    before = [dag_decode(model, source, one) for one in options]
    most = []

    def logits(states: Tensor, part: slice) -> Tensor:
        found = AbNet.logits(model, states, part)
        most.append(len(found))
        return found

    monkeypatch.setattr(selection, "POSITIONS_AT_ONCE", 7)
    monkeypatch.setattr(model, "logits", logits)
    for one, expected in zip(options, before, strict=True):
        for hypotheses, others in zip(dag_decode(model, source, one), expected, strict=True):
            for hypothesis, other in zip(hypotheses, others, strict=True):
                assert hypothesis.tokens.equal(other.tokens)
                torch.testing.assert_close(hypothesis.token_scores, other.token_scores)
    assert max(most) == 7
    assert len(most) > 20


def test_padding_changes_nothing(toys: Toys) -> None:
    model = lively_model("abnet_dag", toys, keep_cls=True)
    source = small_pairs(model).source
    for row, [hypothesis] in zip(source, dag_decode(model, source, DagOptions()), strict=True):
        alone = row[: int(row.ne(model.source_symbols.pad).sum())][None]
        [[single]] = dag_decode(model, alone, DagOptions())
        assert single.tokens.equal(hypothesis.tokens)
        assert single.score == pytest.approx(hypothesis.score, rel=1e-4)


def test_one_piece_is_translated_by_a_word_even_with_a_frame_a_piece(toys: Toys) -> None:
    model = lively_model("abnet_dag", toys, frames_per_piece=1)
    piece = small_pairs(model).source[0, 0]
    source = torch.tensor([[int(piece), model.source_symbols.sep]])
    [[best]] = dag_decode(model, source, DagOptions(word_reward=-9.0))
    said = best.tokens[best.tokens.ne(model.target_symbols.sep)]
    assert len(said) == 1
    assert int(said) not in model.target_symbols.never_predicted


@pytest.mark.slow
def test_it_learns_to_translate(toys: Toys) -> None:
    model = small_model("abnet_dag", toys, train="all")
    pairs = small_pairs(model)
    pairs = pairs._replace(source=pairs.source[:4], target=pairs.target[:4])
    assert learn(model, pairs, partial(dag_decode, model, pairs.source, DagOptions()))


def test_two_equal_models_are_an_ensemble_that_says_the_same(toys: Toys) -> None:
    model = lively_model("abnet_dag", toys)
    source = small_pairs(model).source
    both = decode(Ensemble([model, model]), source, DagOptions())
    for [one], [two] in zip(decode(model, source, DagOptions()), both, strict=True):
        assert one.tokens.equal(two.tokens)
        assert one.score == pytest.approx(two.score, rel=1e-4)


def test_two_models_mix_words_and_links(toys: Toys) -> None:
    first, second = (lively_model("abnet_dag", toys, lexical_adapter_dim=dim) for dim in (0, 8))
    ensemble = Ensemble([first, second])
    source = small_pairs(first).source
    frames = make_frames(first, source)
    graphs = [one.dag(frames, one.project(one.encode(source))) for one in (first, second)]
    every = slice(None)
    logits = [
        one.logits(graph[0], every) for one, graph in zip((first, second), graphs, strict=True)
    ]
    states, links = ensemble.dag(frames, ensemble.project(ensemble.encode(source)))
    for mixed, parts in ((ensemble.logits(states, every), [one.log_softmax(1) for one in logits]),
                         (links, [graph[1] for graph in graphs])):  # fmt: skip
        expected = torch.stack([part.exp() for part in parts]).mean(dim=0)
        torch.testing.assert_close(mixed.exp(), expected[..., : mixed.size(-1)])


def test_options(toys: Toys) -> None:
    config = small_config("abnet_dag", toys)
    assert options_for(config, {"word_reward": 0.5, "beam": None}) == DagOptions(0.5)
    with pytest.raises(AbNetError, match=r"`blank_penalty` must be left out: this system is decod"):
        options_for(config, {"blank_penalty": 1.0})
    with pytest.raises(AbNetError, match="`word_reward` must be a finite number, but is nan"):
        DagOptions(float("nan"))
    model = small_model("abnet_dag", toys)
    for other in (BeamOptions(), CtcOptions()):
        with pytest.raises(AbNetError, match=r"must be DagOptions for a system that is decoded in"):
            decode(model, small_pairs(model).source, other)
    with pytest.raises(AbNetError, match="`label_smoothing` must be 0 for the objective dag"):
        small_config("abnet_dag", toys, label_smoothing=0.1)
    other_system = small_model("abnet_ctc", toys)
    source = small_pairs(other_system).source
    frames = make_frames(other_system, source)
    memory = other_system.project(other_system.encode(source))
    with pytest.raises(AbNetError, match="`objective` must be dag to have links"):
        other_system.dag(frames, memory)
