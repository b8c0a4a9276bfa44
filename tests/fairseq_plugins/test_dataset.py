from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import ListDataset

from abnet.errors import AbNetError
from fairseq_plugins.dataset import (
    PairDataset,
    check_binarized,
    load_pairs,
    with_fixed_batches,
)
from fairseq_plugins.dictionary import BertDictionary
from fairseq_plugins.task_options import TranslationAbNetConfig
from fairseq_plugins.tasks.translation_abnet import TranslationAbNetTask
from tests.fairseq_plugins.conftest import Corpus

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
SOURCE = BertDictionary(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS], "source")
TARGET = BertDictionary(["<s>", "<pad>", "</s>", "<unk>", *LETTERS, "<mask>"], "target")


def pairs(*texts: tuple[str, str]) -> PairDataset:
    sides = (
        [dictionary.encode_line(" ".join(text)) for text in column]
        for dictionary, column in zip((SOURCE, TARGET), zip(*texts, strict=True), strict=True)
    )
    source, target = (ListDataset(side, [len(s) for s in side]) for side in sides)
    return PairDataset(source, source.sizes, SOURCE, TARGET, target, target.sizes)


def test_each_side_is_padded_with_its_own_symbol() -> None:
    dataset = pairs(("abc", "a"), ("", "abcd"))
    batch = dataset.collater([dataset[0], dataset[1]])
    assert batch["id"].tolist() == [0, 1]
    assert batch["net_input"]["src_tokens"].tolist() == [[5, 6, 7, 3], [3, 0, 0, 0]]
    assert batch["net_input"]["src_lengths"].tolist() == [4, 1]
    assert batch["target"].tolist() == [[4, 2, 1, 1, 1], [4, 5, 6, 7, 2]]
    assert (batch["ntokens"], batch["nsentences"]) == (7, 2)
    assert dataset.collater([]) == {}


@pytest.mark.parametrize(("processes", "count"), [(1, 3), (2, 4), (4, 4), (8, 8), (32, 9)])
def test_all_processes_have_as_many_batches(processes: int, count: int) -> None:
    """The largest are cut first; nine sentences are no more than nine batches."""
    dataset = pairs(*(("ab", "ab"),) * 9)
    dataset.processes = processes
    batches = dataset.batch_by_size(np.arange(9), max_sentences=4)
    assert len(batches) == count
    assert [int(i) for batch in batches for i in batch] == list(range(9))
    if processes == 2:
        assert [len(batch) for batch in batches] == [2, 2, 4, 1]


def test_sources_are_cut_before_their_end_symbol(caplog: pytest.LogCaptureFixture) -> None:
    dataset = pairs(("abcdef", "abcdef"), ("ab", "a"))
    assert dataset.longest() == 7
    dataset.truncate(4)
    assert "1 of 2 source sentences are longer than the 4 tokens that fit" in caplog.text
    caplog.clear()
    dataset.truncate(4)
    assert not caplog.records
    assert dataset[0]["source"].tolist() == [5, 6, 7, 3]
    assert dataset[1]["source"].tolist() == [5, 6, 3]
    assert len(dataset[0]["target"]) == 7  # a reference stays whole
    assert dataset.src_sizes.tolist() == [4, 3]
    assert dataset.sizes.tolist() == [[4, 7], [3, 2]]


@pytest.mark.parametrize(("skipped", "batches"), [(True, [2, 2, 2]), (False, [1, 2, 2, 2])])
def test_what_is_skipped_makes_no_room(skipped: bool, batches: list[int]) -> None:
    """`--max-tokens` is raised to the longest sentence of those that are decoded."""
    dataset = pairs(*[("ab", "ab")] * 6, ("abcdefghijk", "ab"))
    task = TranslationAbNetTask(TranslationAbNetConfig(), SOURCE, TARGET)
    iterator = task.get_batch_iterator(
        dataset, max_tokens=6, max_positions=(8, 8), ignore_invalid_inputs=skipped
    )
    assert sorted(map(len, iterator.frozen_batches)) == batches


def test_a_part_without_a_batch_is_an_error() -> None:
    """Fairseq's commands would end in a division by zero."""
    six = [("ab", "ab")] * 6
    task = TranslationAbNetTask(TranslationAbNetConfig(), SOURCE, TARGET)

    def new_split() -> PairDataset:
        """A new one: fairseq keeps the batches of each."""
        task.datasets["test"] = pairs(*six)
        return task.datasets["test"]

    for part, size in ((0, 6), (1, 3)):
        task.get_batch_iterator(new_split(), max_sentences=size, num_shards=2, shard_id=part)
    with pytest.raises(AbNetError, match=r"Part 1 of 2 has no sentence, .* only 1 batches"):
        task.get_batch_iterator(new_split(), max_sentences=6, num_shards=2, shard_id=1)
    too_long = {"max_sentences": 6, "max_positions": (1, 1), "ignore_invalid_inputs": True}
    with pytest.raises(AbNetError, match="There must be a sentence to translate, but none is left"):
        task.get_batch_iterator(new_split(), **too_long)
    task.get_batch_iterator(pairs(*six), **too_long)  # lines that were typed, of which more come
    task.is_training_run = True  # where fairseq fills up what is short
    task.get_batch_iterator(new_split(), max_sentences=6, num_shards=2, shard_id=1)


def test_padding_to_a_multiple_takes_no_position_that_a_bert_lacks() -> None:
    dataset = pairs(("abcdef", "abcdef"), ("ab", "a"))
    dataset.pad_to_multiple = 8
    task = TranslationAbNetTask(TranslationAbNetConfig(), SOURCE, TARGET)
    for positions, width in ((7, 7), (8, 8), (512, 8)):
        task.get_batch_iterator(dataset, max_sentences=2, max_positions=(positions, 512))
        batch = dataset.collater([dataset[0], dataset[1]])
        assert batch["net_input"]["src_tokens"].shape == (2, width)
        assert batch["target"].shape == (2, 8)


def test_batches_of_a_training_that_goes_on_are_those_of_its_first_epoch() -> None:
    """The seed comes as it is, or + epoch with `--update-ordered-indices-seed`."""
    for seed in (7, 8):
        begun = with_fixed_batches({"seed": seed, "epoch": 1}, 7)
        assert begun == {"seed": seed, "epoch": 1}
        assert with_fixed_batches({"seed": 7 + 3 * (seed - 7), "epoch": 3}, 7) == begun
    each = {"seed": 10, "epoch": 3, "update_epoch_batch_itr": True}
    assert with_fixed_batches(each, 7) == each


def test_source_alone() -> None:
    sources = [SOURCE.encode_line(text) for text in ("a b", "")]
    dataset = PairDataset(sources, [3, 1], SOURCE, TARGET, shuffle=False)
    dataset.truncate(2)
    batch = dataset.collater([dataset[0], dataset[1]])
    assert batch["net_input"]["src_tokens"].tolist() == [[5, 3], [3, 0]]
    assert batch["target"] is None
    assert batch["ntokens"] == 3


def test_unknown_pieces_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    known, unknown = SOURCE.encode_line("a b c"), SOURCE.encode_line("ä b c")
    with caplog.at_level(logging.WARNING):
        check_binarized([known] * 99, SOURCE, "train", training=True)
        assert not caplog.records
        check_binarized([known] * 9 + [unknown], SOURCE, "train", training=True)
        assert "3.3% of the pieces on the train are [UNK]" in caplog.text
        check_binarized([unknown], SOURCE, "test", training=False)
        check_binarized([], SOURCE, "test", training=False)
    with pytest.raises(AbNetError, match=r"33\.3% of the pieces on the train are \[UNK\]"):
        check_binarized([unknown], SOURCE, "train", training=True)


def test_the_first_of_several_parts_counts_as_often_as_asked(
    corpus: Corpus, tmp_path: Path
) -> None:
    folder = shutil.copytree(corpus.data_bin, tmp_path / "data-bin")
    for file in list(folder.glob("valid.*")):
        shutil.copy(file, folder / file.name.replace("valid", "train1"))
    dictionaries = [BertDictionary.load(str(folder / f"dict.{code}.txt")) for code in ("de", "en")]
    for ratio, count in ((-1, 60 + 11), (1, 60 + 11), (3, 3 * 60 + 11)):
        found = load_pairs(
            str(folder), "train", ("de", "en"), tuple(dictionaries), combine=True,
            dataset_impl=None, upsample_primary=ratio, shuffle=False, pad_to_multiple=1,
            training=True,
        )  # fmt: skip
        assert len(found) == count


def test_the_end_of_a_sentence_is_no_unknown_piece(caplog: pytest.LogCaptureFixture) -> None:
    gpt = BertDictionary(["<|endoftext|>", *"abc"], "GPT-2")
    assert gpt.unk() == gpt.eos()
    with caplog.at_level(logging.WARNING):
        check_binarized([gpt.encode_line("a b")] * 9, gpt, "train", training=True)
        check_binarized([gpt.encode_line("")], gpt, "train", training=True)
    assert not caplog.records
    with pytest.raises(AbNetError, match=r"50\.0% of the pieces on the train are <\|endoftext"):
        check_binarized([gpt.encode_line("a ä")], gpt, "train", training=True)


@pytest.mark.parametrize("sentence", [[5, 6], [5, 31, 3], []])
def test_ids_of_another_dictionary(sentence: list[int]) -> None:
    good = SOURCE.encode_line("a b")
    with pytest.raises(AbNetError, match="made for another task or another BERT"):
        check_binarized([good, torch.tensor(sentence)], SOURCE, "test", training=False)
