from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from abnet.config import AbNetConfig
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.training.loss import sequence_loss
from abnet.training.masking import batch_generator, mask_targets
from abnet.training.word_loss import word_loss
from tests.batches import batch
from tests.conftest import TinyBerts
from tests.tiny import ENGLISH, GERMAN, make_bert, vocabulary


def data(model: AbNet) -> tuple[torch.Tensor, torch.Tensor]:
    assert model.source_tokenizer is not None
    assert model.target_tokenizer is not None
    return batch(model.source_tokenizer, GERMAN), batch(model.target_tokenizer, ENGLISH)


def loss(model: AbNet, update: int = 0) -> torch.Tensor:
    source, target = data(model)
    masked = mask_targets(
        target,
        model.target_symbols,
        model.decoder.backbone.vocab_size,
        model.config.target_noise,
        batch_generator(target.device, update),
    )
    output = model(source, masked.inputs, masked.chosen)
    parts = sequence_loss(
        word_loss(output.word_logits, target[masked.chosen], 0.1),
        output.length_logits,
        target,
        masked.chosen,
        model.target_symbols.words(target),
        model.config,
    )
    return parts.loss / parts.sample_size


def test_a_step_changes_every_trained_weight_and_no_frozen_one(tiny_model: AbNet) -> None:
    before = {name: weight.detach().clone() for name, weight in tiny_model.named_parameters()}
    trained = tiny_model.trained_state_dict().keys()
    optimizer = torch.optim.SGD(tiny_model.parameters(), lr=1.0)
    loss(tiny_model).backward()
    optimizer.step()
    for name, weight in tiny_model.named_parameters():
        changed = not weight.equal(before[name])
        # a key's bias shifts all attention scores of a query alike: its gradient is rounding
        if not name.endswith("k_proj.bias"):
            assert changed == (name in trained), name
    assert {name.split(".")[1] for name in trained} == {"adapters", "length"}


def test_identity_adapters_learn_too(tiny_config: AbNetConfig) -> None:
    torch.manual_seed(0)
    model = AbNet.from_pretrained(replace(tiny_config, adapter_init="identity"))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    first = float(loss(model).detach())
    for _ in range(30):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    assert float(loss(model).detach()) < first - 1.0


def test_padding_changes_nothing(tiny_model: AbNet) -> None:
    source, target = data(tiny_model)
    words = target.ne(tiny_model.target_symbols.pad)
    wider_source = torch.nn.functional.pad(source, (0, 5), value=tiny_model.source_symbols.pad)
    wider_target = torch.nn.functional.pad(target, (0, 3), value=tiny_model.target_symbols.pad)
    wider_words = torch.nn.functional.pad(words, (0, 3))
    with torch.no_grad():
        plain = tiny_model(source, target, words)
        padded = tiny_model(wider_source, wider_target, wider_words)
    torch.testing.assert_close(plain.word_logits, padded.word_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain.length_logits, padded.length_logits, atol=1e-4, rtol=1e-4)


def test_logits_of_some_positions_are_those_of_all(tiny_model: AbNet) -> None:
    source, target = data(tiny_model)
    words = target.ne(tiny_model.target_symbols.pad)
    some = words & (torch.arange(target.size(1)) % 3 == 1)
    with torch.no_grad():
        every = tiny_model(source, target, words).word_logits
        chosen = tiny_model(source, target, some).word_logits
    torch.testing.assert_close(chosen, every[some[words]])


def test_candidates_share_their_sentence(tiny_model: AbNet) -> None:
    """(B*C, T) candidates against B sentences equal each candidate with its own sentence."""
    source, target = data(tiny_model)
    candidates = torch.stack([target, target.roll(1, dims=0)], dim=1)  # (B, 2, T)
    words = candidates.ne(tiny_model.target_symbols.pad)
    with torch.no_grad():
        memory = tiny_model.project(tiny_model.encode(source))
        together = tiny_model.decode(candidates.flatten(0, 1), memory, words.flatten(0, 1))
        place = 0
        for sentence in range(len(source)):
            alone = memory.select(torch.tensor([sentence]))
            for ids, predict in zip(candidates[sentence], words[sentence], strict=True):
                logits = tiny_model.decode(ids[None], alone, predict[None])
                torch.testing.assert_close(
                    logits, together[place : place + len(logits)], atol=1e-4, rtol=1e-4
                )
                place += len(logits)
    assert place == len(together)


@pytest.mark.parametrize(
    ("top", "expected"), [(None, ["0", "1", "2"]), (2, ["1", "2"]), (1, ["2"]), (0, [])]
)
def test_adapters_in_the_top_layers_only(
    tiny_config: AbNetConfig, top: int | None, expected: list[str]
) -> None:
    encoder_only = AbNet.from_pretrained(replace(tiny_config, encoder_adapter_layers=top))
    decoder_only = AbNet.from_pretrained(replace(tiny_config, decoder_adapter_layers=top))
    assert list(encoder_only.encoder.adapters) == expected
    assert list(encoder_only.decoder.adapters) == ["0", "1", "2"]
    assert list(decoder_only.decoder.adapters) == expected
    assert list(decoder_only.encoder.adapters) == ["0", "1", "2"]


def test_adapters_beyond_the_depth_are_an_error(tiny_config: AbNetConfig) -> None:
    for side in ("encoder", "decoder"):
        with pytest.raises(
            AbNetError,
            match=f"`{side}_adapter_layers` must be at most the BERT's 3 layers, but is 4",
        ):
            AbNet.from_pretrained(replace(tiny_config, **{f"{side}_adapter_layers": 4}))


def test_heads_must_divide_the_width(tiny_config: AbNetConfig) -> None:
    with pytest.raises(AbNetError, match="must divide the target BERT's width 24, but is 5"):
        AbNet.from_pretrained(replace(tiny_config, decoder_adapter_heads=5))


def test_keep_cls_moves_words_to_the_positions_of_pretraining(tiny_config: AbNetConfig) -> None:
    model = AbNet.from_pretrained(replace(tiny_config, keep_cls=True)).eval()
    source, _ = data(model)
    seen: list[torch.Tensor] = []
    model.encoder.backbone.embeddings.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    encoded = model.encode(source)
    assert seen[0][:, 0].eq(model.source_symbols.cls).all()
    assert seen[0][:, 1:].equal(source)
    assert encoded.memory.size(1) == source.size(1) + 1  # [CLS] can be attended to
    assert model.max_source_positions == 47


def test_foreign_weights_are_refused(tiny_config: AbNetConfig, tiny_model: AbNet) -> None:
    state = tiny_model.trained_state_dict()
    name = next(iter(state))
    missing = {key: value for key, value in state.items() if key != name}
    with pytest.raises(AbNetError, match=f"1 are missing .{name}. and 0 are foreign"):
        tiny_model.load_trained_state_dict(missing)
    wider = AbNet.from_pretrained(replace(tiny_config, encoder_adapter_dim=20))
    with pytest.raises(AbNetError, match=r"must have the shape \(20, 32\), but has \(16, 32\)"):
        wider.load_trained_state_dict(state)


@pytest.mark.parametrize("kind", ["roberta", "electra", "distilbert"])
def test_other_families_translate_on_either_side(
    tiny_berts: TinyBerts, tiny_config: AbNetConfig, tmp_path: Path, kind: str
) -> None:
    german = make_bert(tmp_path / "de", GERMAN, seed=5, kind=kind)
    english = make_bert(tmp_path / "en", ENGLISH, seed=6, kind=kind)
    model = AbNet.from_pretrained(
        replace(tiny_config, source_bert=str(german), target_bert=str(english))
    )
    before = float(loss(model).detach())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(10):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    assert float(loss(model).detach()) < before - 0.5


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_the_head_may_train_but_never_the_embeddings(
    tiny_config: AbNetConfig, tmp_path: Path, kind: str
) -> None:
    english = str(make_bert(tmp_path / "en", ENGLISH, seed=6, kind=kind))

    def head_weights(part: str) -> dict[str, torch.Size]:
        model = AbNet.from_pretrained(replace(tiny_config, target_bert=english, train_head=part))
        names = model.trained_state_dict().items()
        return {name: w.shape for name, w in names if "decoder.backbone." in name}

    pieces, width = len(vocabulary(ENGLISH)), 16 if kind == "electra" else 32
    assert head_weights("none") == {}
    assert list(head_weights("bias").values()) == [(pieces,)]
    expected = {"bias": (pieces,), "dense": (width, 32), "dense bias": (width,), "norm": (width,)}
    shapes = sorted(map(tuple, head_weights("transform").values()))
    assert shapes == sorted([*expected.values(), (width,)])  # a norm has weight and bias


def test_a_trained_head_learns_and_the_rest_of_the_bert_stays(tiny_config: AbNetConfig) -> None:
    model = AbNet.from_pretrained(replace(tiny_config, train_head="transform"))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    identities = model.identities
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    loss(model).backward()
    optimizer.step()
    changed = {n for n, w in model.named_parameters() if not w.equal(before[n])}
    assert changed <= set(model.trained_state_dict())
    assert sum("lm_head" in name for name in changed) == 5
    assert model.identities == identities


def test_a_new_model_is_in_training_mode_as_a_whole(tiny_config: AbNetConfig) -> None:
    model = AbNet.from_pretrained(tiny_config)
    assert all(module.training for module in model.modules())
