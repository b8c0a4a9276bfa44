"""Tables of how well systems translate: what a row says, and what it leaves out."""

from __future__ import annotations

from benchmarks import quality_tables as table
from tests.benchmarks.test_records import quality


def test_a_row_says_what_was_measured_and_no_more() -> None:
    full = quality(
        size="cpu", passes=10, trained_parameters=2_000_000, total_parameters=14_500_000,
        train_seconds=1200, updates=7000, precision="bfloat16",
        pretrain_seconds=1440, pretrain_updates=[4000, 3000], bleu_lowercase=31.04,
        bleu=30.5, bleu_by_seed=[30.0, 31.0], seeds=[1, 2], peak_memory_bytes=1_447_194_624,
    )  # fmt: skip
    bare = quality(system="transformer", size="cpu")
    time = {**full, "kind": "latency", "ratio": 0.123}
    elsewhere = {**bare, "kind": "latency", "ratio": 1.0, "size": "gpu"}
    lines = table.quality_table([bare, full, time, elsewhere], "multi30k").splitlines()
    assert lines[0] == (
        "| direction | size | system | BLEU | lower-cased | chrF | passes "
        "| trained / all parameters | training | pre-training | peak memory | latency | device |"
    )
    assert lines[2] == (
        "| de-en | cpu | AB-Net | 30.5 (30.0 to 31.0, 2 seeds) | 31.0 | 52.0 | 10 | 2.0M / 14.5M "
        "| 20 min (7,000 updates) in bfloat16 | 24 min (4,000 updates) | 1.4 GB | 0.12 | cpu |"
    )
    assert lines[3] == (
        "| de-en | cpu | Transformer (fairseq) | 31.2 | - | 52.0 | - | - | - | - | - | - | cpu |"
    )
    assert lines[4:] == ["", "`nrefs:1|case:mixed`  "]
    other = {**full, "pretrain_updates": [8000, 8000]}  # of other weights
    assert "| 1.4 GB | - |" in table.quality_table([other, time], "multi30k")
    timed = table.quality_table([full, {**time, "seconds": 0.00456}], "multi30k")
    assert "| 0.12 (4.6 ms) |" in timed


def test_times_of_several_seeds_are_told_apart() -> None:
    row = quality(train_seconds=1500, train_seconds_by_seed=[1800, 1200, 1500])
    assert "| 20 to 30 min |" in table.quality_table([row], "multi30k")
    row = quality(train_seconds=1200, train_seconds_by_seed=[1200, 1201])
    assert "| 20 min |" in table.quality_table([row], "multi30k")


def test_what_a_training_goes_on_from_is_named_with_its_cost() -> None:
    start = {"system": "abnet_dag", "updates": 8000, "train_seconds": 3780}
    row = quality(
        system="abnet_dag_fuzzy", train_seconds=1200, updates=3000, starts=[start],
        pretrain_seconds=1440, pretrain_updates=[4000, 3000],
    )  # fmt: skip
    assert (
        '| 20 min (3,000 updates) after 63 min (8,000 updates) as "AB-Net with a graph of words, '
        'one pass" | 24 min (4,000 updates) |'
    ) in table.quality_table([row], "multi30k")


def test_what_chooses_is_named_with_its_cost() -> None:
    row = quality(
        train_seconds=1200,
        updates=2800,
        starts=[{"system": "abnet", "updates": 16000, "train_seconds": 4800}],
        reranker={"system": "abnet_enc_ar", "updates": 8000, "train_seconds": 4200},
    )
    assert (
        '| 20 min (2,800 updates) after 80 min (16,000 updates) as "AB-Net" and 70 min '
        '(8,000 updates) as "AB-Net-Enc, autoregressive" |'
    ) in table.quality_table([row], "multi30k")


def test_distilled_results_name_their_teacher_and_the_others_say_raw() -> None:
    distilled = quality(system="cmlm", distilled=True, teacher="transformer-big, beam 5")
    lines = table.quality_table([quality(), distilled], "multi30k").splitlines()
    assert lines[0].endswith("| device | training data |")
    assert lines[2].endswith("| cpu | raw |")
    assert lines[3].endswith("| cpu | distilled by transformer-big, beam 5 |")


def test_earlier_recipes_have_a_table_of_their_own() -> None:
    former = quality(earlier_recipe="smaller BERTs", bleu=29.0, bleu_by_seed=[29.0])
    rows = [quality(system="cmlm"), quality(), former]
    assert "smaller BERTs" not in table.quality_table(rows, "multi30k")
    lines = table.history_table(rows, "multi30k").splitlines()
    assert lines[0] == (
        "| direction | size | system | BLEU | chrF | trained / all parameters | training "
        "| pre-training |"
    )
    assert lines[2:] == [
        "| de-en | - | AB-Net, smaller BERTs | 29.0 | 52.0 | - | - | - |",
        "| de-en | - | AB-Net | 31.2 | 52.0 | - | - | - |",
    ]
    assert table.history_table(rows[:2], "multi30k") == "No earlier recipes on multi30k.\n"


def test_the_share_of_words_found_by_their_frequency() -> None:
    counted = quality(
        size="cpu", found_by_frequency=[["0", 8, 1], ["1-5", 0, 0], ["6+", 2000, 500]]
    )
    lines = table.words_table([quality(system="cmlm"), counted], "multi30k").splitlines()
    assert lines[0] == "| direction | size | system | BLEU | 0 | 1-5 | 6+ |"
    assert lines[2:] == ["| de-en | cpu | AB-Net | 31.2 | 12.5 % of 8 | - | 25.0 % of 2,000 |"]
    assert table.words_table([quality()], "multi30k") == "No words of multi30k counted yet.\n"


def test_a_summary_has_both_directions_of_a_system_in_a_line() -> None:
    rows = [
        quality(
            size="cpu", bleu=30.0, bleu_by_seed=[30.0], passes=10, trained_parameters=3_000_000
        ),
        quality(size="cpu", bleu=20.0, bleu_by_seed=[20.0], direction="en-de"),
        quality(size="cpu", bleu=9.0, earlier_recipe="smaller BERTs"),
        quality(size="cpu", system="cmlm", bleu=10.0, bleu_by_seed=[9.0, 11.0]),
        quality(size="gpu", system="cmlm", bleu=12.0, bleu_by_seed=[12.0], direction="en-de"),
        quality(size="cpu", system="abnet_minilm", bleu=1.0),  # not for a first look
    ]
    time = {**rows[1], "kind": "latency", "ratio": 0.5, "compared_with": "transformer"}
    assert table.summary_table([*rows, time], "multi30k").splitlines() == [
        "| size | system | BLEU de-en | BLEU en-de | passes | trained parameters "
        "| latency de-en | latency en-de |",
        "|---|---|---|---|---|---|---|---|",
        "| cpu | AB-Net | 30.0 | 20.0 | 10 | 3.0M | - | 0.50 |",
        "| cpu | CMLM (fairseq) | 10.0 (9.0 to 11.0, 2 seeds) | - | - | - | - | - |",
        "| gpu | CMLM (fairseq) | - | 12.0 | - | - | - | - |",
    ]


def test_other_datasets_and_kinds_stay_out() -> None:
    others = [quality(dataset="wmt14"), {"kind": "speed", "dataset": "multi30k"}]
    assert table.quality_table(others, "multi30k") == "No results on multi30k yet.\n"
    assert table.summary_table(others, "multi30k") == "No results on multi30k yet.\n"
