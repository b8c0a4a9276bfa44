from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from abnet.checkpoint import save_checkpoint
from abnet.ct_nmt import DynamicSwitch, SwitchedEncoder, squared_distance
from abnet.describe import describe
from abnet.encoder import Encoder
from abnet.model import AbNet
from abnet.training.objective import training_loss
from tests.systems import Toys, lively_model, small_config, small_model, small_pairs


def encoder_of(model: AbNet) -> SwitchedEncoder:
    assert isinstance(model.encoder, SwitchedEncoder)
    return model.encoder


def turn(model: AbNet, gate: float) -> AbNet:
    """Sets the switch to one side: far above 0 to the BERT, far below to the words."""
    switch = encoder_of(model).switch
    torch.nn.init.zeros_(switch.bert_gate.weight)
    torch.nn.init.zeros_(switch.own_gate.weight)
    torch.nn.init.constant_(switch.own_gate.bias, gate)
    return model


def test_the_switch_is_a_gate_for_each_feature() -> None:
    torch.manual_seed(1)
    switch = DynamicSwitch(3, 3)
    torch.nn.init.normal_(switch.bert_gate.weight)
    torch.nn.init.normal_(switch.own_gate.weight)
    torch.nn.init.normal_(switch.own_gate.bias)
    own, bert = torch.randn(3), torch.randn(3)
    with torch.no_grad():
        mixed = switch(own[None, None], bert[None, None])[0, 0].tolist()
    w, u = switch.bert_gate.weight.detach(), switch.own_gate.weight.detach()
    b = switch.own_gate.bias.detach()
    for feature in range(3):
        total = float(w[feature] @ bert + u[feature] @ own + b[feature])
        gate = 1 / (1 + 2.718281828459045**-total)
        expected = gate * float(bert[feature]) + (1 - gate) * float(own[feature])
        assert mixed[feature] == pytest.approx(expected, abs=1e-5)
    fresh = DynamicSwitch(4, 6)
    own, bert = torch.ones(1, 1, 4), fresh.project(torch.ones(1, 1, 6))
    assert bert.shape == own.shape
    assert isinstance(DynamicSwitch(4, 4).project, torch.nn.Identity)
    torch.testing.assert_close(fresh(own, bert), (own + bert) / 2, atol=0.1, rtol=0)


@pytest.mark.parametrize("objective", ["autoregressive", "conditional_masked_lm"])
@pytest.mark.parametrize("keep_cls", [False, True])
def test_with_the_switch_at_the_words_it_is_the_transformer(
    toys: Toys, objective: str, keep_cls: bool
) -> None:
    model = lively_model("ct_nmt", toys, objective=objective, keep_cls=keep_cls)
    turn(model, -1e4)
    encoder = encoder_of(model)
    plain = Encoder(
        encoder.backbone, torch.nn.ModuleDict(), encoder.length, encoder.symbols, keep_cls
    )
    source = small_pairs(model).source
    with torch.no_grad():
        ours, theirs = encoder(source), plain(source)
    torch.testing.assert_close(ours.memory, theirs.memory)
    assert (ours.length_logits is None) == (objective == "autoregressive")
    if theirs.length_logits is not None:
        torch.testing.assert_close(ours.length_logits, theirs.length_logits)


def test_with_the_switch_at_the_bert_the_words_do_not_matter(toys: Toys) -> None:
    def change_words(model: AbNet) -> None:
        words = next(encoder_of(model).backbone.embeddings.parameters())
        words.data += 1.0

    def change_bert(model: AbNet) -> None:
        words = next(encoder_of(model).bert.backbone.embeddings.parameters())
        words.data[7:] += torch.randn(words[7:].shape)

    def moved(gate: float, change: Callable[[AbNet], None]) -> float:
        torch.manual_seed(9)
        model = turn(lively_model("ct_nmt", toys), gate)
        source = small_pairs(model).source
        with torch.no_grad():
            before = model.encode(source).memory
            change(model)
            return float((model.encode(source).memory - before).abs().max())

    assert moved(1e4, change_words) == 0.0
    assert moved(1e4, change_bert) > 0.1
    assert moved(-1e4, change_bert) == 0.0


def test_the_distance_counts_tokens_and_leaves_the_teacher_alone() -> None:
    states = torch.tensor([[[1.0, 2.0], [0.0, 0.0]], [[3.0, 3.0], [9.0, 9.0]]], requires_grad=True)
    teacher = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]], requires_grad=True)
    padding = torch.tensor([[False, False], [False, True]])
    distance = squared_distance(states, teacher, padding)
    assert distance.item() == pytest.approx((5 + 4 + 1) / 3)
    distance.backward()
    assert teacher.grad is None
    assert states.grad is not None
    assert states.grad[1, 1].eq(0).all()
    torch.testing.assert_close(states.grad[0, 0], torch.tensor([2.0, 4.0]) / 3)


def test_distillation_takes_its_share_of_the_training_loss_only(toys: Toys) -> None:
    def losses(weight: float, training: bool) -> tuple[float, float]:
        model = small_model("ct_nmt", toys, distillation_weight=weight).train(training)
        parts = training_loss(model, model, small_pairs(model), torch.Generator(), training)
        distance = model.encode(small_pairs(model).source).distance
        mean = float(parts.loss.detach() / parts.sample_size)
        return mean, 0.0 if distance is None else float(distance.detach())

    plain, none = losses(0.0, True)
    assert none == 0.0
    taught, distance = losses(0.25, True)
    assert distance > 1.0
    assert taught == pytest.approx(0.75 * plain + 0.25 * distance, rel=1e-5)
    assert losses(0.25, False) == pytest.approx((plain, 0.0))


def test_a_distance_to_the_bert_moves_the_transformer_alone(toys: Toys) -> None:
    model = small_model("ct_nmt", toys).train()
    encoded = model.encode(small_pairs(model).source)
    assert encoded.distance is not None
    turn(model, -1e4)  # else the BERT has a gradient as an input, as it should
    distance = model.encode(small_pairs(model).source).distance
    assert distance is not None
    distance.backward()
    encoder = encoder_of(model)
    assert any(
        weight.grad is not None and weight.grad.abs().sum() > 0
        for weight in encoder.backbone.parameters()
    )
    for weight in encoder.bert.parameters():
        assert weight.grad is None or weight.grad.eq(0).all()


def test_a_frozen_bert_stays_out_of_the_checkpoint(toys: Toys) -> None:
    model = small_model("ct_nmt", toys, train="adapters", bert_rate_end=None)
    assert not any(name.startswith("encoder.bert.") for name in model.trained_state_dict())
    assert model.bert_parameters() == []
    trained = small_model("ct_nmt", toys)
    names = {id(weight): name for name, weight in trained.named_parameters()}
    assert {names[id(weight)].split(".")[1] for weight in trained.bert_parameters()} == {"bert"}


def test_it_is_counted_and_reads_what_both_can(toys: Toys) -> None:
    model = small_model("ct_nmt", toys)
    counts = describe(small_config("ct_nmt", toys))
    assert counts.total_parameters == sum(weight.numel() for weight in model.parameters())
    # projection 32 x 16 + 16, W 16 x 16, U 16 x 16, b 16
    assert counts.trained["encoder_adapters"] == 32 * 16 + 16 + 2 * 16 * 16 + 16
    assert counts.trained["source_bert"] == sum(w.numel() for w in model.bert_parameters())
    assert model.max_source_positions == 48


def test_it_can_start_from_a_transformer(
    toys: Toys, tmp_path_factory: pytest.TempPathFactory
) -> None:
    start = tmp_path_factory.mktemp("start") / "start.safetensors"
    plain = lively_model("transformer_base", toys)
    save_checkpoint(start, plain)
    found = small_model("ct_nmt", toys, warm_start=str(start)).warm_start
    assert found is not None
    assert found.taken == sorted(plain.trained_state_dict())
    kinds = {".".join(name.split(".")[:2]) for name in found.new}
    assert kinds == {"encoder.adapters", "encoder.bert"}
