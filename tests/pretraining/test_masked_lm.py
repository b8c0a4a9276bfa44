"""Masks, loss, batches, schedule and checkpoints of pre-training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoTokenizer, BertForMaskedLM, PreTrainedTokenizerBase

from abnet.errors import AbNetError
from abnet.pretraining import masked_lm
from abnet.pretraining.masked_lm import (
    Budget,
    LengthGroupedBatches,
    MaskingCollator,
    check_precision,
    last_checkpoint,
    measure_accuracy,
    train_masked_lm,
)
from abnet.pretraining.masked_lm_model import IGNORED, LeanBertForMaskedLM, new_bert
from abnet.pretraining.options import BertShape, PretrainingOptions
from tests.conftest import TinyBerts

PAD, CLS, SEP, MASK = 0, 2, 3, 4


@pytest.fixture(scope="module")
def tokenizer(tiny_berts: TinyBerts) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(tiny_berts.german)
    symbols = (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert (*symbols, tokenizer.mask_token_id) == (PAD, CLS, SEP, MASK)
    return tokenizer


def options(**changes: object) -> PretrainingOptions:
    return PretrainingOptions(**{"updates": 100} | changes)  # type: ignore[arg-type]


def sequence(length: int, with_cls: bool = True) -> list[int]:
    """Words 10, 11, ... between their symbols."""
    return [*([CLS] if with_cls else []), *range(10, 10 + length), SEP]


def masked(
    tokenizer: PreTrainedTokenizerBase, rows: list[list[int]], **changes: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Original ids, masked ids, and what is to be predicted; the rest of a batch is checked."""
    collate = MaskingCollator(tokenizer, options(**changes), torch.Generator().manual_seed(0))
    batch = collate([{"input_ids": row} for row in rows])
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    width = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    chosen = batch["labels"] != IGNORED
    assert torch.equal(batch["labels"][chosen], ids[chosen])
    assert torch.equal(batch["input_ids"][~chosen], ids[~chosen])
    assert torch.equal(batch["attention_mask"], (ids != PAD).long())
    return ids, batch["input_ids"], chosen


def test_bert_masks_15_percent(tokenizer: PreTrainedTokenizerBase) -> None:
    """Of 100,000 words: 80 % [MASK], 10 % any piece, 10 % as they are; four deviations wide."""
    ids, inputs, chosen = masked(tokenizer, [sequence(100)] * 1000, mask_share=0.15)
    assert not chosen[(ids == CLS) | (ids == SEP)].any()
    assert chosen.sum() / 1e5 == pytest.approx(0.15, abs=0.0045)
    columns = chosen[:, 1:-1].float().mean(dim=0)
    assert columns.max() < 0.15 + 0.055
    assert columns.min() > 0.15 - 0.055
    before, after = ids[chosen], inputs[chosen]
    replaced = (after != MASK) & (after != before)
    assert (after == MASK).float().mean() == pytest.approx(0.8, abs=0.015)
    assert (after == before).float().mean() == pytest.approx(0.1, abs=0.011)
    assert replaced.float().mean() == pytest.approx(0.1, abs=0.011)
    assert len(after[replaced].unique()) == pytest.approx(len(tokenizer), abs=5)


def test_mask_share(tokenizer: PreTrainedTokenizerBase) -> None:
    _, _, chosen = masked(tokenizer, [sequence(100)] * 200, mask_share=0.4)
    assert chosen.sum() / 2e4 == pytest.approx(0.4, abs=0.015)


@pytest.mark.parametrize("with_cls", [False, True])
@pytest.mark.parametrize("masking", ["bert", "decoder"])
def test_every_sequence_predicts_something(
    tokenizer: PreTrainedTokenizerBase, masking: str, with_cls: bool
) -> None:
    rows = [sequence(1 + number % 4, with_cls) for number in range(800)]
    ids, _, chosen = masked(tokenizer, rows, masking=masking, mask_share=0.001)
    assert chosen.any(dim=1).all()
    assert not chosen[(ids == PAD) | (ids == CLS)].any()
    if masking == "bert":
        assert not chosen[ids == SEP].any()
        assert (chosen.sum(dim=1) == 1).float().mean() > 0.98
        first = chosen[3::4, int(with_cls)]
        assert first.float().mean() == pytest.approx(0.25, abs=0.13)  # any of the four


def test_decoder_masks_any_number(tokenizer: PreTrainedTokenizerBase) -> None:
    """1 to all of n words and [SEP] equally often, each position alike, all of them [MASK]."""
    rows = [sequence(7), sequence(3), sequence(11)] * 2000
    ids, inputs, chosen = masked(tokenizer, rows, masking="decoder")
    assert (inputs[chosen] == MASK).all()
    assert not chosen[(ids == PAD) | (ids == CLS)].any()
    for start, length in ((0, 8), (1, 4), (2, 12)):
        counts = chosen[start::3].sum(dim=1)
        shares = torch.bincount(counts, minlength=length + 1) / 2000
        assert shares[0] == 0
        assert len(shares) == length + 1
        assert (shares[1:] - 1 / length).abs().max() < 4 * (1 / length / 2000) ** 0.5
        positions = chosen[start::3, 1 : length + 1].float().mean(dim=0)
        assert (positions - (length + 1) / 2 / length).abs().max() < 0.05


@pytest.mark.parametrize("masking", ["bert", "decoder"])
def test_masks_are_drawn_anew(tokenizer: PreTrainedTokenizerBase, masking: str) -> None:
    rows = [{"input_ids": sequence(20)}] * 8
    collate = MaskingCollator(tokenizer, options(masking=masking))
    torch.manual_seed(5)
    first, second = collate(rows)["labels"], collate(rows)["labels"]
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(collate(rows)["labels"], first)


def test_loss_is_hugging_faces(tiny_berts: TinyBerts, tokenizer: PreTrainedTokenizerBase) -> None:
    """Loss and gradients, in float64."""
    ours = LeanBertForMaskedLM.from_pretrained(tiny_berts.german).double().eval()
    theirs = BertForMaskedLM.from_pretrained(tiny_berts.german).double().eval()
    rows = [{"input_ids": sequence(length)} for length in (3, 17, 9, 30)]
    batch = MaskingCollator(tokenizer, options(mask_share=0.3))(rows)
    chosen = batch["labels"] != IGNORED
    our_output, their_output = ours(**batch), theirs(**batch)
    torch.testing.assert_close(our_output.logits, their_output.logits[chosen])
    # Ours casts logits to 32 bits for the loss, as mixed precision needs.
    torch.testing.assert_close(our_output.loss.double(), their_output.loss, rtol=1e-6, atol=0)
    our_output.loss.backward()
    their_output.loss.backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-7)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=80),
    batch_tokens=st.integers(1, 100),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
)
def test_batches_hold_every_sequence_once(
    lengths: list[int], batch_tokens: int, seed: int, epoch: int
) -> None:
    batches = LengthGroupedBatches(lengths, batch_tokens, seed)
    batches.set_epoch(epoch)
    made = list(batches)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    assert len(made) == len(batches)
    for batch in made:
        longest = max(lengths[index] for index in batch)
        assert longest * len(batch) <= batch_tokens or len(batch) == 1
    assert list(batches) == made


def test_batches_are_full_and_of_like_length() -> None:
    lengths = [5] * 40 + [9] * 20
    batches = LengthGroupedBatches(lengths, batch_tokens=45, seed=1)
    assert sorted(map(len, batches)) == [4, 5, 5, 5, 5, 9, 9, 9, 9]
    assert sum(len({lengths[index] for index in batch}) > 1 for batch in batches) == 1


def test_batches_of_another_epoch_or_seed() -> None:
    batches = LengthGroupedBatches([5, 6] * 50, batch_tokens=30, seed=1)
    first = list(batches)
    batches.set_epoch(1)
    second = list(batches)
    assert {tuple(sorted(batch)) for batch in first} != {tuple(sorted(batch)) for batch in second}
    assert list(LengthGroupedBatches([5, 6] * 50, batch_tokens=30, seed=2)) != first
    batches.set_epoch(0)
    assert list(batches) == first


def test_learning_rate_in_updates() -> None:
    """Up in a line over the first 5 %, and down in a line to nothing behind the last update."""
    budget = Budget(options(updates=199), seconds=0.0)
    assert [budget.rate(step) for step in (0, 4, 9, 104, 199, 200)] == pytest.approx(
        [0.1, 0.5, 1.0, 0.5, 0.0, 0.0]
    )
    rates = [budget.rate(step) for step in range(199)]
    assert max(rates) == rates[9] == 1.0
    assert min(rates) == pytest.approx(0.005 / 0.95)
    assert Budget(options(updates=1), seconds=0.0).rate(0) > 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(masked_lm.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 1000.0 + seconds)


def test_learning_rate_in_minutes(clock: Callable[[float], None]) -> None:
    """100 seconds in all, of which an interrupted run took 20."""
    budget = Budget(options(updates=None, minutes=100 / 60), seconds=20.0)
    rates = []
    for seconds in (0.0, 32.5, 75.25, 80.0, 99.0):
        clock(seconds)
        assert budget.seconds == pytest.approx(20.0 + seconds)
        rates.append(budget.rate(step=7))
    assert rates == pytest.approx([0.8 / 0.95, 0.5, 0.0475 / 0.95, 0.0, 0.0])


def callback_arguments(step: int) -> tuple[object, transformers.TrainerState, object]:
    return (
        None,
        transformers.TrainerState(global_step=step),
        transformers.TrainerControl(),
    )


def test_end_of_the_minutes(clock: Callable[[float], None]) -> None:
    budget = Budget(options(updates=None, minutes=1.0, save_minutes=0.5), seconds=0.0)
    control = [budget.on_step_end(*callback_arguments(1))]
    for seconds in (30.5, 31.0, 59.0, 60.0):
        clock(seconds)
        control.append(budget.on_step_end(*callback_arguments(2)))
    assert [one.should_save for one in control] == [False, True, False, False, False]
    assert [one.should_training_stop for one in control] == [False] * 4 + [True]


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "missing") is None
    for step in (9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert last_checkpoint(tmp_path) is None
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}/seconds.json").write_text("1.0")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_fp16_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AbNetError, match="fp16 needs a GPU, but none is here; take bf16"):
        check_precision("fp16")
    check_precision("bf16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_precision("fp16")


def test_one_gpu_of_several_trains(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spread over them by transformers, it would be in 32 bits whatever was asked for."""

    class TwoGpus(transformers.TrainingArguments):
        def __post_init__(self) -> None:
            super().__post_init__()
            assert self.device is not None
            self._n_gpu = 2

    monkeypatch.setattr(masked_lm, "TrainingArguments", TwoGpus)
    chosen = options(shape=BertShape(1, 16, 2, 16, max_positions=16), updates=1)
    assert chosen.shape
    model = new_bert(chosen.shape, tokenizer, chosen.dropout, chosen.seed)
    spread = []
    monkeypatch.setattr(torch.nn.DataParallel, "__init__", lambda *args: spread.append(args))
    assert train_masked_lm(model, tokenizer, [sequence(4)] * 8, tmp_path, chosen).updates == 1
    assert not spread


def test_learns_from_the_decoders_masks(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """Sentences of one word: what is seen of one tells the rest. Chance is 1 in 12.

    The masks leave nothing to see in every eighth sentence, and hide the length.
    """
    rows = [[CLS, *[word] * length, SEP] for word in range(10, 22) for length in (6, 7, 8)]
    chosen = options(
        shape=BertShape(layers=1, hidden=32, heads=2, ffn=64, max_positions=16),
        updates=200,
        batch_tokens=120,
        learning_rate=5e-3,
        dropout=0.0,
        masking="decoder",
    )
    assert chosen.shape
    model = new_bert(chosen.shape, tokenizer, chosen.dropout, chosen.seed)
    before = measure_accuracy(model, tokenizer, rows, chosen)
    result = train_masked_lm(model, tokenizer, rows, tmp_path, chosen)
    assert result.updates == 200
    assert result.seconds > 0
    after = measure_accuracy(model, tokenizer, rows, chosen)
    assert before < 0.2
    assert after > 0.45
    assert measure_accuracy(model, tokenizer, rows, chosen) == after


def test_accuracy_of_a_model_that_knows_all(
    tiny_berts: TinyBerts, tokenizer: PreTrainedTokenizerBase
) -> None:
    """And of one that always says 11; both kinds of output, chosen positions and all."""
    rows = [sequence(4)] * 50

    class Known(torch.nn.Module):
        device = torch.device("cpu")

        def __init__(self, ids: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.ids = ids

        def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> object:
            logits = torch.nn.functional.one_hot(self.ids(labels), 200).float()
            return transformers.modeling_outputs.MaskedLMOutput(logits=logits)

    def measure(ids: Callable[[Tensor], Tensor]) -> float:
        return measure_accuracy(Known(ids), tokenizer, rows, options(mask_share=0.5))  # type: ignore[arg-type]

    assert measure(lambda labels: labels.clamp(min=0)) == 1.0
    assert measure(lambda labels: labels[labels != IGNORED]) == 1.0
    always = measure(lambda labels: torch.full_like(labels, 11))
    assert always == measure(lambda labels: torch.full_like(labels[labels != IGNORED], 11))
    assert always == pytest.approx(0.25, abs=0.15)
