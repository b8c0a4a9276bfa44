"""`--optimizer fused_adamw` beside fairseq's Adam."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from torch import nn

from fairseq_plugins.fused_adamw import FusedAdamW
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import logged, train
from tests.fairseq_plugins.conftest import Corpus

QUICK = ("--disable-validation", "--no-epoch-checkpoints")


def trained(kind: type[FairseqAdam], updates: int) -> torch.Tensor:
    weight = nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))
    cfg = FairseqAdamConfig(adam_betas="(0.9, 0.98)", weight_decay=0.1, lr=[0.01])  # type: ignore
    optimizer = kind(cfg, [weight])
    for update in range(updates):
        weight.grad = torch.cos(weight.detach() * (update + 1))
        optimizer.step()
    return weight.detach()


def test_the_updates_are_those_of_fairseqs_adam() -> None:
    ours, theirs = trained(FusedAdamW, 5), trained(FairseqAdam, 5)
    assert (ours - trained(FusedAdamW, 0)).abs().max() > 0.03
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_weights_in_sixteen_bits_are_refused() -> None:
    cfg = FairseqAdamConfig(adam_betas="(0.9, 0.98)", lr=[0.01])  # type: ignore
    optimizer = FusedAdamW(cfg, [nn.Parameter(torch.zeros(2))])
    assert not optimizer.supports_memory_efficient_fp16


@pytest.mark.parametrize("precision", ["--bf16", "--fp16"])
def test_training_and_resuming(
    precision: str,
    corpus: Corpus,
    tiny_berts: TinyBerts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all weights in one tensor as on a GPU, where fairseq puts them into one for fp16."""
    monkeypatch.setattr("fairseq_plugins.training_run.on_cpu", lambda args: False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)  # that of the CPU's tensors
    fused = ("--optimizer", "fused_adamw", "--adam-betas", "(0.9, 0.98)", precision)
    train(corpus.data_bin, tmp_path, tiny_berts, *fused, *QUICK, "--max-update", 2)
    output = train(corpus.data_bin, tmp_path, tiny_berts, *fused, *QUICK, "--max-update", 3)
    assert "@ 2 updates" in output
    assert len(logged(output, "train_inner", "loss")) == 1
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    steps = {int(one["step"]) for one in state["last_optimizer_state"]["state"].values()}
    assert steps == {3}
    assert (len(state["last_optimizer_state"]["state"]) == 1) == (precision == "--fp16")
    assert state["optimizer_history"][-1]["optimizer_name"] == "FP16Optimizer"
