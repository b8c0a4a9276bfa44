from __future__ import annotations

import sys

import pytest
from rouge_score.rouge_scorer import RougeScorer

from abnet.errors import AbNetError
from abnet.scoring.evaluate import Score
from abnet.scoring.rouge import rouge, words

# The example of rouge-score's README.
HYPOTHESIS = "The quick brown dog jumps on the log."
REFERENCE = "The quick brown fox jumps over the lazy dog"


def values(scores: list[Score]) -> dict[str, float]:
    return {score.name: score.value for score in scores}


def test_by_hand() -> None:
    # stemmed: "the cat sat on a mat" and "the cat sat on the mat"
    scores = rouge(["The cats sat on a mat!"], ["the cat SAT on the mat"])
    # five of six words, three of five pairs of neighbours, five of six words in order
    assert values(scores) == pytest.approx({"rouge1": 500 / 6, "rouge2": 60, "rougeL": 500 / 6})
    # 6 of 8 and of 9 words; 2 of 7 and of 8 pairs ("the quick", "quick brown"); 5 of 8 and of 9
    expected = {"rouge1": 1200 / 17, "rouge2": 400 / 15, "rougeL": 1000 / 17}
    assert values(rouge([HYPOTHESIS], [REFERENCE])) == pytest.approx(expected)


def test_mean_of_the_lines_and_empty_ones() -> None:
    found = values(rouge([HYPOTHESIS, "", "log"], [REFERENCE, "something", "log"]))
    assert found["rouge1"] == pytest.approx((1200 / 17 + 0 + 100) / 3)
    assert found["rouge2"] == pytest.approx((400 / 15 + 0 + 0) / 3)


def test_scores_are_rouge_scores() -> None:
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for one, other in ((HYPOTHESIS, REFERENCE), ("It's 3.5% – more so", "it is 3.5 % more, SO")):
        expected = {name: 100 * s.fmeasure for name, s in theirs.score(other, one).items()}
        assert values(rouge([one], [other])) == expected


def test_best_of_several_references() -> None:
    others = ["nothing of it", HYPOTHESIS]
    single = [values(rouge([HYPOTHESIS], [reference])) for reference in (REFERENCE, others[1])]
    assert single[1] == {"rouge1": 100, "rouge2": 100, "rougeL": 100}
    several = rouge([HYPOTHESIS, HYPOTHESIS], [REFERENCE, REFERENCE], others)
    assert values(several) == pytest.approx({n: (single[0][n] + 100) / 2 for n in single[0]})
    assert several[0].signature.startswith("nrefs:2|")


def test_signatures_and_labels() -> None:
    scores = rouge(["a"], ["a"])
    assert [score.label for score in scores] == ["ROUGE-1", "ROUGE-2", "ROUGE-L"]
    assert scores[0].signature.startswith("nrefs:1|case:lc|tok:rouge-score|stem:porter|nltk:3.")
    assert scores[0].signature.endswith("|rouge-score:0.1.2")
    other = rouge(["a"], ["a"], language="de")[0].signature
    assert other == "nrefs:1|case:lc|tok:words|stem:none|rouge-score:0.1.2"


def test_other_languages_keep_their_letters() -> None:
    # rouge-score's own tokenizer has no letters but a to z: nothing of Greek, "gr" and "e" of
    # "Größe"
    assert values(rouge(["καλή μέρα"], ["Καλή, μέρα!"]))["rouge1"] == 0
    assert values(rouge(["καλή μέρα"], ["Καλή, μέρα!"], language="el"))["rouge2"] == 100
    found = values(rouge(["die große Größe"], ["die Große größer"], language="de"))
    assert found["rouge1"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Die Größe: 3,5 m!", ["die", "größe", "3", "5", "m"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया"]),
        ("今日はABC。", ["今", "日", "は", "abc"]),
        (" – ", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_numbers_of_lines() -> None:
    with pytest.raises(AbNetError, match="there are 1 hypotheses and 2 references"):
        rouge(["a"], ["a"], ["a", "b"])


def test_without_rouge_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(AbNetError, match=r"ROUGE needs rouge-score: .*pip install rouge-score"):
        rouge(["a"], ["a"])
