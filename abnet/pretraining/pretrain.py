"""Masked-LM pre-training of a BERT from plain text, with transformers' `Trainer`.

The result is an ordinary Hugging Face folder: a vocabulary learned with `tokenizers` (or an
existing BERT's), weights, and `pretraining.json` that says what it was made from.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abnet.corpora.writing import to_json, write_atomically
from abnet.errors import AbNetError
from abnet.permissions import usual_permissions
from abnet.pretraining.corpus import (
    SPECIAL_SYMBOLS,
    Corpus,
    encode_lines,
    learn_tokenizer,
    read_corpus,
)
from abnet.processes import sole_user
from abnet.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import BertConfig, PreTrainedModel, PreTrainedTokenizerBase

REPORT_NAME = "pretraining.json"
WORK_NAME = "training"
SETTINGS_NAME = "settings.json"
TOKENIZER_NAME = "tokenizer.json"
PACKAGES = ("torch", "transformers", "tokenizers", "accelerate")


@dataclass(frozen=True)
class BertShape:
    """Size of a BERT that is trained from random weights.

    Attributes:
        layers: number of Transformer layers.
        hidden: width.
        heads: attention heads; must divide `hidden`.
        ffn: width of the feed-forward blocks.
        vocab_size: most pieces of the vocabulary, the five symbols included.
        max_positions: longest sequence, symbols included.
    """

    layers: int = 4
    hidden: int = 256
    heads: int = 4
    ffn: int = 1024
    vocab_size: int = 8000
    max_positions: int = 512

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")
        if self.hidden % self.heads:
            raise AbNetError(
                f"`heads` must divide `hidden` ({self.hidden}), but is {self.heads} instead."
            )
        if self.max_positions < 4:
            raise AbNetError(
                f"`max_positions` must be at least 4, but is {self.max_positions} instead."
            )

    def config(self, pieces: int, **more: Any) -> BertConfig:
        """As transformers has it, for a vocabulary of so many pieces; `more` of its fields."""
        from transformers import BertConfig

        return BertConfig(
            vocab_size=pieces,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.ffn,
            max_position_embeddings=self.max_positions,
            **more,
        )


@dataclass(frozen=True)
class PretrainingOptions:
    """How to pre-train. Exactly one of `updates` and `minutes` is the budget.

    Attributes:
        shape: size of a new BERT; `None` with `start`.
        start: name or folder of a BERT to continue from; `None` for a new one.
        head_only: train nothing but the masked-LM head of `start`, made anew if it has none.
        lowercase: fold case in a new vocabulary.
        with_cls: sequences are `[CLS] w1 .. wn [SEP]`, or without the [CLS].
        updates: number of optimizer steps.
        minutes: wall-clock time of training; the learning rate reaches zero at its end.
        batch_tokens: most tokens of a batch, padding included.
        learning_rate: the highest, after warm-up over the first 5 % of the budget.
        dropout: of a new BERT.
        masking: "bert": `mask_share` of the words, of which 80 % become [MASK], 10 % a random
            piece and 10 % stay. "decoder": as AB-Net's decoder will see it, a number of
            [MASK] drawn from 1 to all, [SEP] among the words.
        mask_share: share of words that "bert" masking predicts. BERT's own is 0.15; AB-Net gains
            much from more (docs/recipe.md).
        precision: "fp32", "bf16" or "fp16" (mixed).
        seed: of weights, masks, order and held-out lines.
        save_minutes: time between checkpoints for `resume`.
        resume: continue an interrupted run in the same folder, or keep a finished one.
    """

    shape: BertShape | None = dataclasses.field(default_factory=BertShape)
    start: str | None = None
    head_only: bool = False
    lowercase: bool = False
    with_cls: bool = True
    updates: int | None = None
    minutes: float | None = None
    batch_tokens: int = 4096
    learning_rate: float = 5e-4
    dropout: float = 0.1
    masking: str = "bert"
    mask_share: float = 0.4
    precision: str = "fp32"
    seed: int = 1
    save_minutes: float = 5.0
    resume: bool = False

    def __post_init__(self) -> None:
        if (self.shape is None) == (self.start is None):
            raise AbNetError("give either the shape of a new BERT or one to continue, not both.")
        if self.head_only and self.start is None:
            raise AbNetError("`head_only` must come with `start`, the BERT whose head trains.")
        if (self.updates is None) == (self.minutes is None):
            raise AbNetError("give either `updates` or `minutes` as the budget.")
        for name in ("updates", "minutes", "batch_tokens", "learning_rate", "save_minutes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise AbNetError(f"`{name}` must be positive, but is {value} instead.")
        if not 0 <= self.seed < 2**32:  # as transformers' and NumPy's
            raise AbNetError(f"`seed` must be in [0, 2**32), but is {self.seed} instead.")
        if not 0.0 <= self.dropout < 1.0:
            raise AbNetError(f"`dropout` must be in [0, 1), but is {self.dropout} instead.")
        if not 0.0 < self.mask_share < 1.0:
            raise AbNetError(f"`mask_share` must be in (0, 1), but is {self.mask_share} instead.")
        if self.masking not in ("bert", "decoder"):
            raise AbNetError(
                f"`masking` must be 'bert' or 'decoder', but is {self.masking!r} instead."
            )
        if self.precision not in ("fp32", "bf16", "fp16"):
            raise AbNetError(
                f"`precision` must be 'fp32', 'bf16' or 'fp16', but is {self.precision!r} instead."
            )


@dataclass(frozen=True)
class PretrainingReport:
    """What was done; written to `pretraining.json`.

    Attributes:
        settings: options, hashes of the text files, and how many lines were dropped.
        lines: number of lines trained on.
        held_out_lines: number of lines of the held-out slice.
        dropped_lines: lines left out because an excluded file has them.
        vocab_size: pieces of the vocabulary.
        parameters: number of weights.
        updates: optimizer steps taken.
        seconds: time spent training, over all resumed runs.
        masked_accuracy: share of masked words of the held-out slice predicted exactly.
        versions: of the packages that did it.
    """

    settings: dict[str, Any]
    lines: int
    held_out_lines: int
    dropped_lines: int
    vocab_size: int
    parameters: int
    updates: int
    seconds: float
    masked_accuracy: float
    versions: dict[str, str]


def pretrain(
    texts: Sequence[Path],
    output: Path,
    options: PretrainingOptions,
    exclude: Sequence[Path] = (),
) -> PretrainingReport:
    """Pre-trains a BERT on text files and saves it as a Hugging Face folder.

    Args:
        texts: files with one sentence a line.
        output: folder to write; must be new unless `options.resume`.
        options: size, budget and objective.
        exclude: files whose lines are dropped from the text (validation and test sets).

    Raises:
        AbNetError: text or folder cannot be used as asked, or another process works there.
    """
    corpus = read_corpus(texts, exclude, options.seed)
    settings = _settings(corpus, options)
    if options.resume and (output / REPORT_NAME).exists():
        report = _read_report(output / REPORT_NAME)
        _check_same(report.settings, settings, output)
        return report
    _check_folder(output, settings, options.resume)

    from abnet.pretraining.masked_lm import (
        check_precision,
        measure_accuracy,
        saving,
        train_masked_lm,
    )

    check_precision(options.precision)
    tokenizer, model, positions = _build(corpus, options, output)
    _make_folder(output)
    with sole_user(output):
        _check_folder(output, settings, options.resume)  # another process may have left it since
        _begin(output, settings, tokenizer)
        encoder = Tokenizer.from_pretrained(str(output))
        sequences, held_out = (
            encode_lines(encoder, lines, positions, options.with_cls)
            for lines in (corpus.training, corpus.held_out)
        )
        result = train_masked_lm(model, tokenizer, sequences, output / WORK_NAME, options)
        accuracy = measure_accuracy(model, tokenizer, held_out, options)
        with saving(output):
            _save(model, output)
        report = PretrainingReport(
            settings=settings,
            lines=len(corpus.training),
            held_out_lines=len(corpus.held_out),
            dropped_lines=corpus.dropped,
            vocab_size=len(tokenizer),
            parameters=sum(p.numel() for p in model.parameters()),
            updates=result.updates,
            seconds=round(result.seconds, 3),
            masked_accuracy=round(accuracy, 4),
            versions={name: version(name) for name in PACKAGES},
        )
        _write_json(output / REPORT_NAME, dataclasses.asdict(report))
        shutil.rmtree(output / WORK_NAME)
    return report


def _settings(corpus: Corpus, options: PretrainingOptions) -> dict[str, Any]:
    chosen = dataclasses.asdict(options)
    del chosen["resume"], chosen["save_minutes"]
    found = {"texts": corpus.hashes, "excluded": corpus.excluded}
    return {**found, "dropped_lines": corpus.dropped, **chosen}


def _check_same(old: dict[str, Any], new: dict[str, Any], output: Path) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(PretrainingOptions)}
    compared = [name for name in new if name != "dropped_lines"]  # which follows from the hashes
    changed = [n for n in compared if old.get(n, defaults.get(n, new[n])) != new[n]]
    if changed:
        raise AbNetError(
            f"{output} was begun with other settings ({', '.join(changed)}); "
            "give the same ones, or another folder."
        )


def _check_folder(output: Path, settings: dict[str, Any], resume: bool) -> None:
    """The folder is new, or what is in it is the run to resume."""
    record = output / WORK_NAME / SETTINGS_NAME
    if resume and record.exists():
        _check_same(_read_json(record), settings, output)
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        advice = (
            "it holds no run to resume either."
            if resume
            else "to go on with an interrupted run there, add --resume."
        )
        raise AbNetError(f"`output` must be a new or empty folder, but {output} is not; {advice}")


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_made(output, error) from error


def _begin(output: Path, settings: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    """Puts into the folder what a resumed run must find again."""
    record = output / WORK_NAME / SETTINGS_NAME
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        if not record.exists():
            _write_json(record, settings)
        if not (output / TOKENIZER_NAME).exists():
            _write_tokenizer(output, settings, tokenizer)
    except Exception as error:  # tokenizers has no kind of its own for a full disk
        raise _cannot_be_made(output, error) from error


def _cannot_be_made(output: Path, error: Exception) -> AbNetError:
    return AbNetError(
        f"`output` must be a folder that can be made, but {output} cannot ({error}): name "
        "another one, or make room."
    )


def _write_tokenizer(
    output: Path, settings: dict[str, Any], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Writes its files so that all of them are whole where there is a `tokenizer.json`."""
    unfinished = output / WORK_NAME / "tokenizer"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    if settings["start"] is None:
        tokenizer.backend_tokenizer.model.save(str(unfinished))  # vocab.txt, for people
    tokenizer.save_pretrained(unfinished)
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == TOKENIZER_NAME):
        path.replace(output / path.name)
    unfinished.rmdir()


def _build(
    corpus: Corpus, options: PretrainingOptions, output: Path
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel, int]:
    """Tokenizer, model, and the longest sequence it takes."""
    from transformers import AutoTokenizer

    from abnet.pretraining.masked_lm_model import load_masked_lm, new_bert, positions_of

    if options.start is not None:
        tokenizer, model = load_masked_lm(options.start, options.head_only, options.seed)
        return tokenizer, model, min(tokenizer.model_max_length, positions_of(model.config))
    shape = options.shape or BertShape()
    if (output / TOKENIZER_NAME).exists():  # an interrupted run left it
        tokenizer = AutoTokenizer.from_pretrained(output)
    else:
        tokenizer = learn_tokenizer(
            corpus.training,
            shape.vocab_size,
            options.lowercase,
            shape.max_positions,
            options.with_cls,
        )
        if len(tokenizer) <= len(SPECIAL_SYMBOLS):
            raise AbNetError("The text must have words, but has only signs that do not show.")
    model = new_bert(shape, tokenizer, options.dropout, options.seed)
    return tokenizer, model, shape.max_positions


def _save(model: PreTrainedModel, output: Path) -> None:
    """Saves the weights under the architecture's own name, not our training subclass's."""
    from transformers import AutoModelForMaskedLM

    plain = AutoModelForMaskedLM.from_config(model.config)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(output)
    for path in output.glob("*.safetensors"):
        usual_permissions(path)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, to_json(content))


def _read_report(path: Path) -> PretrainingReport:
    try:
        return PretrainingReport(**_read_json(path))
    except TypeError as error:
        raise AbNetError(f"{path} must be a report of this version: {error}.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise AbNetError(f"{path} must be as it was written, but is damaged ({error}).") from error
    return content
