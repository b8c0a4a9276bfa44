from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from abnet import doctor
from abnet.cli import main
from abnet.doctor import ABSENT, OK, PROBLEM, Finding, examine

AddModule = Callable[..., None]


@pytest.fixture
def add_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddModule:
    """Puts modules on the path; torchaudio and apex are not there otherwise."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, code: str = "") -> None:
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return add


def hide_module(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    find = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in names else find(name))


def pretend_versions(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Other versions than installed; `None` for a distribution that is not there."""

    def pretended(name: str) -> str:
        found = versions.get(name.replace("-", "_"), version(name) if name != "fairseq" else None)
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(doctor, "version", pretended)


def finding(topic: str) -> Finding:
    return next(finding for finding in examine() if finding.topic == topic)


def test_this_installation_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    found = {finding["topic"]: finding for finding in report["findings"]}
    assert found["torch"]["text"] == torch.__version__
    assert found["fairseq"]["text"] == f"ve-fairseq {version('ve-fairseq')}"
    assert f"{torch.get_num_threads()} of" in found["threads"]["text"]
    assert {f["status"] for f in found.values()} <= {OK, ABSENT}


def test_fairseq_is_not_imported() -> None:
    before = {name for name in sys.modules if name.split(".")[0] == "fairseq"}
    examine()
    assert {name for name in sys.modules if name.split(".")[0] == "fairseq"} == before


def test_missing_fairseq_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide_module(monkeypatch, "fairseq")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(at for at, line in enumerate(lines) if "training needs it" in line)
    assert lines[at].startswith("problem  fairseq ")
    assert "-> pip install --no-deps ve-fairseq==0.12.3" in lines[at + 1]
    assert lines[-1] == "1 problem(s)"


def test_the_fairseq_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_versions(monkeypatch, ve_fairseq=None, fairseq="0.12.2")
    found = finding("fairseq")
    assert found.status == PROBLEM
    assert "0.12.2: does not run on Python 3.11" in found.text
    assert found.advice.startswith("pip uninstall fairseq, then pip install")


def test_missing_commands_and_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path=None: None)
    hide_module(monkeypatch, "fairseq_plugins")
    assert finding("fairseq-train").status == PROBLEM
    assert finding("fairseq_plugins").advice == "Run scripts/setup.sh."


def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_versions(monkeypatch, transformers="4.57.1", accelerate=None, babel=None)
    assert finding("transformers") == Finding(
        "transformers", PROBLEM, "4.57.1 does not do", "pip install 'transformers>=5'"
    )
    assert finding("accelerate").text == "not installed"
    assert finding("babel").status == ABSENT


def test_a_project_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", not_there)
    assert finding("ab-net").advice == "Run scripts/setup.sh."


def test_an_unsupported_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 13, 0))
    assert finding("python").status == PROBLEM


def test_broken_torchaudio(add_module: AddModule) -> None:
    add_module("torchaudio", "raise OSError('libc10_cuda.so: cannot open\\nmore')")
    found = finding("torchaudio")
    assert found.status == PROBLEM
    assert found.text.endswith("loading a BERT: libc10_cuda.so: cannot open")
    assert found.advice == "pip uninstall torchaudio"


def test_torchaudio_that_works(add_module: AddModule) -> None:
    add_module("torchaudio", "__version__ = '2.13'")
    assert finding("torchaudio").text == "2.13, not needed"


def test_a_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def broken(name: str, *args: object, **kwargs: object) -> object:
        if name == "torch":
            raise OSError("libcudart.so.12: cannot open shared object file")
        return genuine(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", broken)
    found = finding("import of torch")
    assert found.status == PROBLEM
    assert "libcudart.so.12" in found.text


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [
        SimpleNamespace(name="Old", major=6, minor=1, total_memory=8 * 2**30),
        SimpleNamespace(name="New", major=9, minor=0, total_memory=80 * 2**30),
    ]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: cards[index])
    assert finding("cuda:0").text == ("Old, 8 GiB, compute capability 6.1; fast formats: fp32 only")
    assert finding("cuda:1").text.endswith("fast formats: fp16, bf16")


@pytest.mark.parametrize(
    ("capabilities", "formats"),
    [
        ({"avx2": True, "avx512_bf16": False}, "fp32 only"),
        ({"avx512_bf16": True}, "fp32, bf16"),
        ({"amx_bf16": True}, "fp32, bf16"),
    ],
)
def test_no_gpu(
    capabilities: dict[str, bool], formats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert finding("GPU").text.endswith(f"the processor; fast formats: {formats}")


def test_a_driver_without_cuda_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path=None: f"/bin/{name}")
    found = finding("GPU")
    assert found.status == ABSENT
    assert "there is an NVIDIA driver, but torch is" in found.text
    assert "pytorch.org" in found.advice


def test_apex_and_its_kernels(add_module: AddModule) -> None:
    add_module("apex")
    assert finding("apex").status == PROBLEM
    add_module("amp_C")
    assert finding("apex Adam") == Finding("apex Adam", OK, "amp_C")
    assert finding("apex gradient norm").status == OK
    assert finding("apex layer norm").text == "not built: torch's"
