from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from abnet.errors import AbNetError
from abnet.tokenizer import SymbolIds, Tokenizer
from fairseq_plugins.bpe import AbNetBpe
from fairseq_plugins.dictionary import (
    BertDictionary,
    SourceDictionary,
    check_pieces,
    check_same_dictionaries,
)
from tests.conftest import TinyBerts
from tests.tiny import forget_case

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "a", "\u2028b", "c\u00a0d", "e\rf", "<mask>"]


def test_ids_are_the_tokenizers(tiny_berts: TinyBerts) -> None:
    tokenizer = Tokenizer.from_pretrained(tiny_berts.german)
    dictionary = BertDictionary.of_bert(tiny_berts.german)
    assert dictionary.symbols == tokenizer.vocabulary
    assert dictionary.special_ids == tokenizer.symbols
    text = "der kleine Hund [SEP] läuft 漢 über die Wiese ."
    ids = dictionary.encode_line(" ".join(tokenizer.pieces(text)))
    assert ids.dtype == torch.int32
    assert ids.tolist() == [*tokenizer.encode(text), tokenizer.symbols.sep]


def test_save_and_load_keep_every_piece(tmp_path: Path) -> None:
    dictionary = BertDictionary(PIECES, "test")
    dictionary.save(str(tmp_path / "new" / "dict.de.txt"))
    loaded = SourceDictionary.load(str(tmp_path / "new" / "dict.de.txt"))
    assert loaded.symbols == PIECES
    assert loaded.special_ids == SymbolIds(pad=1, unk=3, cls=0, sep=2, mask=8)
    assert (loaded.pad(), loaded.eos(), loaded.unk(), loaded.bos()) == (1, 2, 3, 0)
    assert pickle.loads(pickle.dumps(loaded)).symbols == PIECES  # for --workers


def test_folders_of_training_data_are_of_one_pair_of_vocabularies(tmp_path: Path) -> None:
    one, other = (str(tmp_path / name) for name in ("one", "other"))
    for folder in (one, other):
        for language in ("de", "en"):
            BertDictionary(PIECES, "test").save(f"{folder}/dict.{language}.txt")
    check_same_dictionaries([one, other], ("de", "en"))
    reordered = [*PIECES[:4], PIECES[5], PIECES[4], *PIECES[6:]]
    BertDictionary(reordered, "test").save(f"{other}/dict.en.txt")
    check_same_dictionaries([one], ("de", "en"))
    with pytest.raises(AbNetError, match=r"of the same BERTs, but .*other/dict\.en\.txt is not"):
        check_same_dictionaries([one, other], ("de", "en"))


def test_a_folder_is_of_the_pieces_that_the_tokenizer_makes(
    tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    german, english = (Tokenizer.from_pretrained(bert) for bert in tiny_berts)
    lower = forget_case(shutil.copytree(tiny_berts.german, tmp_path / "lower"))
    made_from = {"pair": "de-en", "pieces": [german.pieces_hash, english.pieces_hash]}
    (tmp_path / "manifest.json").write_text(json.dumps({"made_from": made_from}))
    for language, tokenizer in (("de", german), ("en", english)):
        check_pieces([str(tmp_path)], language, tokenizer)
    folders = [str(tmp_path / "of-fairseq-alone"), str(tmp_path)]
    with pytest.raises(AbNetError, match=rf"lower' must cut text .* as it did for {tmp_path}, but"):
        check_pieces(folders, "de", Tokenizer.from_pretrained(str(lower)))
    del made_from["pieces"]  # of an older version
    (tmp_path / "manifest.json").write_text(json.dumps({"made_from": made_from}))
    check_pieces(folders, "de", Tokenizer.from_pretrained(str(lower)))


def test_pieces_are_split_at_spaces_alone() -> None:
    dictionary = BertDictionary(PIECES, "test")
    line = "a \u2028b  c\u00a0d e\rf z\n"
    seen: list[tuple[str, int]] = []
    ids = dictionary.encode_line(line, consumer=lambda piece, id: seen.append((piece, id)))
    assert ids.tolist() == [4, 5, 6, 7, 3, 2]
    assert seen[-1] == ("z", 3)
    assert dictionary.encode_line("", append_eos=False).tolist() == []


def test_text_cannot_bring_special_symbols() -> None:
    dictionary = BertDictionary(PIECES, "test")
    assert dictionary.encode_line("<s> a </s> <pad> <mask> <unk>").tolist() == [3, 4, 3, 3, 3, 3, 2]


def test_string_leaves_specials_out() -> None:
    dictionary = SourceDictionary(PIECES, "test")
    assert dictionary.string(torch.tensor([0, 4, 3, 5, 2, 1, 1])) == "a <unk> \u2028b"
    assert dictionary.string(torch.tensor([[4, 2], [5, 2]])) == "a\n\u2028b"
    assert dictionary.string(torch.tensor([3]), escape_unk=True) == "<<unk>>"
    assert dictionary.string(torch.tensor([2])) == ""


def test_nothing_is_added() -> None:
    dictionary = BertDictionary(PIECES, "test")
    dictionary.encode_line("new words", add_if_not_exist=True)
    assert len(dictionary) == len(PIECES)
    with pytest.raises(AbNetError, match="must stay as it is, but 'word' was to be added"):
        dictionary.add_symbol("word")
    with pytest.raises(AbNetError, match="`reverse_order` must be false"):
        dictionary.encode_line("a", reverse_order=True)


def test_what_is_no_vocabulary_of_a_bert(tmp_path: Path) -> None:
    with pytest.raises(
        AbNetError, match=r"must be the vocabulary of a BERT.* no \[CLS\], \[MASK\]"
    ):
        BertDictionary(["[PAD]", "[UNK]", "[SEP]", "a"], "test")
    with pytest.raises(AbNetError, match="must have distinct pieces"):
        BertDictionary([*PIECES, "a"], "test")
    with pytest.raises(AbNetError, match="There is no dictionary"):
        BertDictionary.load(str(tmp_path / "dict.de.txt"))


def test_bpe_joins_each_side_with_its_own_tokenizer(tiny_berts: TinyBerts) -> None:
    source, target = (Tokenizer.from_pretrained(bert) for bert in tiny_berts)
    bpe = AbNetBpe(source, target)
    text = "der kleine Hund läuft über die Wiese"
    pieces = bpe.encode(text)
    assert pieces == " ".join(source.pieces(text))
    dictionary = SourceDictionary(source.vocabulary, "test")
    assert bpe.decode(dictionary.string(dictionary.encode_line(pieces))) == text
    assert bpe.decode(" ".join(target.pieces("the little dog."))) == "the little dog."
    assert bpe.encode("\t\0") == bpe.decode("") == ""
    with pytest.raises(AbNetError, match="`--bpe abnet` must go with"):
        AbNetBpe.build_bpe(None)
