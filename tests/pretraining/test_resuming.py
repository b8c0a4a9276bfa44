"""`abnet pretrain` that was stopped, or has ended: going on, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from abnet.errors import AbNetError
from abnet.pretraining import masked_lm
from abnet.pretraining.pretrain import pretrain
from abnet.processes import sole_user
from tests.short_pretraining import Made, continuing, options, same


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and bytes of every file."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


class StoppedError(Exception):
    pass


def interrupt(step: int, whole: bool, patch: pytest.MonkeyPatch) -> None:
    """Stops a run as this checkpoint is being written, or right after."""
    on_save = masked_lm.Budget.on_save

    def stop(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step and not whole:
            raise StoppedError
        on_save(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise StoppedError

    patch.setattr(masked_lm.Budget, "on_save", stop)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[list[int]]]:
    """Sequences of every batch that is masked from here on."""
    seen: list[list[list[int]]] = []
    collate = masked_lm.MaskingCollator.__call__

    def record(self: Any, features: Any) -> Any:
        seen.append([feature["input_ids"] for feature in features])
        return collate(self, features)

    monkeypatch.setattr(masked_lm.MaskingCollator, "__call__", record)
    return seen


@pytest.mark.parametrize(
    ("stop", "whole", "last"),
    [(13, True, 13), (11, False, 10)],
    ids=["within an epoch", "from the checkpoint before a broken one"],
)
def test_resumed_run_goes_on(
    text: Path,
    tmp_path: Path,
    batches: list[list[list[int]]],
    stop: int,
    whole: bool,
    last: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Same batches in the same order; from the end of an epoch on, same weights to the bit."""
    expected = Made(tmp_path / "whole", pretrain([text], tmp_path / "whole", options(updates=23)))
    order = batches[:23]
    first, second = list(chain(*order[:10])), list(chain(*order[10:20]))
    assert sorted(first) == sorted(second)  # two epochs of ten batches, in different order
    assert first != second
    assert len(first) > 60
    with monkeypatch.context() as patch:
        interrupt(stop, whole, patch)
        with pytest.raises(StoppedError):
            pretrain([text], tmp_path / "cut", options(updates=23, save_minutes=1e-9))
    work = tmp_path / "cut/training"
    assert (work / f"checkpoint-{stop}").exists()
    checkpoint = work / f"checkpoint-{last}"
    assert masked_lm.last_checkpoint(work) == checkpoint
    (checkpoint / "seconds.json").write_text("1000.0")
    batches.clear()
    resumed = options(updates=23, resume=True)
    ours = Made(tmp_path / "cut", pretrain([text], tmp_path / "cut", resumed))
    assert batches[: 23 - last] == order[last:]
    assert ours.report.updates == 23
    assert 1000.0 < ours.report.seconds < 1100.0
    assert same(ours.weights, expected.weights) == (last == 10)
    for name, weight in ours.weights.items():
        torch.testing.assert_close(weight, expected.weights[name], rtol=0, atol=0.01)
    assert not work.exists()


def test_resumed_run_with_other_settings(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(2, True, monkeypatch)
    with pytest.raises(StoppedError):
        pretrain([text], tmp_path / "cut", options(save_minutes=1e-9))
    before = content(tmp_path / "cut")
    with pytest.raises(AbNetError, match=r"cut was begun with other settings \(learning_rate, see"):
        pretrain([text], tmp_path / "cut", options(seed=2, learning_rate=1.0, resume=True))
    with pytest.raises(AbNetError, match=r"must be a new or empty folder, but .*add --resume"):
        pretrain([text], tmp_path / "cut", options())
    assert content(tmp_path / "cut") == before


def test_finished_run_is_kept(made: Made, text: Path) -> None:
    before = content(made.folder)
    exclude = [made.folder.parents[1] / "valid.de"]
    assert pretrain([text], made.folder, options(resume=True), exclude) == made.report
    with pytest.raises(AbNetError, match=r"begun with other settings \(excluded\)"):
        pretrain([text], made.folder, options(resume=True))
    with pytest.raises(AbNetError, match=r"begun with other settings \(updates\)"):
        pretrain([text], made.folder, options(resume=True, updates=7), exclude)
    with pytest.raises(AbNetError, match="must be a new or empty folder"):
        pretrain([text], made.folder, options(), exclude)
    assert content(made.folder) == before
    of_another = shutil.copytree(made.folder, made.folder.parent / "of-another-version")
    report = json.loads((of_another / "pretraining.json").read_text("utf-8"))
    (of_another / "pretraining.json").write_text(json.dumps({**report, "perplexity": 3}), "utf-8")
    with pytest.raises(AbNetError, match=r"must be a report of this version: .*perplexity"):
        pretrain([text], of_another, options(resume=True), exclude)


def test_run_that_is_going_on_is_let_alone(text: Path, tmp_path: Path) -> None:
    with sole_user(tmp_path), pytest.raises(AbNetError, match="is in use by another process"):
        pretrain([text], tmp_path, options(resume=True))
    assert not any(tmp_path.iterdir())


def test_resume_begins_a_new_run(text: Path, tmp_path: Path) -> None:
    """One command line for the first time and every other."""
    assert pretrain([text], tmp_path, options(updates=1, resume=True)).updates == 1


def test_folder_with_something_else(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "note").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for output in (folder, tmp_path / "file"):
        with pytest.raises(AbNetError, match=f"but {output} is not; to go on"):
            pretrain([text], output, options())
        with pytest.raises(AbNetError, match=f"but {output} is not; it holds no run to resume"):
            pretrain([text], output, options(resume=True))
    assert (folder / "note").read_text() == (tmp_path / "file").read_text() == "mine"


def test_other_excluded_text_is_another_setting(text: Path, tmp_path: Path) -> None:
    """As many lines dropped, but not the same ones."""
    files = [tmp_path / "a", tmp_path / "b"]
    for at, file in enumerate(files):
        file.write_text(text.read_text("utf-8").splitlines()[at] + "\n", encoding="utf-8")
    pretrain([text], tmp_path / "bert", options(), files[:1])
    with pytest.raises(AbNetError, match=r"begun with other settings \(excluded\)"):
        pretrain([text], tmp_path / "bert", options(resume=True), files[1:])
    report = pretrain([text], tmp_path / "bert", options(resume=True), files[:1])
    assert report.dropped_lines == 1


def test_a_start_that_was_made_anew_is_another_setting(text: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    pretrain([text], start, options())
    pretrain([text], tmp_path / "bert", continuing(start))
    pretrain([text], tmp_path / "bert", continuing(start, resume=True))
    shutil.rmtree(start)
    pretrain([text], tmp_path / "bert", continuing(start, resume=True))  # it is needed no more
    pretrain([text], start, options(seed=2))
    with pytest.raises(AbNetError, match=r"begun with other settings \(start_files\)"):
        pretrain([text], tmp_path / "bert", continuing(start, resume=True))


def test_settings_of_an_earlier_version_say_nothing_of_newer_ones(
    made: Made, text: Path, tmp_path: Path
) -> None:
    shutil.copytree(made.folder, tmp_path / "bert")
    report = tmp_path / "bert" / "pretraining.json"
    told = json.loads(report.read_text())
    del told["settings"]["excluded"]
    report.write_text(json.dumps(told))
    exclude = [made.folder.parents[1] / "valid.de"]
    found = pretrain([text], tmp_path / "bert", options(resume=True), exclude)
    assert found.masked_accuracy == made.report.masked_accuracy


def test_a_damaged_record_is_named(made: Made, text: Path, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "bert")
    report = tmp_path / "bert" / "pretraining.json"
    report.write_text("")
    with pytest.raises(AbNetError, match=r"pretraining\.json must be as it was written, but"):
        pretrain([text], tmp_path / "bert", options(resume=True))


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file gets larger than so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("size", "save_minutes", "message"),
    [
        (200, 5.0, "`output` must be a folder that can be made, but .*: name another one"),
        (2_000, 5.0, "`output` must be a folder that can be made, but .*: name another one"),
        (12_000, 1e-9, r"training cannot be written \(.*make room, and go on .* --resume"),
        (12_000, 5.0, r"cut cannot be written \(.*make room, and go on .* --resume"),
    ],
    ids=["settings", "tokenizer", "checkpoint", "result"],
)
def test_a_full_disk_is_told_and_the_run_goes_on(
    made: Made, text: Path, tmp_path: Path, size: int, save_minutes: float, message: str
) -> None:
    exclude = [made.folder.parents[1] / "valid.de"]
    chosen = options(save_minutes=save_minutes, resume=True)
    with full_disk(size), pytest.raises(AbNetError, match=message):
        pretrain([text], tmp_path / "cut", chosen, exclude)
    report = pretrain([text], tmp_path / "cut", chosen, exclude)
    assert same(Made(tmp_path / "cut", report).weights, made.weights)
    names = {path.name for path in made.folder.iterdir()}
    assert {path.name for path in (tmp_path / "cut").iterdir()} == names


def test_resuming_does_not_write_the_record_again(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk nothing but the old one would do."""
    record = tmp_path / "cut" / "training" / "settings.json"
    written = []
    for step, resume in ((2, False), (3, True)):
        interrupt(step, True, monkeypatch)
        with pytest.raises(StoppedError):
            pretrain([text], tmp_path / "cut", options(save_minutes=1e-9, resume=resume))
        written.append((record.stat().st_ino, record.stat().st_mtime_ns))
    assert written[0] == written[1]
