"""The tables of docs/speed.md: ratios to peers of the same run."""

from __future__ import annotations

from typing import Any

from benchmarks import records
from benchmarks.speed_tables import alone_table, speed_table, tradeoff_table


def speed(**changes: Any) -> dict[str, Any]:
    record = {
        "kind": "speed", "row": "abnet-10-float32", "system": "abnet", "peer": False,
        "engine": "abnet", "decoding": "10 passes, length beam 4", "precision": "float32",
        "device": "CPU", "device_kind": "cpu", "threads": 1, "batch": 1, "largest": False,
        "size": "small", "input": "multi30k", "passes": 10, "repeats": 5, "batches": 6,
        "median_s": 0.25, "p95_s": 0.5, "with_tokenization_s": 0.3, "sentences_per_s": 3.0,
        "tokens_per_s": 60.0, "run": "r1", "command": "scripts/bench.sh DIR",
        "versions": {"torch": "2.13.0"}, "commit": "abc",
    }  # fmt: skip
    return records.check({**record, **changes})


FAIRSEQ = {"system": "transformer", "engine": "fairseq", "peer": True, "decoding": "beam 5"}
CTRANSLATE2 = {**FAIRSEQ, "engine": "ctranslate2"}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_ratios_are_to_peers_of_the_same_run_batch_and_threads() -> None:
    rows = [
        speed(floor_share=0.256, peak_memory_bytes=12_300_000),
        speed(**FAIRSEQ, median_s=1.0, sentences_per_s=1.0),
        speed(**CTRANSLATE2, median_s=0.125, sentences_per_s=6.0),
        speed(**CTRANSLATE2, median_s=0.1, sentences_per_s=8.0, precision="int8"),
        speed(**FAIRSEQ, median_s=9.0, sentences_per_s=0.1, run="r0"),
        speed(threads=2, median_s=0.2),
    ]
    lines = speed_table(rows, "multi30k").splitlines()
    assert "ms" not in lines[0]  # absolute times only from a GPU
    table = [cells(line) for line in lines[2:]]
    (ours,) = (row for row in table if row[4] == "AB-Net (abnet)" and row[2] == "1")
    assert ours[7:] == ["4.00", "0.40", "26", "10.0", "12", "1.20"]
    (alone,) = (row for row in table if row[2] == "2")
    assert alone[7:9] == ["-", "0.50"]  # CTranslate2 as fast as it gets
    run = [row[4] + row[6] for row in table if row[2] == "1"]
    assert run == [  # the fastest first
        "Transformer (ctranslate2)int8",
        "Transformer (ctranslate2)float32",
        "AB-Net (abnet)float32",
        "Transformer (fairseq)float32",
    ]


def test_what_a_later_run_has_not_measured_is_left_out() -> None:
    """Its ratio would be to the peers that happen to be left of its run."""
    rows = [
        speed(**CTRANSLATE2, threads=2, median_s=0.1, run="r0"),
        speed(**CTRANSLATE2, median_s=0.4, run="r1"),
        speed(threads=2, median_s=0.2, run="r0"),
        speed(median_s=0.8, run="r1"),
        speed(batch=8, run="r0"),
        speed(input="newstest2013", run="r0"),
    ]
    table = [cells(line) for line in speed_table(rows, "multi30k").splitlines()[2:]]
    assert [(row[2], row[3]) for row in table] == [("1", "8"), ("1", "1"), ("1", "1")]
    ours = cells(alone_table(rows, "cpu").splitlines()[2])
    assert ours[4:] == ["-", "2.00 (float32)"]


def test_the_best_peer_is_that_of_what_is_compared() -> None:
    """Medians of a batch, but sentences a second where each has the largest."""
    quick = {"precision": "int8", "median_s": 0.2, "sentences_per_s": 3.0}
    busy = {"precision": "float32", "median_s": 0.5, "sentences_per_s": 4.0}
    ours = {"median_s": 0.4, "sentences_per_s": 2.0}
    for largest in (False, True):
        rows = [speed(**CTRANSLATE2, **way, largest=largest) for way in (quick, busy)]
        lines = speed_table([*rows, speed(**ours, largest=largest)], "multi30k").splitlines()
        (found,) = (row for row in map(cells, lines[2:]) if row[4] == "AB-Net (abnet)")
        assert found[8] == "0.50"
    alone = alone_table(
        [speed(**CTRANSLATE2, **quick), speed(**CTRANSLATE2, **busy), speed(**ours)], "cpu"
    )
    assert cells(alone.splitlines()[2])[4] == "2.00 (float32)"


def test_a_floor_that_is_none_has_no_number() -> None:
    shares = {"1": ("abnet", 0.999), "2": ("abnet_ctc", 1.0), "3": ("abnet_dag", 1.004)}
    rows = [speed(system=name, floor_share=share) for name, share in shares.values()]
    lines = speed_table([*rows, speed(system="cmlm")], "multi30k").splitlines()
    assert [cells(line)[9] for line in lines[2:]] == ["100", "100", ">100 %", "-"]


def test_a_search_that_was_capped_is_told() -> None:
    gpu = {"device": "H100", "device_kind": "cuda", "size": "base", "largest": True}
    lines = speed_table([speed(**gpu, batch=65536, capped=True)], "multi30k").splitlines()
    assert cells(lines[2])[3] == "65536 (largest tried)"


def test_gpus_have_times_and_the_largest_batches_are_compared_by_throughput() -> None:
    gpu = {"device": "H100", "device_kind": "cuda", "size": "base", "largest": True}
    rows = [
        speed(**gpu, batch=512, sentences_per_s=600.0, median_s=1.0),
        speed(**gpu, **FAIRSEQ, batch=256, sentences_per_s=400.0, median_s=0.5),
    ]
    lines = speed_table(rows, "multi30k").splitlines()
    assert cells(lines[0])[-3:] == ["median, ms", "95 %, ms", "sentences/s"]
    first = cells(lines[2])
    assert first[2:4] == ["-", "512 (largest)"]
    assert first[7] == "1.50"
    assert first[-3:] == ["1000.0", "500.0", "600.0"]


def test_a_sentence_alone_is_timed_in_what_ctranslate2_takes_at_its_best() -> None:
    dag = {"system": "abnet_dag", "decoding": "1 pass, best path", "input": "newstest2013"}
    there = {"input": "newstest2013", "run": "r2"}
    rows = [
        speed(**CTRANSLATE2, median_s=0.2, threads=2),
        speed(**CTRANSLATE2, median_s=0.1, precision="int8", sentences_per_s=9.0),
        speed(**FAIRSEQ, median_s=0.01),
        speed(median_s=0.25),
        speed(median_s=0.22, threads=2, precision="int8"),
        speed(median_s=0.01, batch=8),  # more than one sentence
        speed(median_s=0.01, run="r0"),  # nothing to compare with
        speed(**{**CTRANSLATE2, **there}, median_s=0.5),
        speed(**there, median_s=0.6),
        speed(**{**dag, **there}, median_s=0.9),
        speed(device="H100", device_kind="cuda", median_s=0.01),
    ]
    lines = [cells(line) for line in alone_table(rows, "cpu").splitlines()]
    assert lines[0][2:] == ["system", "decoding", "newstest2013", "multi30k"]
    assert [line[2:] for line in lines[2:]] == [
        ["AB-Net", "10 passes, length beam 4", "1.20 (float32)", "2.20 (int8, 2 threads)"],
        ["AB-Net with a graph of words", "1 pass, best path", "1.80 (float32)", "-"],
    ]
    assert alone_table(rows, "cuda").startswith("No sentence translated alone on cuda beside")


def test_a_tradeoff_is_speed_in_times_the_transformers() -> None:
    row = {
        "kind": "tradeoff", "dataset": "multi30k", "device": "CPU", "size": "cpu", "threads": 1,
        "direction": "de-en", "system": "abnet_ctc", "label": "int8", "options": "--dtype int8",
        "bleu": 31.234, "ratio": 0.125, "place": 1,
    }  # fmt: skip
    other = {**row, "system": "transformer", "label": "beam 5", "ratio": 1.0, "place": 0}
    lines = tradeoff_table([row, other], "multi30k").splitlines()
    assert cells(lines[2])[4] == "Transformer"
    ours = ["AB-Net with CTC", "int8 (`--dtype int8`)", "31.23", "8.00"]
    assert cells(lines[3])[4:] == ours
    timed = tradeoff_table([{**row, "seconds": 0.0123}], "multi30k").splitlines()
    assert (cells(timed[0])[-1], cells(timed[2])[-1]) == ("ms", "12.3")
    assert tradeoff_table([row], "wmt") == "No decoding timed on wmt yet.\n"


def test_other_inputs_stay_out() -> None:
    assert speed_table([speed()], "newstest2013") == "No speed on newstest2013 yet.\n"
