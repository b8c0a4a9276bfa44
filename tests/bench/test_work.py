"""The count of multiply-adds, beside torch's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from abnet.bench import huggingface, ours
from abnet.bench.engine import Materials
from abnet.bench.work import Parts, Product, gather, multiply_adds, weights_read
from tests.bench.making import LINES, counted_by_torch

ONE_LAYER = Parts(
    encoder=((2, 3),),
    encoder_layers=1,
    encoder_heads=1,
    encoder_width=2,
    project=((2, 2), (2, 2)),
    decoder=((2, 5),),
    decoder_layers=1,
    decoder_heads=2,
    decoder_width=2,
    cross_layers=1,
    cross_heads=2,
    head=((2, 7),),
)


def test_a_pass_by_hand() -> None:
    products = ONE_LAYER.decode(sentences=2, copies=3, queries=4, keys=4, source=5, predicted=6)
    assert products[0] == Product(2 * 3 * 4, 2, 5)
    assert products[1:3] == [Product(4, 1, 4, 12, False), Product(4, 4, 1, 12, False)]
    assert products[3:5] == [Product(12, 1, 5, 4, False), Product(12, 5, 1, 4, False)]
    assert products[5:] == [Product(6, 2, 7)]
    assert multiply_adds(products) == 240 + 2 * 4 * 4 * 12 + 2 * 12 * 5 * 4 + 84


def test_word_by_word_by_hand() -> None:
    products = ONE_LAYER.word_by_word(sentences=2, source=3, lengths=[1, 2], beam=2)
    encoder = 6 * 2 * 3 + 2 * (3 * 2 * 3) * 2
    project = 2 * (6 * 2 * 2)
    first = 4 * 2 * 5 + 2 * 2 * 4 * 1 + 2 * 2 * 2 * 3 * 2 + 4 * 2 * 7  # two sentences
    second = 2 * 2 * 5 + 2 * 2 * 2 * 2 + 2 * 2 * 2 * 3 + 2 * 2 * 7  # the longer one alone
    assert multiply_adds(products) == encoder + project + first + second


def test_equal_products_are_gathered_and_only_weights_are_read() -> None:
    products = [Product(1, 2, 3), Product(1, 2, 3, 4), Product(1, 2, 3, 5, weight=False)]
    assert gather(products) == [Product(1, 2, 3, 5), Product(1, 2, 3, 5, weight=False)]
    assert weights_read(products) == 2 * 3 * 5


@pytest.mark.parametrize(
    "name", ["abnet_ctc-1", "abnet_dag-1", "abnet-1", "abnet-4", "abnet-4-pruned", "abnet_enc-10"]
)
def test_ours_is_torchs_count(
    name: str, materials: Materials, cpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "pack_weights", lambda model: None)  # torch counts no packed product
    (row,) = (row for row in ours.rows(cpu) if row.name == f"{name}-float32")
    engine = row.build(replace(materials))  # without the models that others have made, and packed
    products = engine.work(engine.encode(LINES), 9)
    assert products is not None
    assert multiply_adds(products) == counted_by_torch(engine, 9)


@pytest.mark.parametrize(("at", "beam"), [(0, 5), (1, 1)])
def test_transformers_projects_the_source_for_each_hypothesis(
    at: int, beam: int, materials: Materials, cpu: torch.device
) -> None:
    engine = huggingface.rows(cpu)[at].build(materials)
    encoded = engine.encode(LINES)
    products = engine.work(encoded, 6)
    assert products is not None
    parts = huggingface.parts_of(engine.model)  # type: ignore[attr-defined]
    once = multiply_adds(parts.project_source(len(LINES), max(map(len, encoded))))
    assert multiply_adds(products) + (beam - 1) * once == counted_by_torch(engine, 6)
