"""The tables of training: ratios within one run, and bytes that follow from the parameters."""

from __future__ import annotations

from typing import Any

from benchmarks import records
from benchmarks.training_tables import scaling_table, training_table
from tests.benchmarks.test_speed_tables import cells


def training(**changes: Any) -> dict[str, Any]:
    record = {
        "kind": "training", "row": "abnet-all", "system": "abnet", "engine": "abnet",
        "measures": ["adam", "chunks", "masked", "sdpa"],
        "kernels": {"adam": "torch, fused", "layer norm": "torch", "attention": "torch, fused",
                    "apex": "not there"},
        "device": "CPU", "device_kind": "cpu", "threads": 1, "processes": 1, "size": "small",
        "input": "multi30k", "repeats": 5, "batches": 6, "batch_tokens": 900.4,
        "batch_sentences": 70.5, "step_s": 0.5, "target_tokens_per_s": 1800.0,
        "peak_memory_bytes": 200_000_000, "trained_parameters": 2_500_000,
        "total_parameters": 12_000_000, "gradient_bytes": 10_000_000,
        "checkpoint_bytes": 30_000_000, "run": "r1", "command": "scripts/bench.sh DIR",
        "versions": {"torch": "2.13.0"}, "commit": "abc",
    }  # fmt: skip
    return records.check({**record, **changes})


ONE_BY_ONE = {"adam": "torch, one tensor at a time", "layer norm": "torch", "apex": "not there"}
BASELINE: dict[str, Any] = {
    "row": "abnet-baseline", "measures": [], "kernels": ONE_BY_ONE, "step_s": 1.25,
    "target_tokens_per_s": 600.0,
}  # fmt: skip
FINE_TUNING: dict[str, Any] = {
    "row": "abnet_fb-baseline", "system": "abnet_fb", "measures": [], "kernels": ONE_BY_ONE,
    "step_s": 2.0,
    "target_tokens_per_s": 450.0, "peak_memory_bytes": 800_000_000, "gradient_bytes": 48_000_000,
}  # fmt: skip


def test_ratios_are_to_the_baseline_and_to_fine_tuning_of_the_same_run() -> None:
    rows = [
        training(),
        training(**BASELINE),
        training(**FINE_TUNING),
        training(row="abnet_fb-all", system="abnet_fb", step_s=1.0, peak_memory_bytes=400_000_000),
        training(run="r0", row="abnet-only-sdpa", measures=["sdpa"]),
        training(**{**BASELINE, "threads": 2, "step_s": 99.0}),
        training(processes=2, step_s=0.6),
    ]
    lines = training_table(rows, "multi30k").splitlines()
    assert "step, ms" not in lines[0]  # absolute times only from a GPU
    table = {(row[2], row[4], row[3]): row for row in map(cells, lines[2:])}
    ours = table["1", "adam, chunks, masked, sdpa", "AB-Net"]
    assert ours[5:] == [
        "3.00", "25", "50", "25", "50", "200", "30", "2.5M / 12.0M", "torch, fused", "900",
    ]  # fmt: skip
    assert table["1", "none, as released", "AB-Net"][5:8] == ["1.00", "62", "62"]
    tuned = "AB-Net FB, all trained"
    assert table["1", "none, as released", tuned][5:10] == ["0.75", "100", "100", "100", "100"]
    assert table["1", "adam, chunks, masked, sdpa", tuned][6:10] == ["50", "100", "50", "100"]
    assert table["1", "sdpa", "AB-Net"][5:10] == ["-", "-", "-", "-", "-"]
    assert len(table) == 6  # the one of two processes is in the other table


def test_fine_tuning_with_the_same_measures_has_the_same_adam_too() -> None:
    apex = {"adam": "apex, fused", "layer norm": "torch", "apex": "there"}
    tuned = training(row="abnet_fb-all", system="abnet_fb", step_s=1.0)
    rows = [training(), training(row="abnet-all-apex", kernels=apex), tuned]
    lines = training_table(rows, "multi30k").splitlines()
    assert [cells(line)[7] for line in lines[2:]] == ["50", "-", "100"]


def test_what_a_row_lacks_is_named_and_other_batches_have_no_steps_to_compare() -> None:
    buckets = {"row": "abnet-without-buckets", "without": ["buckets"], "batch_tokens": 800.0}
    tuned = training(row="abnet_fb-all", system="abnet_fb", step_s=1.0)
    rows = [
        training(waiting_share=0.0125, padding_share=0.04),
        training(**BASELINE),
        training(**FINE_TUNING),
        training(**buckets, padding_share=0.4, target_tokens_per_s=900.0),
        training(row="abnet-without-cut", without=["cut"], step_s=0.6),
        tuned,
    ]
    lines = training_table(rows, "multi30k").splitlines()
    assert cells(lines[0])[-2:] == ["waiting for batches, %", "target padding, %"]
    table = {(row[3], row[4]): row for row in map(cells, lines[2:])}
    named = "adam, chunks, masked, sdpa"
    assert table["AB-Net", named][-2:] == ["1.2", "4.0"]
    assert table["AB-Net", f"{named}; without cut"][5:8] == ["3.00", "30", "60"]
    without = table["AB-Net", f"{named}; without buckets"]
    assert (without[5:8], without[-2:]) == (["1.50", "-", "-"], ["-", "40.0"])


def test_gpus_have_times() -> None:
    row = training(device_kind="cuda", device="H100", device_idle_share=0.125)
    lines = training_table([row], "multi30k").splitlines()
    assert cells(lines[0])[-3:] == ["step, ms", "target tokens/s", "GPU idle, %"]
    assert cells(lines[2])[-3:] == ["500.0", "1800", "12"]


def test_processes_send_what_follows_from_the_trained_parameters() -> None:
    rows = [training(), training(processes=2, step_s=0.6), training(**FINE_TUNING)]
    lines = scaling_table(rows, "multi30k").splitlines()
    table = [cells(line)[3:] for line in lines[2:]]
    assert table[:4] == [
        ["abnet-all", "1", "10.0", "0.0", "1.00", "1.00"],
        ["abnet-all", "2", "10.0", "10.0", "1.02", "1.20"],
        ["abnet-all", "4", "10.0", "15.0", "1.02", "-"],
        ["abnet-all", "8", "10.0", "17.5", "1.03", "-"],
    ]
    assert table[7] == ["abnet_fb-baseline", "8", "48.0", "84.0", "1.03", "-"]


def test_what_was_passed_to_all_reduce_stands_beside_what_should_be() -> None:
    rows = [training(), training(processes=2, step_s=0.6, reduced_bytes=10_000_000)]
    lines = scaling_table(rows, "multi30k").splitlines()
    assert cells(lines[0])[-1] == "passed to all-reduce a step, MB (measured here)"
    assert [cells(line)[-1] for line in lines[2:]] == ["-", "10.0", "-", "-"]


def test_other_inputs_stay_out() -> None:
    for make in (training_table, scaling_table):
        assert make([training()], "wmt14") == "No training speed on wmt14 yet.\n"
