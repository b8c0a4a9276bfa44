"""What is installed, what will be used, and what to do about what is missing.

Nothing here needs to be importable but the standard library: a broken installation is the subject.
fairseq is looked up, not imported.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

OK = "ok"
ABSENT = "absent"  # of no harm
PROBLEM = "problem"

FAIRSEQ = "ve-fairseq==0.12.3"
NEEDED_EXTRAS = ("", "fairseq")
OPTIONAL_EXTRAS = {  # and who needs them
    "quickstart": "the quickstart",
    "ctc": "`--ctc-beam`",
    "rouge": "`abnet evaluate --rouge`",
    "bench": "a peer of `abnet bench`",
    "plots": "the plots in docs/",
}
ATTENTIONS = ("flash", "mem_efficient", "cudnn", "math")


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        topic: what it is.
        status: "ok", "absent" (optional, and not there) or "problem".
        text: what was found.
        advice: what to do; empty when there is nothing.
    """

    topic: str
    status: str
    text: str
    advice: str = ""


class Kernel(NamedTuple):
    """A fused kernel of apex that fairseq takes on a GPU when it is there."""

    topic: str
    modules: tuple[str, ...]  # compiled modules, any of which brings it
    otherwise: str


KERNELS = (
    Kernel("Adam", ("fused_adam_cuda", "amp_C"), "fairseq's own, unfused"),
    Kernel("gradient norm", ("amp_C",), "one torch norm a tensor"),
    Kernel("layer norm", ("fused_layer_norm_cuda",), "torch's"),
    Kernel("cross entropy", ("xentropy_cuda",), "torch's"),
)


def examine() -> list[Finding]:
    """Looks at everything; the order is that of a report."""
    return [_python(), *_packages(), *_fairseq(), _torchaudio(), *_torch(), *_apex()]


def _python() -> Finding:
    number = sys.version.split()[0]
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        return Finding("python", OK, f"{number} at {sys.executable}")
    return Finding("python", PROBLEM, number, "Use Python 3.11 or 3.12: fairseq has no others.")


def _packages() -> list[Finding]:
    """What setup.py asks for, from the metadata of the installation."""
    try:
        from packaging.requirements import Requirement

        requirements = [Requirement(line) for line in requires("ab-net") or []]
    except (ImportError, PackageNotFoundError) as error:
        return [Finding("ab-net", PROBLEM, f"not installed ({error})", "Run scripts/setup.sh.")]
    findings = [Finding("ab-net", OK, version("ab-net"))]
    for requirement in requirements:
        needed = any(_applies(requirement.marker, extra) for extra in NEEDED_EXTRAS)
        users = [user for e, user in OPTIONAL_EXTRAS.items() if _applies(requirement.marker, e)]
        if not needed and not users:
            continue
        installed = _version(requirement.name)
        if installed is not None and requirement.specifier.contains(installed, prereleases=True):
            findings.append(Finding(requirement.name, OK, installed))
        elif needed:
            found = "not installed" if installed is None else f"{installed} does not do"
            advice = f"pip install '{requirement.name}{requirement.specifier}'"
            findings.append(Finding(requirement.name, PROBLEM, found, advice))
        else:
            found = f"not installed: only {' and '.join(users)} needs it"
            findings.append(Finding(requirement.name, ABSENT, found))
    return findings


def _applies(marker: object, extra: str) -> bool:
    """Whether a requirement's marker, a `packaging.markers.Marker`, holds with an extra."""
    from packaging.markers import Marker

    return not isinstance(marker, Marker) or marker.evaluate({"extra": extra})


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _fairseq() -> list[Finding]:
    install = f"pip install --no-deps {FAIRSEQ} (without torchaudio, which breaks a CPU-only torch)"
    if find_spec("fairseq") is None:
        return [Finding("fairseq", PROBLEM, "not installed: training needs it", install)]
    findings = []
    packaged, original = _version("ve-fairseq"), _version("fairseq")
    if packaged is not None:
        findings.append(Finding("fairseq", OK, f"ve-fairseq {packaged}"))
    else:
        text = f"{original or 'of unknown version'}: does not run on Python 3.11 and later"
        findings.append(Finding("fairseq", PROBLEM, text, f"pip uninstall fairseq, then {install}"))
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = shutil.which("fairseq-train", path=path)
    findings.append(
        Finding("fairseq-train", OK, command)
        if command is not None
        else Finding("fairseq-train", PROBLEM, "no such command", f"Reinstall: {install}")
    )
    plugin = find_spec("fairseq_plugins")
    findings.append(
        Finding("fairseq_plugins", OK, str(Path(plugin.origin).parent))
        if plugin is not None and plugin.origin is not None
        else Finding("fairseq_plugins", PROBLEM, "not installed", "Run scripts/setup.sh.")
    )
    return findings


def _torchaudio() -> Finding:
    """A torchaudio that was built for another torch keeps transformers from loading any BERT."""
    if find_spec("torchaudio") is None:
        return Finding("torchaudio", OK, "not installed, and not needed")
    try:
        module = import_module("torchaudio")
    except Exception as error:  # a missing library, a missing symbol, a version check, ...
        text = f"broken, and keeps transformers from loading a BERT: {_first_line(error)}"
        return Finding("torchaudio", PROBLEM, text, "pip uninstall torchaudio")
    return Finding("torchaudio", OK, f"{module.__version__}, not needed")


def _torch() -> list[Finding]:
    try:
        import torch
    except Exception as error:
        text = f"cannot be imported: {_first_line(error)}"
        return [Finding("import of torch", PROBLEM, text, "Run scripts/setup.sh again.")]
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    omp = os.environ.get("OMP_NUM_THREADS", "not set")
    enabled = ", ".join(
        name for name in ATTENTIONS if getattr(torch.backends.cuda, f"{name}_sdp_enabled")()
    )
    return [
        *_devices(),
        Finding("attention", OK, f"torch's SDPA; may take: {enabled}"),
        Finding(
            "threads",
            OK,
            f"{torch.get_num_threads()} of {cpus} processors "
            f"(OMP_NUM_THREADS {omp}; {torch.backends.cpu.get_cpu_capability()})",
        ),
    ]


def _devices() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi") is None:
            fast = "fp32, bf16" if computes_in_bfloat16() else "fp32 only"
            text = f"none: everything runs on the processor; fast formats: {fast}"
            return [Finding("GPU", ABSENT, text)]
        built = torch.version.cuda
        text = (
            f"there is an NVIDIA driver, but torch is {torch.__version__}"
            if built is None
            else f"torch is built for CUDA {built}, but finds no device"
        )
        advice = "Install the torch of https://pytorch.org/get-started for this machine's driver."
        return [Finding("GPU", ABSENT, text, advice)]
    findings = []
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        capability = (device.major, device.minor)
        formats = [
            name
            for name, least in (("fp16", (7, 0)), ("bf16", (8, 0)))  # Volta, Ampere
            if capability >= least
        ]
        text = (
            f"{device.name}, {device.total_memory / 2**30:.0f} GiB, compute capability "
            f"{device.major}.{device.minor}; fast formats: {', '.join(formats) or 'fp32 only'}"
        )
        findings.append(Finding(f"cuda:{index}", OK, text))
    return findings


def computes_in_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16; training in it is then twice as fast."""
    import torch

    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def apex_kernels() -> list[str]:
    """The topics that apex has a fused kernel for on this machine; none without apex."""
    compiled = _compiled() if find_spec("apex") is not None else set()
    return [kernel.topic for kernel in KERNELS if compiled & set(kernel.modules)]


def _compiled() -> set[str]:
    """The compiled modules of apex that are there."""
    return {name for kernel in KERNELS for name in kernel.modules if find_spec(name)}


def _apex() -> list[Finding]:
    if find_spec("apex") is None:
        return [Finding("apex", ABSENT, "not installed: fairseq takes torch's kernels")]
    compiled = _compiled()
    if not compiled:
        return [
            Finding(
                "apex",
                PROBLEM,
                "without its CUDA kernels, or another package of this name: fairseq's layer norm "
                "fails with it on a GPU",
                "pip uninstall apex, or build NVIDIA's with its CUDA extensions",
            )
        ]
    findings = []
    for kernel in KERNELS:
        found = [name for name in kernel.modules if name in compiled]
        status, text = (OK, found[0]) if found else (ABSENT, f"not built: {kernel.otherwise}")
        findings.append(Finding(f"apex {kernel.topic}", status, text))
    return findings


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
