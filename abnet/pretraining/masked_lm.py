"""The masked-LM training run: model, masks, batches, and a budget in updates or minutes."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from abnet.corpora.writing import write_atomically
from abnet.errors import AbNetError
from abnet.pretraining.masked_lm_model import IGNORED

if TYPE_CHECKING:
    from abnet.pretraining.options import PretrainingOptions

WARM_UP_SHARE = 0.05
ENDLESS = 1_000_000_000
SECONDS_NAME = "seconds.json"


class TrainingResult(NamedTuple):
    """Optimizer steps and seconds of a whole run, interruptions left out."""

    updates: int
    seconds: float


class MaskingCollator:
    """Pads sequences to a batch and draws masks anew each time.

    Args:
        tokenizer: tells the symbols and the number of pieces.
        options: `masking` and `mask_share`.
        generator: where masks are drawn from; `None` takes torch's global one.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        options: PretrainingOptions,
        generator: torch.Generator | None = None,
    ) -> None:
        self.pad = tokenizer.pad_token_id
        self.cls = tokenizer.cls_token_id
        self.sep = tokenizer.sep_token_id
        self.mask = tokenizer.mask_token_id
        self.vocab_size = len(tokenizer)
        self.options = options
        self.generator = generator

    def __call__(self, features: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        """Features with `input_ids` to `input_ids`, `attention_mask`, `labels`: (batch, length)."""
        rows = [torch.tensor(feature["input_ids"]) for feature in features]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad)
        chosen, inputs = (
            self._decoder(ids) if self.options.masking == "decoder" else self._bert(ids)
        )
        return {
            "input_ids": inputs,
            "attention_mask": (ids != self.pad).long(),
            "labels": ids.masked_fill(~chosen, IGNORED),
        }

    def _uniform(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.generator)

    def _bert(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Devlin et al. 2019, section 3.1, with at least one word a sequence."""
        words = (ids != self.pad) & (ids != self.cls) & (ids != self.sep)
        draws = self._uniform(ids).masked_fill(~words, 2.0)
        first = draws.argmin(dim=1, keepdim=True)
        chosen = (draws < self.options.mask_share).scatter(1, first, True) & words
        fate = self._uniform(ids)
        other = torch.randint(self.vocab_size, ids.shape, generator=self.generator)
        inputs = torch.where(chosen & (fate < 0.8), self.mask, ids)
        return chosen, torch.where(chosen & (fate >= 0.9), other, inputs)

    def _decoder(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ghazvininejad et al. 2019, section 3: n ~ U{1..length} positions, all [MASK]."""
        words = (ids != self.pad) & (ids != self.cls)
        lengths = words.sum(dim=1, keepdim=True)
        share = self._uniform(lengths)
        count = (share * lengths).long() + 1
        draws = self._uniform(ids).masked_fill(~words, 2.0)
        ranks = draws.argsort(dim=1).argsort(dim=1)
        chosen = (ranks < count) & words
        return chosen, torch.where(chosen, self.mask, ids)


class LengthGroupedBatches(Sampler[list[int]]):
    """Batches of sequences of like length with at most so many tokens, padding included.

    Args:
        lengths: tokens of each sequence.
        batch_tokens: most tokens of a batch; a longer sequence is a batch of its own.
        seed: of the order; each epoch has another.
    """

    def __init__(self, lengths: Sequence[int], batch_tokens: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.epoch = 0
        self.count = sum(1 for _ in self)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of this epoch; called by the Trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        draw = random.Random(f"{self.seed} {self.epoch}")
        order = sorted(range(len(self.lengths)), key=lambda i: (self.lengths[i], draw.random()))
        batches: list[list[int]] = [[]]
        for index in order:  # ascending, so the newest is the longest of its batch
            if batches[-1] and self.lengths[index] * (len(batches[-1]) + 1) > self.batch_tokens:
                batches.append([])
            batches[-1].append(index)
        draw.shuffle(batches)
        return iter(batches)


class Budget(TrainerCallback):  # type: ignore[misc]
    """Keeps the clock: progress bar, learning rate, checkpoints, and the end of a run.

    Args:
        options: `updates` or `minutes`, and `save_minutes`.
        seconds: time that an interrupted run has used before.
    """

    def __init__(self, options: PretrainingOptions, seconds: float) -> None:
        self.updates = options.updates
        self.limit = None if options.minutes is None else options.minutes * 60
        self.save_every = options.save_minutes * 60
        self.earlier = seconds
        self.start = self.saved = time.monotonic()
        self.bar: tqdm[Any] = tqdm(disable=True)

    @property
    def seconds(self) -> float:
        """Time spent training, earlier runs included."""
        return self.earlier + time.monotonic() - self.start

    def progress(self, step: int) -> float:
        """Share of the budget that is used up after this many updates, 0 to 1."""
        if self.updates is not None:
            return min(1.0, step / self.updates)
        return min(1.0, self.seconds / (self.limit or 1.0))

    def rate(self, step: int) -> float:
        """Factor of the learning rate after so many updates: linear warm-up, then linear decay.

        Of a number of updates neither the first nor the last is made at a rate of zero.
        """
        if self.updates is None:
            done = self.progress(step)
        else:
            done = min(1.0, (step + 1) / (self.updates + 1))
        return min(done / WARM_UP_SHARE, (1.0 - done) / (1.0 - WARM_UP_SHARE))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts clock and bar: setting up is not training."""
        self.bar = tqdm(
            total=100.0,
            desc="pre-training",
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
        )
        self.start = self.saved = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Moves the bar; asks for a checkpoint or the end when it is time."""
        done = self.progress(state.global_step)
        self.bar.set_postfix_str(f"update {state.global_step}", refresh=False)
        self.bar.update(100.0 * done - self.bar.n)
        if done >= 1.0:
            control.should_training_stop = True
            self.bar.close()
        elif time.monotonic() - self.saved > self.save_every:
            control.should_save = True
            self.saved = time.monotonic()
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Puts the time used beside the checkpoint."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        with saving(folder):
            write_atomically(folder / SECONDS_NAME, json.dumps(self.seconds))


class MaskedLMTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` with batches counted in tokens and a learning rate that follows the budget."""

    def __init__(self, budget: Budget, batches: LengthGroupedBatches, **kwargs: Any) -> None:
        super().__init__(callbacks=[budget], **kwargs)
        self.remove_callback(PrinterCallback)
        # One GPU of several: over all of them it would take `DataParallel`, in 32 bits.
        self.args._n_gpu = min(self.args.n_gpu, 1)
        self.budget = budget
        self.batches = batches

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of like length; the Trainer's own are counted in sentences."""
        loader = DataLoader(
            self.train_dataset, batch_sampler=self.batches, collate_fn=self.data_collator
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """The budget's schedule, whether it counts updates or minutes."""
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer or self.optimizer, self.budget.rate
        )
        return self.lr_scheduler

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As the Trainer's, which tells of a full disk in many ways."""
        with saving(Path(str(self.args.output_dir))):
            super()._save_checkpoint(model, trial)


@contextlib.contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Raises an `AbNetError` for what cannot be written to a folder, and says how to go on."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise AbNetError(
            f"{folder} cannot be written ({error}). What was saved before is kept: make room, "
            "and go on with the same command and --resume."
        ) from error


def check_precision(precision: str) -> None:
    """Raises an `AbNetError` for fp16 on a machine without a GPU."""
    if precision == "fp16" and not torch.cuda.is_available():
        raise AbNetError("fp16 needs a GPU, but none is here; take bf16 or neither.")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{SECONDS_NAME}")]
    return max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=None)


def train_masked_lm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[list[int]],
    folder: Path,
    options: PretrainingOptions,
) -> TrainingResult:
    """Trains `model` in place, from the last checkpoint in `folder` if there is one.

    Args:
        model: a masked LM.
        tokenizer: its tokenizer.
        sequences: ids with their symbols.
        folder: where checkpoints are kept.
        options: budget and objective.
    """
    last = last_checkpoint(folder)
    spent = 0.0
    if last is not None:
        spent = float(json.loads((last / SECONDS_NAME).read_text(encoding="utf-8")))
    budget = Budget(options, spent)
    trainer = MaskedLMTrainer(
        budget=budget,
        batches=LengthGroupedBatches(
            [len(s) for s in sequences], options.batch_tokens, options.seed
        ),
        model=model,
        train_dataset=[{"input_ids": sequence} for sequence in sequences],
        data_collator=MaskingCollator(tokenizer, options),
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=options.updates or ENDLESS,
            learning_rate=options.learning_rate,
            weight_decay=0.01,
            save_strategy="no",
            save_total_limit=2,
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=torch.cuda.is_available(),
            use_cpu=not torch.cuda.is_available(),
            bf16=options.precision == "bf16",
            fp16=options.precision == "fp16",
            seed=options.seed,
        ),
    )
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    return TrainingResult(trainer.state.global_step, budget.seconds)


@torch.inference_mode()
def measure_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[list[int]],
    options: PretrainingOptions,
) -> float:
    """Share of masked words predicted exactly, with masks that only the seed decides."""
    generator = torch.Generator().manual_seed(options.seed)
    collate = MaskingCollator(tokenizer, options, generator)
    batches = LengthGroupedBatches([len(s) for s in sequences], options.batch_tokens, options.seed)
    model.eval()
    correct = total = 0
    for indices in batches:
        batch = collate([{"input_ids": sequences[i]} for i in indices])
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
        chosen = inputs["labels"] != IGNORED
        logits = model(**inputs).logits
        if logits.dim() == 3:  # models that are not LeanBertForMaskedLM give all positions
            logits = logits[chosen]
        correct += int((logits.argmax(dim=-1) == inputs["labels"][chosen]).sum())
        total += int(chosen.sum())
    return correct / total
