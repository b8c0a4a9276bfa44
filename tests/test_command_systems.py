from __future__ import annotations

import json

import pytest

from abnet.cli import main
from abnet.systems import SYSTEMS
from scripts.reproduce.paper_rows import of_system
from tests.systems import Toys, small_model


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
    assert [rows["abnet_roberta_gpt"][key] for key in made_of] == [
        "XLM-R with adapters",
        "GPT-2 with adapters",
        "autoregressive",
        "adapters",
    ]
    assert rows["abnet_wmt_en_de"]["trains"] == "adapters"
    assert rows["bert_fused"]["trains"] == "everything but the BERT"
    assert rows["abnet_wmt_en_de"]["paper_trained_millions"] == 67
    assert rows["mask_predict"]["paper_bleu"]["iwslt14.de-en"] == 31.71
    assert rows["mask_predict"]["paper_tables"] == ["table1", "table3a"]
    for name, row in rows.items():
        script, *of = row["script"].split()
        assert script == "scripts/reproduce/system.sh"
        assert of[0] == name
        figure = of_system(*of).bleu if len(of) > 1 else None
        assert figure == next(iter(row["paper_bleu"].values()), None)


def test_the_list_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems"]) == 0
    printed = capsys.readouterr().out
    assert "paper: iwslt14.de-en 36.49; table1, table3a, table3b, " in printed
    assert "paper: iwslt14.de-en 34.45, wmt14.en-de 28.08; 78M trained; table1, " in printed
    assert "paper: figure3a" in printed
    assert all(f"  {name} " in printed for name in SYSTEMS)


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_what_trains_is_what_trains_in_the_model(
    name: str, toys: Toys, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["systems", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    model = small_model(name, toys)
    model.soft_teacher = None  # is no part of it
    trains = {key: value.requires_grad for key, value in model.named_parameters()}
    sides = {"encoder": model.encoder.backbone, "decoder": model.decoder.backbone}
    wholes = {side: {one.requires_grad for one in own.parameters()} for side, own in sides.items()}
    assert all(len(flags) == 1 for flags in wholes.values())  # a side trains as a whole or not
    told = " and ".join(["adapters", *(side for side, flags in wholes.items() if True in flags)])
    if all(trains.values()):
        told = "everything"
    elif all(trained or key.startswith("encoder.bert.") for key, trained in trains.items()):
        told = "everything but the BERT"
    assert rows[name]["trains"] == told
