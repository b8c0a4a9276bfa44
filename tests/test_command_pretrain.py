"""`abnet pretrain` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from abnet.cli import main
from abnet.pretraining.options import PretrainingOptions
from abnet.pretraining.pretrain import PretrainingReport, pretrain
from tests.short_pretraining import options

COMMAND = (
    "--layers 1 --hidden 16 --heads 2 --ffn 32 --vocab-size 120 --max-positions 24 "
    "--batch-tokens 200 --updates 6".split()
)


def test_command(text: Path, tmp_path: Path, capsys: Any) -> None:
    """The same run as in Python."""
    output, valid = tmp_path / "bert", tmp_path / "valid.de"
    valid.write_text(text.read_text("utf-8").splitlines()[5] + "\n", encoding="utf-8")
    report = pretrain([text], tmp_path / "python", options(), [valid])
    files = ["--text", str(text), "--output", str(output), "--exclude", str(valid)]
    assert main(["pretrain", *files, *COMMAND]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{output}: {report.parameters:,} weights, ")
    assert "62 lines (1 dropped as excluded), 6 updates in " in printed
    assert "of the masked words of 1 held-out lines" in printed
    saved = json.loads((output / "pretraining.json").read_text(encoding="utf-8"))
    assert saved["settings"] == report.settings
    ours, theirs = (load_file(f / "model.safetensors") for f in (output, tmp_path / "python"))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--updates", "1", "--seed", "-1"], "`seed` must be in [0, 2**32), but is -1"),
        (["--minutes", "nan"], "`minutes` must be positive, but is nan"),
        (["--minutes", "inf"], "`minutes` must be positive, but is inf"),
    ],
)
def test_values_that_cannot_be(
    given: list[str], message: str, text: Path, tmp_path: Path, capsys: Any
) -> None:
    assert main(["pretrain", "--text", str(text), "--output", str(tmp_path / "b"), *given]) == 2
    assert message in capsys.readouterr().err


def test_command_passes_its_options_on(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def record(*given: Any) -> PretrainingReport:
        calls.append(given)
        return PretrainingReport({}, 1, 1, 0, 1, 1, 1, 1.0, 0.5, {})

    monkeypatch.setattr("abnet.pretraining.pretrain.pretrain", record)
    files = ["--text", str(text), "b", "--output", str(tmp_path)]
    given = "--minutes 2.5 --lr 1e-4 --dropout 0 --masking decoder --no-cls --bf16 --seed 3".split()
    assert main(["pretrain", *files, *given, "--lowercase", "--save-minutes", "9"]) == 0
    assert main(["pretrain", *files, "--updates", "7", "--from", "x", "--resume"]) == 0
    assert main(["pretrain", *files, "--updates", "7", "--from", "x", "--head-only"]) == 0
    assert main(["pretrain", *files, "--updates", "7", "--mask-share", "0.3", "--fp16"]) == 0
    assert [call[0] for call in calls] == [[text, Path("b")]] * 4
    assert [call[2] for call in calls] == [
        PretrainingOptions(
            minutes=2.5,
            learning_rate=1e-4,
            dropout=0.0,
            masking="decoder",
            with_cls=False,
            precision="bf16",
            seed=3,
            lowercase=True,
            save_minutes=9.0,
        ),
        PretrainingOptions(shape=None, start="x", updates=7, resume=True),
        PretrainingOptions(shape=None, start="x", updates=7, head_only=True),
        PretrainingOptions(updates=7, mask_share=0.3, precision="fp16"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--updates 5 --from x --layers 2", "--from keeps the shape and the vocabulary"),
        ("--updates 5 --from x --lowercase", "--from keeps the shape and the vocabulary"),
        ("--updates 5 --from x --dropout 0.2", "--from keeps the dropout of that BERT"),
        ("--updates 5 --masking decoder --mask-share 0.3", "leave --mask-share out"),
        ("--updates 5 --head-only", "--head-only must come with --from"),
        ("--updates 5 --hidden 16 --heads 3", r"`heads` must divide `hidden` (16)"),
        ("--updates 0", "`updates` must be positive"),
        ("--updates 5", "Cannot read missing: No such file or directory"),
    ],
)
def test_command_errors(tmp_path: Path, capsys: Any, arguments: str, message: str) -> None:
    files = ["--text", "missing", "--output", str(tmp_path / "bert")]
    assert main(["pretrain", *files, *arguments.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("abnet: error: ")
    assert message in captured.err
    assert not captured.out
    assert not (tmp_path / "bert").exists()


def test_folder_that_cannot_be_made(text: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file" / "bert", Path("/proc/abnet")):
        files = ["--text", str(text), "--output", str(output)]
        assert main(["pretrain", *files, *COMMAND]) == 2
        expected = f"`output` must be a folder that can be made, but {output} cannot"
        assert expected in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--updates 5 --minutes 1", "not allowed with argument"),
        ("", "one of the arguments --updates --minutes is required"),
        ("--updates 5 --bf16 --fp16", "not allowed with argument"),
        ("--updates 5 --masking whole", "invalid choice: 'whole'"),
    ],
)
def test_command_usage(capsys: Any, arguments: str, message: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["pretrain", "--text", "a", "--output", "b", *arguments.split()])
    assert message in capsys.readouterr().err
