"""What scripts/reproduce/tradeoff.sh decodes, on a CPU and on a GPU."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.reproduce import tradeoff
from scripts.reproduce.recipes import Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.tradeoff import COMPARED_WITH, POINTS, decoding, name, points_on
from tests.commands import parse


@pytest.mark.parametrize("is_fast", [False, True])
def test_each_device_has_what_it_can_do(is_fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tradeoff, "computes_in_bfloat16", lambda: is_fast)
    on_cpu, on_gpu = ({point.options for point in points_on(kind)} for kind in (False, True))
    for option, here, there in (
        ("--iter-decode-dtype int8", on_cpu, on_gpu),
        ("--iter-decode-compile", on_gpu, on_cpu),
    ):
        assert any(option in options for options in here)
        assert not any(option in options for options in there)
    low = "--iter-decode-force-max-iter --iter-decode-dtype bfloat16"
    assert low in on_gpu
    assert (low in on_cpu) == is_fast
    both = {point for point in POINTS if point.on_gpu is None and (is_fast or point.options != low)}
    assert both == set(points_on(True)) & set(points_on(False))
    assert points_on(True)[0] == points_on(False)[0] == COMPARED_WITH


@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_points_have_names_of_their_own_and_options_that_there_are(
    size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = points_on(SIZES[size].on_gpu)
    assert len({name(point) for point in points}) == len(points)
    work = Multi30k.at(tmp_path, tmp_path, SIZES[size])
    confidences, margins = set(), set()
    for point in points:
        if point.converted is not None:
            continue
        args = parse(decoding(work, point, "de-en", 1).command, monkeypatch)
        if point.system == "abnet":
            confidences.add(args.iter_decode_confidence)
            margins.add(args.iter_decode_prune_margin)
    assert confidences == {None, 0.1, 0.2, 0.3, 0.5}
    assert margins == {None, 0.2}


def test_a_gpu_records_what_is_compiled_before_it_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[str] = Counter()

    class Pretended:
        def __init__(self, arguments: Sequence[str], chosen: Sequence[int]) -> None:
            self.name = Path(arguments[arguments.index("--results-path") + 1]).name

        def decode(self) -> None:
            decoded[self.name] += 1

    class Runner:
        def run(self, chains: Sequence[object]) -> None:
            pass

    class Converted:
        def decode(self) -> None:
            pytest.fail("CTranslate2 compiles nothing")

    def measure(timed: dict[str, Any], rounds: int) -> dict[str, list[float]]:
        ours = {name: one for name, one in timed.items() if isinstance(one, Pretended)}
        assert all(one.name == name for name, one in ours.items())
        assert len(timed) - len(ours) == 4  # two precisions, two beams
        return {name: [1.0] * rounds for name in timed}

    monkeypatch.setattr(tradeoff, "Timed", Pretended)
    monkeypatch.setattr(tradeoff, "common_runner", lambda jobs, size: Runner())
    monkeypatch.setattr(tradeoff, "measure", measure)
    monkeypatch.setattr(tradeoff, "_converted", lambda *_: Converted())
    monkeypatch.setattr(tradeoff, "spread", lambda source, count: list(range(count)))
    monkeypatch.setattr(tradeoff, "joiner", lambda bert: str)
    scores = {"bleu": 40.0, "signature": "s"}
    monkeypatch.setattr(tradeoff.quality, "score_runs", lambda *_: scores)
    work = Multi30k.at(tmp_path, tmp_path, SIZES["gpu"])
    for system in ("transformer", "abnet"):
        checkpoint = work.checkpoint(system, "de-en", 1)
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
    args = tradeoff.build_parser().parse_args(["--size", "gpu"])
    tradeoff.run_all(work, args, tmp_path / "results")
    assert decoded == {"abnet-compiled": 3}
    found = [json.loads(path.read_text()) for path in (tmp_path / "results").iterdir()]
    assert {result["label"] for result in found} == {
        point.label for point in points_on(True) if point.system in ("transformer", "abnet")
    }
