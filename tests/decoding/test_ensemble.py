"""Ensembles; `tests/parity` holds those of Mask-Predict against the reference loop."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from abnet.checkpoint import save_checkpoint
from abnet.config import AbNetConfig
from abnet.decoding.beam_search import BeamOptions, beam_search
from abnet.decoding.decode import decode
from abnet.decoding.ensemble import Ensemble, load_system
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.layout import pack_weights
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.translator import Translator
from tests.batches import batch
from tests.conftest import TinyBerts
from tests.systems import Toys, small_model
from tests.tiny import GERMAN, forget_case, make_bert, random_model

LONGEST = 4  # tokens of the translations that are enumerated


@pytest.fixture
def parallel(tiny_model: AbNet, toys: Toys) -> Ensemble:
    """Two systems of different architecture."""
    return Ensemble([tiny_model, small_model("mask_predict", toys).eval()])


@pytest.fixture
def stepwise(tmp_path: Path) -> Ensemble:
    """Two systems that know five words; the target BERT of one has spare rows in its table."""
    exact, spare = (str(make_bert(tmp_path / name, ["a b"], seed=1)) for name in ("exact", "spare"))
    torch.manual_seed(5)
    random_model("bert", 12, hidden=24).save_pretrained(spare)
    models = [
        small_model("transformer_base", Toys(exact, exact, ""), adapter_init="released"),
        small_model("abnet_causal", Toys(exact, spare, ""), adapter_init="released"),
    ]
    with torch.no_grad():  # the source shall matter
        for model in models:
            for name, weight in model.decoder.adapters.named_parameters():
                if name.endswith(("v_proj.weight", "out_proj.weight")):
                    weight.mul_(3.0)
    return Ensemble([model.eval() for model in models])


def source_of(model: AbNet | Ensemble, lines: list[str]) -> torch.Tensor:
    assert model.source_tokenizer is not None
    return batch(model.source_tokenizer, lines)


def check_equal(ours: list[list[Hypothesis]], theirs: list[list[Hypothesis]]) -> None:
    for hypotheses, expected in zip(ours, theirs, strict=True):
        for one, other in zip(hypotheses, expected, strict=True):
            assert one.tokens.equal(other.tokens)
            torch.testing.assert_close(one.token_scores, other.token_scores, atol=1e-4, rtol=0)
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.length_score == pytest.approx(other.length_score, abs=1e-4)
            assert one.passes == other.passes


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("name", ["abnet", "abnet_enc_ar"])
def test_copies_of_a_model_give_what_it_gives(toys: Toys, name: str, copies: int) -> None:
    model = small_model(name, toys).eval()
    source = source_of(model, GERMAN)
    options = BeamOptions(n_best=3) if name == "abnet_enc_ar" else DecodingOptions(n_best=3)
    check_equal(decode(Ensemble([model] * copies), source, options), decode(model, source, options))


def test_beam_search_finds_the_best_of_all(stepwise: Ensemble) -> None:
    source = source_of(stepwise, ["a b", "b", "a a b a"])
    options = BeamOptions(beam=160, max_length_factor=0.0, max_length_offset=LONGEST)
    found = beam_search(stepwise, source, options)
    for row, (best, *_) in zip(source, found, strict=True):
        words = row[row.ne(stepwise.source_symbols.pad)]
        score, tokens = best_by_enumeration(stepwise.models, words)
        assert best.tokens.tolist() == tokens
        assert best.score == pytest.approx(score, abs=1e-5)
    alone = [beam_search(model, source, options) for model in stepwise.models]
    assert any(one[0][0].tokens.tolist() != found[0][0].tokens.tolist() for one in alone)


@torch.no_grad()
def best_by_enumeration(models: tuple[AbNet, ...], source: torch.Tensor) -> tuple[float, list[int]]:
    """Of every sequence there is, by the models' mean probabilities."""
    symbols = models[0].target_symbols
    allowed = [id for id in range(9) if id not in (symbols.pad, symbols.mask, symbols.cls)]
    scored = []
    for length in range(1, LONGEST):  # [SEP] is never first
        for words in itertools.product(set(allowed) - {symbols.sep}, repeat=length):
            target = [*words, symbols.sep]
            inputs = torch.tensor([[symbols.cls, *words]])
            mean = torch.zeros(())
            for model in models:
                memory = model.project(model.encode(source[None]))
                logits = model.decode(inputs, memory, torch.ones_like(inputs).bool())
                mean = mean + logits.softmax(dim=1)[:, :9] / len(models)
            each = mean[range(len(target)), target] / mean[:, allowed].sum(dim=1)
            scored.append((float(each.log().mean()), target))
    return max(scored)


def test_sentences_do_not_depend_on_their_batch(parallel: Ensemble, stepwise: Ensemble) -> None:
    sources = {
        parallel: (source_of(parallel, GERMAN), DecodingOptions(n_best=2)),
        stepwise: (source_of(stepwise, ["a b", "b", "a a b a", "b b b"]), BeamOptions(n_best=2)),
    }
    for ensemble, (source, options) in sources.items():
        together = decode(ensemble, source, options)
        assert len({tuple(one.tokens.tolist()) for one, *_ in together}) > 2
        for row, expected in zip(source, together, strict=True):
            alone = row[row.ne(ensemble.source_symbols.pad)][None]
            check_equal(decode(ensemble, alone, options), [expected])


def test_a_model_that_leaves_nothing_to_what_is_allowed_has_no_say(tiny_model: AbNet) -> None:
    """The mean is of whole distributions, and what is banned is banned from the mean."""
    torch.manual_seed(4)
    silent = AbNet.from_pretrained(tiny_model.config).eval()
    with torch.no_grad():
        silent.decoder.lm_head.get_parameter("bias")[silent.target_symbols.mask] += 1000.0
    source = source_of(tiny_model, GERMAN)
    lengths = torch.arange(4, 4 + len(GERMAN))
    options = DecodingOptions(length_beam=1)
    check_equal(
        mask_predict(Ensemble([tiny_model, silent]), source, options, lengths),
        mask_predict(tiny_model, source, options, lengths),
    )


def two_of(name: str, toys: Toys) -> list[AbNet]:
    """What trains in them differs."""
    one, other = (small_model(name, toys).eval() for _ in range(2))
    for weight in other.parameters():
        weight.data += 0.1 * torch.randn_like(weight) * weight.requires_grad
    return [one, other]


@pytest.mark.parametrize("name", ["abnet", "abnet_enc_ar", "abnet_fb", "bert_fused_nat"])
def test_frozen_berts_are_in_memory_once(toys: Toys, name: str) -> None:
    one, other = models = two_of(name, toys)
    source, options = source_of(one, GERMAN), DecodingOptions()
    if name == "abnet_enc_ar":
        options = BeamOptions()  # type: ignore[assignment]
    alone = [decode(model, source, options) for model in models]
    weights = {id(weight): weight for model in models for weight in model.parameters()}
    frozen = sum(not weight.requires_grad for weight in other.parameters())
    ensemble = Ensemble(models)
    left = {id(weight) for model in models for weight in model.parameters()}
    assert len(weights) - len(left) == frozen
    for model, expected in zip(models, alone, strict=True):
        check_equal(decode(model, source, options), expected)
    together = decode(ensemble, source, options)
    ensemble.to(torch.device("cpu"))
    pack_weights(ensemble)
    check_equal(decode(ensemble, source, options), together)


def test_berts_that_differ_or_train_stay_their_own(toys: Toys) -> None:
    one, other = (small_model("abnet", toys, train_head=part).eval() for part in ("none", "bias"))
    with torch.no_grad():
        one.encoder.bert_backbone.layers[1].get_parameter("output.dense.bias").add_(1.0)
    Ensemble([one, other])
    berts = [(model.encoder.bert_backbone, model.decoder.backbone) for model in (one, other)]
    shared = [
        (side, name)
        for side in (0, 1)
        for name, part in berts[0][side].named_children()
        if part is dict(berts[1][side].named_children())[name]
    ]
    assert {name for side, name in shared if side == 0} >= {"embeddings", "final_norm"}
    assert {(0, "layers"), (1, "lm_head")}.isdisjoint(shared)
    assert (1, "layers") in shared
    assert other.decoder.lm_head is other.decoder.backbone.lm_head is not one.decoder.lm_head


def test_packed_berts_stay_their_own(toys: Toys) -> None:
    models = two_of("abnet", toys)
    for model in models:
        pack_weights(model)
    Ensemble(models)
    assert models[0].decoder.backbone.layers is not models[1].decoder.backbone.layers


def test_positions_are_those_that_all_have(tiny_model: AbNet) -> None:
    shorter = AbNet.from_pretrained(replace(tiny_model.config, length_classes=9, keep_cls=True))
    ensemble = Ensemble([tiny_model, shorter.eval()])
    assert (ensemble.max_source_positions, ensemble.max_target_positions) == (47, 8)
    source = source_of(ensemble, GERMAN)
    beam = ensemble.predict_length(ensemble.encode(source), 8)
    assert beam.lengths.sort(dim=1).values.equal(torch.arange(1, 9).expand(8, 8))
    torch.testing.assert_close(beam.log_probs.exp().sum(dim=1), torch.ones(8))
    with pytest.raises(AbNetError, match=r"between 1 and the 8 lengths .* but is 9"):
        mask_predict(ensemble, source, DecodingOptions(length_beam=9))


def test_frames_are_of_no_account_where_there_are_none(tiny_model: AbNet, toys: Toys) -> None:
    other = small_model("mask_predict", toys, frames_per_piece=5).eval()
    assert Ensemble([tiny_model, other]).config.objective == "conditional_masked_lm"


def test_a_translator_of_several_checkpoints(
    parallel: Ensemble, tmp_path: Path, tiny_berts: TinyBerts
) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path, model in zip(paths, parallel.models, strict=True):
        save_checkpoint(path, model)
    translator = Translator.from_checkpoint(paths, "cpu", tiny_berts.german)
    found = translator.translate(GERMAN)
    assert found == Translator(parallel, "cpu").translate(GERMAN)
    assert found != Translator(parallel.models[0], "cpu").translate(GERMAN)
    assert isinstance(load_system(paths[:1]), AbNet)


def test_what_does_not_belong_together(
    tiny_model: AbNet, tiny_config: AbNetConfig, toys: Toys, tmp_path: Path
) -> None:
    swapped = AbNet.from_pretrained(
        replace(tiny_config, source_bert=toys.english, target_bert=toys.english)
    )
    with pytest.raises(AbNetError, match=r"ensemble must have the same source vocabulary.*bert-en"):
        Ensemble([tiny_model, swapped])
    lower = forget_case(shutil.copytree(toys.german, tmp_path / "lower"))
    other = AbNet.from_pretrained(replace(tiny_config, source_bert=str(lower)))
    with pytest.raises(AbNetError, match=r"must cut a text into the same source pieces.*one vocab"):
        Ensemble([tiny_model, other])
    stepwise = small_model("abnet_causal", toys).eval()
    with pytest.raises(AbNetError, match="are of the objectives conditional_masked_lm and autore"):
        Ensemble([tiny_model, stepwise])
    with pytest.raises(AbNetError, match="`objective` must be conditional_masked_lm to predict"):
        mask_predict(Ensemble([stepwise]), source_of(stepwise, GERMAN), DecodingOptions())
    with pytest.raises(AbNetError, match="`options` must be BeamOptions"):
        decode(Ensemble([stepwise]), source_of(stepwise, GERMAN), DecodingOptions())
    with pytest.raises(AbNetError, match="`models` must hold at least one model"):
        Ensemble([])
    with pytest.raises(AbNetError, match="`models` must hold at least one model"):
        load_system([])
    tiny_model.target_tokenizer = None
    with pytest.raises(AbNetError, match="Each model must have tokenizers"):
        Ensemble([tiny_model])
