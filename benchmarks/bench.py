"""The whole benchmark of speed: `abnet bench` with fairseq's systems beside ours.

    python -m benchmarks.bench --source FILE --target FILE [OPTION...]

Takes the options of `abnet bench`; `scripts/bench.sh` calls it. Results go to benchmarks/results,
from which `python -m benchmarks.table --document docs/speed.md` makes the tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from abnet.commands import bench
from abnet.errors import AbNetError
from benchmarks import peers, records


def build_parser() -> argparse.ArgumentParser:
    """That of `abnet bench`, with another default."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench", description=bench.HELP)
    bench.configure(parser)
    for action in parser._actions:
        if action.dest == "results":
            action.required = False
    parser.set_defaults(results=records.RESULTS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measures everything; the status is 2 for something the user can mend."""
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        return bench.bench(
            build_parser().parse_args(given),
            peers.rows,
            records.stamps,
            records.write,
            ["python", "-m", "benchmarks.bench", *given],
        )
    except AbNetError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
