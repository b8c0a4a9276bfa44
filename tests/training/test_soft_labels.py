from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from abnet.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.training.objective import training_loss
from abnet.training.soft_labels import SoftLabels, Teacher
from tests.systems import Toys, lively_model, small_model, small_pairs
from tests.tiny import ENGLISH, make_bert, random_model, vocabulary


def teacher_of(model: AbNet) -> Teacher:
    assert model.soft_teacher is not None
    return model.soft_teacher


def train_loss(model: AbNet) -> float:
    pairs = small_pairs(model)
    generator = torch.Generator().manual_seed(1)
    parts = training_loss(model, model, pairs, generator, training=model.training)
    return float(parts.loss.detach() / parts.sample_size)


@pytest.mark.parametrize(("passes", "temperature"), [(3, 1.0), (100, 4.0)])
def test_each_token_is_predicted_from_the_others(
    toys: Toys, passes: int, temperature: float
) -> None:
    teacher = load_checkpoint(toys.teacher)
    pairs = small_pairs(teacher)
    symbols = teacher.target_symbols
    words = pairs.target.ne(symbols.pad)
    labels = Teacher(teacher).label(pairs.source, pairs.target, words, passes, 4, temperature)
    assert labels.ids.shape == (int(words.sum()), 4)
    torch.testing.assert_close(labels.probabilities.sum(dim=1), torch.ones(len(labels.ids)))
    row = 0
    for sentence in range(len(pairs.target)):
        length = int(words[sentence].sum())
        source = pairs.source[sentence : sentence + 1]
        for place in range(length):
            if sentence in (0, 5):  # the others would only take longer
                target = pairs.target[sentence : sentence + 1, :length].clone()
                target[0, place % passes :: passes] = symbols.mask
                here = torch.zeros_like(target, dtype=torch.bool)
                here[0, place] = True
                with torch.no_grad():
                    logits = teacher(source, target, here).word_logits[0]
                best = logits.topk(4)
                expected = torch.softmax(best.values / temperature, dim=0)
                torch.testing.assert_close(
                    labels.probabilities[row], expected, atol=1e-4, rtol=1e-4
                )
                assert labels.ids[row].equal(best.indices)
            row += 1


def test_labels_are_pieces_whatever_the_teachers_table_has_besides(
    toys: Toys, tmp_path: Path
) -> None:
    folder = make_bert(tmp_path / "bert", ENGLISH, seed=2)
    pieces = len(vocabulary(ENGLISH))
    random_model("bert", pieces + 7).save_pretrained(folder)
    teacher = lively_model("abnet_fb", toys._replace(english=str(folder)))
    teacher.decoder.lm_head.get_parameter("bias").data[pieces:] = 100.0
    pairs = small_pairs(teacher)
    words = pairs.target.ne(teacher.target_symbols.pad)
    labels = Teacher(teacher).label(pairs.source, pairs.target, words, 3, 4, 1.0)
    assert int(labels.ids.max()) < pieces  # a student from scratch has no other rows
    every = Teacher(teacher).label(pairs.source, pairs.target, words, 3, pieces + 7, 1.0)
    assert every.ids.size(1) == pieces


def test_labels_are_those_of_the_chosen_tokens(toys: Toys) -> None:
    teacher = Teacher(load_checkpoint(toys.teacher))
    pairs = small_pairs(teacher.model)
    words = pairs.target.ne(0)
    every = teacher.label(pairs.source, pairs.target, words, 7, 10_000, 1.0)
    assert every.ids.size(1) == teacher.model.decoder.backbone.vocab_size  # no more than there are
    chosen = words & (torch.arange(words.size(1)) % 2 == 0)
    some = teacher.label(pairs.source, pairs.target, chosen, 7, 10_000, 1.0)
    torch.testing.assert_close(some.probabilities, every.probabilities[chosen[words]])


def test_the_loss_is_the_cross_entropy_to_the_labels() -> None:
    labels = SoftLabels(torch.tensor([[2, 0], [1, 3]]), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    logits = torch.tensor([[1.0, 0.0, 2.0, -1.0], [0.0, 3.0, 1.0, 1.0]])
    p = torch.tensor([[0.25, 0.0, 0.75, 0.0], [0.0, 0.5, 0.0, 0.5]])
    expected = -(p * torch.log(logits.exp() / logits.exp().sum(1, keepdim=True))).sum()
    torch.testing.assert_close(labels.loss(logits), expected)
    assert labels.twice().ids.tolist() == [[2, 0], [1, 3]] * 2
    torch.testing.assert_close(labels.twice().loss(torch.cat([logits, logits])), 2 * expected)


def test_the_teacher_reads_the_source_without_noise(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lively_model("bert_distilled", toys, source_noise=0.9).train()
    read: list[torch.Tensor] = []
    original = Teacher.label

    def watched(self: Teacher, source: torch.Tensor, *given: Any) -> SoftLabels:
        read.append(source)
        return original(self, source, *given)

    monkeypatch.setattr(Teacher, "label", watched)
    train_loss(model)
    assert [source.tolist() for source in read] == [small_pairs(model).source.tolist()]


@pytest.mark.parametrize("objective", ["autoregressive", "conditional_masked_lm"])
def test_soft_labels_take_their_share_of_the_word_loss(toys: Toys, objective: str) -> None:
    def at(weight: float, **changes: object) -> float:
        options = {"soft_label_weight": weight, "objective": objective, **changes}
        return train_loss(lively_model("bert_distilled", toys, **options).train())

    plain = at(0.0, soft_teacher=None)
    soft = at(1.0)
    assert abs(soft - plain) > 1e-3
    assert at(0.25) == pytest.approx(0.25 * soft + 0.75 * plain, rel=1e-5)
    if objective == "autoregressive":
        model = lively_model("bert_distilled", toys).train()
        pairs = small_pairs(model)
        words = pairs.target.ne(0)
        labels = teacher_of(model).label(pairs.source, pairs.target, words, 7, 8, 10.0)
        first = pairs.target.new_full((len(pairs.target), 1), model.target_symbols.cls)
        inputs = torch.cat([first, pairs.target[:, :-1]], dim=1)
        logits = model(pairs.source, inputs, words).word_logits
        assert soft == pytest.approx(float(labels.loss(logits).detach() / words.sum()), rel=1e-5)


def test_validation_needs_no_teacher(toys: Toys) -> None:
    plain = small_model("bert_distilled", toys, soft_label_weight=0.0, soft_teacher=None).eval()
    taught = small_model("bert_distilled", toys, soft_teacher=None).eval()
    assert train_loss(taught) == train_loss(plain)
    message = "`soft_teacher` must name the checkpoint of .* a `soft_label_weight` of 0.5, but is"
    with pytest.raises(AbNetError, match=message):
        train_loss(taught.train())


def test_r_drop_without_dropout_has_the_loss_of_one_pass(toys: Toys) -> None:
    once = train_loss(small_model("bert_distilled", toys).train())
    assert train_loss(small_model("bert_distilled", toys, r_drop=3.0).train()) == pytest.approx(
        once
    )


def test_the_teacher_is_frozen_without_dropout_and_not_saved(toys: Toys, tmp_path: Path) -> None:
    model = small_model("bert_distilled", toys).train()
    teacher = teacher_of(model)
    assert not any(module.training for module in teacher.modules())
    pairs = small_pairs(model)
    training_loss(model, model, pairs, torch.Generator(), training=True).loss.backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert not any(name.startswith("soft_teacher") for name in model.trained_state_dict())
    save_checkpoint(tmp_path / "model.safetensors", model.eval())
    contents = read_checkpoint(tmp_path / "model.safetensors")
    assert contents.config.soft_teacher == toys.teacher
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert again.soft_teacher is None
    words = pairs.target.ne(0)
    with torch.no_grad():
        torch.testing.assert_close(
            again(pairs.source, pairs.target, words).word_logits,
            model(pairs.source, pairs.target, words).word_logits,
        )


def test_a_teacher_must_fit(toys: Toys, tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"There is no checkpoint 'nowhere\.pt'"):
        small_model("bert_distilled", toys, soft_teacher="nowhere.pt")
    one_by_one = str(tmp_path / "one_by_one.safetensors")
    save_checkpoint(one_by_one, lively_model("transformer_base", toys))
    with pytest.raises(
        AbNetError, match=r"`soft_teacher` must be a conditional masked LM .* is auto"
    ):
        small_model("bert_distilled", toys, soft_teacher=one_by_one)
    swapped = toys._replace(german=toys.english, english=toys.german)
    message = "`soft_teacher` must have the vocabulary of the source BERT"
    with pytest.raises(AbNetError, match=message):
        small_model("bert_distilled", swapped)
