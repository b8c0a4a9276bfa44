"""`abnet describe`: total and trained parameters of a model, by part."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from abnet.config import AbNetConfig
from abnet.field_help import field_help
from abnet.systems import PRESETS

HELP = "print a model's total and trained parameters by part, without loading weights"


def configure(parser: argparse.ArgumentParser) -> None:
    """One option a field of the config."""
    parser.epilog = "docs/parameters.md has the papers' counts beside these, and why some differ."
    texts = field_help()
    parser.add_argument("--arch", choices=sorted(PRESETS), default="abnet", help="preset")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    kinds: dict[str, Callable[[str], Any]] = {
        "int": int,
        "int | None": int,
        "float": float,
        "bool": _boolean,
    }
    for field in fields(AbNetConfig):
        required = field.name in ("source_bert", "target_bert")
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=kinds.get(str(field.type), str),
            required=required,
            default=argparse.SUPPRESS,
            help=texts[field.name].replace("%", "%%")
            + (" For this command also a built-in shape." if required else ""),
        )


def run(args: argparse.Namespace) -> int:
    """Prints the counts."""
    from abnet.describe import describe

    overrides = {
        field.name: getattr(args, field.name)
        for field in fields(AbNetConfig)
        if hasattr(args, field.name)
    }
    config = AbNetConfig.from_preset(args.arch, **overrides)
    counts = describe(config)
    if args.json:
        print(json.dumps({"arch": args.arch, **counts._asdict(), "config": config.to_dict()}))
        return 0
    share = counts.trained_parameters / counts.total_parameters
    rows = [
        *((f"trained  {part}", number) for part, number in counts.trained.items()),
        *((f"frozen   {part}", number) for part, number in counts.frozen.items()),
        ("trained parameters", counts.trained_parameters),
        ("total parameters", counts.total_parameters),
    ]
    for name, number in rows:
        print(f"{name:<28}{number:>14,}")
    print(f"{'share trained':<28}{share:>14.1%}")
    return 0


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, but is {text!r} instead")
    return text.lower() == "true"
