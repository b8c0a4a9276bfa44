"""A corpus to a folder that `fairseq-train` reads, with its raw text and its pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from abnet.corpora.binarize import binarize
from abnet.corpora.cleaning import CleanChunk, Cleaner, Side, clean_in_parallel
from abnet.corpora.corpus import (
    OVERLONG_SOURCE,
    Corpus,
    Located,
    Pair,
    line_of,
    read_parts,
)
from abnet.corpora.download import Say
from abnet.corpora.files import Files
from abnet.corpora.manifest import FILES_OF, Manifest
from abnet.corpora.writing import SplitWriter, split_files
from abnet.errors import AbNetError
from abnet.processes import sole_user
from abnet.text import UNKNOWN_SHARE_TO_WARN, read_pair
from abnet.tokenizer import Tokenizer
from abnet.translated.manifest import KINDS
from abnet.translated.origin import describe_origin, origin_of

# A change of what comes out of the same files makes data of other versions "something else".
FORMAT = 2
# One position for [SEP] and one for the [CLS] that a model may put in front.
POSITIONS_FOR_SYMBOLS = 2
# The default rows of the length table: a target must be shorter.
LENGTH_CLASSES = 512


@dataclass(frozen=True)
class Options:
    """How to prepare.

    Attributes:
        source_bert: Hugging Face name or folder.
        target_bert: the same for the target side.
        dest: the folder to make.
        downloads: where archives go, and what is unpacked from them.
        given: a folder with the archives or the files in them; then nothing is downloaded.
        workers: processes.
        text_only: stop before `fairseq-preprocess`.
        overwrite: whether data made from something else may go.
        overlong_source: what becomes of a pair whose source is too long for its BERT. "drop"
            drops it from training and keeps it in validation and test with a warning,
            "truncate" leaves the source's last pieces out in every split (`raw/` keeps the whole
            text, as SARI needs it), "refuse" raises an error.
            A target that is too long is always treated as "drop" says.

    Raises:
        AbNetError: `overlong_source` is another word.
    """

    source_bert: str
    target_bert: str
    dest: Path
    downloads: Path
    given: Path | None = None
    workers: int = 1
    text_only: bool = False
    overwrite: bool = False
    overlong_source: str = OVERLONG_SOURCE[0]

    def __post_init__(self) -> None:
        if self.overlong_source not in OVERLONG_SOURCE:
            raise AbNetError(
                f"`overlong_source` must be one of {', '.join(OVERLONG_SOURCE)}, but is "
                f"{self.overlong_source} instead."
            )


def prepare(corpus: Corpus, options: Options, say: Say) -> Manifest:
    """Writes `raw/`, `pieces/`, the binary files and `manifest.json`, or what of these is missing.

    Validation and test pairs are all kept, whatever they are; training pairs are dropped by the
    corpus's rules, if a side is empty, or if a side is too long for its BERT (for sources there
    is a choice, `Options.overlong_source`). What an interrupted call has done is not done again.

    Args:
        say: takes lines about the progress, and warnings.

    Raises:
        AbNetError: a file, a BERT or the folder cannot be used, or another process works there.
    """
    cleaner = Cleaner(options.source_bert, options.target_bert)
    longest = longest_pieces(cleaner.source, cleaner.target)
    if options.overlong_source == "truncate":
        cleaner.longest_source = longest[0]
    files = Files(options.downloads, options.given, say)
    located = files.locate(corpus)
    pair = f"{corpus.source}-{corpus.target}"
    made_from = {
        "format": FORMAT,
        "corpus": corpus.name,
        "pair": pair,
        "rules": asdict(corpus.rules),
        "valid_every": corpus.valid_every,
        "choices": list(corpus.choices),
        "vocabularies": [cleaner.source.vocab_hash, cleaner.target.vocab_hash],
        "pieces": [cleaner.source.pieces_hash, cleaner.target.pieces_hash],
        "longest_pieces": list(longest),
    }
    for split in corpus.splits:
        made_from[FILES_OF + split] = [
            [files.content(source), files.content(target)]
            for part, source, target in located
            if part.split == split
        ]
    if options.overlong_source != OVERLONG_SOURCE[0]:
        made_from["overlong_source"] = options.overlong_source  # folders without it stay valid
    inputs = [used.path for used in files.used.values()]
    with sole_user(options.dest):
        train_files = [file for part, *files in located if part.split == "train" for file in files]
        origin = {**origin_of(train_files, pair), **corpus.origin}
        manifest = Manifest.open(
            options.dest,
            made_from,
            options.overwrite,
            inputs,
            rehearse=lambda: sum(1 for _ in read_parts(located)),
        )
        manifest.data["berts"] = [_findable(options.source_bert), _findable(options.target_bert)]
        manifest.data["sources"] = {
            name: {"sha256": used.sha256, "bytes": used.path.stat().st_size, "trust": used.trust}
            for name, used in sorted(files.used.items())
        }
        for kind in KINDS:
            manifest.data.pop(kind, None)
        manifest.data |= origin
        manifest.data["versions"] = {name: version(name) for name in ("tokenizers", "transformers")}
        manifest.save()
        preparation = _Preparation(corpus, cleaner, longest, manifest, options)
        for split in corpus.splits:
            parts = [one for one in located if one[0].split == split]
            if parts:
                preparation.run(split, parts)
                for line in preparation.report(split):
                    say(line)
        say(f"training data: {describe_origin(origin)}")
        if not options.text_only and not _is_binarized(manifest):
            binarized = binarize(
                options.dest,
                (corpus.source, corpus.target),
                corpus.splits,
                (options.source_bert, options.target_bert),
                options.workers,
                say,
            )
            manifest.data["binarized"] = binarized._asdict()
            manifest.save()
    return manifest


def longest_pieces(source: Tokenizer, target: Tokenizer) -> tuple[int, int]:
    """The most pieces that a training sentence may have: for the source and the target BERT.

    Raises:
        AbNetError: a BERT of a kind that AB-Net cannot use, or with fewer embeddings than pieces.
    """
    from abnet.backbone import FAMILIES, load_bert_config

    limits = []
    for tokenizer in (source, target):
        config = load_bert_config(tokenizer.name)
        tokenizer.check_fits(config.vocab_size)
        first = FAMILIES[config.model_type].first_position(config)
        limits.append(int(config.max_position_embeddings) - first - POSITIONS_FOR_SYMBOLS)
    return limits[0], min(limits[1], LENGTH_CLASSES - POSITIONS_FOR_SYMBOLS)


class _Preparation:
    """The steps of `prepare`, one a split that is read."""

    def __init__(
        self,
        corpus: Corpus,
        cleaner: Cleaner,
        longest: tuple[int, int],
        manifest: Manifest,
        options: Options,
    ) -> None:
        self.corpus = corpus
        self.cleaner = cleaner
        self.longest = longest
        self.manifest = manifest
        self.workers = options.workers
        self.overlong_source = options.overlong_source
        self.folder = manifest.folder
        self.languages = (corpus.source, corpus.target)

    def outputs(self, split: str) -> Sequence[str]:
        """The splits that are written when one is read."""
        divided = split == "train" and self.corpus.valid_every > 0
        return ("train", "valid") if divided else (split,)

    def run(self, split: str, parts: list[Located]) -> None:
        """Cleans, tokenizes and writes what one split is read from, or the rest of it."""
        from tqdm import tqdm

        step = self._resumable_step(split)
        if step["done"]:
            return
        rules = self.corpus.rules if split == "train" else None
        held_out = self._held_out() if split == "train" else set()
        writers = {
            output: SplitWriter(self.folder, output, self.languages, step["offsets"])
            for output in self.outputs(split)
        }
        pairs = itertools.islice(read_parts(parts), step["read"], None)
        try:
            with tqdm(
                desc=split, initial=step["read"], unit=" pairs", unit_scale=True, disable=None
            ) as bar:
                for chunk in clean_in_parallel(pairs, self.cleaner, rules, self.workers):
                    if self.overlong_source == "refuse":
                        self._refuse_overlong(chunk, parts)
                    for output, kept in self._divide(split, chunk, step, held_out).items():
                        writers[output].write(kept)
                    for writer in writers.values():
                        step["offsets"] |= writer.sync()
                    self.manifest.save()
                    bar.update(chunk.read)
        finally:
            for writer in writers.values():
                writer.close()
        if step["written"][split]["pairs"] == 0:
            raise AbNetError(
                f"No pair of the {split} split is left of {step['read']} read "
                f"(dropped: {step['dropped']})."
            )
        for writer in writers.values():
            writer.finish()
        step["done"] = True
        self.manifest.save()

    def report(self, split: str) -> Iterator[str]:
        """What to tell of a step: counts, and warnings."""
        step = self.manifest.data["steps"][split]
        reasons = dict(step["dropped"])
        reasons["too_long_for_bert"] = step["written"][split]["too_long_for_bert"]
        dropped = ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)
        for output in self.outputs(split):
            counts = step["written"][output]
            if output == "train":
                yield f"train: {counts['pairs']} pairs; dropped of {step['read']}: {dropped or 0}"
            else:
                yield f"{output}: {counts['pairs']} pairs"
                yield from _held_out_warnings(output, counts)
            if counts.get("truncated_sources"):
                yield (
                    f"{output}: {counts['truncated_sources']} sources were truncated to the "
                    f"{self.longest[0]} pieces that {self.cleaner.source.name} takes"
                )
            expected = self.corpus.expected.get(output, counts["pairs"])
            if counts["pairs"] != expected:
                yield (
                    f"warning: {output} has {counts['pairs']} pairs, but the published set-up "
                    f"has {expected}"
                )
            yield from self._unknown_warnings(output, counts)
            if counts["also_held_out"]:
                yield (
                    f"warning: {counts['also_held_out']} training pairs are also in the validation "
                    "or test split; they were kept"
                )

    def _unknown_warnings(self, output: str, counts: dict[str, Any]) -> Iterator[str]:
        tokenizers = (self.cleaner.source, self.cleaner.target)
        for language, tokenizer in zip(self.languages, tokenizers, strict=True):
            unknown, pieces = counts["unknown"][language], counts["pieces"][language]
            if unknown > UNKNOWN_SHARE_TO_WARN * pieces:
                yield (
                    f"warning: {unknown} of {pieces} pieces ({unknown / pieces:.1%}) of {output}."
                    f"{language} are unknown to {tokenizer.name}: is it a BERT for this language "
                    "and script?"
                )

    def _refuse_overlong(self, chunk: CleanChunk, parts: list[Located]) -> None:
        """Raises an error that names the first line of a chunk whose source is too long."""
        for source, _ in chunk.kept:
            if source.length > self.longest[0]:
                raise AbNetError(
                    f"{line_of(source.text, parts)}: a source must have at most "
                    f"{self.longest[0]} pieces of {self.cleaner.source.name}, but has "
                    f"{source.length}. Shorten it, or choose `--overlong-source truncate` or "
                    "`drop`; then prepare again with `--overwrite`."
                )

    def _resumable_step(self, split: str) -> dict[str, Any]:
        """The step's record: where it stands if its files are as it says, else a new one."""
        steps: dict[str, Any] = self.manifest.data["steps"]
        names = [
            name for output in self.outputs(split) for name in split_files(output, self.languages)
        ]
        if split in steps:
            step: dict[str, Any] = steps[split]
            suffix = "" if step["done"] else ".part"
            paths = {name: self.folder / f"{name}{suffix}" for name in names}
            sizes = {name: path.stat().st_size for name, path in paths.items() if path.exists()}
            offsets = step["offsets"]
            if step["done"] and sizes == offsets:
                return step
            if not step["done"] and all(sizes.get(name, -1) >= offsets[name] for name in offsets):
                return step
            self.manifest.data["binarized"] = None
        zero = dict.fromkeys(self.languages, 0)
        counters = ["pairs", "empty", "too_long_for_bert", "also_held_out"]
        if self.overlong_source == "truncate":
            counters.append("truncated_sources")
        steps[split] = {
            "done": False,
            "read": 0,
            "passed": 0,
            "dropped": {},
            "written": {
                output: dict.fromkeys(counters, 0) | {"pieces": dict(zero), "unknown": dict(zero)}
                for output in self.outputs(split)
            },
            "offsets": {},
        }
        new: dict[str, Any] = steps[split]
        return new

    def _held_out(self) -> set[Pair]:
        """The pairs of the splits that are finished."""
        pairs: set[Pair] = set()
        for split in ("test", "valid"):
            if split in self.manifest.data["steps"]:
                source, target = split_files(split, self.languages)[:2]
                pairs.update(
                    zip(*read_pair(self.folder / source, self.folder / target), strict=True)
                )
        return pairs

    def _divide(
        self, split: str, chunk: CleanChunk, step: dict[str, Any], held_out: set[Pair]
    ) -> dict[str, list[tuple[Side, Side]]]:
        """Counts a chunk and says which pairs go where."""
        step["read"] += chunk.read
        for reason, number in chunk.dropped.items():
            step["dropped"][reason] = step["dropped"].get(reason, 0) + number
        divided: dict[str, list[tuple[Side, Side]]] = {output: [] for output in step["written"]}
        for sides in chunk.kept:
            step["passed"] += 1
            every = self.corpus.valid_every
            is_valid = split == "train" and every > 0 and step["passed"] % every == 0
            output = "valid" if is_valid else split
            counts = step["written"][output]
            source, target = sides
            counts["empty"] += not (source.length and target.length)
            if source.length > self.longest[0] or target.length > self.longest[1]:
                counts["too_long_for_bert"] += 1
                if output == "train":
                    continue
            counts["pairs"] += 1
            if self.overlong_source == "truncate":
                counts["truncated_sources"] += source.truncated
            counts["also_held_out"] += (source.text, target.text) in held_out
            for language, side in zip(self.languages, sides, strict=True):
                counts["pieces"][language] += side.length
                counts["unknown"][language] += side.unknown
            divided[output].append(sides)
        return divided


def _findable(bert: str) -> str:
    """A BERT's name, or its folder as found from anywhere."""
    return str(Path(bert).absolute()) if Path(bert).is_dir() else bert


def _is_binarized(manifest: Manifest) -> bool:
    """Whether all binary files are there."""
    binarized = manifest.data["binarized"]
    return binarized is not None and all(
        (manifest.folder / name).exists() for name in binarized["files"]
    )


def _held_out_warnings(output: str, counts: dict[str, Any]) -> Iterator[str]:
    if counts["empty"]:
        yield f"warning: {counts['empty']} pairs of {output} have an empty side; they were kept"
    if counts["too_long_for_bert"]:
        yield (
            f"warning: {counts['too_long_for_bert']} pairs of {output} have a side that is too "
            "long for its BERT; they were kept, and a model cannot take them whole"
        )
