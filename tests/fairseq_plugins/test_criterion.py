from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
from fairseq.logging import metrics
from torch import Tensor

from abnet.config import AbNetConfig
from abnet.model import AbNet
from abnet.tokenizer import SymbolIds
from fairseq_plugins.criterions.translation_losses import ConditionalMaskedLm, cut_targets
from fairseq_plugins.evaluation import bleu_counts, log_bleu
from fairseq_plugins.models.abnet_model import AbNetModel


@pytest.fixture
def model(tiny_config: AbNetConfig) -> AbNetModel:
    torch.manual_seed(5)
    return AbNetModel(AbNet.from_pretrained(tiny_config))


@pytest.fixture
def criterion(model: AbNetModel) -> ConditionalMaskedLm:
    task = Namespace(
        cfg=Namespace(seed=1),
        source_dictionary=model.abnet.source_tokenizer.vocabulary,
        target_dictionary=model.abnet.target_tokenizer.vocabulary,
    )
    task.target_dictionary = _Sized(len(task.target_dictionary))
    return ConditionalMaskedLm(task)


class _Sized:
    """A dictionary as far as the criterion knows it."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def pad(self) -> int:
        return 0


def batch(model: AbNetModel, ids: tuple[int, ...] = (4, 9)) -> dict[str, Any]:
    sep, pad = model.abnet.target_symbols.sep, model.abnet.target_symbols.pad
    source = torch.tensor([[11, 12, 13, 14, 3], [15, 16, 3, 0, 0]])
    target = torch.tensor([[21, 22, 23, sep, pad, pad], [24, 25, 26, 27, 28, sep]])
    return {
        "id": torch.tensor(ids),
        "nsentences": 2,
        "net_input": {"src_tokens": source},
        "target": target,
    }


def loss_of(criterion: ConditionalMaskedLm, model: AbNetModel, sample: dict[str, Any]) -> float:
    return float(criterion(model, sample)[0])


def test_masks_depend_on_seed_update_and_sentences(
    criterion: ConditionalMaskedLm, model: AbNetModel
) -> None:
    model.train()
    first = loss_of(criterion, model, batch(model))
    torch.rand(7)  # other random numbers drawn meanwhile do not matter
    assert loss_of(criterion, model, batch(model)) == first
    assert loss_of(criterion, model, batch(model, (4, 10))) != first
    model.set_num_updates(1)
    assert loss_of(criterion, model, batch(model)) != first
    model.set_num_updates(0)
    criterion.seed = 2
    assert loss_of(criterion, model, batch(model)) != first


def test_validation_masks_depend_on_the_sentences_alone(
    criterion: ConditionalMaskedLm, model: AbNetModel
) -> None:
    model.eval()
    first = loss_of(criterion, model, batch(model))
    model.set_num_updates(7)
    criterion.seed = 3
    assert loss_of(criterion, model, batch(model)) == first
    assert loss_of(criterion, model, batch(model, (4, 10))) != first


def test_the_source_is_noisy_in_training_alone(
    tiny_config: AbNetConfig, criterion: ConditionalMaskedLm, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = AbNetConfig.from_dict({**tiny_config.to_dict(), "source_noise": 0.9})
    model = AbNetModel(AbNet.from_pretrained(noisy))
    seen: list[Tensor] = []
    forward = model.abnet.forward
    monkeypatch.setattr(
        model.abnet, "forward", lambda s, *rest: seen.append(s) or forward(s, *rest)
    )
    sample = batch(model)
    for mode in (True, False):
        model.train(mode)
        criterion(model, sample)
    training, validation = seen
    assert not torch.equal(training, sample["net_input"]["src_tokens"])
    assert torch.equal(validation, sample["net_input"]["src_tokens"])


def test_micro_batches_add_up(criterion: ConditionalMaskedLm, model: AbNetModel) -> None:
    model.eval()
    outputs = [criterion(model, batch(model, ids))[2] for ids in ((1, 2), (3, 4))]
    summed = {name: outputs[0][name] + outputs[1][name] for name in outputs[0]}

    def means(logging_outputs: list[dict[str, Any]]) -> dict[str, float]:
        with metrics.aggregate(new_root=True) as aggregated:
            ConditionalMaskedLm.reduce_metrics(logging_outputs)
        return dict(aggregated.get_smoothed_values())

    assert ConditionalMaskedLm.logging_outputs_can_be_summed()
    one, two = means([summed]), means(outputs)
    assert one == two
    assert one["ppl"] == pytest.approx(2 ** one["nll_loss"], rel=0.01)
    assert 0 <= one["masked_accuracy"] <= 100
    # summing the counts, not averaging the means
    nll = sum(float(o["nll_loss"]) for o in outputs) / sum(int(o["masked"]) for o in outputs)
    assert one["nll_loss"] == pytest.approx(nll / 0.6931472, abs=1e-3)


def test_loss_under_autocast(criterion: ConditionalMaskedLm, model: AbNetModel) -> None:
    """What `--amp` does on a GPU, on the CPU in bfloat16."""
    model.train()
    exact = loss_of(criterion, model, batch(model))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, _ = criterion(model, batch(model))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(exact, rel=0.05)
    loss.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


def test_overlong_targets_are_cut() -> None:
    symbols = SymbolIds(pad=0, unk=1, cls=2, sep=3, mask=4)
    target = torch.tensor([[7, 8, 9, 6, 3], [7, 8, 3, 0, 0], [7, 8, 9, 3, 0]])
    assert cut_targets(target, 5, symbols) is target
    assert cut_targets(target, 3, symbols).tolist() == [[7, 8, 3], [7, 8, 3], [7, 8, 3]]
    assert cut_targets(target, 4, symbols).tolist() == [[7, 8, 9, 3], [7, 8, 3, 0], [7, 8, 9, 3]]
    gpt = SymbolIds(pad=3, unk=3, cls=3, sep=3, mask=3)
    target = torch.tensor([[7, 8, 9, 6, 3], [7, 8, 3, 3, 3], [7, 8, 9, 3, 3]])
    assert cut_targets(target, 4, gpt).tolist() == [[7, 8, 9, 3], [7, 8, 3, 3], [7, 8, 9, 3]]
    assert cut_targets(target, 3, gpt).tolist() == [[7, 8, 3], [7, 8, 3], [7, 8, 3]]


def test_bleu_adds_up_over_batches() -> None:
    from sacrebleu.metrics import BLEU

    hypotheses = ["the little dog runs across the meadow .", "a man stands on a ladder ."]
    references = ["the small dog runs across the meadow .", "a man in blue stands on a ladder ."]
    counts = [
        bleu_counts(BLEU(), [h], [r]) for h, r in zip(hypotheses, references, strict=True)
    ]  # two batches
    with metrics.aggregate(new_root=True) as aggregated:
        log_bleu(counts)
    score = round(BLEU().corpus_score(hypotheses, [references]).score, 2)
    assert aggregated.get_smoothed_value("bleu") == score
    with metrics.aggregate(new_root=True) as aggregated:
        log_bleu([bleu_counts(BLEU(), [""], ["the dog"])])
    assert aggregated.get_smoothed_value("bleu") == 0.0
