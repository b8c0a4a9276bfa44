from __future__ import annotations

from benchmarks.words import Band, found_by_frequency


def test_each_word_counts_in_its_band_as_often_as_it_is_found() -> None:
    training = ["a dog .", *["a cat ."] * 5, *["a ."] * 995]
    references = ["A dog and a cat, a cat and a man.", "a a dog."]
    hypotheses = ["a cat and a cat and a cat", "a dog."]
    assert found_by_frequency(hypotheses, references, training) == [
        Band("0", 5, 2),  # A, and, and, the comma and man: both "and" are found
        Band("1-5", 4, 3),  # dog twice, cat twice: found are both cats and the second dog
        Band("6-20", 0, 0),
        Band("21-100", 0, 0),
        Band("101-1,000", 0, 0),
        Band("1,001+", 7, 5),  # five "a" and two full stops: three, one and the second stop
    ]
