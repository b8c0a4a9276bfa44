"""Back-translation (Sennrich et al. 2016): real target text with a model's source side.

A reverse model translates monolingual text of the target language into the source language; the
pairs are mixed with true ones.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from abnet.corpora.download import Say
from abnet.corpora.formats import read_text_pairs
from abnet.corpora.text import find_file
from abnet.errors import AbNetError
from abnet.translated.files import Lines, Sample, describe_files, write_pairs
from abnet.translated.filtering import (
    USUAL,
    PairFilter,
    describe_drops,
    describe_rules,
    keep_good,
)
from abnet.translated.origin import Origin, origin_of
from abnet.translated.translating import Running, Teacher, Translating

KIND = "back_translated"
ORDER = "true pairs first, then synthetic ones"


@dataclass(frozen=True)
class BackTranslation:
    """What is back-translated, with what it is mixed, and where to.

    Attributes:
        pair: source and target language of the model to train.
        mono: text files in the target language.
        true: prefix of the true training files.
        output: the folder to make.
        ratio: the most synthetic pairs for each true pair of the result.
        upsample_true: how many times the true pairs are there.
        seed: decides which lines of `mono` are taken, where there are more than needed.
        exclude: files in the target language whose lines are not taken (validation, test).
        rules: what is dropped; `None` keeps every line.
        overwrite: whether what was made from something else may go.

    Raises:
        AbNetError: a value is outside of what it allows.
    """

    pair: tuple[str, str]
    mono: Sequence[Path]
    true: str
    output: Path
    ratio: Fraction = Fraction(1)
    upsample_true: int = 1
    seed: int = 1
    exclude: Sequence[Path] = ()
    rules: PairFilter | None = USUAL
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.ratio <= 0:
            raise AbNetError(f"`ratio` must be more than 0, but is {float(self.ratio)} instead.")
        if self.upsample_true < 1:
            raise AbNetError(
                f"`upsample_true` must be at least 1, but is {self.upsample_true} instead."
            )

    @property
    def true_files(self) -> list[Path]:
        """The true pairs' source and target file.

        Raises:
            AbNetError: one is not there.
        """
        return [find_file("--true", self.true, language) for language in self.pair]


def most_synthetic(true_pairs: int, upsample_true: int, ratio: Fraction) -> int:
    """The most synthetic pairs that go with so many true ones, each there so many times."""
    return int(ratio * true_pairs * upsample_true)


def back_translate(
    task: BackTranslation, reverse: Teacher, running: Running, say: Say
) -> dict[str, Any] | None:
    """Writes true and synthetic pairs as `train.SRC` and `train.TGT`: true ones first.

    Lines of the monolingual text are chosen first, and only those translated: what the filter then
    drops is not made up for. Shards that are there are not translated again.

    Args:
        task: what is back-translated, and where to.
        reverse: the model from the target to the source language.
        running: how the work is divided.
        say: takes lines about the progress, and warnings.

    Returns:
        The manifest's `result`, or `None` while shards of other parts are missing.

    Raises:
        AbNetError: text, checkpoint or folder cannot be used, or a shard cannot be translated.
    """
    pair = "-".join(task.pair)
    true_files = task.true_files
    reverse.check_direction(task.pair[1], task.pair[0], say)
    true_pairs = sum(1 for _ in read_text_pairs(*true_files))
    most = most_synthetic(true_pairs, task.upsample_true, task.ratio)
    if not most:
        raise AbNetError(
            f"`ratio` must be large enough for one synthetic pair, but is {float(task.ratio)} with "
            f"{true_pairs} true pairs."
        )
    usable = Lines(tuple(task.mono), only_new=True, exclude=tuple(task.exclude))
    of = usable.count()
    taken = min(most, of)
    mono, excluded = describe_files(task.mono), describe_files(task.exclude)
    made_from = {
        "kind": KIND,
        "pair": pair,
        "inputs": [one["sha256"] for one in mono],
        "exclude": sorted(one["sha256"] for one in excluded),
        "sample": {"taken": taken, "of": of, "seed": task.seed if taken < of else None},
    }
    about = {"inputs": mono, "exclude": excluded}
    lines = replace(usable, sample=Sample(taken, of, task.seed))
    say(f"{taken} of {of} lines are taken, {float(task.ratio):g} for each true pair at most")
    inputs = (*task.mono, *task.exclude, *true_files)
    origin = origin_of(true_files, pair)
    work = Translating(
        lines, reverse, running, task.output, made_from, about, task.overwrite, inputs, say
    )
    if not work.run():
        return None
    dropped: Counter[str] = Counter()
    synthetic = (
        (translation, original)
        for original, translation in keep_good(work.candidates(), task.rules, dropped)
    )
    true = (
        true_pair for _ in range(task.upsample_true) for true_pair in read_text_pairs(*true_files)
    )
    pairs = write_pairs(work.files, itertools.chain(true, synthetic))
    result = {
        "pairs": pairs,
        "true_pairs": true_pairs,
        "upsample_true": task.upsample_true,
        "synthetic_pairs": pairs - true_pairs * task.upsample_true,
        "ratio": float(task.ratio),
        "dropped": dict(dropped),
        "order": ORDER,
    }
    say(
        f"{task.output}: {true_pairs} true pairs ({task.upsample_true} times) and "
        f"{result['synthetic_pairs']} synthetic ones; dropped: {describe_drops(dropped)}"
    )
    work.finish(
        result,
        true=describe_files(true_files),
        filter=describe_rules(task.rules),
        **{**origin, KIND: _credit(work, origin)},
    )
    return result


def _credit(work: Translating, origin: Origin) -> dict[str, Any]:
    """The reverse model, after the one of the true pairs if these are back-translated in part."""
    credit = work.credit()
    if KIND in origin:
        credit["teacher"] = f"{origin[KIND]['teacher']} and {credit['teacher']}"
    return credit
