"""`abnet distill`, from the teacher's checkpoint to the folder."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from abnet.checkpoint import read_checkpoint, save_checkpoint, write_checkpoint
from abnet.config import AbNetConfig
from abnet.decoding.mask_predict import DecodingOptions
from abnet.model import AbNet
from abnet.translator import InputReport, Translator
from tests.conftest import TinyBerts
from tests.translated.conftest import SOURCES, Folder, Outcome, write

Run = Callable[..., Outcome]


@pytest.fixture
def command(checkpoint: str, train: str, output: Folder) -> list[str]:
    return [
        "distill", checkpoint, "--train", train, "--pair", "de-en", "--output", str(output.path),
        "--shard-lines", "3", "--devices", "cpu", "--no-filter",
    ]  # fmt: skip


@pytest.fixture
def expected(tiny_model: AbNet) -> list[str]:
    """What the teacher says, all lines at once."""
    found = Translator(tiny_model, "cpu").translate_n_best(
        SOURCES, DecodingOptions(), report=InputReport()
    )
    return [translations[0].text for translations in found]


def test_berts_that_have_moved_are_named(
    run: Run,
    command: list[str],
    output: Folder,
    expected: list[str],
    tiny_berts: TinyBerts,
    tiny_config: AbNetConfig,
    checkpoint: str,
    tmp_path: Path,
) -> None:
    before = [
        shutil.copytree(one, tmp_path / "before" / str(at)) for at, one in enumerate(tiny_berts)
    ]
    contents = read_checkpoint(checkpoint)
    config = dataclasses.replace(
        tiny_config, source_bert=str(before[0]), target_bert=str(before[1])
    )
    write_checkpoint(checkpoint, contents._replace(config=config))
    shutil.rmtree(tmp_path / "before")
    source, target = (f"--source-bert={tiny_berts.german}", f"--target-bert={tiny_berts.english}")
    for given in ([], [source], [target]):
        assert "is no folder. If it has moved, give its new place" in run(*command, *given).errors
    assert run(*command, source, target).status == 0
    assert output.lines("en") == expected


def test_shards_are_the_teachers_translations(
    run: Run, command: list[str], output: Folder, expected: list[str], checkpoint: str, train: str
) -> None:
    outcome = run(*command)
    assert outcome.status == 0, outcome.errors
    assert output.lines("de") == SOURCES
    assert output.lines("en") == expected
    assert output.times().keys() == {f"shard-0000{number}.txt" for number in range(1, 6)}
    manifest = output.manifest
    content = Path(checkpoint).read_bytes()
    assert manifest["teacher"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["teacher"]["berts"].keys() == {"source", "target"}
    assert manifest["teacher"]["decoding"] == dataclasses.asdict(DecodingOptions())
    source = Path(f"{train}.de")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert manifest["inputs"] == [{"file": str(source), "sha256": digest, "lines": 14}]
    assert manifest["made_from"]["lines"] == 14
    assert manifest["made_from"]["decoding"] == {}  # all as usual
    assert [shard["lines"] for shard in manifest["shards"]] == [3, 3, 3, 3, 2]
    assert [(shard["cut"], shard["unknown"]) for shard in manifest["shards"]] == [
        (0, 0), (0, 0), (0, 0), (1, 1), (0, 0),
    ]  # fmt: skip
    result = manifest["result"]
    assert (result["read"], result["pairs"], result["dropped"]) == (14, 14, {})
    target = (output.path / "train.en").read_bytes()
    assert result["files"]["train.en"] == hashlib.sha256(target).hexdigest()
    assert manifest["filter"] is None
    assert manifest["distilled"]["teacher"] == checkpoint
    assert manifest["versions"]["torch"] == torch.__version__
    assert "warning: 1 of 14 lines are longer than what the teacher takes" in outcome.errors
    assert "warning: 1 of 14 lines are made of words unknown to the" in outcome.errors
    assert not output.leftovers()


def test_only_missing_shards_are_translated(
    run: Run, command: list[str], output: Folder, expected: list[str]
) -> None:
    assert run(*command).status == 0
    before = output.times()
    (output.path / "shards" / "shard-00002.txt").write_text("half")
    (output.path / "shards" / "shard-00004.json").unlink()
    outcome = run(*command)
    assert "translating 2 shards of 5 in all" in outcome.errors
    after = output.times()
    assert {name for name in after if after[name] != before[name]} == {
        "shard-00002.txt",
        "shard-00004.txt",
    }
    assert output.lines("en") == expected
    again = run(*command)
    assert "translating" not in again.errors
    assert output.times() == after


def test_ctrl_c_keeps_finished_shards(
    run: Run,
    command: list[str],
    output: Folder,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, calls = Translator.translate_n_best, []

    def translate(self: Translator, lines: list[str], *more: Any, **named: Any) -> Any:
        calls.append(lines)
        if len(calls) == 4:  # the first one is a rehearsal
            raise KeyboardInterrupt
        return original(self, lines, *more, **named)

    monkeypatch.setattr(Translator, "translate_n_best", translate)
    assert run(*command).status == 130
    before = output.times()
    assert before.keys() == {"shard-00001.txt", "shard-00002.txt"}
    assert output.result is None
    assert not (output.path / "train.de").exists()
    assert run(*command).status == 0
    assert len(calls) == 7  # the rehearsal, two, the interrupted one, and the missing three
    assert before.items() <= output.times().items()
    assert output.lines("en") == expected


def test_parts_make_the_whole(
    run: Run, command: list[str], output: Folder, expected: list[str]
) -> None:
    first = run(*command, "--part", "2/2")
    assert first.status == 0
    assert output.times().keys() == {"shard-00002.txt", "shard-00004.txt"}
    assert "all shards of part 2/2 are done; 3 of other parts are missing" in first.errors
    assert not (output.path / "train.en").exists()
    second = run(*command, "--part", "1/2")
    assert second.status == 0
    assert output.lines("de") == SOURCES
    assert output.lines("en") == expected


@pytest.mark.slow
def test_several_workers_make_what_one_does(
    run: Run, command: list[str], output: Folder, expected: list[str]
) -> None:
    outcome = run(*command, "--workers", "2")
    assert outcome.status == 0, outcome.errors
    assert output.lines("en") == expected
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed(
    run: Run, command: list[str], output: Folder, expected: list[str]
) -> None:
    assert run(*command, "--part", "1/2").status == 0
    before = output.times()

    def kill_one() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    outcome = run(*command, "--workers", "2")
    killer.join()
    assert outcome.status == 2
    assert "The process that had shard " in outcome.errors
    assert "was ended by SIGKILL, perhaps for want of memory" in outcome.errors
    assert before.items() <= output.times().items()
    assert not multiprocessing.active_children()
    assert run(*command).status == 0
    assert output.lines("en") == expected


@pytest.mark.slow
def test_ctrl_c_ends_all_workers(command: list[str], output: Folder, train: str) -> None:
    write(Path(f"{train}.de"), SOURCES * 40)
    command[command.index("--shard-lines") + 1] = "1"
    process = subprocess.Popen(
        [sys.executable, "-m", "abnet.cli", *command, "--workers", "2"],
        stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not output.times() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert output.times()
    assert output.result is None


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_shard_that_fails_is_named(
    run: Run, command: list[str], output: Folder, workers: str
) -> None:
    assert run(*command, "--part", "5/5").status == 0
    (output.path / "shards" / "shard-00001.txt").mkdir()
    outcome = run(*command, "--workers", workers)
    assert outcome.status == 2
    assert "Shard 1 (lines 1 to 3) could not be translated (IsADirectoryError" in outcome.errors
    assert not output.leftovers()


def test_other_settings_are_refused(
    run: Run, command: list[str], output: Folder, train: str, checkpoint: str, tiny_model: AbNet
) -> None:
    assert run(*command).status == 0
    before = output.times()
    changes = [("decoding", ["--iterations", "3"]), ("shard_lines", ["--shard-lines", "4"])]
    for name, change in changes:
        outcome = run(*command, *change)
        assert outcome.status == 2
        assert f"holds what was made from something else: {name} (" in outcome.errors
    write(Path(f"{train}.de"), SOURCES[:5])
    assert "something else: inputs (" in run(*command).errors
    write(Path(f"{train}.de"), SOURCES)
    with torch.no_grad():
        tiny_model.encoder.length.table.weight.add_(1.0)
    save_checkpoint(checkpoint, tiny_model)
    assert "something else: teacher (" in run(*command).errors
    assert output.times() == before
    assert run(*command, "--overwrite", "--shard-lines", "7", "--iterations", "1").status == 0
    assert output.times().keys() == {"shard-00001.txt", "shard-00002.txt"}
    assert output.manifest["teacher"]["decoding"]["iterations"] == 1


def test_another_filter_or_name_needs_no_translation(
    run: Run, command: list[str], output: Folder
) -> None:
    assert run(*command).status == 0
    before = output.times()
    command.remove("--no-filter")
    outcome = run(*command, "--max-ratio", "50", "--max-repeats", "99", "--teacher-name", "tiny")
    assert outcome.status == 0
    assert output.times() == before
    result = output.result
    assert result["dropped"]["empty"] >= 1
    assert (result["dropped"]["cut"], result["dropped"]["unknown"]) == (1, 1)
    assert result["pairs"] == 14 - sum(result["dropped"].values())
    assert output.manifest["filter"] == {
        "max_ratio": 50.0, "max_repeats": 99, "drop_copies": False,
    }  # fmt: skip
    assert output.manifest["distilled"]["teacher"] == "tiny"
    assert not {"", SOURCES[9], SOURCES[10]} & set(output.lines("de"))
    assert len(output.lines("de")) == len(output.lines("en")) == result["pairs"]


@pytest.mark.parametrize("device", ["nowhere", "meta"])
def test_a_device_that_cannot_be(run: Run, command: list[str], output: Folder, device: str) -> None:
    outcome = run(*command, "--devices", device)
    assert outcome.status == 2
    assert f"`device` must be one that this torch can use, but is '{device}'" in outcome.errors
    assert not output.path.exists()  # so that another model is not "something else"


def test_nothing_is_overwritten_by_what_cannot_be_done(
    run: Run, command: list[str], output: Folder, checkpoint: str, tiny_berts: TinyBerts
) -> None:
    """Another model of the same BERTs, which is no ensemble with the first."""
    assert run(*command).status == 0
    before = output.manifest, output.times(), output.lines("en")
    other = AbNet.from_pretrained(
        AbNetConfig(tiny_berts.german, tiny_berts.english, objective="autoregressive")
    )
    path = str(Path(checkpoint).with_name("other.safetensors"))
    save_checkpoint(path, other)
    command[1] = f"{checkpoint}:{path}"
    outcome = run(*command, "--overwrite")
    assert outcome.status == 2
    assert "All models of an ensemble must decode in one way" in outcome.errors
    assert (output.manifest, output.times(), output.lines("en")) == before


def test_what_is_read_is_not_overwritten(
    run: Run, command: list[str], output: Folder, checkpoint: str, tmp_path: Path
) -> None:
    """What came out goes in again, from the folder itself."""
    assert run(*command).status == 0
    before = output.lines("en")
    own = str(output.path / "train")
    outcome = run(*command, "--train", own, "--iterations", "1", "--overwrite")
    assert outcome.status == 2
    assert "train.de is to be read, but would be deleted or written over" in outcome.errors
    held = write(tmp_path / "held.en", [])
    back = ["backtranslate", checkpoint, "--pair", "en-de", "--exclude", held, "--devices", "cpu"]
    back += ["--true", tmp_path / "in" / "train", "--shard-lines", "3"]
    assert (
        run(*back, "--mono", tmp_path / "in" / "train.de", "--output", tmp_path / "b").status == 0
    )
    mono = tmp_path / "b" / "train.de"
    outcome = run(*back, "--mono", mono, "--output", tmp_path / "b", "--overwrite")
    assert outcome.status == 2
    assert f"{mono} is to be read, but would be deleted or written over" in outcome.errors
    translations = output.path / "train.en"
    adopt = ["distill", "--train", tmp_path / "in" / "train", "--pair", "de-en", "--overwrite"]
    adopt += ["--translations", translations, "--teacher-name", "big", "--no-filter"]
    outcome = run(*adopt, "--output", output.path)
    assert outcome.status == 2
    assert f"{translations} is to be read, but would be deleted or written over" in outcome.errors
    assert output.lines("en") == before


def test_a_call_that_is_repeated_does_not_write_over_what_it_reads(
    run: Run, command: list[str], output: Folder
) -> None:
    """Its shards are there and of the same lines, so that only the result would be made anew."""
    assert run(*command, "--no-filter").status == 0
    outcome = run(
        *command, "--no-filter", "--train", str(output.path / "train"), "--max-ratio", "9"
    )
    assert outcome.status == 2
    assert "train.de is to be read, but would be deleted or written over" in outcome.errors


def test_foreign_folders_stay(run: Run, command: list[str], output: Folder) -> None:
    mine = write(output.path / "train.en", ["mine"])
    outcome = run(*command, "--overwrite")
    assert outcome.status == 2
    assert f"but {output.path} has train.en and no manifest.json" in outcome.errors
    (output.path / "manifest.json").write_text('{"made_from": {"pair": "de-en"}}')
    outcome = run(*command, "--overwrite")
    assert "is another command's" in outcome.errors
    assert mine.read_text() == "mine\n"
