from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abnet.checkpoint import load_checkpoint, save_checkpoint
from abnet.config import AbNetConfig
from abnet.decoder import DecoderState
from abnet.decoding.beam_search import BeamOptions, beam_search
from abnet.decoding.decode import decode, options_for
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.systems import SYSTEMS
from abnet.training.masking import shift_targets
from abnet.training.objective import training_loss
from abnet.translator import Translator
from tests.systems import Toys, small_config, small_model, small_pairs
from tests.tiny import ENGLISH, GERMAN, make_bert

# What trains, by the beginning of the weights' names.
SOURCE, TARGET = "encoder.backbone.", "decoder.backbone."
ADAPTERS = {"encoder.adapters.", "decoder.adapters."}
LENGTH, LEXICAL = "encoder.length.", "encoder.lexical."
WHOLE = {SOURCE, TARGET, "decoder.adapters."}
FUSED = {*WHOLE, "encoder.adapters."}  # and not encoder.bert
TRAINED = {
    **{name: {*ADAPTERS, LENGTH} for name in SYSTEMS if name.startswith("abnet")},
    "abnet": {*ADAPTERS, LENGTH, LEXICAL, "decoder.spread."},
    "abnet_fb": {*ADAPTERS, LENGTH, SOURCE, TARGET},
    "abnet_sc": {*ADAPTERS, LENGTH, SOURCE, TARGET},
    "abnet_enc": {*ADAPTERS, LENGTH, TARGET},
    "abnet_ctc": {*ADAPTERS, LEXICAL, "decoder.spread.", "decoder.blank."},
    "abnet_dag": {*ADAPTERS, LEXICAL, "decoder.spread.", "decoder.links."},
    "abnet_dag_fuzzy": {*ADAPTERS, LEXICAL, "decoder.spread.", "decoder.links."},
    "abnet_enc_ar": {*ADAPTERS, TARGET},
    "abnet_causal": ADAPTERS,
    "transformer_base": WHOLE,
    "transformer_big": WHOLE,
    "mask_predict": {*WHOLE, LENGTH},
    "bert_fused": FUSED,
    "bert_fused_nat": {*FUSED, LENGTH},
    "bert_distilled": WHOLE,
    "ct_nmt": {*FUSED, "encoder.bert."},
    "bert2bert": WHOLE,
    "bert_share": {SOURCE, "decoder.adapters."},  # its one BERT is named once
    "roberta_share": {SOURCE, "decoder.adapters."},
    "abnet_gpt": ADAPTERS,
    "abnet_roberta_gpt": ADAPTERS,
    "bert2gpt": WHOLE,
    "roberta2gpt": WHOLE,
    "bert2rnd": WHOLE,
    "rnd2bert": WHOLE,
    "rnd2gpt": WHOLE,
    "rnd2rnd": WHOLE,
}
AUTOREGRESSIVE = [name for name, system in SYSTEMS.items() if system.objective == "autoregressive"]


def loss(model: AbNet) -> torch.Tensor:
    parts = training_loss(model, model, small_pairs(model), torch.Generator(), training=True)
    return parts.loss / parts.sample_size


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_step_changes_what_should_train_and_nothing_else(toys: Toys, name: str) -> None:
    model = small_model(name, toys, source_noise=0.0).train()
    before = {key: value.clone() for key, value in model.named_parameters()}
    for _ in range(2):  # what stands behind a weight of zero gets its gradient in the second
        model.zero_grad()
        loss(model).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
    changed = {key for key, value in model.named_parameters() if not value.equal(before[key])}
    allowed = tuple(TRAINED[name])
    assert {key for key in changed if not key.startswith(allowed)} == set()
    for part in TRAINED[name]:
        assert any(key.startswith(part) for key in changed), part
    assert set(model.trained_state_dict()) == {k for k in before if k.startswith(allowed)}


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_saved_system_translates_as_it_did(toys: Toys, tmp_path: Path, name: str) -> None:
    model = small_model(name, toys)
    before = Translator(model).translate(GERMAN)
    save_checkpoint(tmp_path / "model.safetensors", model)
    torch.manual_seed(77)  # random weights that are not loaded would differ
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert Translator(again).translate(GERMAN) == before


@pytest.mark.parametrize(("name", "side"), [("bert2rnd", "decoder"), ("rnd2bert", "encoder")])
def test_random_layers_stand_behind_a_berts_embeddings(name: str, side: str, toys: Toys) -> None:
    """Rothe et al. 2020, section 3: the embeddings of both are a checkpoint's."""
    mixed, pretrained = (
        small_model(system, toys).get_submodule(f"{side}.backbone")
        for system in (name, "bert2bert")
    )
    for part, is_same in (("embeddings", True), ("layers.0.attention", False)):
        ours, theirs = (
            dict(one.get_submodule(part).named_parameters()) for one in (mixed, pretrained)
        )
        weights = [key for key in theirs if theirs[key].dim() > 1]
        assert weights
        assert all(ours[key].equal(theirs[key]) == is_same for key in weights)
    if side == "decoder":
        head = mixed.lm_head.decoder
        assert head.weight is mixed.embeddings.word_embeddings.weight


def test_weights_that_are_not_the_berts_do_not_bind_a_checkpoint_to_them(
    toys: Toys,
) -> None:
    identities = small_model("transformer_base", toys).identities
    assert {identity.weight_hash for identity in identities.values()} == {"none"}
    mixed = small_model("bert2rnd", toys).identities
    assert mixed["source"].weight_hash.startswith("sha256:")
    assert mixed["target"].weight_hash == "none"
    fused = small_model("bert_fused", toys).identities
    assert fused["source"].weight_hash == mixed["source"].weight_hash
    assert fused["target"].weight_hash == "none"
    assert small_model("ct_nmt", toys).identities == fused


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_no_token_sees_what_comes_later(toys: Toys, name: str) -> None:
    model = small_model(name, toys, adapter_init="released").eval()
    pairs = small_pairs(model)
    words = pairs.target.ne(model.target_symbols.pad)
    changed = pairs.target.clone()
    changed[:, 4] = model.target_symbols.unk
    with torch.no_grad():
        one = model(pairs.source, pairs.target, words).word_logits
        other = model(pairs.source, changed, words).word_logits
    early = (words.cumsum(dim=1) <= 4)[words]
    torch.testing.assert_close(one[early], other[early])
    assert not one[~early].allclose(other[~early], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        *((name, "post") for name in AUTOREGRESSIVE),
        *((name, "pre") for name in ("transformer_base", "bert_fused")),
    ],
)
def test_steps_give_the_logits_of_the_whole(toys: Toys, name: str, norm: str) -> None:
    model = small_model(name, toys, adapter_init="released", transformer_norm=norm).eval()
    pairs = small_pairs(model)
    every = torch.ones_like(pairs.target, dtype=torch.bool)
    with torch.no_grad():
        memory = model.project(model.encode(pairs.source))
        whole = model.decode(pairs.target, memory, every).unflatten(0, every.shape)
        state = DecoderState()
        for place in range(pairs.target.size(1)):
            logits = model.step(pairs.target[:, place], memory, state)
            torch.testing.assert_close(logits, whole[:, place], atol=1e-4, rtol=1e-4)


def test_shared_berts_are_one(toys: Toys) -> None:
    model = small_model("bert_share", toys)
    assert model.encoder.backbone is model.decoder.backbone


def test_options_of_the_other_way_of_decoding_are_refused(toys: Toys) -> None:
    parallel = small_config("abnet", toys)
    one_by_one = small_config("abnet_causal", toys)
    assert options_for(one_by_one, {"beam": 3, "iterations": None}) == BeamOptions(beam=3)
    with pytest.raises(AbNetError, match=r"`iterations` must be left out.*autoregressive"):
        options_for(one_by_one, {"iterations": 4})
    with pytest.raises(AbNetError, match=r"`beam` must be left out.*parallel"):
        options_for(parallel, {"beam": 4})
    model = small_model("abnet", toys).eval()
    source = small_pairs(model).source
    with pytest.raises(AbNetError, match=r"`options` must be DecodingOptions.*are BeamOptions"):
        decode(model, source, BeamOptions())


@pytest.mark.parametrize("name", ["abnet", "abnet_ctc", "abnet_dag"])
def test_beam_search_is_for_autoregressive_systems(toys: Toys, name: str) -> None:
    model = small_model(name, toys).eval()
    objective = SYSTEMS[name].objective
    with pytest.raises(
        AbNetError,
        match=f"must be autoregressive .*, but is {objective} instead: decode with `Translator`",
    ):
        beam_search(model, small_pairs(model).source, BeamOptions())


@pytest.mark.parametrize(
    ("name", "way"), [("abnet_ctc", ""), ("abnet_enc_ar", " or `beam_search`")]
)
def test_another_way_to_decode_is_named(toys: Toys, name: str, way: str) -> None:
    model = small_model(name, toys).eval()
    with pytest.raises(AbNetError, match=f"instead: decode with `Translator`{way}\\."):
        mask_predict(model, small_pairs(model).source, DecodingOptions())


def test_a_length_is_not_asked_of_an_autoregressive_system(toys: Toys) -> None:
    model = small_model("abnet_enc_ar", toys).eval()
    encoded = model.encode(small_pairs(model).source)
    with pytest.raises(AbNetError, match="`objective` must be conditional_masked_lm to predict"):
        model.predict_length(encoded, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share_bert": True}, "`share_bert` must go with one BERT for both sides"),
        ({"objective": "autoregressive", "correction": 0.3}, "`correction` must be 0 for the"),
        ({"encoder": "rnn"}, "`encoder` must be one of"),
        ({"decoder": "bert_fused"}, '`encoder` must be "bert_fused" with a decoder that is'),
        (
            {"warm_start": "x", "encoder": "transformer"},
            "`warm_start` must go with BERTs on both sides or with none",
        ),
        ({"drop_net": 1.1}, r"`drop_net` must be in \[0, 1\], but is 1.1 instead"),
        ({"soft_label_weight": 2}, r"`soft_label_weight` must be in \[0, 1\], but is 2 instead"),
        ({"soft_label_temperature": 0}, "`soft_label_temperature` must be more than 0, but is 0"),
        ({"soft_teacher": "x.pt"}, "`soft_label_weight` must be more than 0 with a `soft_teacher`"),
        ({"distillation_weight": 0.1}, '`encoder` must be "ct_nmt" with a `distillation_weight`'),
        ({"bert_rate_end": 9}, '`bert_rate_end` must go with `train` "all" and the weights of a'),
        (
            {"bert_rate_end": 9, "bert_rate_rise": 9, "train": "all"},
            "`bert_rate_end` must be more than `bert_rate_rise` = 9, but is 9 instead",
        ),
        ({"transformer_dim": 0}, "`transformer_dim` must be at least 1"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, object], message: str) -> None:
    with pytest.raises(AbNetError, match=message):
        AbNetConfig("a", "b", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_transformer_has_as_many_positions_on_any_vocabulary(toys: Toys, norm: str) -> None:
    on_a_gpts = toys._replace(english=toys.gpt)  # whose padding is its last id
    model = small_model("transformer_base", on_a_gpts, transformer_norm=norm)
    for backbone in (model.encoder.backbone, model.decoder.backbone):
        assert backbone.embeddings.position_embeddings.weight.shape == (512, 16)
        assert (backbone.first_position, backbone.max_positions) == (0, 512)


def test_heads_must_divide_the_width(toys: Toys) -> None:
    with pytest.raises(AbNetError, match="`transformer_heads` must divide `transformer_dim` = 16"):
        small_model("mask_predict", toys, transformer_heads=3)


def test_a_decoder_of_a_kind_without_halves_is_refused(toys: Toys, tmp_path: Path) -> None:
    distil = str(make_bert(tmp_path / "distil", ENGLISH, seed=4, kind="distilbert"))
    with pytest.raises(AbNetError, match="must be of a kind whose layers can be split"):
        small_model("bert2bert", toys._replace(english=distil))


def test_a_gpt_has_seen_only_what_comes_before(toys: Toys) -> None:
    on_a_gpts = toys._replace(english=toys.gpt)
    with pytest.raises(AbNetError, match="`objective` must be autoregressive with a GPT-2"):
        small_model("abnet", on_a_gpts)
    with pytest.raises(AbNetError, match="must have a mask symbol for a system that predicts hid"):
        small_model("mask_predict", on_a_gpts)
    with pytest.raises(AbNetError, match='`train_head` must be "none" for a head of the embedd'):
        small_model("abnet_gpt", toys, train_head="bias")
    with pytest.raises(AbNetError, match="`source_bert` must be a model that sees the whole"):
        small_model("abnet_gpt", toys._replace(german=toys.gpt))


def test_a_gpt_ends_pads_and_begins_with_one_symbol(toys: Toys) -> None:
    model = small_model("abnet_gpt", toys)
    symbols = model.target_symbols
    assert len(set(symbols)) == 1
    pairs = small_pairs(model)
    words = symbols.words(pairs.target)
    assert pairs.target[words].eq(symbols.sep).sum() == len(pairs.target)  # one end each
    assert pairs.target[~words].eq(symbols.pad).all()
    masked = shift_targets(pairs.target, symbols)
    assert masked.inputs[:, 0].eq(symbols.cls).all()
    assert masked.inputs[:, 1:].equal(pairs.target[:, :-1])
    assert masked.chosen.equal(words)
