from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from abnet.decoding.beam_search import BeamOptions, beam_search
from abnet.decoding.decode import decode
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.decoding.reranking import Reranker, target_log_probs
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.translator import Translator
from tests.batches import batch
from tests.systems import Toys, small_model
from tests.tiny import ENGLISH, GERMAN


@pytest.fixture
def model(tiny_model: AbNet) -> AbNet:
    """Some of its translations end in [SEP], others are without one."""
    with torch.no_grad():
        bias = tiny_model.decoder.lm_head.get_parameter("bias")
        bias[tiny_model.target_symbols.sep] += 4.7
    return tiny_model


@pytest.fixture(params=["abnet_causal", "transformer_base"])
def judge(request: pytest.FixtureRequest, toys: Toys) -> AbNet:
    return small_model(request.param, toys).eval()


def source_of(model: AbNet) -> Tensor:
    assert model.source_tokenizer is not None
    return batch(model.source_tokenizer, GERMAN)


@torch.no_grad()
def score_by_hand(judge: AbNet, source: Tensor, tokens: list[int], penalty: float) -> float:
    """One sentence, one candidate, one token at a time."""
    symbols = judge.target_symbols
    if tokens[-1] != symbols.sep:
        tokens = [*tokens, symbols.sep]
    memory = judge.project(judge.encode(source[None]))
    state, total, last = judge.new_state(), 0.0, symbols.cls
    for token in tokens:
        logits = judge.step(torch.tensor([last]), memory, state)[0]
        logits[[symbols.pad, symbols.mask, symbols.cls]] = -torch.inf
        total += float(logits.log_softmax(dim=0)[token])
        last = token
    return total / len(tokens) ** penalty


@pytest.mark.parametrize(("weight", "penalty"), [(1.0, 1.0), (0.3, 0.5)])
def test_scores_are_those_of_single_sentences(
    model: AbNet, judge: AbNet, weight: float, penalty: float
) -> None:
    source = source_of(model)
    options = DecodingOptions(
        iterations=3, length_beam=5, n_best=3, length_penalty=penalty, patience=1
    )
    every = mask_predict(model, source, replace(options, n_best=5))
    found = decode(model, source, options, Reranker(judge, weight))
    moved, ends = 0, set()
    for row, candidates, ours in zip(source, every, found, strict=True):
        words = row[row.ne(model.source_symbols.pad)]
        theirs = []
        for one in candidates:
            tokens = one.tokens.tolist()
            ends.add(tokens[-1] == model.target_symbols.sep)
            by_hand = score_by_hand(judge, words, tokens, penalty)
            theirs.append((weight * by_hand + (1 - weight) * one.score, one))
        theirs.sort(key=lambda pair: -pair[0])
        for hypothesis, (score, expected) in zip(ours, theirs[:3], strict=True):
            assert hypothesis.tokens.equal(expected.tokens)
            assert hypothesis.score == pytest.approx(score, abs=1e-4)
            assert hypothesis.token_scores.equal(expected.token_scores)
        moved += not ours[0].tokens.equal(candidates[0].tokens)
    assert moved > 1 or weight < 1
    assert ends == {True, False}


def test_what_was_given_up_stays_behind(model: AbNet, judge: AbNet) -> None:
    source = source_of(model)
    plain = DecodingOptions(iterations=4, length_beam=5, n_best=5, force_max_iterations=True)
    pruned = replace(plain, prune_after=1, prune_keep=2)
    ranked = decode(model, source, pruned, Reranker(judge))
    for ours in ranked:
        assert [one.given_up for one in ours] == [False] * 2 + [True] * 3
        assert [one.passes for one in ours] == [4] * 2 + [1] * 3
        for group in (ours[:2], ours[2:]):
            scores = [one.score for one in group]
            assert scores == sorted(scores, reverse=True)
    # By its score alone one of those would have won.
    assert any(max(ours, key=lambda one: one.score).given_up for ours in ranked)


def test_without_weight_nothing_moves(model: AbNet, judge: AbNet) -> None:
    source = source_of(model)
    options = DecodingOptions(n_best=4)
    ranked = decode(model, source, options, Reranker(judge, weight=0.0))
    for ours, theirs in zip(ranked, decode(model, source, options), strict=True):
        assert [one.score for one in ours] == [one.score for one in theirs]
        assert [one.tokens.tolist() for one in ours] == [one.tokens.tolist() for one in theirs]


def test_a_beam_search_gives_its_translations_the_same_probabilities(judge: AbNet) -> None:
    source = source_of(judge)
    options = BeamOptions(beam=2, n_best=2, max_length_factor=0.0, max_length_offset=9)
    found = [one for two in beam_search(judge, source, options) for one in two]
    symbols = judge.target_symbols
    target = torch.nn.utils.rnn.pad_sequence([one.tokens for one in found], True, symbols.pad)
    log_probs = target_log_probs(judge, source, target)
    for row, one in zip(log_probs, found, strict=True):
        length = len(one.tokens)
        torch.testing.assert_close(row[:length], one.token_scores, atol=1e-4, rtol=1e-4)
        assert not row[length:].any()


@pytest.mark.parametrize("of", [1, 2])
def test_logits_of_some_words_at_a_time(
    judge: AbNet, of: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, symbols = source_of(judge), judge.target_symbols
    target = batch(judge.target_tokenizer, [*ENGLISH, ENGLISH[0][:9]])[:, :12]
    target = target[torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2])]
    model = judge if of == 1 else Ensemble([judge, judge])
    words = int(symbols.words(target).sum())
    sizes = []
    logits = type(model).logits

    def counted(self: AbNet, states: Tensor, part: slice) -> Tensor:
        found = logits(self, states, part)
        sizes.append(len(found))
        return found

    at_once = target_log_probs(model, source, target)
    monkeypatch.setattr(type(model), "logits", counted)
    monkeypatch.setattr("abnet.decoding.likelihood.WORDS_AT_ONCE", 7)
    in_slices = target_log_probs(model, source, target)
    torch.testing.assert_close(in_slices, at_once)
    assert in_slices.ne(0).equal(symbols.words(target))
    assert sizes == [7] * (words // 7) + [words % 7] * (words % 7 > 0)
    assert len(sizes) > 10


def test_ensembles_translate_and_rerank(model: AbNet, judge: AbNet, toys: Toys) -> None:
    other = small_model("mask_predict", toys).eval()
    reranker = Reranker(Ensemble([judge, judge]))
    source = source_of(model)
    options = DecodingOptions(iterations=2)
    ours = decode(Ensemble([model, other]), source, options, reranker)
    theirs = decode(Ensemble([model, other]), source, options, Reranker(judge))
    for (one,), (two,) in zip(ours, theirs, strict=True):
        assert one.tokens.equal(two.tokens)
        assert one.score == pytest.approx(two.score, abs=1e-4)


def test_a_translator_with_a_reranker(model: AbNet, judge: AbNet) -> None:
    translator = Translator(model, "cpu", Reranker(judge.train()))
    assert not judge.training
    assert translator.target_tokenizer is not None
    found = translator.translate_n_best(GERMAN, DecodingOptions())
    expected = decode(model, source_of(model), DecodingOptions(), Reranker(judge))
    for (translation,), (hypothesis,) in zip(found, expected, strict=True):
        assert translation.text == translator.target_tokenizer.decode(hypothesis.tokens.tolist())
        assert translation.score == pytest.approx(hypothesis.score, abs=1e-4)
    assert translator.translate(GERMAN) == [one.text for (one,) in found]
    assert translator.translate(GERMAN) != Translator(model, "cpu").translate(GERMAN)


def test_a_precision_is_the_rerankers_too(model: AbNet, judge: AbNet) -> None:
    exact, rounded = (
        Translator(model, "cpu", Reranker(judge), dtype=dtype).translate_n_best(
            GERMAN, DecodingOptions()
        )
        for dtype in ("float32", "bfloat16")
    )
    assert judge.precision == model.precision == "bfloat16"
    scores = [[best.score for (best,) in found] for found in (exact, rounded)]
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], rel=0.3)


def test_frozen_berts_of_both_are_in_memory_once(model: AbNet, toys: Toys) -> None:
    judge = small_model("abnet_causal", toys).eval()
    source = source_of(model)
    expected = decode(model, source, DecodingOptions(), Reranker(judge))
    Translator(Ensemble([model, small_model("abnet", toys)]), "cpu", Reranker(judge))
    assert judge.encoder.bert_backbone.layers is model.encoder.bert_backbone.layers
    assert judge.decoder.backbone.layers is model.decoder.backbone.layers
    assert judge.decoder.lm_head is not model.decoder.lm_head  # its bias is another
    for (one,), (two,) in zip(
        decode(model, source, DecodingOptions(), Reranker(judge)), expected, strict=True
    ):
        assert one.tokens.equal(two.tokens)
        assert one.score == two.score


def test_sources_are_cut_to_what_both_take(model: AbNet, toys: Toys) -> None:
    longer = Translator(model, "cpu", Reranker(small_model("transformer_base", toys)))
    assert longer.max_pieces == model.max_source_positions - 1
    shorter = Translator(model, "cpu", Reranker(small_model("abnet_causal", toys, keep_cls=True)))
    assert shorter.max_pieces == model.max_source_positions - 2


def test_what_cannot_rerank(model: AbNet, toys: Toys) -> None:
    judge = small_model("transformer_base", toys)
    with pytest.raises(AbNetError, match="`reranker` must be an autoregressive system, such as"):
        Reranker(model)
    with pytest.raises(AbNetError, match=r"`rerank_weight` must be between 0 and 1, but is 1\.5"):
        Reranker(judge, 1.5)
    with pytest.raises(AbNetError, match=r"`reranker` must be left out: .* objective autoreg"):
        Translator(judge, "cpu", Reranker(judge))
    with pytest.raises(AbNetError, match=r"`reranker` must be left out: .* objective autoreg"):
        decode(judge, source_of(judge), BeamOptions(), Reranker(judge))
    with pytest.raises(AbNetError, match="`length_beam` must be at least 2 with a reranker"):
        decode(model, source_of(model), DecodingOptions(length_beam=1), Reranker(judge))
    for name in ("lm_weight", "rescore_weight", "length_weight"):
        with pytest.raises(AbNetError, match=f"`rerank_weight` must be less than 1 with `{name}`"):
            decode(model, source_of(model), DecodingOptions(**{name: 0.5}), Reranker(judge))
    with pytest.raises(AbNetError, match="`rerank_weight` must be a number, but is None instead"):
        Reranker(judge, None)  # type: ignore[arg-type]
    long = small_model("mask_predict", toys, length_classes=200)
    short = Reranker(small_model("abnet_causal", toys))
    with pytest.raises(AbNetError, match=r"positions for the 199 tokens .* but has 48 instead"):
        Translator(long, "cpu", short)
    foreign = Reranker(small_model("abnet_gpt", toys))
    with pytest.raises(AbNetError, match="A model and its reranker must have the same target voca"):
        Translator(model, "cpu", foreign)
