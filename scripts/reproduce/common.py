"""What the scripts that train on Multi30k share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer
from benchmarks import table
from scripts.reproduce.recipes import CAPTIONS, ROOT, SPLITS, Multi30k
from scripts.reproduce.sizes import SIZES, Size
from scripts.reproduce.steps import Runner, StepError, working_in


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """What all scripts on Multi30k take."""
    parser.add_argument("data", type=Path, metavar="DIR", help="train, valid, test2016, mono/")
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="cpu",
        help="cpu: for 2 cores; gpu: for one H100; tiny: only a try of the script "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=_numbers, default=[1], metavar="LIST", help="for example 1,2,3 (default: 1)"
    )
    parser.add_argument("--jobs", type=at_least_1, help="trainings at a time (default: the size's)")
    add_places(parser)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where the work is done, and where results and tables go."""
    parser.add_argument("--out", type=Path, help="default: checkpoints/multi30k-SIZE")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results")
    parser.add_argument("--document", type=Path, help="default: README.md and those of docs/")


def at_least_1(text: str) -> int:
    """A positive number, of an option."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {text} instead")
    return int(text)


def _numbers(text: str) -> list[int]:
    return list(dict.fromkeys(int(item) for item in text.split(",")))


def missing_text(data: Path, parts: Iterable[str] = (*SPLITS.values(), CAPTIONS)) -> list[str]:
    """Names of the files that a comparison needs and `data` lacks."""
    names = [f"{part}.{code}" for part in parts for code in ("de", "en")]
    return [name for name in names if not (data / name).is_file()]


def run_and_show(
    script: str,
    work: Multi30k,
    action: Callable[[], None],
    document: Path | None,
    results: Path,
) -> int:
    """Does the work, alone in its folder, and renews the documents' tables; an exit status."""
    try:
        with working_in(work.out):
            action()
    except (AbNetError, StepError) as error:
        print(f"{script}: error: {error}", file=sys.stderr)
        return 1
    return table.renew_documents(document, results)


def common_runner(jobs: int, size: Size) -> Runner:
    """Runs so many commands of the size at a time."""
    return Runner(jobs, common_environment(jobs, size.on_gpu))


def common_environment(jobs: int, on_gpu: bool) -> dict[str, str]:
    """One thread a process where several run, since small models gain little from more."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    if not on_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
        # glibc gives large tensors back to the system when they are freed and asks for them anew,
        # which can take longer than their arithmetic: here freed memory stays with the process.
        environment |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
    return environment


def joiner(bert: Path) -> Callable[[str], str]:
    """Makes raw text of a BERT's pieces."""
    tokenizer = Tokenizer.from_pretrained(str(bert))
    return lambda line: tokenizer.join(line.split(" ") if line else [])
