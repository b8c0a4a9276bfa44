"""Several checkpoints as one teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from abnet.checkpoint import save_checkpoint
from abnet.decoding.mask_predict import DecodingOptions
from abnet.model import AbNet
from abnet.translator import InputReport, Translator
from tests.translated.conftest import SOURCES, Folder, Outcome, write

Run = Callable[..., Outcome]


@pytest.fixture
def pair_of_checkpoints(checkpoint: str, tiny_model: AbNet, tmp_path: Path) -> list[str]:
    """The teacher, and another of the same BERTs that says something else."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator))
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, tiny_model)
    return [checkpoint, str(other)]


def translated(checkpoints: list[str]) -> list[str]:
    translator = Translator.from_checkpoint(checkpoints, "cpu")
    found = translator.translate_n_best(SOURCES, DecodingOptions(), report=InputReport())
    return [translations[0].text for translations in found]


@pytest.mark.slow
def test_an_ensemble_distills(
    run: Run, pair_of_checkpoints: list[str], train: str, output: Folder
) -> None:
    expected = translated(pair_of_checkpoints)
    assert all(expected != translated([one]) for one in pair_of_checkpoints)
    command = [
        "distill", ":".join(pair_of_checkpoints), "--train", train, "--pair", "de-en",
        "--output", str(output.path), "--shard-lines", "5", "--devices", "cpu", "--workers", "2",
        "--no-filter",
    ]  # fmt: skip
    assert run(*command).status == 0
    assert output.lines("en") == expected
    hashes = [hashlib.sha256(Path(one).read_bytes()).hexdigest() for one in pair_of_checkpoints]
    teacher = output.manifest["teacher"]
    assert teacher["name"] == teacher["checkpoint"] == ":".join(pair_of_checkpoints)
    assert teacher["sha256"] == ":".join(hashes)
    assert output.manifest["distilled"]["sha256"] == ":".join(hashes)
    command[1] = pair_of_checkpoints[0]
    assert "something else: teacher (" in run(*command).errors


def test_an_ensemble_translates_back(
    run: Run, pair_of_checkpoints: list[str], train: str, output: Folder, tmp_path: Path
) -> None:
    mono = write(tmp_path / "mono.de", SOURCES)
    command = [
        "backtranslate", ":".join(pair_of_checkpoints), "--pair", "en-de", "--mono", str(mono),
        "--true", train, "--output", str(output.path), "--devices", "cpu", "--no-filter",
    ]  # fmt: skip
    assert run(*command).status == 0
    pairs = set(zip(output.lines("de"), output.lines("en"), strict=True))
    expected = translated(pair_of_checkpoints)
    assert pairs >= {(de, en) for de, en in zip(SOURCES, expected, strict=True) if de and en}


def test_a_missing_member_is_named(
    run: Run, checkpoint: str, train: str, output: Folder, tmp_path: Path
) -> None:
    outcome = run(
        "distill", f"{checkpoint}:{tmp_path / 'none.pt'}", "--train", train, "--pair", "de-en",
        "--output", output.path, "--devices", "cpu",
    )  # fmt: skip
    assert outcome.status != 0
    assert "none.pt" in outcome.errors
    assert not output.path.exists()
