"""The last words of scripts/quickstart.sh: scores, translations, latency, sizes, what to do next.

    python -m scripts.quickstart_report DATA RUN

DATA is a folder of `abnet prepare`, RUN the `--save-dir` of `fairseq-train` with the output of
`fairseq-generate` in it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from abnet import Translator
from abnet.scoring.evaluate import evaluate, read_generate_output
from abnet.text import read_lines

SHOWN = 10
TIMED = 50
WARM_UP = 5

NEXT = """
What next

  translate a line    echo 'um halb acht, drei Liter Apfelsaft' | abnet translate {checkpoint}
  the full mix        scripts/quickstart.sh --hard
  your own text       "Your own data" in README.md: the commands of this script with your files
                      and with BERTs from Hugging Face
  the paper's tasks   scripts/prepare/iwslt14.sh de-en, then scripts/train/ and scripts/generate/

The commands are those of .venv: source .venv/bin/activate"""


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(prog="python -m scripts.quickstart_report")
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    args = parser.parse_args(argv)
    sources = read_lines(args.data / "raw" / "test.de")
    references = read_lines(args.data / "raw" / "test.en")
    translations = read_generate_output(args.run / "generate-test.txt")
    checkpoint = args.run / "checkpoint_last.pt"

    print(f"\nThe first {SHOWN} of {len(sources)} sentences that were kept from training\n")
    for triple in list(zip(sources, translations, references, strict=True))[:SHOWN]:
        print("  source       {}\n  translation  {}\n  reference    {}\n".format(*triple))
    for score in evaluate(translations, references, language="en"):
        print(f"{score.label:<12}{score.value:6.2f}   {score.signature}")
    right = sum(ours == theirs for ours, theirs in zip(translations, references, strict=True))
    print(f"{'all right':<12}{100 * right / len(references):6.1f} % of the sentences")
    print(f"{'unseen':<12}{100 * unseen(args.data):6.1f} % of the sentences, in either language")

    translator = Translator.from_checkpoint(checkpoint, device="cpu")
    parameters = list(translator.model.parameters())
    total = sum(p.numel() for p in parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    print(f"{'trained':<12}{100 * trained / total:6.1f} % of {total:,} parameters: {trained:,}")
    print(
        f"{'latency':<12}{1000 * latency(translator, sources):6.1f} ms a sentence, one at a time, "
        "at most 10 passes, length beam 4, this CPU, one thread"
    )
    print(NEXT.format(checkpoint=checkpoint))


def unseen(data: Path) -> float:
    """Share of the test pairs of which neither side stands in the training text."""
    seen = {side: set(read_lines(data / "raw" / f"train.{side}")) for side in ("de", "en")}
    tests = [read_lines(data / "raw" / f"test.{side}") for side in ("de", "en")]
    pairs = list(zip(*tests, strict=True))
    return sum(de not in seen["de"] and en not in seen["en"] for de, en in pairs) / len(pairs)


def latency(translator: Translator, lines: Sequence[str]) -> float:
    """Median seconds from a raw line to its translation."""
    seconds = []
    for line in [*lines[:WARM_UP], *lines[:TIMED]]:
        start = time.perf_counter()
        translator.translate([line])
        seconds.append(time.perf_counter() - start)
    return median(seconds[WARM_UP:])


if __name__ == "__main__":
    main()
