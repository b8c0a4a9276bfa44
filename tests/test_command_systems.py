from __future__ import annotations

import json

import pytest

from abnet.cli import main
from abnet.systems import SYSTEMS


def test_every_system_is_listed_with_what_it_is_made_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["systems", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(rows) == list(SYSTEMS)
    made_of = ("encoder", "decoder", "objective", "trains")
    assert [rows["abnet_enc_ar"][key] for key in made_of] == [
        "BERT with adapters",
        "Transformer",
        "autoregressive",
        "adapters and decoder",
    ]
    assert [rows["rnd2gpt"][key] for key in made_of] == [
        "BERT's shape from random weights",
        "GPT-2 with cross-attention",
        "autoregressive",
        "everything",
    ]
    assert rows["abnet_wmt_en_de"]["trains"] == "adapters"
    assert rows["abnet_wmt_en_de"]["paper_trained_millions"] == 67
    assert rows["mask_predict"]["paper_bleu"]["iwslt14.de-en"] == 31.71
    assert all(row["script"].endswith(f"system.sh {name}") for name, row in rows.items())


def test_the_list_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems"]) == 0
    printed = capsys.readouterr().out
    assert "paper: iwslt14.de-en 36.49" in printed
    assert all(f"  {name} " in printed for name in SYSTEMS)
