"""Text pairs to clean raw text and pieces, in parallel processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple, TypeVar

from abnet.corpora.corpus import Pair, Rules
from abnet.errors import AbNetError
from abnet.processes import end_with_parent
from abnet.text import clean_line
from abnet.tokenizer import Tokenizer

CHUNK_PAIRS = 5_000
CHUNKS_BEFORE_PROCESSES = 2  # a small corpus is done before a process would have started
CHUNKS_AHEAD = 2  # a process, so that memory stays bounded

_WORD = re.compile(r"\w+|[^\w\s]")

T = TypeVar("T")


class Side(NamedTuple):
    """One side of a pair.

    Attributes:
        text: clean raw text, all of it.
        pieces: its pieces, separated by spaces.
        length: the number of pieces.
        unknown: how many of them are unknown to the BERT.
        truncated: whether the last pieces of the text were left out.
    """

    text: str
    pieces: str
    length: int
    unknown: int
    truncated: bool = False


class CleanChunk(NamedTuple):
    """What came of a chunk of pairs.

    Attributes:
        read: how many pairs went in.
        kept: source and target side of the pairs that came out, in order.
        dropped: how many did not, by reason: "empty", "too_long", "ratio".
    """

    read: int
    kept: list[tuple[Side, Side]]
    dropped: Counter[str]


class Cleaner:
    """Cleans, filters and tokenizes pairs.

    Args:
        source: the source BERT's name or folder.
        target: the target BERT's.

    Attributes:
        source, target: the tokenizers.
        longest_source: the most pieces of a source, whose last ones are left out if it has more;
            `None` leaves it whole.
    """

    def __init__(self, source: str, target: str) -> None:
        self.longest_source: int | None = None
        self.source = Tokenizer.from_pretrained(source)
        self.target = self.source if source == target else Tokenizer.from_pretrained(target)

    def clean(self, pairs: list[Pair], rules: Rules | None) -> CleanChunk:
        """One chunk.

        Args:
            rules: what is dropped; `None` keeps every pair (validation and test).
        """
        dropped: Counter[str] = Counter()
        texts: list[Pair] = []
        for source, target in pairs:
            text = (clean_line(source), clean_line(target))
            reason = _verdict_on_text(text, rules)
            if reason is None:
                texts.append(text)
            else:
                dropped[reason] += 1
        sources = self._truncated(_sides(self.source, [source for source, _ in texts]))
        targets = _sides(self.target, [target for _, target in texts])
        kept = []
        for source_side, target_side in zip(sources, targets, strict=True):
            reason = _verdict_on_pieces(source_side, target_side, rules)
            if reason is None:
                kept.append((source_side, target_side))
            else:
                dropped[reason] += 1
        return CleanChunk(len(pairs), kept, dropped)

    def _truncated(self, sources: list[Side]) -> list[Side]:
        """The sources, those that are too long without their last pieces."""
        longest = self.longest_source
        if longest is None:
            return sources
        long = [at for at, side in enumerate(sources) if side.length > longest]
        texts = [self.source.truncate(sources[at].text, longest) for at in long]
        for at, side in zip(long, _sides(self.source, texts), strict=True):
            sources[at] = side._replace(text=sources[at].text, truncated=True)
        return sources


def count_words(text: str) -> int:
    """Runs of letters and digits, and every other sign: about what a tokenizer makes of a text."""
    return len(_WORD.findall(text))


def clean_in_parallel(
    pairs: Iterable[Pair], cleaner: Cleaner, rules: Rules | None, workers: int
) -> Iterator[CleanChunk]:
    """Chunks of clean pairs in their order, made by `workers` processes if there are many.

    Raises:
        AbNetError: a process was killed.
    """
    chunks = in_chunks(pairs, CHUNK_PAIRS)
    first = CHUNKS_BEFORE_PROCESSES if workers > 1 else None
    for chunk in itertools.islice(chunks, first):
        yield cleaner.clean(chunk, rules)
    chunk_after = next(chunks, None)
    if chunk_after is None:
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy tokenizers' locked threads
    pool = ProcessPoolExecutor(workers, context, _start_process, (cleaner,))
    waiting: deque[Future[CleanChunk]] = deque()
    try:
        for chunk in itertools.chain([chunk_after], chunks):
            waiting.append(pool.submit(_clean_in_process, chunk, rules))
            if len(waiting) > CHUNKS_AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise AbNetError(
            "A process that tokenizes was ended from outside, perhaps for want of memory. What is "
            "done is kept: run the command again, with fewer `--workers`."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _verdict_on_text(text: Pair, rules: Rules | None) -> str | None:
    if rules is None:
        return None
    if not text[0] or not text[1]:
        return "empty"
    if rules.unit == "words":
        return rules.verdict(count_words(text[0]), count_words(text[1]))
    return None


def _verdict_on_pieces(source: Side, target: Side, rules: Rules | None) -> str | None:
    if rules is None:
        return None
    if not source.length or not target.length:  # a tokenizer can make nothing of some signs
        return "empty"
    return rules.verdict(source.length, target.length) if rules.unit == "pieces" else None


def _sides(tokenizer: Tokenizer, texts: list[str]) -> list[Side]:
    vocabulary, unknown = tokenizer.vocabulary, tokenizer.symbols.unk
    return [
        Side(text, " ".join([vocabulary[id] for id in ids]), len(ids), ids.count(unknown))
        for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True)
    ]


_cleaner_of_process: list[Cleaner] = []


def _start_process(cleaner: Cleaner) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread a process
    end_with_parent()
    _cleaner_of_process.append(cleaner)


def _clean_in_process(pairs: list[Pair], rules: Rules | None) -> CleanChunk:
    return _cleaner_of_process[0].clean(pairs, rules)
