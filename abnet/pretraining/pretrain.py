"""Masked-LM pre-training of a BERT from plain text, with transformers' `Trainer`.

The result is an ordinary Hugging Face folder: a vocabulary learned with `tokenizers` (or an
existing BERT's), weights, and `pretraining.json` that says what it was made from.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abnet.errors import AbNetError
from abnet.permissions import usual_permissions
from abnet.pretraining.corpus import (
    SPECIAL_SYMBOLS,
    Corpus,
    encode_lines,
    learn_tokenizer,
    read_corpus,
)
from abnet.pretraining.folder import (
    TOKENIZER_NAME,
    WORK_NAME,
    begin,
    check_folder,
    check_same,
    make_folder,
    read_json,
    settings_of,
    write_json,
)
from abnet.pretraining.options import BertShape, PretrainingOptions
from abnet.processes import sole_user
from abnet.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REPORT_NAME = "pretraining.json"
PACKAGES = ("torch", "transformers", "tokenizers", "accelerate")


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
    settings = settings_of(corpus, options)
    if options.resume and (output / REPORT_NAME).exists():
        report = _read_report(output / REPORT_NAME)
        check_same(report.settings, settings, output)
        return report
    check_folder(output, settings, options.resume)

    from abnet.pretraining.masked_lm import (
        check_precision,
        measure_accuracy,
        saving,
        train_masked_lm,
    )

    check_precision(options.precision)
    tokenizer, model, positions = _build(corpus, options, output)
    make_folder(output)
    with sole_user(output):
        check_folder(output, settings, options.resume)  # another process may have left it since
        begin(output, settings, tokenizer)
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
        write_json(output / REPORT_NAME, dataclasses.asdict(report))
        shutil.rmtree(output / WORK_NAME)
    return report


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


def _read_report(path: Path) -> PretrainingReport:
    try:
        return PretrainingReport(**read_json(path))
    except TypeError as error:
        raise AbNetError(f"{path} must be a report of this version: {error}.") from error
