"""Sentence pairs of a data-bin: each side with its own padding, sources as long as fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import LanguagePairDataset, data_utils
from fairseq.tasks.translation import load_langpair_dataset
from torch import Tensor

from abnet.errors import AbNetError
from abnet.text import UNKNOWN_SHARE_TO_WARN
from fairseq_plugins.dictionary import BertDictionary

logger = logging.getLogger(__name__)

SAMPLED_SENTENCES = 2000
UNKNOWN_ERROR = 0.2


class PairDataset(LanguagePairDataset):
    """`w1 .. wn [SEP]` on both sides, or of the source alone.

    Args:
        source: ids of each source sentence.
        source_sizes: their lengths.
        source_dict, target_dict: the vocabularies.
        target, target_sizes: the same for the target, if there is one.
        shuffle: whether sentences of one length are shuffled before batching.
        pad_to_multiple: batches are padded to a multiple of so many tokens.
    """

    def __init__(
        self,
        source: Any,
        source_sizes: Sequence[int],
        source_dict: BertDictionary,
        target_dict: BertDictionary,
        target: Any = None,
        target_sizes: Sequence[int] | None = None,
        shuffle: bool = True,
        pad_to_multiple: int = 1,
    ) -> None:
        super().__init__(  # without a target dictionary, which it wants to have the source's ids
            source,
            source_sizes,
            source_dict,
            tgt=target,
            tgt_sizes=target_sizes,
            left_pad_source=False,
            left_pad_target=False,
            shuffle=shuffle,
            input_feeding=False,
            pad_to_multiple=pad_to_multiple,
        )
        self.target_dict = target_dict
        self.longest_source: int | None = None
        self.widest_source_batch: int | None = None
        self.processes = 1  # that take turns in its batches

    def truncate(self, longest_source: int) -> None:
        """Cuts sources to so many tokens, the end symbol included, and warns of it.

        Targets stay whole: they are references, and the loss cuts them for itself.
        """
        overlong = int((self.src_sizes > longest_source).sum())
        self.longest_source = longest_source
        self.src_sizes = np.minimum(self.src_sizes, longest_source)
        self.sizes = self.src_sizes
        if self.tgt_sizes is not None:
            self.sizes = np.stack([self.src_sizes, self.tgt_sizes], axis=1)
        if overlong:
            logger.warning(
                "%d of %d source sentences are longer than the %d tokens that fit and are cut "
                "there: their ends are not translated. Split them into shorter ones.",
                overlong,
                len(self),
                longest_source,
            )

    def longest(self, limits: tuple[int, int] | None = None) -> int:
        """Tokens of the longest side of any sentence within `limits`, 1 if there is none."""
        kept, _ = self.filter_indices_by_size(np.arange(len(self)), limits)
        return int(self.num_tokens_vec(kept).max(initial=1))

    def batch_by_size(self, indices: Any, **options: Any) -> Sequence[Any]:
        """Fairseq's batches, some cut in two so that all processes have as many."""
        return _multiple(super().batch_by_size(indices, **options), self.processes)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example: dict[str, Any] = super().__getitem__(index)
        source = example["source"]
        if self.longest_source is not None and len(source) > self.longest_source:
            example["source"] = torch.cat([source[: self.longest_source - 1], source[-1:]])
        return example

    def collater(
        self, samples: list[dict[str, Any]], pad_to_length: dict[str, int] | None = None
    ) -> dict[str, Any]:
        """A batch: `id` (B,), `net_input.src_tokens` (B, S), `target` (B, T) or `None`."""
        if not samples:
            return {}
        target = None
        if samples[0]["target"] is not None:
            target = self._pad([s["target"] for s in samples], self.target_dict.pad())
        source = self._pad([s["source"] for s in samples], self.src_dict.pad())
        lengths = torch.tensor([len(s["source"]) for s in samples])
        counted = lengths if target is None else target.ne(self.target_dict.pad())
        return {
            "id": torch.tensor([s["id"] for s in samples]),
            "nsentences": len(samples),
            "ntokens": int(counted.sum()),
            "net_input": {
                "src_tokens": source[:, : self.widest_source_batch],
                "src_lengths": lengths,
            },
            "target": target,
        }

    def _pad(self, sentences: list[Tensor], pad: int) -> Tensor:
        return data_utils.collate_tokens(
            [sentence.long() for sentence in sentences], pad, pad_to_multiple=self.pad_to_multiple
        )


def _multiple(batches: Sequence[Any], of: int) -> Sequence[Any]:
    """The batches, those of most sentences cut in two until there are a multiple of `of`."""
    missing = -len(batches) % of
    largest = sorted(range(len(batches)), key=lambda place: -len(batches[place]))[:missing]
    cut = {place for place in largest if len(batches[place]) > 1}
    if not cut:
        return batches
    parts = ([batch[: len(batch) // 2], batch[len(batch) // 2 :]] if place in cut else [batch]
             for place, batch in enumerate(batches))  # fmt: skip
    return _multiple([part for own in parts for part in own], of)


def with_fixed_batches(options: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    """Options of a batch iterator, for which the epoch it starts in changes no batch.

    fairseq makes batches once and shuffles them each epoch, but draws them by the epoch that it
    makes them in: a training that goes on in its second would have others than it had. With
    `--update-ordered-indices-seed` it draws sentences of one length by `seed` + epoch, too.
    """
    if options.get("disable_iterator_cache") or options.get("update_epoch_batch_itr"):
        return options  # they are made each epoch
    first = {"seed": seed + 1} if options.get("seed", seed) != seed else {}
    return {**options, "epoch": 1, **first}


def load_pairs(
    folder: str,
    split: str,
    languages: tuple[str, str],
    dictionaries: tuple[BertDictionary, BertDictionary],
    combine: bool,
    dataset_impl: str | None,
    upsample_primary: int,
    shuffle: bool,
    pad_to_multiple: int,
    training: bool,
) -> PairDataset:
    """A split of a data-bin, with `split1`, `split2`, ... behind it if they are to be combined.

    Args:
        training: whether many unknown pieces are an error; see `PairDataset` and fairseq's
            `load_langpair_dataset` for the others.

    Raises:
        FileNotFoundError: there is no such split.
        AbNetError: it is not a data-bin of this task and of these dictionaries.
    """
    if dataset_impl == "raw":
        raise AbNetError("`--dataset-impl` must be a binary one, but is 'raw' instead.")
    (source, target), (source_dict, target_dict) = languages, dictionaries
    try:
        pairs = load_langpair_dataset(
            folder,
            split,
            source,
            source_dict,
            target,
            None,  # it wants the two dictionaries to agree in their special ids
            combine=combine,
            dataset_impl=dataset_impl,
            upsample_primary=max(1, upsample_primary),  # its default of -1 is no ratio
            left_pad_source=False,
            left_pad_target=False,
            max_source_positions=None,
            max_target_positions=None,
        )
    except AssertionError as error:
        if "same number" not in str(error):
            raise  # about `--dataset-impl`
        raise AbNetError(
            f"The two sides of {split} in {folder} must have the same number of sentences, but "
            "have not. Make the data-bin again from files that belong together line by line."
        ) from error
    if pairs.supports_prefetch:  # else fairseq looks at the first batch before it has read it
        pairs.prefetch(range(len(pairs)))
    dataset = PairDataset(
        pairs.src,
        pairs.src_sizes,
        source_dict,
        target_dict,
        pairs.tgt,
        pairs.tgt_sizes,
        shuffle=shuffle,
        pad_to_multiple=pad_to_multiple,
    )
    check_binarized(pairs.src, source_dict, f"{source} side of {split} in {folder}", training)
    if pairs.tgt is not None:
        check_binarized(pairs.tgt, target_dict, f"{target} side of {split} in {folder}", training)
    return dataset


def check_binarized(sentences: Any, dictionary: BertDictionary, what: str, training: bool) -> None:
    """Looks at sentences from all over a binarized file.

    Args:
        sentences: ids of each.
        dictionary: which they should be of.
        what: what messages call them.
        training: whether many unknown pieces are an error.

    Raises:
        AbNetError: they are of another dictionary, or too many training pieces are unknown.
    """
    if not len(sentences):
        return
    step = max(1, len(sentences) // SAMPLED_SENTENCES)
    sample = [sentences[index] for index in range(0, len(sentences), step)]
    ended = all(len(s) and s[-1] == dictionary.eos() for s in sample)
    if not ended or int(torch.cat(sample).max()) >= len(dictionary):
        raise AbNetError(
            f"The {what} must hold sentences that end with {dictionary.eos_word} and ids below "
            f"{len(dictionary)}, but does not: it was made for another task or another BERT. Make "
            "the data-bin again with `--task translation_abnet` (`abnet prepare` does)."
        )
    pieces = torch.cat([s[:-1] for s in sample])  # GPT-2 has one symbol for ends and unknown ones
    unknown = float(pieces.eq(dictionary.unk()).sum()) / max(1, len(pieces))
    message = (
        f"{unknown:.1%} of the pieces on the {what} are {dictionary.unk_word}. Was the text made "
        "into pieces by `abnet tokenize --bert` with this very BERT, and is it in its language?"
    )
    if training and unknown > UNKNOWN_ERROR:
        raise AbNetError(message)
    if unknown > UNKNOWN_SHARE_TO_WARN:
        logger.warning(message)
