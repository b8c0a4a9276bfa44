"""Every command and name in README.md is one that exists."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from abnet.checkpoint import CheckpointContents, write_checkpoint
from abnet.model import AbNet
from abnet.shapes import SHAPES
from abnet.systems import PRESETS, SYSTEMS
from benchmarks import bench
from scripts.reproduce import latency, multi30k, paper
from tests.commands import PARSERS, ROOT, check_script, parse, split_line

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
SHELL_LINES = [
    line
    for language, block in BLOCKS
    if language == "bash"
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]
# What distributed.sh puts in front of the arguments it is given.
TRAINING = ["fairseq-train", "--user-dir", "fairseq_plugins", "--task", "translation_abnet"]
TRAINING += ["--criterion", "conditional_masked_lm"]
PREPARING = ["--source-bert", "x", "--target-bert", "y", "--dest", "z"]


@pytest.mark.parametrize("line", SHELL_LINES)
def test_shell_commands_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for command in split_line(line):
        if command[0] == "srun":
            command = command[next(i for i, w in enumerate(command) if w.startswith("scripts")) :]
        if command[0].startswith("scripts/"):
            check_script(command[0])
            check_arguments(command, monkeypatch)
        elif command[0] == "source":
            assert command[1] == ".venv/bin/activate"
        else:
            parse(command, monkeypatch)


def check_arguments(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A script's arguments, by the parser of the command that they end up with."""
    script, arguments = Path(command[0]), command[1:]
    match script.parent.name:
        case "scripts" if script.stem == "bench":
            bench.build_parser().parse_args(arguments)
        case "prepare":
            prepared = ["abnet", "prepare", script.stem, "--pair", *arguments, *PREPARING]
            parse(prepared, monkeypatch)
        case "train" if script.stem == "distributed":
            parse([*TRAINING, *arguments], monkeypatch)
        case "train":
            parse([*TRAINING, "data-bin", "--arch", "abnet", *arguments[1:]], monkeypatch)
        case "generate":
            parse(["fairseq-generate", "data-bin", *arguments[1:]], monkeypatch)
        case "reproduce" if script.stem == "system":
            paper.build_parser("system").parse_intermixed_args(arguments)
            assert arguments[0] in SYSTEMS
        case "reproduce":
            scripts = {"multi30k": multi30k, "latency": latency}
            scripts[script.stem].build_parser().parse_args(arguments)
        case _:
            assert not arguments


def test_every_program_of_the_readme_is_checked() -> None:
    programs = {command[0] for line in SHELL_LINES for command in split_line(line)}
    others = {program for program in programs if not program.startswith("scripts/")}
    assert others <= {"abnet", "source", "srun"} | PARSERS.keys()
    assert {"fairseq-train", "fairseq-generate", "fairseq-interactive"} <= others
    assert len(SHELL_LINES) > 15


def test_scripts_architectures_and_shapes_exist() -> None:
    for name in set(re.findall(r"`(scripts/[\w/]+\.sh)`", README)):
        check_script(name)
    named = set(re.findall(r"`(abnet_\w+)`", README)) | set(re.findall(r"--arch (\w+)", README))
    assert len(named) >= 5
    assert named <= PRESETS.keys()
    line = next(line for line in SHELL_LINES if line.startswith("abnet describe"))
    words = shlex.split(line)
    assert {words[words.index(f"--{side}-bert") + 1] for side in ("source", "target")} <= set(
        SHAPES
    )


def test_paths_exist() -> None:
    for name in re.findall(r"`((?:abnet|benchmarks)/[\w/]+\.\w+|[A-Z]+(?:\.\w+)?)`", README):
        assert (ROOT / name).exists() or name in ("DIR",), name


def test_the_python_example_runs(
    tiny_model: AbNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    examples = [block for language, block in BLOCKS if language == "python"]
    assert len(examples) == 1
    path = re.search(r'"(checkpoints/.*\.pt)"', examples[0])
    assert path is not None
    envelope = {"cfg": {"model": tiny_model.config.to_dict()}}
    contents = CheckpointContents(
        tiny_model.config, tiny_model.identities, tiny_model.trained_state_dict(), envelope
    )
    write_checkpoint(tmp_path / path[1], contents)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["example"])
    exec(compile(examples[0], "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 2
