"""The benchmark of speed: `abnet bench` with fairseq's systems beside ours, on all inputs.

    python -m benchmarks.bench DIR [OPTION...]

With --training it times steps of training instead, without fairseq. `scripts/bench.sh` calls it.
Results go to benchmarks/results, from which `python -m benchmarks.table --document docs/speed.md`
makes the tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from abnet.bench.rates import Rates
from abnet.commands import bench
from abnet.errors import AbNetError
from benchmarks import peers, records

INPUTS = {"newstest2013": "newstest2013/newstest2013", "multi30k": "multi30k/test2016"}
"""Names of the inputs, and where their German and English sides stand below DIR."""


def build_parser() -> argparse.ArgumentParser:
    """The options of `abnet bench` but for the text."""
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=bench.HELP)
    parser.add_argument(
        "data",
        type=Path,
        metavar="DIR",
        help=" or ".join(f"{at}.de, .en" for at in INPUTS.values()),
    )
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="default: benchmarks/results"
    )
    bench.add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measures everything; the status is 1 if a cell failed, 2 for something the user can mend.

    Inputs share the minutes: each takes its part of those that are left. The rate of a product is
    measured once for all of them.
    """
    begun = time.monotonic()
    given = sys.argv[1:] if argv is None else list(argv)
    args = build_parser().parse_args(given)
    names = [name for name, at in INPUTS.items() if (args.data / f"{at}.de").is_file()]
    minutes, status = args.minutes, 0
    rates: dict[int, Rates] = {}
    try:
        if args.results is None and args.rows is not None:
            raise AbNetError(
                "`--results` must name a folder with `--rows`: in benchmarks/results they would "
                "replace rows that were measured beside all others."
            )
        args.results = args.results or records.RESULTS
        if not names:
            places = " or ".join(f"{at}.de" for at in INPUTS.values())
            raise AbNetError(f"`DIR` must have {places}, but {args.data} has neither.")
        for number, name in enumerate(names):
            args.input = name
            args.source, args.target = (
                args.data / f"{INPUTS[name]}.{language}" for language in ("de", "en")
            )
            if minutes is not None:
                left = minutes - (time.monotonic() - begun) / 60
                args.minutes = max(left, 0.01) / (len(names) - number)
            command = ["scripts/bench.sh", *given]
            status |= bench.bench(args, peers.rows, records.stamps, records.write, command, rates)
    except AbNetError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
