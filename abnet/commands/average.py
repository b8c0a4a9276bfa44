"""`abnet average`: the mean of several checkpoints of one training run."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "average checkpoints: named ones, or the last or best n of a folder"


def configure(parser: argparse.ArgumentParser) -> None:
    """Which checkpoints, and where to."""
    parser.add_argument(
        "checkpoints", nargs="+", help="checkpoint files, or one folder of fairseq's"
    )
    parser.add_argument("--output", required=True, help="file to write")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--last", type=int, metavar="N", help="the last N of the folder")
    choice.add_argument(
        "--best", type=int, metavar="N", help="the best N of the folder (--keep-best-checkpoints)"
    )
    parser.add_argument(
        "--or-fewer",
        action="store_true",
        help="with --last: what there is, where fewer are there, and checkpoint_last.pt where none "
        "are",
    )


def run(args: argparse.Namespace) -> int:
    """Averages and says which files went in."""
    from abnet.averaging import (
        average_checkpoints,
        best_checkpoints,
        check_output,
        last_checkpoints,
    )
    from abnet.checkpoint import write_checkpoint
    from abnet.errors import AbNetError

    paths = args.checkpoints
    if args.or_fewer and args.last is None:
        raise AbNetError("--or-fewer must go with --last, but that is missing.")
    if args.last is not None or args.best is not None:
        if len(paths) != 1:
            raise AbNetError(f"--last and --best take one folder, but {len(paths)} were given.")
        if args.last is not None:
            paths = last_checkpoints(paths[0], args.last, args.or_fewer)
        else:
            paths = best_checkpoints(paths[0], args.best)
    elif any(Path(path).is_dir() for path in paths):
        raise AbNetError("A folder must go with `--last N` or `--best N`, which are missing.")
    check_output(args.output, paths)
    write_checkpoint(args.output, average_checkpoints(paths))
    told = f"the mean of {', '.join(str(path) for path in paths)}"
    if args.last is not None and len(paths) < args.last:
        told += f" (fewer than the {args.last} that were asked for)"
    print(f"{args.output}: {told}")
    return 0
