"""One AB-Net decoded in many ways: what length beam, passes and scores are worth."""

from __future__ import annotations

import argparse
import copy
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sacrebleu.metrics import BLEU, CHRF

from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.decoding.precision import set_precision
from abnet.errors import AbNetError
from abnet.text import read_lines
from abnet.translated.files import sha256_of
from abnet.translator import Translator
from benchmarks import records, table
from scripts.reproduce.common import add_places
from scripts.reproduce.recipes import AVERAGED, DIRECTIONS, ROOT, Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.steps import say

SCRIPT = "scripts/reproduce/decoding.sh"
SPLIT = "valid"
WIDEST = 9
BATCH = 32
WORST = 10
RECIPE = DecodingOptions(patience=1)  # the paper's stop at the first repeat
ALL_PASSES = replace(RECIPE, force_max_iterations=True)


class Way(NamedTuple):
    """One way to decode: `factor` has the `value`; `gold` takes the references' lengths.

    `dtype` is the precision of the weights.
    """

    factor: str
    value: str
    options: DecodingOptions
    gold: bool = False
    dtype: str = "float32"


WAYS = [
    Way("recipe", "abnet", RECIPE),
    *(
        Way("length-beam", str(n), replace(RECIPE, length_beam=n))
        for n in range(1, WIDEST + 1)
        if n != RECIPE.length_beam
    ),
    *(Way("length-penalty", str(a), replace(RECIPE, length_penalty=a)) for a in (0.0, 0.8, 1.2)),
    *(
        Way(f"length-weight, beam {n}", str(w), replace(RECIPE, length_weight=w, length_beam=n))
        for n in (4, WIDEST)
        for w in (0.1, 0.2, 0.5, 1.0)
    ),
    *(Way("passes", str(n), replace(RECIPE, iterations=n)) for n in range(1, 10)),
    Way("stop on repeat", "no", ALL_PASSES),
    Way("ban repeats", "yes", replace(RECIPE, ban_repeats=True)),
    Way("repredict", "yes", replace(RECIPE, repredict=True)),
    Way("ban, repredict", "yes", replace(RECIPE, ban_repeats=True, repredict=True)),
    Way("gold length", "yes", replace(RECIPE, length_beam=1), gold=True),
    Way("gold length", "ban repeats", replace(RECIPE, length_beam=1, ban_repeats=True), gold=True),
    *(Way("patience", str(n), replace(RECIPE, patience=n)) for n in (2, 3)),
    *(Way("all passes", str(n), replace(ALL_PASSES, iterations=n)) for n in (3, 5, 20)),
    Way("all passes", "ban repeats", replace(ALL_PASSES, ban_repeats=True)),
    Way("all passes", "gold length", replace(ALL_PASSES, length_beam=1), gold=True),
    *(
        Way("lm-weight", str(w), replace(ALL_PASSES, ban_repeats=True, lm_weight=w))
        for w in (0.1, 0.3, 1.0)
    ),
    *(
        Way(
            "rescore-weight",
            str(w),
            replace(ALL_PASSES, ban_repeats=True, rescore_weight=w, length_weight=0.1),
        )
        for w in (0.5, 1.0, 2.0)
    ),
    *(Way("confidence", str(p), replace(ALL_PASSES, confidence=p)) for p in (0.3, 0.5, 0.7, 0.9)),
    *(
        Way("prune to the best", f"{n} after {k}", replace(ALL_PASSES, prune_after=k, prune_keep=n))
        for k, n in ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1))
    ),
    *(
        Way("prune by margin", f"{m} after {k}", replace(ALL_PASSES, prune_after=k, prune_margin=m))
        for k, m in ((1, 0.1), (1, 0.3), (2, 0.1), (2, 0.3))
    ),
    *(
        Way(
            "prune and confidence",
            f"1 after {k}, {p}",
            replace(ALL_PASSES, prune_after=k, prune_keep=1, confidence=p),
        )
        for k, p in ((1, 0.5), (2, 0.5), (2, 0.9))
    ),
    *(Way("dtype", dtype, ALL_PASSES, dtype=dtype) for dtype in ("bfloat16", "int8")),
]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Decode the validation set in many ways with a trained AB-Net, write "
        "benchmarks/results/decoding-*.json, renew the tables, print the worst translations.",
    )
    parser.add_argument("--size", choices=SIZES, default="cpu", help="default: %(default)s")
    parser.add_argument("--direction", choices=DIRECTIONS, default="de-en")
    parser.add_argument("--seed", type=int, default=1, help="of the training; default 1")
    parser.add_argument(
        "--only",
        metavar="LIST",
        help=f"of {', '.join(dict.fromkeys(way.factor for way in WAYS))} (default: all)",
    )
    add_places(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    factors = {way.factor for way in WAYS}
    chosen = set(re.split(",(?! )", args.only)) if args.only else factors  # some hold a comma
    if not chosen <= factors:
        parser.error(f"argument --only: must be of {', '.join(sorted(factors))}, not {args.only!r}")
    out = args.out or ROOT / "checkpoints" / f"multi30k-{args.size}"
    work = Multi30k.at(Path(), out, SIZES[args.size])
    source, target = args.direction.split("-")
    run, raw = work.run("abnet", args.direction, args.seed), work.prepared(args.direction) / "raw"
    results = args.results or records.RESULTS
    try:
        decoder = Decoder(
            Translator.from_checkpoint(run / AVERAGED),
            read_lines(raw / f"{SPLIT}.{source}"),
            read_lines(raw / f"{SPLIT}.{target}"),
        )
    except AbNetError as error:
        print(f"{SCRIPT}: error: {error}", file=sys.stderr)
        return 1
    stamps = {
        "kind": "decoding",
        "system": "abnet",
        "dataset": "multi30k",
        "direction": args.direction,
        "split": SPLIT,
        "size": args.size,
        "seeds": [args.seed],
        "checkpoint": f"sha256:{sha256_of(run / AVERAGED)}",
        "device": records.device_name(),
        "command": f"{SCRIPT} --size {args.size} --direction {args.direction} --seed {args.seed}",
        **records.stamps(),
    }
    for place, way in enumerate(WAYS):
        if way.factor not in chosen:
            continue
        found = decoder.decode(way)
        record = {**stamps, "place": place, **describe(way), **decoder.measure(found)}
        name = f"{way.factor} {way.value}".replace(",", "").replace(" ", "-")
        records.write(record, results / f"decoding-{args.size}-{args.direction}-{name}.json")
        say(f"{way.factor} {way.value}: BLEU {record['bleu']}")
    print("\n".join(decoder.worst(decoder.decode(WAYS[0]))))
    return table.renew_documents(args.document, results)


def describe(way: Way) -> dict[str, str]:
    """Which way it was, for the record."""
    flags = {
        "length_beam": "--iter-decode-with-beam",
        "length_penalty": "--lenpen",
        "length_weight": "--iter-decode-length-weight",
        "lm_weight": "--iter-decode-lm-weight",
        "rescore_weight": "--iter-decode-rescore-weight",
        "iterations": "--iter-decode-max-iter",
        "patience": "--iter-decode-patience",
        "prune_after": "--iter-decode-prune-after",
        "prune_keep": "--iter-decode-prune-keep",
        "prune_margin": "--iter-decode-prune-margin",
        "confidence": "--iter-decode-confidence",
    }
    switches = {
        "force_max_iterations": "--iter-decode-force-max-iter",
        "ban_repeats": "--iter-decode-ban-repeats",
        "repredict": "--iter-decode-repredict",
    }
    given = [
        f"{flag} {getattr(way.options, name)}"
        for name, flag in flags.items()
        if getattr(way.options, name) != getattr(RECIPE, name)
    ]
    given += [flag for name, flag in switches.items() if getattr(way.options, name)]
    if way.dtype != "float32":
        given.append(f"--iter-decode-dtype {way.dtype}")
    if way.gold:
        given.append("lengths of the references")
    return {"factor": way.factor, "value": way.value, "options": " ".join(given)}


class Decoder:
    """Decodes one text again and again; what differs in scores alone is decoded once.

    Args:
        translator: the model and its tokenizers.
        sources, references: raw text.
    """

    def __init__(
        self, translator: Translator, sources: Sequence[str], references: Sequence[str]
    ) -> None:
        self.translator = translator
        self.sources = sources
        self.references = references
        self.encoded = translator.source_tokenizer.encode_batch(sources)
        target = translator.target_tokenizer
        self.gold = torch.tensor([len(ids) + 1 for ids in target.encode_batch(references)])
        self.decoded: dict[Way, list[list[Hypothesis]]] = {}

    def decode(self, way: Way) -> list[Hypothesis]:
        """The best hypothesis of each sentence."""
        key = _search_of(way)
        if key not in self.decoded:
            widest = max(other.options.length_beam for other in WAYS if _search_of(other) == key)
            options = replace(key.options, length_beam=widest, n_best=widest)
            self.decoded[key] = self._search(options, way)
        if key == way:
            return [best for best, *_ in self.decoded[key]]
        return [_choose(found, way.options) for found in self.decoded[key]]

    def _search(self, options: DecodingOptions, way: Way) -> list[list[Hypothesis]]:
        found: dict[int, list[Hypothesis]] = {}
        model = self.translator.model
        if way.dtype != "float32":
            model = copy.deepcopy(model)
            set_precision(model, way.dtype)
        for places in self._batches():
            batch = self.translator.collate([self.encoded[place] for place in places])
            lengths = self.gold[places].to(batch.device) if way.gold else None
            decoded = mask_predict(model, batch, options, lengths)
            found.update(zip(places, decoded, strict=True))
        return [found[place] for place in range(len(self.sources))]

    def _batches(self) -> Iterator[list[int]]:
        order = sorted(range(len(self.sources)), key=lambda place: len(self.sources[place]))
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]

    def measure(self, found: Sequence[Hypothesis]) -> dict[str, Any]:
        """BLEU, and what is wrong with lengths and repeated pieces."""
        metric = BLEU()
        bleu = round(metric.corpus_score(self._texts(found), [self.references]).score, 2)
        lengths = torch.tensor([len(hypothesis.tokens) for hypothesis in found])
        pieces = int(lengths.sum())
        repeats = sum(int(h.tokens[1:].eq(h.tokens[:-1]).sum()) for h in found)
        return {
            "bleu": bleu,
            "bleu_by_seed": [bleu],
            "signature": str(metric.get_signature()),
            "length_right": round(100 * float(lengths.eq(self.gold).float().mean()), 2),
            "length_ratio": round(pieces / int(self.gold.sum()), 4),
            "repeats": round(100 * repeats / pieces, 3),
            "mean_passes": round(sum(h.passes for h in found) / len(found), 2),
        }

    def worst(self, found: Sequence[Hypothesis]) -> list[str]:
        """The translations of lowest chrF, with source and reference."""
        texts = self._texts(found)
        metric = CHRF()
        scores = [
            metric.sentence_score(text, [reference]).score
            for text, reference in zip(texts, self.references, strict=True)
        ]
        order = sorted(range(len(texts)), key=lambda place: scores[place])[:WORST]
        return [
            f"\nchrF {scores[place]:.1f}, line {place + 1}\n  source      {self.sources[place]}\n"
            f"  reference   {self.references[place]}\n  translation {texts[place]}"
            for place in order
        ]

    def _texts(self, found: Sequence[Hypothesis]) -> list[str]:
        return [self.translator.target_tokenizer.decode(h.tokens.tolist()) for h in found]


def _search_of(way: Way) -> Way:
    """What a way shares with others that only choose differently among the same candidates.

    Where candidates are given up by their scores, others have been decoded for another choice; and
    how a candidate reads to the target BERT, or to the model again, is not told.
    """
    own = way.options
    if own.prune_after is not None or own.lm_weight or own.rescore_weight:
        return way
    options = replace(way.options, length_beam=1, length_penalty=1.0, length_weight=0.0)
    return Way("", "", options, way.gold, way.dtype)


def _choose(candidates: Sequence[Hypothesis], options: DecodingOptions) -> Hypothesis:
    """The best of the `length_beam` most probable lengths, as `mask_predict` would choose."""
    by_length = sorted(candidates, key=lambda h: -h.length_score)[: options.length_beam]

    def score(hypothesis: Hypothesis) -> float:
        words = float(hypothesis.token_scores.sum())
        words /= len(hypothesis.tokens) ** options.length_penalty
        return words + options.length_weight * hypothesis.length_score

    return max(by_length, key=score)


if __name__ == "__main__":
    sys.exit(main())
