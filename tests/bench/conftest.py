"""Fixtures of the benchmark's tests."""

from __future__ import annotations

import pytest
import torch

from abnet.bench.engine import Materials
from tests.bench.making import materials_in


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """Of the tiny size, with vocabularies of eight sentences."""
    return materials_in(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
