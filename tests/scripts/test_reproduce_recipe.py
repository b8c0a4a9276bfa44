"""The search for a recipe: its commands, and the whole of it at toy size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from abnet.errors import AbNetError
from benchmarks import quality
from scripts.reproduce import common, recipe
from scripts.reproduce.factors import GRAPH, GROUPS, TUNED, Trial, baselines, factors
from scripts.reproduce.recipes import Multi30k
from scripts.reproduce.sizes import SIZES, Size
from scripts.reproduce.steps import Runner
from tests.commands import check_script, parse
from tests.scripts.stand_in import StandIn
from tests.scripts.test_reproduce_multi30k import data  # noqa: F401 - a fixture


@pytest.fixture
def work(tmp_path: Path) -> Multi30k:
    (tmp_path / "train.de").touch()
    return Multi30k(data=tmp_path, out=tmp_path / "out", size=SIZES["cpu"])


def is_same(one: str, other: str) -> bool:
    """Of two words or numbers."""
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_no_value_is_the_recipes_own(size: Size) -> None:
    for trial in factors(size):
        own = [*size.training(trial.system), *size.search]
        for option, value in pairwise(trial.options):
            if not option.startswith("--") or value.startswith("--"):
                continue  # a value, or a flag
            given = [own[place + 1] for place, word in enumerate(own) if word == option]
            assert not given or not is_same(given[-1], value) or len(trial.options) > 2


def train_options(work: Multi30k, trial: Trial) -> list[str]:
    """Of `fairseq-train`, without the names of folders."""
    place = trial.work(work)
    command = place.train(trial.system, "de-en", 1, trial.variant(work, "de-en", 1)).command
    roots = (str(place.out), str(work.out))
    return [word for word in command if not word.startswith(roots)]


def parse_last(command: Sequence[str], option: str) -> str:
    return command[max(at for at, word in enumerate(command) if word == option) + 1]


def test_a_trial_changes_one_thing(work: Multi30k) -> None:
    base = {one.system: train_options(work, one) for one in baselines()}
    for trial in factors(work.size):
        ours = train_options(work, trial)
        kept = [word for word in base[trial.system] if word not in trial.without]
        assert ours == [*kept, *trial.options], trial.name
        place, search = trial.work(work), work.searched()
        if trial.berts_of_comparison:
            assert place == work
            continue
        own = [*search.pretrain("de").command, *trial.bert]
        own[own.index(str(search.bert("de")))] = str(place.bert("de"))
        assert list(place.pretrain("de").command) == own
        assert (place == search) == (not trial.bert)
        assert trial.options or trial.without or trial.bert


def test_a_search_has_its_own_berts(work: Multi30k) -> None:
    command, searching = (place.pretrain("en").command for place in (work, work.searched()))
    assert parse_last(searching, "--updates") == "4000"
    assert parse_last(command, "--updates") == "32000"
    assert str(work.bert("en")) not in searching


@pytest.mark.parametrize("system", [*TUNED, GRAPH])
def test_the_commands_know_all_options(
    work: Multi30k, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [trial for trial in factors(work.size) if trial.system == system]
    command = work.train(system, "de-en", 1).command
    args = vars(parse([*command, *(o for t in trials for o in t.options)], monkeypatch))
    for trial in trials:
        for option in (word for word in trial.options if word.startswith("--")):
            name = option.removeprefix("--").replace("-", "_")
            assert {name, name.removeprefix("no_")} & args.keys(), option
        for option in trial.bert[::2]:
            pretrain = parse([*work.pretrain("de").command, *trial.bert], monkeypatch)
            assert str(vars(pretrain)[option[2:].replace("-", "_")]) == trial.bert[1]


def test_names_are_files_of_their_own() -> None:
    for size in SIZES.values():
        trials = baselines() + factors(size)
        assert len({(trial.system, trial.name) for trial in trials}) == len(trials)
        assert all("/" not in trial.name for trial in trials)
        assert {trial.group for trial in trials} - {"recipe"} == set(GROUPS)


def test_the_last_validation_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    line = "2026 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 5 | nll_loss {} | b 3"
    log.write_text("\n".join([line.format(4.5), "2026 | INFO | x", line.format(4.25), "end"]))
    assert quality.read_validations(log)[-1] == {"loss": 5.0, "nll_loss": 4.25, "b": 3.0}
    log.write_text("nothing")
    with pytest.raises(AbNetError, match="must tell of a validation"):
        quality.read_validations(log)


def test_the_curve_of_a_training_that_was_resumed(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    line = (
        "2026 | INFO | valid | epoch 001 | valid on 'valid' subset | nll_loss {} | num_updates {}"
    )
    points = [(5, 100), (4, 200), (3, 300), (4.5, 200), (3.5, 300)]
    log.write_text("\n".join(line.format(*point) for point in points))
    assert quality.read_curve(log) == [[100, 5], [200, 4.5], [300, 3.5]]
    log.write_text("nothing")
    assert quality.read_curve(log) == []


def test_the_script_and_its_errors(
    data: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_script("scripts/reproduce/recipe.sh")
    with pytest.raises(SystemExit):
        recipe.main([str(data), "--groups", "head,luck"])
    assert "must be of adapters, " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        recipe.main([str(data), "--groups", "pre-training,masking", "--only", "masking,luck"])
    assert "must be of pre-training, pre-training-none, " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        recipe.main([str(data), "--groups", "tuning", "--systems", "cmlm,luck"])
    assert "must be of abnet, transformer, cmlm, not 'cmlm,luck'" in capsys.readouterr().err
    (data / "valid.en").unlink()
    with pytest.raises(SystemExit):
        recipe.main([str(data)])
    assert "lacks valid.en" in capsys.readouterr().err


def test_a_search_of_one_system(
    data: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Trial] = []
    monkeypatch.setattr(recipe, "search", lambda work, trials, args, results: tried.extend(trials))
    (tmp_path / "page.md").write_text("<!-- recipe: multi30k -->\n<!-- end of recipe -->\n")
    command = [str(data), "--size", "tiny", "--groups", "tuning", "--only", "lr,norm"]
    command += ["--out", str(tmp_path / "out"), "--document", str(tmp_path / "page.md")]
    assert recipe.main([*command, "--systems", "cmlm"]) == 0
    names = ["recipe-cmlm", "lr-half", "lr-double", "norm-before"]
    assert [(trial.system, trial.name) for trial in tried] == [("cmlm", name) for name in names]


@pytest.mark.parametrize("runner", [StandIn, pytest.param(Runner, marks=pytest.mark.long)])
def test_the_whole_search(
    runner: type[Runner],
    data: Path,  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common, "Runner", runner)
    results, document = tmp_path / "results", tmp_path / "page.md"
    document.write_text("<!-- recipe: multi30k -->\n<!-- end of recipe -->\n")
    command = [str(data), "--size", "tiny", "--groups", "symbols"]
    command += ["--out", str(tmp_path / "out"), "--results", str(results)]
    assert recipe.main([*command, "--document", str(document)]) == 0, capfd.readouterr().err
    found = {path.stem: json.loads(path.read_text()) for path in results.glob("*.json")}
    assert set(found) == {
        "recipe-tiny-de-en-abnet-recipe-abnet",
        "recipe-tiny-de-en-abnet-cls-left-out",
    }
    left_out = found["recipe-tiny-de-en-abnet-cls-left-out"]
    assert left_out["options"] == "no --keep-cls"
    assert left_out["valid_nll_loss"] > 0
    assert left_out["pretrain_updates"] == [4, 4]
    assert left_out["split"] == "valid"
    assert left_out["updates"] == 2
    lines = (tmp_path / "out").rglob("valid.txt")
    assert sorted(len(path.read_text().splitlines()) for path in lines) == [12, 12]
    assert document.read_text().count("| tiny |") == 2
