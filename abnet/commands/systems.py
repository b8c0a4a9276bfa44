"""`abnet systems`: every system, what it is made of, and what the paper reports of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abnet.config import AbNetConfig
    from abnet.systems import System

HELP = "list every system: encoder, decoder, objective, what trains, the paper's figures"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object a system")


def run(args: argparse.Namespace) -> int:
    """Prints the table."""
    rows = list(_rows())
    if args.json:
        for row in rows:
            print(json.dumps(row))
        return 0
    group = ""
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            print(f"\n{group}" if row is not rows[0] else group)
        print(f"  {row['name']:<28}{row['summary']}")
        print(
            f"  {'':<28}{row['encoder']} > {row['decoder']}, {row['objective']}; "
            f"trains: {row['trains']}"
        )
        told = [", ".join(f"{corpus} {bleu:g}" for corpus, bleu in row["paper_bleu"].items())]
        if row["paper_trained_millions"]:
            told.append(f"{row['paper_trained_millions']}M trained")
        told.append(", ".join(row["paper_tables"]))
        if any(told):
            print(f"  {'':<28}paper: {'; '.join(filter(None, told))}")
        print(f"  {'':<28}{row['script']}")
    return 0


def _rows() -> Iterator[dict[str, Any]]:
    from abnet.config import AbNetConfig
    from abnet.systems import SYSTEMS

    for name, system in SYSTEMS.items():
        config = AbNetConfig.from_preset(name, source_bert="any", target_bert="any")
        yield {
            "name": name,
            "group": system.group,
            "summary": system.summary,
            "encoder": _side(system, config, "source"),
            "decoder": _side(system, config, "target"),
            "objective": config.objective,
            "trains": _trains(config),
            "options": dict(system.options),
            "paper_tables": list(system.stands_in),
            "paper_bleu": dict(system.bleu),
            "paper_trained_millions": system.trained_millions,
            "script": _script(name, system),
        }


def _script(name: str, system: System) -> str:
    """What makes the first of the paper's figures; without any, of the script's own corpus."""
    task = next(iter(system.bleu), "").replace(".", " ")
    return f"scripts/reproduce/system.sh {name} {task}".rstrip()


def _trains(config: AbNetConfig) -> str:
    """What trains; "adapters" are all that is new beside the two sides, [LENGTH] among it."""
    fused = config.encoder in ("bert_fused", "ct_nmt")  # a Transformer that reads a BERT as well
    if fused and not config.trains("source"):
        return "everything but the BERT"
    sides = {"encoder": config.trains("source"), "decoder": config.trains("target")}
    if all(sides.values()):
        return "everything"
    return " and ".join(["adapters", *(side for side, trains in sides.items() if trains)])


def _side(system: System, config: AbNetConfig, side: str) -> str:
    """What stands on a side."""
    kind = config.encoder if side == "source" else config.decoder
    if kind != "bert":
        named = {"transformer": "Transformer", "ct_nmt": "CT-NMT"}
        return named.get(kind, kind.replace("_", "-"))
    own = system.both_berts or (system.source_bert if side == "source" else system.target_bert)
    name = {"gpt2": "GPT-2", "xlm-roberta-base": "XLM-R"}.get(own or "", "BERT")
    random = {
        "random": "'s shape from random weights",
        "random_layers": "'s embeddings, layers from random weights",
    }
    name += random.get(config.weights(side), "")
    if side == "target" and config.cross_attention == "inside":
        return f"{name} with cross-attention"
    plain = side == "source" and config.encoder_adapter_layers == 0
    return name if plain else f"{name} with adapters"
