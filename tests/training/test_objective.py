from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from abnet.config import AbNetConfig
from abnet.encoder import EncoderOutput
from abnet.model import AbNet, AbNetOutput
from abnet.training.loss import LossParts
from abnet.training.masking import batch_generator
from abnet.training.objective import Pairs, training_loss
from tests.batches import batch
from tests.parity.waits import Waits
from tests.systems import Toys, small_model, small_pairs
from tests.tiny import ENGLISH, GERMAN

DROPOUT = {"bert_dropout": 0.3, "adapter_dropout": 0.3}


def build(config: AbNetConfig, **changes: object) -> AbNet:
    torch.manual_seed(3)
    return AbNet.from_pretrained(replace(config, **changes)).train()  # type: ignore[arg-type]


def pairs(model: AbNet) -> Pairs:
    source, target = model.source_tokenizer, model.target_tokenizer
    assert source is not None
    assert target is not None
    return Pairs(
        batch(source, GERMAN), batch(target, ENGLISH), len(source.vocabulary),
        len(target.vocabulary),
    )  # fmt: skip


class Spy:
    """Calls the model and keeps what it was asked."""

    def __init__(self, model: AbNet) -> None:
        self.model = model
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.outputs: list[AbNetOutput] = []

    def __call__(
        self,
        source: torch.Tensor,
        target: torch.Tensor,
        predict: torch.Tensor,
        gold: torch.Tensor | None = None,
    ) -> AbNetOutput:
        self.calls.append((source, target, predict))
        output: AbNetOutput = self.model(source, target, predict, gold)
        self.outputs.append(output)
        return output


def step(model: AbNet, training: bool = True) -> tuple[LossParts, Spy]:
    spy = Spy(model)
    generator = batch_generator(torch.device("cpu"), 1)
    parts = training_loss(model, spy, pairs(model), generator, training)
    assert len(spy.calls) == 1
    return parts, spy


@pytest.mark.parametrize("r_drop", [0.0, 1.0])
@pytest.mark.parametrize(
    "system", ["abnet", "abnet_causal", "abnet_ctc", "abnet_dag", "transformer_base"]
)
def test_nothing_waits_for_an_accelerator_once_the_encoder_runs(
    system: str, r_drop: float, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a graph's longest target, of which its loss makes so many steps.

    They start with `t[:, 0] = 0.0`, which waits on no accelerator.
    """
    model = small_model(system, toys, r_drop=r_drop).train()
    batch = small_pairs(model)
    waits, encode = Waits(), model.encode

    def begin(source: torch.Tensor) -> EncoderOutput:
        waits.watching = True
        return encode(source)

    def forward(*args: Any) -> AbNetOutput:  # what is done to reveal frames comes before
        waits.watching = False
        waits.found.clear()
        return cast(AbNetOutput, model(*args))

    monkeypatch.setattr(model, "encode", begin)
    with waits:
        training_loss(model, forward, batch, batch_generator(torch.device("cpu"), 1), True)
    assert waits.watching
    start, longest = "aten.lift_fresh.default", "aten._local_scalar_dense.default"
    assert waits.found == ([start, longest] if system == "abnet_dag" else [])


def test_correction_replaces_revealed_tokens_by_the_models_own_guesses(
    tiny_config: AbNetConfig,
) -> None:
    plain = build(tiny_config)
    _, without = step(plain)
    _, spy = step(build(tiny_config, correction=0.5))
    given = pairs(plain)
    (_, masked, chosen), (_, inputs, more) = without.calls[0], spy.calls[0]
    added = more & ~chosen
    revealed = given.target.ne(plain.target_symbols.pad) & ~chosen
    share = float(added.sum() / revealed.sum())
    assert 0.25 < share < 0.75  # a half of some 45 tokens; two standard deviations are 0.15
    assert not (added & ~revealed).any()
    assert (more & chosen).equal(chosen)
    assert inputs[~added].equal(masked[~added])
    words = given.target.ne(plain.target_symbols.pad)
    blank = given.target.masked_fill(words, plain.target_symbols.mask)
    best = plain(given.source, blank, words).word_logits.argmax(dim=1)
    guesses = given.target.masked_scatter(words, best)
    assert inputs[added].equal(guesses[added])


def test_correction_guesses_are_what_decoding_may_say(tiny_config: AbNetConfig) -> None:
    model = build(tiny_config, correction=0.9)
    symbols = model.target_symbols
    with torch.no_grad():  # a head that loves what is never predicted
        model.decoder.lm_head.get_parameter("bias")[symbols.never_predicted] += 1000.0
    _, spy = step(model)
    given = pairs(model)
    (_, inputs, _) = spy.calls[0]
    assert inputs.eq(symbols.pad).equal(given.target.eq(symbols.pad))
    assert not inputs.eq(symbols.cls).any()


def test_correction_guesses_get_no_gradient(tiny_config: AbNetConfig) -> None:
    model = build(tiny_config, correction=0.9)
    learns: list[bool] = []
    model.encoder.register_forward_hook(lambda *given: learns.append(torch.is_grad_enabled()))
    parts, _ = step(model)
    assert learns == [False, True]  # the guess, and the pass that is learned from
    parts.loss.backward()
    assert model.decoder.adapters["0"].attention.q_proj.weight.grad is not None  # type: ignore


def test_validation_knows_neither_correction_nor_r_drop_nor_noise(
    tiny_config: AbNetConfig,
) -> None:
    changed = build(tiny_config, correction=0.5, r_drop=2.0, source_noise=0.3).eval()
    expected, _ = step(build(tiny_config).eval(), training=False)
    parts, spy = step(changed, training=False)
    assert float(parts.loss.detach()) == float(expected.loss.detach())
    assert spy.calls[0][0].equal(pairs(changed).source)


def test_r_drop_without_dropout_is_twice_the_plain_loss(tiny_config: AbNetConfig) -> None:
    once, _ = step(build(tiny_config))
    twice, _ = step(build(tiny_config, r_drop=3.0))
    torch.testing.assert_close(twice.loss, 2 * once.loss)
    assert twice.sample_size == 2 * once.sample_size
    assert twice.sentences == 2 * once.sentences


def test_r_drop_adds_the_disagreement_of_both_passes(tiny_config: AbNetConfig) -> None:
    losses = {}
    for weight in (1e-9, 1.0, 3.0):
        torch.manual_seed(11)
        model = build(tiny_config, r_drop=weight, **DROPOUT)
        torch.manual_seed(12)  # the same dropout each time
        parts, spy = step(model)
        losses[weight] = float(parts.loss.detach())
    first, second = spy.outputs[0].word_logits.detach().log_softmax(dim=1).chunk(2)
    both = (first.exp() * (first - second)).sum() + (second.exp() * (second - first)).sum()
    assert float(both) > 1.0  # dropout makes the passes differ
    assert losses[1.0] - losses[1e-9] == pytest.approx(float(both) / 2, rel=1e-3)
    assert losses[3.0] - losses[1e-9] == pytest.approx(3 * float(both) / 2, rel=1e-3)


@pytest.mark.parametrize("system", ["abnet_ctc", "abnet_dag"])
def test_r_drop_of_targets_without_room_is_left_out(system: str, toys: Toys) -> None:
    """There are no words to divide it by."""
    model = small_model(system, toys, r_drop=1.0, reveal_frames=0.0, **DROPOUT).train()
    symbols = model.target_symbols
    source = torch.tensor([[7, model.source_symbols.sep]])
    target = torch.tensor([[*range(8, 20), symbols.sep]])
    some = Pairs(source, target, 30, 30)
    parts = training_loss(model, model, some, batch_generator(torch.device("cpu"), 1), True)
    assert (parts.sample_size, parts.impossible) == (0, 2)
    assert parts.loss == 0.0
    parts.loss.backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in model.parameters())
