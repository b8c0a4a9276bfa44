from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from abnet.checkpoint import load_checkpoint, save_checkpoint
from abnet.cli import COMMANDS, build_parser, main
from abnet.errors import AbNetError
from abnet.model import AbNet
from tests.test_checkpoint import save_fairseq


def test_every_command_has_a_parser_and_a_help_line() -> None:
    text = build_parser().format_help()
    for command in COMMANDS:
        assert command in text
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])


def test_options_may_stand_between_files() -> None:
    orders = ("a.pt in.txt --n-best 2", "--n-best 2 a.pt in.txt", "a.pt --n-best 2 in.txt")
    parsed = [build_parser().parse_args(["translate", *order.split()]) for order in orders]
    for args in parsed:
        assert (args.checkpoint, args.file, args.n_best) == ("a.pt", "in.txt", 2)
    args = build_parser().parse_args(["average", "a.pt", "--output", "c.pt", "b.pt"])
    assert (args.checkpoints, args.output) == (["a.pt", "b.pt"], "c.pt")


def test_average_of_named_checkpoints(
    tiny_model: AbNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / f"{number}.safetensors") for number in (1, 2)]
    for value, path in enumerate(paths):
        with torch.no_grad():
            tiny_model.encoder.length.table.weight.fill_(float(value))
        save_checkpoint(path, tiny_model)
    for name in ("mean.safetensors", "mean.pt"):
        output = str(tmp_path / name)
        assert main(["average", *paths, "--output", output]) == 0
        assert "the mean of" in capsys.readouterr().out
        table = load_checkpoint(output).encoder.length.table.weight.detach()
        torch.testing.assert_close(table, torch.full_like(table, 0.5))


def test_an_average_of_fairseqs_loads_under_either_name(tiny_model: AbNet, tmp_path: Path) -> None:
    save_fairseq(tmp_path / "checkpoint1.pt", tiny_model)
    for name in ("mean.safetensors", "mean.pt"):
        output = str(tmp_path / name)
        assert main(["average", str(tmp_path), "--last", "1", "--output", output]) == 0
        found = load_checkpoint(output).trained_state_dict()
        assert all(found[n].equal(w) for n, w in tiny_model.trained_state_dict().items())


def test_average_says_what_is_wrong(
    tiny_model: AbNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "mean.pt")
    assert main(["average", str(tmp_path), "--last", "3", "--output", output]) == 2
    assert "must have 3 or more checkpoints checkpointN.pt, but has 0" in capsys.readouterr().err
    assert main(["average", "nofolder", "--last", "3", "--output", output]) == 2
    assert "of a training run, but 'nofolder' does not exist" in capsys.readouterr().err
    assert main(["average", str(tmp_path), "--best", "0", "--output", output]) == 2
    assert "(--last, --best) must be at least 1, but is 0" in capsys.readouterr().err
    assert main(["average", "a.pt", "b.pt", "--last", "2", "--output", output]) == 2
    assert "take one folder, but 2 were given" in capsys.readouterr().err
    assert main(["average", "a.pt", "--output", output]) == 2
    assert "There is no checkpoint 'a.pt'" in capsys.readouterr().err
    assert main(["average", "a.pt", "--or-fewer", "--output", output]) == 2
    assert "--or-fewer must go with --last" in capsys.readouterr().err


def test_a_checkpoint_is_not_written_to_a_folder(
    tiny_model: AbNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (".", str(tmp_path)):
        with pytest.raises(
            AbNetError, match=r"The checkpoint .* cannot be written: it is a folder, so name"
        ):
            save_checkpoint(folder, tiny_model)
    assert not list(tmp_path.iterdir())


def test_an_average_of_fewer_says_so(
    tiny_model: AbNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_fairseq(tmp_path / "checkpoint1.pt", tiny_model)
    command = ["average", str(tmp_path), "--last", "3", "--or-fewer"]
    assert main([*command, "--output", str(tmp_path / "mean.pt")]) == 0
    assert "checkpoint1.pt (fewer than the 3 that were asked for)" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"abnet {version('ab-net')}\n"
