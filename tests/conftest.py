"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from abnet.checkpoint import save_checkpoint
from abnet.config import AbNetConfig
from abnet.model import AbNet
from scripts.reproduce.toy import make_gpt
from tests.short_pretraining import WORDS
from tests.systems import Toys, lively_model
from tests.tiny import ENGLISH, GERMAN, make_bert


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: else one of them may be all that is left to do, on one core of two."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Random weights of a test do not depend on the tests before it."""
    torch.manual_seed(1)


class TinyBerts(NamedTuple):
    """Folders of two random BERTs of different widths and vocabularies."""

    german: str
    english: str


@pytest.fixture(scope="session")
def tiny_berts(tmp_path_factory: pytest.TempPathFactory) -> TinyBerts:
    """A German and an English BERT: 3 layers, 32 and 24 wide, 48 positions."""
    root = tmp_path_factory.mktemp("berts")
    return TinyBerts(
        str(make_bert(root / "bert-de", GERMAN, seed=1)),
        str(make_bert(root / "bert-en", ENGLISH, seed=2, hidden=24)),
    )


@pytest.fixture(scope="session")
def tiny_gpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An English GPT-2: 3 layers, 24 wide, 96 positions."""
    folder = tmp_path_factory.mktemp("gpt") / "gpt-en"
    make_gpt(ENGLISH, folder, hidden=24, layers=3, heads=4, positions=96, deviation=0.3, seed=2)
    return str(folder)


@pytest.fixture(scope="session")
def toys(tiny_berts: TinyBerts, tiny_gpt: str, tmp_path_factory: pytest.TempPathFactory) -> Toys:
    """The models that `tests.systems` makes every system of."""
    folder = tmp_path_factory.mktemp("toys")
    roberta = make_bert(folder / "roberta", GERMAN, seed=3, kind="roberta")
    toys = Toys(*tiny_berts, tiny_gpt, str(roberta))
    teacher = folder / "teacher.safetensors"
    save_checkpoint(teacher, lively_model("abnet_fb", toys))
    return toys._replace(teacher=str(teacher))


@pytest.fixture
def tiny_config(tiny_berts: TinyBerts) -> AbNetConfig:
    """German to English, no dropout, adapters that do something from the start."""
    return AbNetConfig(
        source_bert=tiny_berts.german,
        target_bert=tiny_berts.english,
        encoder_adapter_dim=16,
        adapter_init="released",
        adapter_dropout=0.0,
        bert_dropout=0.0,
        length_classes=48,
    )


@pytest.fixture
def tiny_model(tiny_config: AbNetConfig) -> AbNet:
    """A random AB-Net in evaluation mode, whose small adapters have large weights."""
    torch.manual_seed(3)
    model = AbNet.from_pretrained(tiny_config).eval()
    for name, weight in model.decoder.named_parameters():
        if name.endswith("attention.out_proj.weight"):
            torch.nn.init.xavier_uniform_(weight)
    return model


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 German lines in a file, to pre-train on."""
    path = tmp_path_factory.mktemp("text") / "text.de"
    lines = [f"{word} {line}" for line in GERMAN for word in WORDS]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
