"""One-pass decoding, against sums over all paths written out."""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import partial
from itertools import groupby, product

import pytest
import torch
from torch import Tensor

from abnet.config import AbNetConfig
from abnet.decoding.beam_search import BeamOptions
from abnet.decoding.decode import decode, options_for
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.reranking import Reranker
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass import ctc
from abnet.one_pass.ctc import CtcOptions, ctc_decode, path_starts
from abnet.one_pass.frames import make_frames
from abnet.tokenizer import SymbolIds
from tests.parity.waits import Waits
from tests.systems import Toys, learn, lively_model, small_config, small_model, small_pairs

SYMBOLS = SymbolIds(pad=0, unk=1, cls=2, sep=3, mask=4)
FIRST, SECOND = 5, 6  # the words of a vocabulary of seven
VOCABULARY = 7


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    """Repeats first, then blanks."""
    return tuple(token for token, _ in groupby(path) if token != SYMBOLS.mask)


def all_labelings(probabilities: Tensor) -> dict[tuple[int, ...], float]:
    """What each sequence of tokens has over all paths; probabilities: (F, V)."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(probabilities.size(1)), repeat=probabilities.size(0)):
        chances = [float(probabilities[frame, token]) for frame, token in enumerate(path)]
        found[collapse(path)] += float(torch.tensor(chances, dtype=torch.float64).prod())
    return found


def frames_of(*counts: int) -> Tensor:
    longest = max(counts)
    return torch.tensor(
        [[SYMBOLS.mask] * count + [SYMBOLS.pad] * (longest - count) for count in counts]
    )


class Fixed:
    """A model whose logits are given: (B, F, V) for sources of `counts` frames."""

    def __init__(self, logits: Tensor, frames: Tensor, config: AbNetConfig) -> None:
        self.given = logits
        self.frames = frames
        self.config = config
        self.source_symbols = self.target_symbols = SYMBOLS
        self.max_target_positions = 50
        self.calls = 0

    def source(self) -> Tensor:
        """As many tokens as there are frames, with one frame a piece."""
        return torch.where(self.frames.eq(SYMBOLS.mask), FIRST, SYMBOLS.pad)

    def encode(self, source: Tensor) -> Tensor:
        return source

    def project(self, encoded: Tensor) -> Tensor:
        return encoded

    def states(self, target: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        self.calls += 1
        assert target.equal(self.frames)
        return self.given.flatten(0, 1)[positions]

    def logits(self, states: Tensor, part: slice) -> Tensor:
        return states[part].clone()


def fixed(logits: Tensor, frames: Tensor) -> Fixed:
    config = AbNetConfig(
        "de", "en", objective="ctc", label_smoothing=0.0, frames_per_piece=1
    )  # fmt: skip
    return Fixed(logits, frames, config)


def log_probs_as_decoded(logits: Tensor) -> Tensor:
    """Without the symbols that are never predicted."""
    logits = logits.clone()
    logits[..., [SYMBOLS.pad, SYMBOLS.cls, SYMBOLS.sep]] = -torch.inf
    return logits.log_softmax(dim=-1)


def test_the_best_path_is_that_of_a_plain_loop() -> None:
    torch.manual_seed(2)
    frames = frames_of(9, 6, 1)
    model = fixed(2 * torch.randn(3, 9, VOCABULARY), frames)
    log_probs = log_probs_as_decoded(model.given)
    found = ctc_decode(model, model.source(), CtcOptions(length_penalty=0.5))
    for row, count in enumerate((9, 6, 1)):
        path = log_probs[row, :count].argmax(dim=1).tolist()
        best = log_probs[row, :count].max(dim=1).values
        scores, at = [], 0
        for token, run in groupby(path):
            length = len(list(run))
            if token != SYMBOLS.mask:
                scores.append(float(best[at : at + length].max()))
            at += length
        [hypothesis] = found[row]
        assert tuple(hypothesis.tokens.tolist()) == collapse(tuple(path))
        assert hypothesis.token_scores.tolist() == pytest.approx(scores)
        score = float(best.sum()) / max(len(scores), 1) ** 0.5
        assert hypothesis.score == pytest.approx(score, rel=1e-5)
        assert hypothesis.passes == 1
    assert model.calls == 1


def test_a_wide_prefix_search_finds_the_most_probable_sequence() -> None:
    torch.manual_seed(3)
    better = 0
    for _ in range(20):
        model = fixed(torch.randn(1, 4, VOCABULARY), frames_of(4))
        labelings = all_labelings(log_probs_as_decoded(model.given)[0].double().exp())
        best = max(labelings, key=lambda tokens: labelings[tokens])
        [[hypothesis]] = ctc_decode(model, model.source(), CtcOptions(beam=200, length_penalty=0))
        assert tuple(hypothesis.tokens.tolist()) == best
        assert hypothesis.score == pytest.approx(float(torch.tensor(labelings[best]).log()), 1e-4)
        [[path]] = ctc_decode(model, model.source(), CtcOptions())
        better += tuple(path.tokens.tolist()) != best
    assert better > 3  # the best path is often another sequence


def test_the_prefix_search_of_many_frames_keeps_its_precision() -> None:
    torch.manual_seed(4)
    frames = frames_of(48, 30)
    model = fixed(3 * torch.randn(2, 48, VOCABULARY), frames)
    wide = ctc_decode(model, model.source(), CtcOptions(beam=16, length_penalty=0))
    narrow = ctc_decode(model, model.source(), CtcOptions(length_penalty=0))
    for [many], [one], count in zip(wide, narrow, (48, 30), strict=True):
        own = log_probs_as_decoded(model.given)[int(count == 30)][:count]
        total = -torch.nn.functional.ctc_loss(
            own, many.tokens, torch.tensor([count]), torch.tensor([len(many.tokens)]),
            SYMBOLS.mask, "sum",
        )  # fmt: skip
        assert many.score == pytest.approx(float(total), rel=1e-5)
        assert many.score > one.score  # a sum over paths, the best path's among them or better


def test_the_scores_of_a_beam_are_of_the_frames_that_say_the_tokens() -> None:
    """As those of the best path, where that says the same."""
    log_probs = torch.full((2, 12, VOCABULARY), -12.0)
    log_probs[:, :, SYMBOLS.mask] = 0.0
    for frame, token in ((3, FIRST), (7, SECOND), (8, SECOND), (11, FIRST)):
        log_probs[0, frame, SYMBOLS.mask] = -1.0 - frame
        log_probs[0, frame, token] = 0.0
    model = fixed(log_probs, frames_of(12, 7))  # the second says nothing
    one = ctc_decode(model, model.source(), CtcOptions())
    many = ctc_decode(model, model.source(), CtcOptions(beam=5))
    for [expected], [found], tokens in zip(one, many, ([FIRST, SECOND, FIRST], []), strict=True):
        assert found.tokens.tolist() == expected.tokens.tolist() == tokens
        torch.testing.assert_close(found.token_scores, expected.token_scores)


@pytest.mark.parametrize("beam", [1, 16])
def test_a_blank_that_loses_leaves_more_words(beam: int) -> None:
    torch.manual_seed(5)
    frames = frames_of(12, 7)
    logits = torch.randn(2, 12, VOCABULARY)
    logits[..., SYMBOLS.mask] += 2.0
    lowered = logits.clone()
    lowered[..., SYMBOLS.mask] -= 1.5
    model, other = fixed(logits, frames), fixed(lowered, frames)
    found = ctc_decode(model, model.source(), CtcOptions(beam, blank_penalty=1.5))
    plain = ctc_decode(other, other.source(), CtcOptions(beam))
    short = ctc_decode(model, model.source(), CtcOptions(beam))
    for [one], [same], [fewer] in zip(found, plain, short, strict=True):
        assert one.tokens.equal(same.tokens)
        assert one.score == pytest.approx(same.score)
        assert len(one.tokens) > len(fewer.tokens)


def test_what_must_not_be_predicted_is_not() -> None:
    logits = torch.zeros(1, 3, VOCABULARY)
    logits[..., [SYMBOLS.pad, SYMBOLS.cls, SYMBOLS.sep]] = 9.0
    logits[..., SECOND] = 1.0
    model = fixed(logits, frames_of(3))
    for beam in (1, 4):
        [[hypothesis]] = ctc_decode(model, model.source(), CtcOptions(beam))
        assert hypothesis.tokens.tolist() == [SECOND]


def test_where_tokens_start() -> None:
    path = torch.tensor([[5, 5, 4, 5, 6, 6], [4, 6, 6, 5, 5, 5]])
    starts = path_starts(path, frames_of(6, 4), SYMBOLS)
    assert starts.int().tolist() == [[1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0]]


def test_few_logits_at_a_time_give_the_same(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model("abnet_ctc", toys)
    source = small_pairs(model).source
    options = [CtcOptions(blank_penalty=2.0), CtcOptions(blank_penalty=2.0, iterations=3)]
    before = [ctc_decode(model, source, one) for one in options]
    most = []

    def logits(states: Tensor, part: slice) -> Tensor:
        found = AbNet.logits(model, states, part)
        most.append(len(found))
        return found

    monkeypatch.setattr(ctc, "POSITIONS_AT_ONCE", 7)
    monkeypatch.setattr(model, "logits", logits)
    for one, expected in zip(options, before, strict=True):
        for [hypothesis], [other] in zip(ctc_decode(model, source, one), expected, strict=True):
            assert len(hypothesis.tokens) > 0
            assert hypothesis.tokens.equal(other.tokens)
            torch.testing.assert_close(hypothesis.token_scores, other.token_scores)
            assert hypothesis.score == pytest.approx(other.score)
    assert max(most) == 7
    assert len(most) > 20


@pytest.mark.parametrize("passes", [1, 3])
def test_an_accelerator_is_waited_for_at_both_ends(toys: Toys, passes: int) -> None:
    """For the most frames, and for all that was found; what comes then is on the host."""
    model = lively_model("abnet_ctc", toys)
    source = small_pairs(model).source
    with Waits() as waits:
        ctc_decode(model, source, CtcOptions(iterations=passes))
    most, banned, copy = "aten.item.default", "aten.lift_fresh.default", "aten.to.dtype_layout"
    assert waits.found[:3] == [most, banned, copy]  # `on_device` itself waits for nothing


@pytest.mark.parametrize("keep_cls", [False, True])
def test_padding_changes_nothing(toys: Toys, keep_cls: bool) -> None:
    model = lively_model("abnet_ctc", toys, keep_cls=keep_cls)
    source = small_pairs(model).source
    together = ctc_decode(model, source, CtcOptions())
    for row, [hypothesis] in zip(source, together, strict=True):
        alone = row[: int(row.ne(model.source_symbols.pad).sum())][None]
        [[single]] = ctc_decode(model, alone, CtcOptions())
        assert single.tokens.equal(hypothesis.tokens)
        assert single.score == pytest.approx(hypothesis.score, rel=1e-4)


def test_there_are_never_more_frames_than_positions(toys: Toys) -> None:
    model = small_model("abnet_ctc", toys, frames_per_piece=9)
    source = small_pairs(model).source
    counts = make_frames(model, source).eq(model.target_symbols.mask).sum(dim=1)
    pieces = source.ne(model.source_symbols.pad).sum(dim=1)
    assert counts.equal((9 * pieces).clamp(max=model.max_target_positions))
    assert int(counts.max()) == model.max_target_positions < int(9 * pieces.max())


@pytest.mark.slow
def test_it_learns_to_translate(toys: Toys) -> None:
    model = small_model("abnet_ctc", toys, train="all")
    pairs = small_pairs(model)
    pairs = pairs._replace(source=pairs.source[:4], target=pairs.target[:4])
    ways = [CtcOptions(iterations=passes) for passes in (1, 3)]
    assert learn(model, pairs, *(partial(ctc_decode, model, pairs.source, way) for way in ways))


def test_passes_keep_the_most_probable_words_and_find_the_others_anew(toys: Toys) -> None:
    """Against a plain loop over one sentence."""
    model = lively_model("abnet_ctc", toys)
    symbols, passes, penalty = model.target_symbols, 4, 3.0
    source = small_pairs(model).source
    found = ctc_decode(model, source, CtcOptions(1, penalty, 0.0, iterations=passes))
    changed = 0
    for row, [hypothesis] in enumerate(found):
        own = source[row : row + 1, : int(model.source_symbols.words(source[row : row + 1]).sum())]
        memory, frames = model.project(model.encode(own)), make_frames(model, own)
        given, sure = frames[0].tolist(), {}
        for number in range(1, passes + 1):
            inputs = torch.tensor([given])
            logits = model.decode(inputs, memory, torch.ones_like(inputs, dtype=torch.bool))
            logits[:, [symbols.pad, symbols.cls, symbols.sep]] = -torch.inf
            logits[:, symbols.mask] -= penalty
            scores, path = (part.tolist() for part in logits.log_softmax(dim=1).max(dim=1))
            for at, score in sure.items():
                path[at], scores[at] = given[at], score
            spoken = [at for at, id in enumerate(path) if id != symbols.mask]
            order = sorted(spoken, key=lambda at: -scores[at])
            sure = {at: scores[at] for at in order[: len(spoken) * number // passes]}
            given = [path[at] if at in sure else symbols.mask for at in range(len(path))]
        tokens = [id for id, _ in groupby(path) if id != symbols.mask]
        assert hypothesis.tokens.tolist() == tokens
        assert hypothesis.score == pytest.approx(sum(scores), rel=1e-4)
        assert hypothesis.passes == passes
        [[once]] = ctc_decode(model, own, CtcOptions(1, penalty))
        changed += once.tokens.tolist() != tokens
    assert changed > 0


def test_two_equal_models_are_an_ensemble_that_says_the_same(toys: Toys) -> None:
    model = lively_model("abnet_ctc", toys)
    source = small_pairs(model).source
    both = decode(Ensemble([model, model]), source, CtcOptions())
    for [one], [two] in zip(decode(model, source, CtcOptions()), both, strict=True):
        assert one.tokens.equal(two.tokens)
        assert one.score == pytest.approx(two.score, rel=1e-4)
    with pytest.raises(AbNetError, match="same `frames_per_piece`, but have 2 and 3"):
        Ensemble([model, lively_model("abnet_ctc", toys, frames_per_piece=3)])


def test_an_ensemble_refines_if_all_its_models_do_in_any_order(toys: Toys) -> None:
    able, weaker = (small_model("abnet_ctc", toys, reveal_frames=f).eval() for f in (0.5, 0.25))
    unable = small_model("abnet_ctc", toys, reveal_frames=0.0).eval()
    source = small_pairs(able).source
    for models in ([able, unable], [unable, able]):
        ensemble = Ensemble(models)
        assert decode(ensemble, source, CtcOptions())
        with pytest.raises(AbNetError, match="must be 1 for a system that was trained without"):
            decode(ensemble, source, CtcOptions(iterations=2))
    for models in ([able, weaker], [weaker, able]):
        [hypothesis], *_ = decode(Ensemble(models), source, CtcOptions(iterations=2))
        assert hypothesis.passes == 2


def test_options(toys: Toys) -> None:
    config = small_config("abnet_ctc", toys)
    assert options_for(config, {"beam": 3, "iterations": None}) == CtcOptions(beam=3)
    with pytest.raises(AbNetError, match=r"`length_beam` must be left out: this system is decoded"):
        options_for(config, {"length_beam": 4})
    with pytest.raises(AbNetError, match="`iterations` must be at least 1, but is 0"):
        CtcOptions(iterations=0)
    with pytest.raises(AbNetError, match="`beam` must be at least 1, but is 0"):
        CtcOptions(beam=0)
    with pytest.raises(AbNetError, match="`blank_penalty` must be a finite number, but is inf"):
        CtcOptions(blank_penalty=float("inf"))
    with pytest.raises(AbNetError, match="`n_best` must be 1 for a system of CTC, but is 2"):
        CtcOptions(n_best=2)
    model = AbNet.from_pretrained(config).eval()
    with pytest.raises(AbNetError, match=r"must be CtcOptions for a system that is decoded in one"):
        decode(model, small_pairs(model).source, BeamOptions())
    plain = small_model("abnet_ctc", toys, reveal_frames=0.0).eval()
    with pytest.raises(AbNetError, match="must be 1 for a system that was trained without"):
        decode(plain, small_pairs(model).source, CtcOptions(iterations=2))
    with pytest.raises(AbNetError, match=r"`reranker` must be left out: .* objective ctc"):
        Reranker(small_model("abnet_causal", toys)).check(model)


@pytest.mark.parametrize(
    ("name", "value"),
    [("label_smoothing", 0.1), ("correction", 0.3), ("soft_label_weight", 0.5)],
)
def test_what_has_no_meaning_is_refused(toys: Toys, name: str, value: float) -> None:
    with pytest.raises(AbNetError, match=f"`{name}` must be 0 for the objective ctc"):
        small_config("abnet_ctc", toys, **{name: value})


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_ctc_decode", None)
    model = fixed(torch.zeros(1, 2, VOCABULARY), frames_of(2))
    with pytest.raises(AbNetError, match=r"`beam` must be 1 without `pip install 'ab-net\[ctc\]'`"):
        ctc_decode(model, model.source(), CtcOptions(beam=2))
