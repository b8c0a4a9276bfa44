from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacremoses.corpus import NonbreakingPrefixes

from abnet.cli import main
from abnet.errors import AbNetError
from abnet.scoring.evaluate import evaluate, read_generate_output, tokenized_bleu
from abnet.scoring.languages import KNOWN_AS
from abnet.scoring.rouge import rouge
from abnet.scoring.sari import sari

HYPOTHESES = ["The little dog isn't here.", "A man, in a blue shirt, runs.", ""]
REFERENCES = ["The small dog isn't here.", "A man in a Blue shirt, runs.", "Nothing."]


def test_scores_are_sacrebleus() -> None:
    bleu, chrf, ter = evaluate(HYPOTHESES, REFERENCES)
    assert bleu.value == sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert chrf.value == sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score
    assert ter.value == sacrebleu.corpus_ter(HYPOTHESES, [REFERENCES]).score
    version = sacrebleu.__version__
    assert bleu.signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}"
    assert chrf.signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}"
    assert ter.signature == (
        f"nrefs:1|case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:{version}"
    )


def test_lowercase_and_language() -> None:
    mixed, lowered = (
        evaluate(HYPOTHESES, REFERENCES),
        evaluate(HYPOTHESES, REFERENCES, lowercase=True),
    )
    assert lowered[0].value > mixed[0].value
    assert "case:lc" in lowered[0].signature
    assert "tok:zh" in evaluate(["你好。"], ["你好！"], language="zh")[0].signature


@pytest.mark.parametrize("score", [evaluate, lambda *texts, language: sari(
    *texts, sources=["x"], language=language
)])  # fmt: skip
def test_a_language_whose_words_take_a_package(
    score: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    with pytest.raises(AbNetError, match=r"BLEU in ja needs .* `pip install 'sacrebleu\[ja\]'`"):
        score(["はい。"], ["はい。"], language="ja")


def test_several_sets_of_references() -> None:
    others = ["The little dog is not here.", "A man in a blue shirt is running.", "nothing"]
    sets = [REFERENCES, others]
    bleu, chrf, ter = evaluate(HYPOTHESES, *sets)
    assert bleu.value == sacrebleu.corpus_bleu(HYPOTHESES, sets).score
    assert chrf.value == sacrebleu.corpus_chrf(HYPOTHESES, sets).score
    assert ter.value == sacrebleu.corpus_ter(HYPOTHESES, sets).score
    tokenized = tokenized_bleu(HYPOTHESES, *sets, language="en")
    assert tokenized.value > tokenized_bleu(HYPOTHESES, REFERENCES, language="en").value
    assert bleu.signature.startswith("nrefs:2|")
    assert tokenized.signature.startswith("nrefs:2|")


def multi_bleu(hypotheses: list[list[str]], references: list[list[str]]) -> float:
    """The textbook formula: Papineni et al. 2002, corpus level, no smoothing."""
    logs = []
    for order in range(1, 5):
        matched = total = 0
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            ours, theirs = (
                Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))
                for words in (hypothesis, reference)
            )
            matched += (ours & theirs).total()
            total += ours.total()
        logs.append(math.log(matched / total))
    long, short = (sum(map(len, words)) for words in (references, hypotheses))
    return 100 * min(1.0, math.exp(1 - long / short)) * math.exp(sum(logs) / 4)


def test_tokenized_bleu_is_multi_bleus() -> None:
    hypotheses = [
        "the little dog is n't here , it ran away .".split(),
        "a man in a blue shirt & a hat runs away fast .".split(),
    ]
    references = [
        "the little dog is n't here , he ran away .".split(),
        "a man in a blue shirt & a hat runs off very fast .".split(),
    ]
    score = tokenized_bleu(
        [
            "The little dog isn't here, it ran away.",
            "A man in a blue shirt & a hat runs away fast.",
        ],
        [
            "The little dog isn't here, he ran away.",
            "A man in a blue shirt & a hat runs off very fast.",
        ],
        language="en",
        lowercase=True,
    )
    # Moses writes "isn 't" for "isn't"; as one change of spelling on both sides it changes nothing
    assert score.value == pytest.approx(multi_bleu(hypotheses, references), abs=1e-6)
    assert score.signature.startswith("nrefs:1|case:lc|eff:no|tok:moses-en|smooth:none|version:")
    assert "sacremoses:" in score.signature


def test_tokenized_bleu_without_sacremoses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(AbNetError, match="pip install sacremoses"):
        tokenized_bleu(["a"], ["a"], language="en")


def test_numbers_of_lines() -> None:
    with pytest.raises(AbNetError, match="there are 2 hypotheses and 3 references"):
        evaluate(HYPOTHESES[:2], REFERENCES)
    with pytest.raises(AbNetError, match="at least one line"):
        evaluate([], [])
    with pytest.raises(AbNetError, match="there are 3 hypotheses and 2 references"):
        evaluate(HYPOTHESES, REFERENCES, REFERENCES[1:])


GENERATED = """\
2026-01-01 INFO loading model
S-2\tdrei
T-2\tthree
H-2\t-0.5\tthree ##s
D-2\t-0.5\tthrees
P-2\t-0.5 -0.5
D-0\t-0.1\tone, with a\ttab
D-0\t-0.9\tworse
D-1\t-0.2\t
D-²\t-0.2\tno number
Generate test with beam=4: BLEU4 = 1.0
"""


def test_generate_output_in_order(tmp_path: Path) -> None:
    log = tmp_path / "generate.out"
    log.write_text(GENERATED)
    assert read_generate_output(log) == ["one, with a\ttab", "", "threes"]


def test_generate_output_in_several_logs(tmp_path: Path) -> None:
    logs = [tmp_path / "0.out", tmp_path / "1.out"]
    logs[0].write_text("D-2\t-0.1\tthree\nD-0\t-0.1\tone\n")
    logs[1].write_text("D-1\t-0.1\ttwo\n")
    assert read_generate_output(*logs) == ["one", "two", "three"]
    with pytest.raises(AbNetError, match=r"0\.out must have every sentence .* lacks 1: 1\. Was"):
        read_generate_output(logs[0])
    logs[1].write_text("D-1\t-0.1\ttwo\nD-2\t-0.1\tthe other three\n")
    with pytest.raises(AbNetError, match=r"one log, but .*0\.out and .*1\.out both have number 2"):
        read_generate_output(*logs)


def test_two_runs_in_one_log_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "generate.out"
    log.write_text("D-0\t-1\told\nD-1\t-1\told\nD-1\t-1\tnew\nD-0\t-1\tnew\n")
    with pytest.raises(AbNetError, match=r"generate\.out comes back to number 0: does it hold"):
        read_generate_output(log)


def test_generate_output_that_lost_sentences(tmp_path: Path) -> None:
    log = tmp_path / "generate.out"
    log.write_text(GENERATED.replace("D-1", "D-8"))
    with pytest.raises(AbNetError, match=r"up to number 8, but lacks 6: 1, 3, 4, 5, 6, \.\.\."):
        read_generate_output(log)
    log.write_text("S-0\tnothing decoded\n")
    with pytest.raises(AbNetError, match=r"must have lines such as `D-0<tab>score<tab>text`"):
        read_generate_output(log)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, lines in (("hyp", HYPOTHESES), ("ref", REFERENCES)):
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
    return ["--hypotheses", str(tmp_path / "hyp"), "--references", str(tmp_path / "ref")]


def test_command(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *files, "--tokenized"]) == 0
    *printed, origin = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in printed] == ["BLEU", "chrF2", "TER", "tokenized BLEU"]
    assert origin == "training data: unknown (give --data)"
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert printed[0].split() == [
        "BLEU", f"{bleu:.2f}", evaluate(HYPOTHESES, REFERENCES)[0].signature,
    ]  # fmt: skip


def test_command_json(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *files, "--json", "--lowercase"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = evaluate(HYPOTHESES, REFERENCES, lowercase=True)
    assert {name: found[name] for name in ("bleu", "chrf", "ter")} == {
        score.name: score.value for score in scores
    }
    assert found["sentences"] == 3
    assert found["signatures"]["bleu"] == scores[0].signature
    assert found["training_data"] == "unknown"
    assert not {"tokenized_bleu", "distilled", "teacher"} & found.keys()


def test_command_rouge_and_sari(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    hypotheses, references = files[1], files[3]
    more = ["--references", references, "--rouge", "--sari", "--sources", hypotheses]
    assert main(["evaluate", *files, *more]) == 0
    *printed, _ = capsys.readouterr().out.splitlines()
    labels = ["BLEU", "chrF2", "TER", "ROUGE-1", "ROUGE-2", "ROUGE-L", "SARI", "corpus SARI"]
    assert [line[:15].strip() for line in printed] == labels
    assert all(line[25:].startswith("nrefs:2|") for line in printed)
    assert main(["evaluate", *files, *more, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    sets = [REFERENCES, REFERENCES]
    expected = [*rouge(HYPOTHESES, *sets), *sari(HYPOTHESES, *sets, sources=HYPOTHESES)]
    for score in expected:
        assert found[score.name] == score.value
        assert found["signatures"][score.name] == score.signature
    assert found["sentences"] == 3


def prepared(folder: Path, pair: str, references: list[str]) -> Path:
    """A folder as `abnet prepare` leaves it, with what `abnet evaluate` reads of it."""
    (folder / "raw").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"made_from": {"pair": pair}, "steps": {}}))
    test = folder / "raw" / f"test.{pair.split('-', 1)[1]}"
    test.write_text("".join(line + "\n" for line in references))
    return folder


def test_a_side_that_is_no_language_changes_no_score(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Among them ROUGE, whose stemmer is English."""
    (tmp_path / "hyp").write_text("the dogs were running\na man runs\nit rained\n")
    (tmp_path / "ref").write_text("the dog was running\na man ran\nit rains\n")
    data = prepared(tmp_path / "data", "document-summary", Path(files[3]).read_text().splitlines())
    measures = ["--rouge", "--tokenized", "--sari", "--sources", files[3], "--json"]
    assert main(["evaluate", *files, *measures]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main(["evaluate", *files[:2], "--data", str(data), *measures]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert "the side 'summary' is not taken for a language: the texts are scored as en" in (
        captured.err
    )
    assert "stem:porter" in found["signatures"]["rouge1"]
    told = {"training_data", "distilled"}
    assert {name: found[name] for name in found.keys() - told} == {
        name: alone[name] for name in alone.keys() - told
    }
    assert main(["evaluate", *files[:2], "--data", str(data), *measures, "--language=de"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rouge1"] < found["rouge1"]
    assert captured.err == ""


@pytest.mark.parametrize(
    ("side", "language"),
    [
        ("de", "de"),
        ("zh-Hant", "zh"),
        ("pt_BR", "pt"),
        ("sum", "en"),
        ("zho_Hans", "zh"),
        ("eng", "en"),
    ],
)
def test_a_side_that_is_a_language_says_how_to_score(
    side: str, language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["你好，die Hunde。", "Größe"]
    data = prepared(tmp_path / "data", f"xx-{side}", texts)
    (tmp_path / "hyp").write_text("你好。\nGrößen\n")
    command = ["evaluate", "--hypotheses", str(tmp_path / "hyp"), "--data", str(data), "--json"]
    command += ["--rouge", "--tokenized"]
    assert main(command) == 0
    captured = capsys.readouterr()
    for given in (language, language.upper(), f"{language}-XX"):
        assert main([*command, "--language", given]) == 0
        assert captured.out == capsys.readouterr().out
    assert main([*command, "--language", "Chinese!"]) == 2
    assert "must be a code such as de or pt-BR, but is 'Chinese!'" in capsys.readouterr().err
    assert ("not taken for a language" in captured.err) == (side == "sum")


def test_all_languages_that_are_cut_in_a_way_of_their_own_have_their_longer_codes() -> None:
    moses = set(NonbreakingPrefixes().available_langs.values())
    own = {*BLEU._TOKENIZER_MAP, *(code for code in moses if len(code) == 2)}
    assert set(KNOWN_AS.values()) >= own


@pytest.mark.parametrize("alone", [["--sari"], ["--sources", "hyp"]])
def test_command_sari_and_sources_go_together(
    files: list[str], alone: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *files, *alone]) == 2
    assert "`--sari` and `--sources` must be given together" in capsys.readouterr().err


def test_command_with_a_log_and_too_few_lines(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "generate.out"
    log.write_text("D-1\t-1\tB\nD-0\t-1\tA\n")
    assert main(["evaluate", "--generate-output", str(log), *files[2:]]) == 2
    assert "2 hypotheses and 3 references" in capsys.readouterr().err
