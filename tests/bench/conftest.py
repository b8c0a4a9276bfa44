"""Fixtures of the benchmark's tests."""

from __future__ import annotations

import pytest
import torch

from abnet.bench.engine import Materials
from tests.bench.making import materials_in
from tests.bench.pretending import Clock


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """Of the tiny size, with vocabularies of eight sentences."""
    return materials_in(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the benchmark takes for the time."""
    made = Clock()
    for module in ("run", "training", "deadline"):
        monkeypatch.setattr(f"abnet.bench.{module}.time", made)
    return made
