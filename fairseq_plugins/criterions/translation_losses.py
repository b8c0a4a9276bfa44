"""The losses of all objectives as fairseq criterions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from fairseq.utils import get_perplexity
from torch import Tensor, nn

from abnet.tokenizer import SymbolIds
from abnet.training.loss import LossParts
from abnet.training.masking import batch_generator
from abnet.training.objective import Pairs, training_loss

Total = Callable[[str], float]  # of what was logged under a name
Weighted = tuple[str, float, float]  # a name, a sum, and the count to divide it by
TRAINING, VALIDATION = 1, 0  # two streams of random numbers


@dataclass
class ConditionalMaskedLmConfig(FairseqDataclass):
    """Nothing: noise, smoothing and weights belong to the model and its checkpoint."""


@register_criterion("conditional_masked_lm", dataclass=ConditionalMaskedLmConfig)
class ConditionalMaskedLm(FairseqCriterion):
    """Masks the targets of a batch and takes the loss at the masked tokens and of the length.

    While training, the masks depend on the seed, the update and the sentences of the micro-batch
    alone: two processes draw what one process draws with `--update-freq 2`. In validation they
    depend on the sentences of the batch alone (batches of another size have others), the source
    stays clean, and of a target that is too long for the model the beginning counts.
    """

    def __init__(self, task: FairseqTask) -> None:
        super().__init__(task)
        self.seed: int = task.cfg.seed

    def forward(
        self, model: nn.Module, sample: Mapping[str, Any], reduce: bool = True
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """The loss as a sum, the size to divide it by, and sums to log."""
        abnet = model.abnet
        target = cut_targets(sample["target"], abnet.max_target_positions, abnet.target_symbols)
        ids = sample["id"].tolist()
        stream = (TRAINING, self.seed, model.num_updates) if model.training else (VALIDATION,)
        pairs = Pairs(
            sample["net_input"]["src_tokens"],
            target,
            len(self.task.source_dictionary),
            len(self.task.target_dictionary),
        )
        generator = batch_generator(target.device, *stream, *ids)
        parts = training_loss(abnet, model, pairs, generator, model.training)
        unit = 1.0 if abnet.config.fuzzy_ngrams else math.log(2)  # fairseq logs losses in bits
        return parts.loss, parts.sample_size, _sums_to_log(parts, sample, unit)

    @classmethod
    def reduce_metrics(cls, logging_outputs: Sequence[Mapping[str, Any]]) -> None:
        """Logs means: losses in bits, as fairseq has it, and accuracies in per cent."""

        def total(name: str) -> float:
            return float(sum(output.get(name, 0) for output in logging_outputs))

        sentences, masked = total("nsentences"), total("masked")
        size = total("sample_size")
        values = [
            ("loss", total("loss"), size),
            ("nll_loss", total("nll_loss") / math.log(2), masked),
            *cls._accuracies(total, masked, sentences),
        ]
        for name, value, weight in values:
            metrics.log_scalar(name, value / weight if weight else 0.0, weight, round=3)
        metrics.log_derived("ppl", lambda meters: get_perplexity(meters["nll_loss"].avg))

    @classmethod
    def _accuracies(cls, total: Total, words: float, sentences: float) -> list[Weighted]:
        return [
            ("masked_accuracy", 100 * total("words_right"), words),
            ("length_loss", total("length_loss") / math.log(2), sentences),
            ("length_accuracy", 100 * total("lengths_right"), sentences),
        ]

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """They can: all are sums."""
        return True


@register_criterion("autoregressive_lm", dataclass=ConditionalMaskedLmConfig)
class AutoregressiveLm(ConditionalMaskedLm):
    """Each token of a target from those before it; nothing is drawn and no length predicted."""

    @classmethod
    def _accuracies(cls, total: Total, words: float, sentences: float) -> list[Weighted]:
        return [("accuracy", 100 * total("words_right"), words)]


@register_criterion("ctc_lm", dataclass=ConditionalMaskedLmConfig)
class CtcLm(ConditionalMaskedLm):
    """A target in one pass (CTC); nothing is drawn but noise in the source.

    Logs how often the best path has the length of the target, and how many targets, in per cent,
    are `impossible`: the frames have no room for them, and they teach nothing.
    """

    @classmethod
    def _accuracies(cls, total: Total, words: float, sentences: float) -> list[Weighted]:
        return [
            ("length_accuracy", 100 * total("lengths_right"), sentences),
            ("impossible", 100 * total("impossible"), sentences),
        ]


@register_criterion("dag_lm", dataclass=ConditionalMaskedLmConfig)
class DagLm(ConditionalMaskedLm):
    """A target as a path through a graph; nothing is drawn but noise in the source.

    With `fuzzy_ngrams` the loss is minus the expected precision, of at most 1, with the weighted
    likelihood in nats if there is one, and the nll beside it is as without. Logs how many targets,
    in per cent, are `impossible`: see `CtcLm`.
    """

    @classmethod
    def _accuracies(cls, total: Total, words: float, sentences: float) -> list[Weighted]:
        return [("impossible", 100 * total("impossible"), sentences)]


def cut_targets(target: Tensor, longest: int, symbols: SymbolIds) -> Tensor:
    """(B, T) ids, right-padded, to (B, at most `longest`), [SEP] at the end of those cut."""
    if target.size(1) <= longest:
        return target
    target = target[:, :longest].clone()
    target[target[:, -1].ne(symbols.pad), -1] = symbols.sep  # or there already
    return target


def _sums_to_log(parts: LossParts, sample: Mapping[str, Any], unit: float) -> dict[str, Any]:
    """The sums of a batch, the loss in a unit of so many nats."""
    return {
        "loss": parts.loss.detach() / unit,
        "nll_loss": parts.word_nll,
        "length_loss": parts.length_nll,
        "words_right": parts.words_right,
        "lengths_right": parts.lengths_right,
        "masked": parts.masked,
        "impossible": parts.impossible,
        "ntokens": parts.tokens,
        "nsentences": parts.sentences,
        "sample_size": parts.sample_size,
    }
