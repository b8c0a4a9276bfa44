"""Averages of checkpoints, and which of a folder they are of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from abnet.averaging import (
    average_checkpoints,
    best_checkpoints,
    check_output,
    last_checkpoints,
)
from abnet.checkpoint import load_checkpoint, write_checkpoint
from abnet.cli import main
from abnet.config import AbNetConfig
from abnet.errors import AbNetError
from abnet.model import AbNet
from tests.test_checkpoint import save_fairseq


def test_the_average_is_the_mean(tiny_model: AbNet, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        with torch.no_grad():
            tiny_model.encoder.length.table.weight.fill_(float(number * number))
        save_fairseq(tmp_path / f"checkpoint{number}.pt", tiny_model)
    mean = average_checkpoints([tmp_path / f"checkpoint{n}.pt" for n in (1, 2, 3)])
    table = mean.weights["encoder.length.table.weight"]
    torch.testing.assert_close(table, torch.full_like(table, (1 + 4 + 9) / 3))
    write_checkpoint(tmp_path / "average.pt", mean)
    again = load_checkpoint(tmp_path / "average.pt")
    torch.testing.assert_close(again.encoder.length.table.weight.detach(), table)
    state = torch.load(tmp_path / "average.pt", weights_only=True)
    assert "last_optimizer_state" not in state
    assert state["extra_state"] == {"epoch": 1}


def test_the_average_of_weights_in_16_bits_has_32(tiny_model: AbNet, tmp_path: Path) -> None:
    for number, value in ((1, 1.0), (2, 1.0078125)):  # neighbours in bfloat16
        with torch.no_grad():
            tiny_model.encoder.length.table.weight.fill_(value)
        save_fairseq(tmp_path / f"checkpoint{number}.pt", tiny_model.bfloat16())
    mean = average_checkpoints([tmp_path / f"checkpoint{n}.pt" for n in (1, 2)])
    table = mean.weights["encoder.length.table.weight"]
    assert table.dtype == torch.float32
    assert torch.all(table == 1.00390625)


def test_only_checkpoints_of_one_model_are_averaged(
    tiny_model: AbNet, tiny_config: AbNetConfig, tmp_path: Path
) -> None:
    save_fairseq(tmp_path / "checkpoint1.pt", tiny_model)
    other = AbNet.from_pretrained(replace(tiny_config, encoder_adapter_dim=20))
    save_fairseq(tmp_path / "checkpoint2.pt", other)
    with pytest.raises(AbNetError, match="All checkpoints must be of one model"):
        average_checkpoints([tmp_path / "checkpoint1.pt", tmp_path / "checkpoint2.pt"])
    alike = AbNet.from_pretrained(replace(tiny_config, decoder_adapter_norm="post"))
    save_fairseq(tmp_path / "checkpoint2.pt", alike)  # of weights of the same names and shapes
    with pytest.raises(AbNetError, match=r"has the decoder_adapter_norm 'post' and .* 'pre'"):
        average_checkpoints([tmp_path / "checkpoint1.pt", tmp_path / "checkpoint2.pt"])
    with pytest.raises(AbNetError, match="at least one checkpoint"):
        average_checkpoints([])


def test_the_last_and_the_best_of_a_folder(
    tiny_model: AbNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["checkpoint1.pt", "checkpoint2.pt", "checkpoint_2_900.pt", "checkpoint_3_1000.pt"]
    best = [f"checkpoint.best_loss_{loss}.pt" for loss in ("-0.3500", "2.5000", "10.1002")]
    for name in [*names, *best, "checkpoint_last.pt", "checkpoint_best.pt"]:
        save_fairseq(tmp_path / name, tiny_model)
    last = [path.name for path in last_checkpoints(tmp_path, 3)]
    assert last == ["checkpoint_3_1000.pt", "checkpoint2.pt", "checkpoint_2_900.pt"]
    assert [path.name for path in best_checkpoints(tmp_path, 3)] == best
    with pytest.raises(AbNetError, match=r"must have 5 or more checkpoints check.*, but has 4"):
        last_checkpoints(tmp_path, 5)
    with pytest.raises(AbNetError, match=r"`count` \(.*\) must be at least 1, but is 0"):
        last_checkpoints(tmp_path, 0)
    save_fairseq(tmp_path / "checkpoint.best_bleu_30.1.pt", tiny_model)  # after --reset-meters
    with pytest.raises(AbNetError, match=r"by one metric, but are by bleu and loss: name the"):
        best_checkpoints(tmp_path, 2)
    for loss in best:
        (tmp_path / loss).unlink()
    for score in ("9.5", "28.0", "30.1"):
        save_fairseq(tmp_path / f"checkpoint.best_bleu_{score}.pt", tiny_model, largest=True)
    best = [f"checkpoint.best_bleu_{score}.pt" for score in ("30.1", "28.0")]
    assert [path.name for path in best_checkpoints(tmp_path, 2)] == best
    given = ["average", str(tmp_path), "--best", "2", "--output", str(tmp_path / "mean.pt")]
    assert main(given) == 0
    captured = capsys.readouterr()
    assert all(name in captured.out + captured.err for name in best)
    assert len(last_checkpoints(tmp_path, 5, or_fewer=True)) == 4
    assert len(last_checkpoints(tmp_path, 3, or_fewer=True)) == 3
    for name in names:
        (tmp_path / name).unlink()
    assert last_checkpoints(tmp_path, 5, or_fewer=True) == [tmp_path / "checkpoint_last.pt"]
    (tmp_path / "checkpoint_last.pt").unlink()
    with pytest.raises(AbNetError, match=r"must have 1 or more checkpoints check.*, but has 0"):
        last_checkpoints(tmp_path, 5, or_fewer=True)
    for choose in (last_checkpoints, best_checkpoints):
        with pytest.raises(AbNetError, match=r"of a training run, but .*none' does not exist"):
            choose(tmp_path / "none", 1)
        with pytest.raises(AbNetError, match=r"training run, but .*_30\.1\.pt' is a file"):
            choose(tmp_path / best[0], 1)


def test_an_average_overwrites_nothing_that_training_needs(
    tiny_model: AbNet, tmp_path: Path
) -> None:
    names = ("checkpoint1.pt", "checkpoint2.pt", "checkpoint_last.pt", "mine.pt", "average.pt")
    first, second, last, mine, average = (tmp_path / name for name in names)
    for path in (first, second, last, mine):
        save_fairseq(path, tiny_model)  # with the state of an optimizer
    write_checkpoint(average, average_checkpoints([first, second]))
    for output in (average, tmp_path / "new.pt", tmp_path / "checkpoint9.pt"):
        check_output(output, [first, second])
    with pytest.raises(AbNetError, match=r"checkpoint1\.pt is among those averaged"):
        check_output(tmp_path / "." / "checkpoint1.pt", [first, second])
    for output in (last, mine):
        before = output.read_bytes()
        with pytest.raises(AbNetError, match=f"{output.name} is a checkpoint that training goes"):
            check_output(output, [first, second])
        assert main(["average", str(first), str(second), "--output", str(output)]) == 2
        assert output.read_bytes() == before
