"""What each source piece is in the target language, counted in the training pairs.

A word that the training side has a few times is learned late: its vector in the lexical adapter
(`abnet.lexical`) changes in a few updates an epoch. But counting finds its translations at once. So
the vectors may begin as the mean target embedding of what their pieces are translated by, and one
projection, which all pieces train, makes use of them. Another turns them into these embeddings
again, for a decoder that begins with them (`abnet.spread`).

Legend: S and V the source and target vocabulary, H the width of the target BERT, N pairs of pieces.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from abnet.backbone import Backbone
from abnet.errors import AbNetError
from abnet.permissions import usual_permissions
from abnet.tokenizer import SymbolIds, Tokenizer

FORMAT = "abnet lexicon 2"
OLDER_FORMAT = "abnet lexicon 1"  # with vectors on axes that it does not have
PAIRS_AT_ONCE = 10_000
WORDS_AT_ONCE = 4096
PLACE = 10  # in a sentence, where words are compared with a [MASK]; any is much like another
ITERATIONS = 8

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class TranslationTable(NamedTuple):
    """How probably a source piece is translated by a target piece, where that may be.

    Attributes:
        source: (N,) ids, -1 for the empty word.
        target: (N,) ids.
        probability: (N,), those of a source piece sum to 1.
    """

    source: Indices
    target: Indices
    probability: Floats


class Lexicon(NamedTuple):
    """Vectors of source pieces, and how to make target embeddings of them.

    Attributes:
        vectors: (S, dim); the first columns hold most. 0 for a piece that the pairs have not.
        axes: (dim, H), so that `vectors @ axes` is the mean over a piece's translations of what
            `word_inputs` has of them, or, with a dim below H, what comes closest to it.
    """

    vectors: Tensor
    axes: Tensor


class _Links(NamedTuple):
    """All ways to link the words of some sentence pairs.

    Attributes:
        entry: of the table, one a link.
        word: the target word that is linked, counted from 0.
    """

    entry: npt.NDArray[np.int32]
    word: npt.NDArray[np.int32]


def translation_table(
    pairs: Iterable[tuple[Sequence[int], Sequence[int]]], iterations: int = ITERATIONS
) -> TranslationTable:
    """IBM Model 1 by expectation maximization (Brown et al., Computational Linguistics 1993).

    Each target word comes from one source word or from the empty word, all of them equally
    probable; it begins with equal probabilities. Memory: some 18 bytes a pair of words that stand
    in one sentence pair.

    Args:
        pairs: source and target ids of each sentence pair, no special symbols among them.
        iterations: of expectation maximization.

    Raises:
        AbNetError: there is no pair with words on both sides.
    """
    keys: list[Indices] = []
    linked: list[_Links] = []
    sentences = [(np.array([-1, *s]), np.array(t)) for s, t in pairs if len(s) and len(t)]
    if not sentences:
        raise AbNetError("The training pairs must have words on both sides, but none has.")
    for begin in range(0, len(sentences), PAIRS_AT_ONCE):
        part = sentences[begin : begin + PAIRS_AT_ONCE]
        source = np.concatenate([np.tile(s, len(t)) for s, t in part])
        target = np.concatenate([np.repeat(t, len(s)) for s, t in part])
        sizes = np.concatenate([np.full(len(t), len(s)) for s, t in part])
        key, entry = np.unique(source << 32 | target, return_inverse=True)
        keys.append(key)
        word = np.repeat(np.arange(len(sizes)), sizes)
        linked.append(_Links(entry.astype(np.int32), word.astype(np.int32)))
    table = np.unique(np.concatenate(keys))
    linked = [
        links._replace(entry=np.searchsorted(table, key).astype(np.int32)[links.entry])
        for key, links in zip(keys, linked, strict=True)
    ]
    source, target = table >> 32, table & 0xFFFFFFFF
    probability = np.ones(len(table))
    for _ in range(iterations):
        counts = np.zeros(len(table))
        for links in linked:
            share = probability[links.entry]
            share /= np.bincount(links.word, share)[links.word]
            counts += np.bincount(links.entry, share, len(table))
        probability = counts / np.bincount(source + 1, counts)[source + 1]
    return TranslationTable(source, target, probability)


@torch.inference_mode()
def word_inputs(bert: Backbone, symbols: SymbolIds, size: int) -> Tensor:
    """What the BERT's first layer gets of each word beside what it gets of a [MASK].

    Args:
        bert: of the target, in evaluation mode.
        symbols: of the target vocabulary.
        size: V, its pieces.

    Returns:
        (V, H).
    """
    place = min(PLACE, bert.max_positions - 1)
    parts = torch.split(torch.arange(size), WORDS_AT_ONCE)
    words = torch.cat([bert.embed(ids[:, None], place)[:, 0] for ids in parts])
    return words - words[symbols.mask]


def piece_vectors(table: TranslationTable, words: Tensor, source_size: int) -> Lexicon:
    """The mean of what each source piece's translations are, on principal axes.

    A translation counts with the square of its probability: the table gives words that merely
    stand beside a piece a little of it, and there are many.

    Args:
        table: of the two vocabularies.
        words: (V, H), what each target piece is.
        source_size: S.

    Returns:
        With a dim of min(S, H).
    """
    real = table.source >= 0
    source, target = table.source[real], table.target[real]
    weights = table.probability[real] ** 2
    weights /= np.bincount(source, weights, source_size)[source]
    places = torch.from_numpy(np.stack([source, target]))
    translated = torch.sparse_coo_tensor(
        places, torch.from_numpy(weights), (source_size, len(words)), check_invariants=True
    )
    rows, sizes, axes = torch.linalg.svd(translated @ words.double(), full_matrices=False)
    vectors = (rows * sizes).float()
    known = torch.zeros(source_size, dtype=torch.bool).index_fill_(0, places[0], True)
    return Lexicon(vectors.masked_fill(~known[:, None], 0.0), axes.float())  # exactly


def check_place(path: Path) -> None:
    """Makes the folder of a lexicon and tries to write there, before the counting.

    Raises:
        AbNetError: the path is a folder, or nothing can be written there.
    """
    if path.is_dir():
        raise AbNetError(
            f"A lexicon must be written to a file, but {path} is a folder: name a .safetensors in "
            "it."
        )
    with _replacing(path) as part:
        part.touch()


def write_lexicon(
    path: Path,
    lexicon: Lexicon,
    source: Tokenizer,
    about: dict[str, str],
    target: Tokenizer | None = None,
) -> None:
    """Writes a lexicon for the pieces of a vocabulary; replaces atomically.

    Args:
        path: of the file, a .safetensors.
        lexicon: see `piece_vectors`.
        source: the tokenizer whose pieces they are of.
        about: what else the file's metadata tell.
        target: the tokenizer of what these pieces are translated by; if not given, the file may be
            read for any.

    Raises:
        AbNetError: the disk is full or the folder cannot be written; an older file stays whole.
    """
    metadata = {"format": FORMAT, **about}
    for side, tokenizer in _sides(source, target):
        metadata[f"{side}_bert"] = tokenizer.name
        metadata[f"{side}_vocabulary"] = tokenizer.vocab_hash
        metadata[f"{side}_pieces"] = tokenizer.pieces_hash
    with _replacing(path) as part:
        tensors = {name: tensor.contiguous() for name, tensor in lexicon._asdict().items()}
        save_file(tensors, part, metadata)
        usual_permissions(part)
        os.replace(part, path)


def read_lexicon(
    path: str | Path, source: Tokenizer, dim: int, target: Tokenizer | None = None
) -> Lexicon:
    """What an adapter begins with: vectors of a mean length of 1, and their axes.

    Args:
        path: what `write_lexicon` wrote.
        source: the tokenizer of the adapter.
        dim: the size of its vectors.
        target: the tokenizer of the model's target side, held against what the file says of its
            own.

    Raises:
        AbNetError: the file is missing, damaged, older or no lexicon, of another vocabulary or
            of text that was cut in another way, or its vectors are too short.
    """
    if not Path(path).is_file():
        raise AbNetError(f"`lexicon` must be a file of `abnet lexicon`, but there is no {path}.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            lexicon = None
            if metadata.get("format") == FORMAT:
                lexicon = Lexicon(*map(file.get_tensor, Lexicon._fields))
    except safetensors.SafetensorError as error:
        raise AbNetError(
            f"`lexicon` must be a file of `abnet lexicon`, but {path} is none or damaged ({error})."
        ) from error
    if metadata.get("format") == OLDER_FORMAT:
        raise AbNetError(
            f"`lexicon` must be a file of this version of `abnet lexicon`, but {path} is an older "
            "one: make it anew."
        )
    if lexicon is None:
        raise AbNetError(
            f"`lexicon` must be a file of `abnet lexicon`, but {path} is another safetensors file."
        )
    for side, tokenizer in _sides(source, target):
        if metadata.get(f"{side}_vocabulary", tokenizer.vocab_hash) != tokenizer.vocab_hash:
            raise AbNetError(
                f"`lexicon` must be of the {side} vocabulary of {tokenizer.name!r}, but {path} is "
                f"of that of {metadata[f'{side}_bert']!r}. Make one with `abnet lexicon`."
            )
        if metadata.get(f"{side}_pieces", tokenizer.pieces_hash) != tokenizer.pieces_hash:
            raise AbNetError(
                f"`lexicon` must be of text cut into pieces as {tokenizer.name!r} cuts it, but "
                f"{path} is of pieces of another tokenizer: make it anew with `abnet lexicon`."
            )
    most = lexicon.vectors.size(1)
    if most < dim:
        raise AbNetError(
            f"`lexical_adapter_dim` must be at most {most} with the lexicon {path}, but is {dim} "
            "instead."
        )
    first = lexicon.vectors[:, :dim]
    lengths = first.norm(dim=1)
    scale = lengths[lengths > 0].mean()
    return Lexicon(first / scale, lexicon.axes[:dim] * scale)


def _sides(source: Tokenizer, target: Tokenizer | None) -> list[tuple[str, Tokenizer]]:
    """The tokenizers that are known, by side."""
    sides = [("source", source)]
    return sides if target is None else [*sides, ("target", target)]


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside another, of which nothing stays behind; tells what cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)
    except (OSError, safetensors.SafetensorError) as error:
        raise AbNetError(
            f"The lexicon {str(path)!r} cannot be written ({error}); an older one is untouched. "
            "Make room there, or name another file."
        ) from error
