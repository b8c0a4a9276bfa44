"""A finished pre-training, which many tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from abnet.pretraining.pretrain import pretrain
from tests.short_pretraining import Made, options
from tests.tiny import GERMAN


@pytest.fixture(scope="session")
def made(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made") / "new" / "bert"
    excluded = folder.parents[1] / "valid.de"
    excluded.write_text(f"\n  EINS {GERMAN[0]}\nanother line\n", encoding="utf-8")
    return Made(folder, pretrain([text], folder, options(), [excluded]))
