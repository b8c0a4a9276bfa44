"""Plain text as a pre-training corpus: which lines train, which are held out, as which ids."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from abnet.errors import AbNetError
from abnet.text import clean_line, comparable, decode_lines, open_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from abnet.tokenizer import Tokenizer

SPECIAL_SYMBOLS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""First pieces of a learned vocabulary, ids 0 to 4."""

ALPHABET_LIMIT = 1000
"""Most single characters of a learned vocabulary; rarer ones become [UNK]."""

HELD_OUT_SHARE = 0.02
HELD_OUT_LIMIT = 1000


class Corpus(NamedTuple):
    """Lines of text, split into those that train and those that measure.

    Attributes:
        training: lines to train on, in the order read, repetitions kept.
        held_out: distinct lines that `training` does not contain.
        hashes: for each file's name, or path where names repeat, its "sha256:<hex>"; a file that
            is given again has a number behind its path.
        excluded: the hash of each excluded file, in order of the hashes.
        dropped: number of lines left out because an excluded file has them too.
    """

    training: list[str]
    held_out: list[str]
    hashes: dict[str, str]
    excluded: list[str]
    dropped: int


def read_corpus(texts: Sequence[Path], exclude: Sequence[Path] = (), seed: int = 1) -> Corpus:
    """Reads text files, drops what the excluded files contain, and holds a slice out.

    Lines are compared without regard to case and spacing. The held-out slice is 2 % of the
    distinct lines, at most 1,000, chosen by a hash of the line; no copy of them trains.

    Args:
        texts: files with one sentence a line.
        exclude: files whose lines must not be trained on (validation and test sets).
        seed: changes which lines are held out.

    Raises:
        AbNetError: a file cannot be read, or no line is left to train on.
    """
    banned: set[str] = set()
    excluded = []
    for path in exclude:
        lines, content_hash = _read(path)
        banned.update(map(comparable, lines))
        excluded.append(content_hash)
    hashes: dict[str, str] = {}
    kept: list[str] = []
    dropped = 0
    for path in texts:
        lines, content_hash = _read(path)
        again = (f"{path} ({number})" for number in range(2, len(texts) + 1))
        names = itertools.chain((path.name, str(path)), again)
        hashes[next(name for name in names if name not in hashes)] = content_hash
        for line in map(clean_line, lines):
            if not line:
                continue
            if comparable(line) in banned:
                dropped += 1
            else:
                kept.append(line)
    first = {comparable(line): line for line in reversed(kept)}
    distinct = sorted(first.values(), key=lambda line: _digest(f"{seed} {line}"))
    if len(distinct) < 2:
        raise AbNetError(
            f"the text must have at least 2 different lines, but {len(distinct)} are left of "
            f"{', '.join(map(str, texts))} after {dropped} dropped lines."
        )
    held_out = distinct[: max(1, min(HELD_OUT_LIMIT, int(HELD_OUT_SHARE * len(distinct))))]
    hidden = {comparable(line) for line in held_out}
    training = [line for line in kept if comparable(line) not in hidden]
    return Corpus(training, held_out, hashes, sorted(excluded), dropped)


def _read(path: Path) -> tuple[list[str], str]:
    """The lines of a file, which may be a pipe, and its "sha256:<hex>"."""
    with open_bytes(path) as stream:
        content = stream.read()
    lines = list(decode_lines(io.BytesIO(content), str(path)))
    return lines, "sha256:" + hashlib.sha256(content).hexdigest()


def learn_tokenizer(
    lines: Sequence[str], size: int, lowercase: bool, max_positions: int, with_cls: bool
) -> PreTrainedTokenizerBase:
    """Learns a WordPiece vocabulary and wraps it as a BERT tokenizer.

    Accents are kept in either case: "schön" stays "schön" where BERT's own uncased models
    would read "schon", another word.

    Args:
        lines: text to learn from.
        size: most pieces, symbols included.
        lowercase: whether the tokenizer folds case.
        max_positions: longest sequence, symbols included, that the BERT will take.
        with_cls: whether the tokenizer puts [CLS] in front of a text.

    Raises:
        AbNetError: `size` leaves no room for pieces.
    """
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertTokenizer, PreTrainedTokenizerFast

    symbols = list(SPECIAL_SYMBOLS)
    if size < len(symbols) + 2:
        raise AbNetError(
            f"`vocab_size` must be more than the {len(symbols)} symbols and a letter or two, but "
            f"is {size} instead."
        )
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter[str]()
    for line, count in Counter(lines).items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(line)):
            words[word] += count
    alphabet = _alphabet(words, min(ALPHABET_LIMIT, (size - len(symbols)) // 2))
    inner = {letter for word in words for letter in word[1:]} & alphabet
    learner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # The trainer numbers inner letters in the order of a hash table, another one each time, and
    # breaks ties by number: named here as if they were symbols, they have one order.
    learner.train_from_iterator(
        (word for word in sorted(words) for _ in range(words[word])),
        trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=[*symbols, *("##" + letter for letter in sorted(inner))],
            initial_alphabet=sorted(alphabet),
            limit_alphabet=len(alphabet),
            min_frequency=2,
            show_progress=False,
        ),
    )
    tokenizer = BertTokenizer(
        vocab=learner.get_vocab(),
        do_lower_case=lowercase,
        strip_accents=False,
        model_max_length=max_positions,
    )
    if with_cls:
        return tokenizer
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="$A:0 [SEP]:0",
        pair="$A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[SEP]", SPECIAL_SYMBOLS.index("[SEP]"))],
    )
    # Not a `BertTokenizer`: loading one puts [CLS] back.
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_positions,
        **{f"{symbol.strip('[]').lower()}_token": symbol for symbol in symbols},
    )


def encode_lines(
    tokenizer: Tokenizer, lines: Sequence[str], max_positions: int, with_cls: bool
) -> list[list[int]]:
    """Lines as sequences `([CLS]) w1 .. wn [SEP]`; a line that is too long makes several.

    Args:
        tokenizer: of the BERT.
        lines: text.
        max_positions: longest sequence, symbols included.
        with_cls: whether sequences begin with [CLS].

    Raises:
        AbNetError: the tokenizer finds nothing in any line, as in marks of zero width, or
            sequences have no room for a piece.
    """
    head = [tokenizer.symbols.cls] if with_cls else []
    room = max_positions - len(head) - 1
    if room < 1:
        raise AbNetError(
            f"the BERT must take sequences of at least {len(head) + 2} pieces, symbols included, "
            f"but takes {max_positions}."
        )
    sequences = [
        [*head, *ids[start : start + room], tokenizer.symbols.sep]
        for ids in tokenizer.encode_batch(lines)
        for start in range(0, len(ids), room)
    ]
    if not sequences:
        raise AbNetError(
            f"the text must have words, but the tokenizer finds none in {len(lines)} lines."
        )
    return sequences


def _alphabet(words: Counter[str], limit: int) -> set[str]:
    """The most frequent letters, at most `limit`."""
    letters = Counter[str]()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    return set(sorted(letters, key=lambda letter: (-letters[letter], letter))[:limit])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()
