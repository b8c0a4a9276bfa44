"""A warm-started encoder-decoder is Hugging Face's own with the same weights, search included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import EncoderDecoderModel, GenerationConfig

from abnet.config import AbNetConfig
from abnet.decoding.beam_search import BeamOptions, beam_search
from abnet.model import AbNet
from abnet.training.masking import shift_targets
from abnet.training.objective import training_loss
from scripts.reproduce.toy import make_gpt
from tests.batches import batch
from tests.systems import small_pairs
from tests.tiny import ENGLISH, GERMAN, make_bert

STEPS = 60


@pytest.fixture(scope="module")
def wide_berts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two BERTs of one width: theirs would put an untied projection between others."""
    root = tmp_path_factory.mktemp("berts")
    german = make_bert(root / "de", GERMAN, seed=1)
    return str(german), str(make_bert(root / "en", ENGLISH, seed=2))


def trained(source: str, target: str) -> AbNet:
    """A BERT2BERT that has seen eight sentence pairs often enough to tell them apart."""
    torch.manual_seed(5)
    config = AbNetConfig.from_preset(
        "bert2bert", source_bert=source, target_bert=target, bert_dropout=0.0
    )
    model = AbNet.from_pretrained(config)
    pairs = small_pairs(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(STEPS):
        parts = training_loss(model, model, pairs, torch.Generator(), training=True)
        optimizer.zero_grad()
        (parts.loss / parts.sample_size).backward()
        optimizer.step()
    return model.eval()


def with_the_weights_of(ours: AbNet) -> EncoderDecoderModel:
    """Hugging Face's model, each module with the state of ours."""
    config = ours.config
    theirs = EncoderDecoderModel.from_encoder_decoder_pretrained(
        config.source_bert, config.target_bert
    ).eval()
    encoder, decoder = ours.encoder.backbone, ours.decoder.backbone
    is_roberta = theirs.decoder.config.model_type == "roberta"
    trunk = theirs.decoder.roberta if is_roberta else theirs.decoder.bert
    for mine, yours in (
        (encoder.embeddings, theirs.encoder.embeddings),
        (encoder.layers, theirs.encoder.encoder.layer),
        (decoder.embeddings, trunk.embeddings),
        (
            ours.decoder.lm_head,
            theirs.decoder.lm_head if is_roberta else theirs.decoder.cls.predictions,
        ),
    ):
        yours.load_state_dict(mine.state_dict())
    for index, layer in enumerate(trunk.encoder.layer):
        layer.load_state_dict(decoder.layers[index].state_dict(), strict=False)
        adapter = ours.decoder.adapters[str(index)]
        cross = layer.crossattention
        for mine, yours in (
            (adapter.attention.q_proj, cross.self.query),
            (adapter.attention.k_proj, cross.self.key),
            (adapter.attention.v_proj, cross.self.value),
            (adapter.attention.out_proj, cross.output.dense),
            (adapter.attention_norm, cross.output.LayerNorm),
        ):
            yours.load_state_dict(mine.state_dict())
    return theirs


@pytest.fixture(scope="module")
def models(wide_berts: tuple[str, str]) -> tuple[AbNet, EncoderDecoderModel]:
    ours = trained(*wide_berts)
    return ours, with_the_weights_of(ours)


def test_logits_are_theirs(models: tuple[AbNet, EncoderDecoderModel]) -> None:
    check_logits(*models)


@pytest.mark.parametrize("system", ["bert2bert", "roberta_share"])
def test_logits_of_robertas_are_theirs(system: str, tmp_path: Path) -> None:
    source = target = str(make_bert(tmp_path / "both", GERMAN + ENGLISH, seed=1, kind="roberta"))
    if system == "bert2bert":
        target = str(make_bert(tmp_path / "en", ENGLISH, seed=2, kind="roberta"))
    torch.manual_seed(5)
    ours = AbNet.from_pretrained(
        AbNetConfig.from_preset(system, source_bert=source, target_bert=target)
    ).eval()
    for adapter in ours.decoder.adapters.values():
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    check_logits(ours, with_the_weights_of(ours))


def check_logits(ours: AbNet, theirs: EncoderDecoderModel) -> None:
    assert ours.source_tokenizer is not None
    assert ours.target_tokenizer is not None
    source = batch(ours.source_tokenizer, GERMAN)
    target = batch(ours.target_tokenizer, ENGLISH)
    words = target.ne(ours.target_symbols.pad)
    first = torch.full((len(target), 1), ours.target_symbols.cls)
    inputs = torch.cat([first, target[:, :-1]], dim=1)
    with torch.no_grad():
        expected = theirs(
            input_ids=source,
            attention_mask=source.ne(ours.source_symbols.pad),
            decoder_input_ids=inputs,
        ).logits
        found = ours(source, inputs, words).word_logits
    torch.testing.assert_close(found, expected[words], atol=1e-4, rtol=1e-4)
    assert expected[words].std() > 0.1


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("beam", [1, 3])
def test_beam_search_is_theirs(
    models: tuple[AbNet, EncoderDecoderModel], beam: int, length_penalty: float
) -> None:
    ours, theirs = models
    assert ours.source_tokenizer is not None
    source = batch(ours.source_tokenizer, GERMAN)
    symbols = ours.target_symbols
    banned = [symbols.pad, symbols.mask, symbols.cls]
    generated = theirs.generate(
        input_ids=source,
        attention_mask=source.ne(ours.source_symbols.pad),
        generation_config=GenerationConfig(
            num_beams=beam,
            max_new_tokens=40,
            length_penalty=length_penalty,
            early_stopping=True,
            decoder_start_token_id=symbols.cls,
            bos_token_id=symbols.cls,
            eos_token_id=symbols.sep,
            pad_token_id=symbols.pad,
            suppress_tokens=banned,
            renormalize_logits=True,  # ours are, of the tokens that are not banned
        ),
    )
    options = BeamOptions(
        beam=beam, length_penalty=length_penalty, max_length_factor=0.0, max_length_offset=40
    )
    found = beam_search(ours, source, options)
    expected = [row.tolist()[1 : row.tolist().index(symbols.sep) + 1] for row in generated]
    assert max(map(len, expected)) < 40
    assert [hypotheses[0].tokens.tolist() for hypotheses in found] == expected
    assert len({tuple(ids) for ids in expected}) > 3


def test_logits_with_a_gpt_are_theirs(wide_berts: tuple[str, str], tmp_path: Path) -> None:
    source, _ = wide_berts
    target = str(tmp_path / "gpt")
    make_gpt(ENGLISH, tmp_path / "gpt", hidden=32, layers=3, heads=4, deviation=0.3, seed=3)
    config = AbNetConfig.from_preset("bert2gpt", source_bert=source, target_bert=target)
    torch.manual_seed(6)
    ours = AbNet.from_pretrained(config).eval()
    theirs = EncoderDecoderModel.from_encoder_decoder_pretrained(source, target).eval()
    for index, block in enumerate(theirs.decoder.transformer.h):
        adapter = ours.decoder.adapters[str(index)]
        cross = block.crossattention
        attention = adapter.attention
        for projection in (
            attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj
        ):  # fmt: skip
            torch.nn.init.normal_(projection.weight, std=0.3)
            torch.nn.init.normal_(projection.bias, std=0.3)
        both = torch.cat([attention.k_proj.weight, attention.v_proj.weight])
        bias = torch.cat([attention.k_proj.bias, attention.v_proj.bias])
        for conv, weight, offset in (  # GPT-2's matrices stand the other way
            (cross.q_attn, attention.q_proj.weight, attention.q_proj.bias),
            (cross.c_attn, both, bias),
            (cross.c_proj, attention.out_proj.weight, attention.out_proj.bias),
        ):
            conv.weight.data.copy_(weight.t())
            conv.bias.data.copy_(offset)
    pairs = small_pairs(ours)
    masked = shift_targets(pairs.target, ours.target_symbols)
    with torch.no_grad():
        expected = theirs(
            input_ids=pairs.source,
            attention_mask=pairs.source.ne(ours.source_symbols.pad),
            decoder_input_ids=masked.inputs,
        ).logits
        found = ours(pairs.source, masked.inputs, masked.chosen).word_logits
    torch.testing.assert_close(found, expected[masked.chosen], atol=1e-4, rtol=1e-4)
    assert expected[masked.chosen].std() > 0.1
