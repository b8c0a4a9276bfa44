"""The search for the best translations of a graph, against all of them written out."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import pytest
import torch
from torch import Tensor

from abnet.decoding.ensemble import Ensemble
from abnet.decoding.fluency import pseudo_log_likelihood
from abnet.decoding.hypothesis import Hypothesis
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass.dag import DagOptions, dag_decode
from abnet.one_pass.dag_search import Found, search
from abnet.one_pass.frames import NEVER
from tests.one_pass.test_dag import COUNTS, V, all_paths, example, log_probability
from tests.systems import Toys, lively_model, small_model, small_pairs

WORDS_A_FRAME = 2
EXACT = 200  # more than any of the graphs has translations
LAST = torch.tensor(COUNTS) - 1


def graphs(seed: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities (4, 6, V) of a few words that often repeat, and links (4, 6, 6)."""
    logits, links, _ = example(seed)
    logits[..., 3:] -= 5.0
    return logits.log_softmax(dim=2), links


def likely(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """The ids that each frame may say, best first, and their log-probabilities."""
    said, words = log_probs.float().topk(WORDS_A_FRAME, dim=2)
    return words, said


def all_translations(
    log_probs: Tensor, links: Tensor, count: int
) -> dict[tuple[int, ...], tuple[float, tuple[int, ...]]]:
    """Words to the log-probability of all their paths, and the frames of the best path."""
    names = log_probs.topk(WORDS_A_FRAME, dim=1).indices.tolist()
    found: dict[tuple[int, ...], dict[tuple[int, ...], float]] = defaultdict(dict)
    for path in (path for n in range(1, count - 1) for path in all_paths(count, n)):
        for words in product(*(names[at] for at in path)):
            value = log_probability(log_probs, links, path, list(words), count)
            found[words][path] = float(value)
    return {
        words: (float(torch.tensor(list(paths.values())).logsumexp(0)), max(paths, key=paths.get))
        for words, paths in found.items()
    }


@pytest.mark.parametrize("reward", [0.0, 1.5])
def test_a_wide_beam_finds_all_translations_best_first(reward: float) -> None:
    merged = 0
    for seed in range(6):
        log_probs, links = graphs(seed)
        found = search(*likely(log_probs), links.float(), LAST, EXACT, reward)
        for row, count in enumerate(COUNTS):
            expected = all_translations(log_probs[row], links[row], count)
            ranked = sorted(expected, key=lambda words: -expected[words][0] - reward * len(words))
            assert [tuple(one.words) for one in found[row]] == ranked
            for one in found[row]:
                log_p, path = expected[tuple(one.words)]
                assert one.log_p == pytest.approx(log_p, abs=1e-4)
                assert tuple(one.frames) == path
                own = log_probs[row, list(path), one.words]
                assert one.said == pytest.approx(own.tolist(), rel=1e-5)
            merged += sum(len(all_paths(count, len(words))) > 1 for words in ranked)
    assert merged > 100


def test_a_narrow_beam_finds_different_translations_and_some_of_their_paths() -> None:
    exact = 0
    for seed in range(20):
        log_probs, links = graphs(seed)
        found = search(*likely(log_probs), links.float(), LAST, 3, 1.0)
        for row, count in enumerate(COUNTS):
            expected = all_translations(log_probs[row], links[row], count)
            assert len({tuple(one.words) for one in found[row]}) == len(found[row]) <= 3
            for one in found[row]:
                own = one.frames, one.words
                path = log_probability(log_probs[row], links[row], tuple(own[0]), own[1], count)
                assert float(path) - 1e-4 <= one.log_p <= expected[tuple(one.words)][0] + 1e-4
            best = max(expected, key=lambda words: expected[words][0] + len(words))
            exact += tuple(found[row][0].words) == best
    assert exact > 70  # of 80


def test_the_empty_translation_is_found_only_alone() -> None:
    log_probs, links = torch.zeros(2, 3, V), torch.full((2, 3, 3), NEVER)
    links[:, 0, 1] = links[:, 1, 2] = links[1, 0, 1] = 0.0
    found = search(*likely(log_probs), links, torch.tensor([2, 1]), 2, 1.0)
    assert [len(one.words) for one in found[0]] == [1, 1]
    assert found[1] == [Found([], [], [], 0.0)]


def ranks(hypotheses: list[Hypothesis], options: DagOptions) -> list[float]:
    """What the hypotheses of a sentence should be ranked by, from their scores."""
    return [
        one.score * max(len(one.tokens), 1) ** options.length_penalty
        + options.word_reward * len(one.tokens)
        for one in hypotheses
    ]


def fluency_of(model: AbNet, tokens: Tensor) -> float:
    ended = torch.cat([tokens, torch.tensor([model.target_symbols.sep])])
    return float(pseudo_log_likelihood(model, ended[None])[0])


@torch.inference_mode()
def test_the_target_bert_chooses(toys: Toys) -> None:
    model = lively_model("abnet_dag", toys, keep_cls=True)
    source = small_pairs(model).source
    plain = DagOptions(1.0, 0.5, n_best=6, beam=6)
    weighed = DagOptions(1.0, 0.5, n_best=6, beam=6, lm_weight=0.7)
    changed = 0
    for before, after in zip(
        dag_decode(model, source, plain), dag_decode(model, source, weighed), strict=True
    ):
        own = {tuple(one.tokens.tolist()): one for one in before}
        assert {tuple(one.tokens.tolist()) for one in after} == own.keys()
        for one in after:
            was = own[tuple(one.tokens.tolist())]
            size = len(one.tokens) ** 0.5
            expected = was.score * size + 0.7 * fluency_of(model, one.tokens)
            assert one.score * size == pytest.approx(expected, rel=1e-4)
            assert one.token_scores.equal(was.token_scores)
        for hypotheses, options in ((before, plain), (after, weighed)):
            found = ranks(hypotheses, options)
            assert found == sorted(found, reverse=True)
        changed += not before[0].tokens.equal(after[0].tokens)
    assert changed > 1


def test_fewer_translations_than_asked_for_are_repeated(toys: Toys) -> None:
    model = lively_model("abnet_dag", toys, frames_per_piece=1)
    words = small_pairs(model).source[:1, :2]
    source = torch.cat([words, torch.tensor([[model.source_symbols.sep]])], dim=1)  # 3 frames
    [found] = dag_decode(model, source, DagOptions(n_best=8, beam=8))
    assert len(found) == 8
    texts = [tuple(one.tokens.tolist()) for one in found]
    assert len(set(texts)) == WORDS_A_FRAME
    assert texts[WORDS_A_FRAME - 1 :] == [texts[-1]] * (8 - WORDS_A_FRAME + 1)


def test_padding_and_company_change_nothing(toys: Toys) -> None:
    model = lively_model("abnet_dag", toys, keep_cls=True)
    source = small_pairs(model).source
    options = DagOptions(beam=4, lm_weight=0.3)
    together = dag_decode(model, source, options)
    twice = dag_decode(Ensemble([model, model]), source, options)
    for row, [hypothesis], [doubled] in zip(source, together, twice, strict=True):
        alone = row[: int(row.ne(model.source_symbols.pad).sum())][None]
        [[single]] = dag_decode(model, alone, options)
        for other in (single, doubled):
            assert other.tokens.equal(hypothesis.tokens)
            assert other.score == pytest.approx(hypothesis.score, rel=1e-4)


@pytest.mark.parametrize(
    "changes", [{"train": "all"}, {"target_weights": "random"}, {"train_head": "bias"}]
)
def test_a_target_bert_that_has_changed_is_not_asked(toys: Toys, changes: dict[str, str]) -> None:
    model = small_model("abnet_dag", toys, **changes).eval()
    source = small_pairs(model).source
    assert dag_decode(model, source, DagOptions(beam=2))
    with pytest.raises(AbNetError, match="`lm_weight` must be 0 for this system: its target BERT"):
        dag_decode(model, source, DagOptions(beam=2, lm_weight=0.3))
    both = Ensemble([lively_model("abnet_dag", toys), model])
    with pytest.raises(AbNetError, match="`lm_weight` must be 0 for this system: its target BERT"):
        dag_decode(both, source, DagOptions(beam=2, lm_weight=0.3))


def test_options() -> None:
    for options, message in (
        ({"beam": 0}, "`beam` must be at least 1, but is 0"),
        ({"lm_weight": 0.3}, "`beam` must be at least 2 with an `lm_weight`"),
        ({"beam": 2, "lm_weight": float("inf")}, "`lm_weight` must be a finite number, but is inf"),
        ({"beam": 4, "n_best": 5}, "`n_best` must be from 1 to the `beam` of 4, but is 5"),
        ({"n_best": 0}, "`n_best` must be from 1 to the `beam` of 1, but is 0"),
    ):
        with pytest.raises(AbNetError, match=message):
            DagOptions(**options)
