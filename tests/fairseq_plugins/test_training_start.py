"""What a training starts from: what would begin anew, overwrite or compare wrongly is refused."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from abnet.checkpoint import FAIRSEQ_IDENTITY
from abnet.errors import AbNetError
from fairseq_plugins.training_start import check_start


def started(folder: Path, **changed: object) -> Namespace:
    """What `check_start` looks at, with the defaults of `fairseq-train`."""
    defaults = {
        "save_dir": str(folder), "restore_file": "checkpoint_last.pt", "continue_once": None,
        "finetune_from_model": None, "reset_optimizer": False, "reset_meters": False,
        "reset_dataloader": False, "keep_interval_updates": -1,
        "distributed_world_size": 1, "distributed_init_method": None, "max_tokens": 100,
        "batch_size": None, "checkpoint_suffix": "", "best_checkpoint_metric": "loss",
        "max_update": 0, "data": "data",
    }  # fmt: skip
    return Namespace(**{**defaults, **changed})


def state_of(optimizer: object, **cfg: object) -> dict[str, Any]:
    """What `check_start` reads of a checkpoint after three updates."""
    return {
        "cfg": {"task": {"data": "data-bin/data"}, **cfg},
        "optimizer_history": [{"num_updates": 3}],
        "last_optimizer_state": optimizer,
        "extra_state": {"train_iterator": {"epoch": 2}},
        "model": {FAIRSEQ_IDENTITY: torch.zeros(1, dtype=torch.uint8)},
    }


def save(path: Path, optimizer: object = None) -> str:
    path.parent.mkdir(exist_ok=True)
    torch.save(state_of(optimizer), path)
    return str(path)


def test_weights_without_an_optimizer_are_no_training_to_go_on_with(tmp_path: Path) -> None:
    average = save(tmp_path / "average.pt")
    new = tmp_path / "new"
    with pytest.raises(AbNetError, match=r"cannot go on from .*average\.pt, which has no state of"):
        check_start(started(new, restore_file=average))
    check_start(started(new, restore_file=average, reset_optimizer=True))
    check_start(started(new, finetune_from_model=average))
    save(new / "checkpoint_last.pt")  # with --no-save-optimizer-state
    with pytest.raises(AbNetError, match=r"cannot go on from .*checkpoint_last\.pt"):
        check_start(started(new))
    save(new / "checkpoint_last.pt", {"state": {}})
    check_start(started(new))


def test_a_suffix_is_part_of_the_checkpoints_names(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint_last.pt", {"state": {}})
    save(tmp_path / "checkpoint_last-b.pt")
    check_start(started(tmp_path))
    with pytest.raises(AbNetError, match=r"cannot go on from .*checkpoint_last-b\.pt"):
        check_start(started(tmp_path, checkpoint_suffix="-b"))
    check_start(started(tmp_path, checkpoint_suffix="-c"))
    save(tmp_path / "checkpoint2-c.pt", {"state": {}})
    with pytest.raises(AbNetError, match=r"has checkpoint2-c\.pt and no checkpoint_last-c\.pt to"):
        check_start(started(tmp_path, checkpoint_suffix="-c"))
    start = save(tmp_path / "start-c.pt", {"state": {}}).replace("-c", "")
    check_start(started(tmp_path / "new", restore_file=start, checkpoint_suffix="-c"))
    with pytest.raises(AbNetError, match=r"must be an existing checkpoint, but .*start-b\.pt is"):
        check_start(started(tmp_path / "new", restore_file=start, checkpoint_suffix="-b"))


def test_a_new_training_overwrites_no_other(tmp_path: Path) -> None:
    save(tmp_path / "average.pt")
    check_start(started(tmp_path))
    save(tmp_path / "checkpoint1.pt", {"state": {}})
    with pytest.raises(AbNetError, match=r"has checkpoint1\.pt and no checkpoint_last\.pt to go"):
        check_start(started(tmp_path))
    check_start(started(tmp_path, restore_file=str(tmp_path / "checkpoint1.pt")))


@pytest.mark.parametrize("name", ["checkpoint_best", "checkpoint.best_bleu_35.4821"])
def test_a_new_training_overwrites_no_best_one(tmp_path: Path, name: str) -> None:
    """With `--no-last-checkpoints --no-epoch-checkpoints` it is all that a training leaves."""
    save(tmp_path / f"{name}.pt", {"state": {}})
    with pytest.raises(AbNetError, match=f"must be a new folder for a new training.* has {name}"):
        check_start(started(tmp_path))
    check_start(started(tmp_path, checkpoint_suffix="-b"))
    save(tmp_path / f"{name}-b.pt", {"state": {}})
    with pytest.raises(AbNetError, match=rf"has {name}-b\.pt and no checkpoint_last-b\.pt"):
        check_start(started(tmp_path, checkpoint_suffix="-b"))


def test_a_restart_of_the_epochs_is_one_of_the_order(tmp_path: Path) -> None:
    """The updates go on, but an average orders by the epoch first."""
    state = state_of({"state": {}})
    state["extra_state"] = {"train_iterator": {"epoch": 3}}
    for name in ("checkpoint_2_3", "checkpoint_last"):
        torch.save(state, tmp_path / f"{name}.pt")
    check_start(started(tmp_path, reset_optimizer=True))  # updates count anew, the epochs go on
    with pytest.raises(AbNetError, match=r"beyond the 0 updates and epoch 3 .* checkpoint_2_3\.pt"):
        check_start(started(tmp_path, reset_optimizer=True, keep_interval_updates=5))
    with pytest.raises(AbNetError, match=r"beyond the 3 updates and epoch 1 .* checkpoint_2_3\.pt"):
        check_start(started(tmp_path, reset_dataloader=True))


def test_the_last_one_by_its_whole_name_is_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a cluster's job does it that is queued again."""
    last = save(tmp_path / "checkpoint_last.pt", {"state": {}})
    save(tmp_path / "checkpoint_2_4.pt", {"state": {}})  # the process was killed before the last
    check_start(started(tmp_path, restore_file=last))
    assert not caplog.records
    with pytest.raises(SystemExit):
        check_start(started(tmp_path, restore_file=last, max_update=3))


COUNT_ANEW = {"reset_optimizer": True, "reset_dataloader": True}


@pytest.mark.parametrize("name", ["checkpoint3.pt", "checkpoint_3_6.pt"])
@pytest.mark.parametrize("start", ["checkpoint2", "other/checkpoint", "checkpoint_last"])
def test_no_counting_beside_higher_numbers(tmp_path: Path, name: str, start: str) -> None:
    """Fairseq would delete the new checkpoints rather than the old ones."""
    state = state_of({"state": {}})
    state["extra_state"] = {"train_iterator": {"epoch": 3}}
    (tmp_path / "other").mkdir()
    for path in ("checkpoint2", "checkpoint_2_3", "checkpoint_last", "other/checkpoint"):
        torch.save(state, tmp_path / f"{path}.pt")
    given = {"restore_file": str(tmp_path / f"{start}.pt")}
    if start == "checkpoint_last":
        with pytest.raises(AbNetError, match=r"beyond the 0 updates and epoch 1 .* has checkpoint"):
            check_start(started(tmp_path, **COUNT_ANEW))
        given = {}
    check_start(started(tmp_path, **given))
    torch.save(state, tmp_path / name)
    if given:
        with pytest.raises(AbNetError, match=rf"the 3 updates and epoch 3 that .* has {name}, whi"):
            check_start(started(tmp_path, **given))
    else:
        check_start(started(tmp_path))  # as it was stopped
    check_start(started(tmp_path / "new", restore_file=str(tmp_path / f"{start}.pt"), **COUNT_ANEW))


@pytest.mark.parametrize("content", [["a list"], {"bert.w": torch.zeros(1)}, {"model": {}}])
def test_what_is_of_another_model_is_no_start(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    for flag in ("restore_file", "finetune_from_model"):
        with pytest.raises(AbNetError, match=r"but .*other\.pt records no BERTs: it is of another"):
            check_start(started(tmp_path / "new", **{flag: str(tmp_path / "other.pt")}))


def test_a_best_value_of_another_metric_is_not_compared_with(tmp_path: Path) -> None:
    last = tmp_path / "checkpoint_last.pt"
    state = state_of({"state": {}}, checkpoint={"best_checkpoint_metric": "length_accuracy"})
    state["extra_state"] = {"best": 60.0}
    torch.save(state, last)
    bleu = {"best_checkpoint_metric": "bleu"}
    with pytest.raises(AbNetError, match=r"must be length_accuracy as in .* but is bleu instead"):
        check_start(started(tmp_path, **bleu))
    check_start(started(tmp_path, best_checkpoint_metric="length_accuracy"))
    check_start(started(tmp_path, **bleu, reset_meters=True))
    check_start(started(tmp_path, **bleu, reset_optimizer=True))
    new = tmp_path / "new"
    check_start(started(new, **bleu, finetune_from_model=str(last)))
    torch.save({**state, "extra_state": {}}, last)  # never validated
    check_start(started(tmp_path, **bleu))


@pytest.mark.parametrize(
    ("then", "now", "message"),
    [
        ({}, {"max_tokens": 200}, "`--max-tokens` must be 100 as in .* but is 200 instead"),
        ({}, {"batch_size": 8}, "`--batch-size` must be None as in .* but is 8 instead"),
        ({}, {"distributed_world_size": 2}, "`--distributed-world-size` must be 1 .* but is 3 "),
        (
            {"distributed_world_size": 2},
            {"distributed_world_size": 4},  # as many as there are GPUs: torchrun says 3
            "`--distributed-world-size` must be 2 as in .* but is 3 instead: some sentences would",
        ),
    ],
)
def test_within_an_epoch_batches_stay_as_they_are(
    then: dict[str, Any],
    now: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "3")
    state = state_of(
        {"state": {}},
        dataset={"max_tokens": 100, "batch_size": None},
        distributed_training={"distributed_world_size": 1, **then},
    )
    last = tmp_path / "checkpoint_last.pt"
    state["extra_state"] = {"train_iterator": {"epoch": 2, "iterations_in_epoch": 5}}
    torch.save(state, last)
    with pytest.raises(AbNetError, match=message):
        check_start(started(tmp_path, **now))
    check_start(started(tmp_path, **now, reset_dataloader=True))
    if not then:
        check_start(started(tmp_path))
    state["extra_state"]["train_iterator"]["iterations_in_epoch"] = 0  # an epoch's end
    torch.save(state, last)
    check_start(started(tmp_path, **now))


@pytest.mark.parametrize(
    ("name", "value"), [("label_smoothing", 0.2), ("length_loss_weight", 3.0), ("fuzzy_ngrams", 2)]
)
def test_a_best_loss_that_is_another_sum_is_not_compared_with(
    tmp_path: Path, name: str, value: float
) -> None:
    checkpoint = {"best_checkpoint_metric": "loss"}
    state = state_of({"state": {}}, checkpoint=checkpoint, model={"label_smoothing": 0.1})
    state["extra_state"] = {"best": 4.0}
    torch.save(state, tmp_path / "checkpoint_last.pt")
    check_start(started(tmp_path))
    flag = name.replace("_", "-")
    with pytest.raises(AbNetError, match=rf"`--{flag}` must be .* as in .* but is {value} instead"):
        check_start(started(tmp_path, **{name: value}))
    check_start(started(tmp_path, **{name: value}, reset_meters=True))
    state["cfg"]["checkpoint"]["best_checkpoint_metric"] = "nll_loss"
    torch.save(state, tmp_path / "checkpoint_last.pt")
    check_start(started(tmp_path, **{name: value}, best_checkpoint_metric="nll_loss"))


def test_a_start_that_is_taken_each_time_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = save(tmp_path / "other.pt", {"state": {}})
    check_start(started(tmp_path / "run", restore_file=other))
    assert not caplog.records
    last = save(tmp_path / "run" / "checkpoint_last.pt", {"state": {}})
    check_start(started(tmp_path / "run", restore_file=other))
    assert f"training starts from {other}, as each time" in caplog.text
    assert f"will overwrite {last}" in caplog.text


def test_what_is_done_is_not_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last = save(tmp_path / "checkpoint_last.pt", {"state": {}})
    with caplog.at_level(logging.INFO):
        for asked in (3, 2):
            with pytest.raises(SystemExit) as ended:
                check_start(started(tmp_path, max_update=asked))
            assert ended.value.code == 0
    assert f"nothing is left to do: {last} has 3 updates, and `--max-update` is 2" in caplog.text
    check_start(started(tmp_path, max_update=4))
    check_start(started(tmp_path, max_update=2, reset_optimizer=True))
    check_start(started(tmp_path / "new", max_update=2, finetune_from_model=last))


def test_another_training_that_is_done_is_no_beginning(tmp_path: Path) -> None:
    other = save(tmp_path / "other.pt", {"state": {}})
    new = tmp_path / "new"
    for flag in ("restore_file", "continue_once"):
        with pytest.raises(
            AbNetError, match=r"must be more than the 3 updates of .*, but is 3 ins"
        ):
            check_start(started(new, max_update=3, **{flag: other}))
        check_start(started(new, max_update=4, **{flag: other}))


def test_other_data_than_so_far_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "checkpoint_last.pt", {"state": {}})
    check_start(started(tmp_path, data="/elsewhere/data"))  # has moved
    (tmp_path / "data-bin" / "data").mkdir(parents=True)
    for data in (str(tmp_path / "data-bin" / "data"), "data-bin/data:more"):
        check_start(started(tmp_path, data=data))
    assert not caplog.records
    for data in ("/elsewhere/data", "/elsewhere/distilled"):
        caplog.clear()
        check_start(started(tmp_path, data=data))
        assert f"which was trained with data-bin/data, on {data}: for a new" in caplog.text
