"""Rate-scheduled learning in fairseq, whose schedulers have one learning rate for all weights.

fairseq's way to tell weights apart is their attribute `param_group`, which its copies of them in 32
bits have too; its task has a hook around each step of the optimizer.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from fairseq.optim import FairseqOptimizer

from abnet.config import AbNetConfig
from abnet.model import AbNet
from abnet.training.rate_schedule import scaled_rate, slanted_triangle

BERT_GROUP = "bert"


def mark_berts(model: AbNet) -> None:
    """Marks what trains of the BERTs, where the config has a schedule for it."""
    if model.config.bert_rate_end is not None:
        for parameter in model.bert_parameters():
            parameter.param_group = BERT_GROUP  # type: ignore[attr-defined]


def bert_rate(
    optimizer: FairseqOptimizer, config: AbNetConfig, update: int
) -> AbstractContextManager[None]:
    """Within it, a step of the optimizer goes by the config's schedule.

    Args:
        update: how many updates were made before.

    Raises:
        AbNetError: see `scaled_rate`.
    """
    if config.bert_rate_end is None:
        return nullcontext()
    factor = slanted_triangle(update, config.bert_rate_rise, config.bert_rate_end)
    return scaled_rate(
        optimizer.optimizer,
        lambda weight: getattr(weight, "param_group", None) == BERT_GROUP,
        factor,
    )
