"""What a benchmark says of the machine and the code, and how it measures memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = {
    "abnet": "ab-net",
    "torch": "torch",
    "transformers": "transformers",
    "ctranslate2": "ctranslate2",
}
"""What a row names the version of, where it is installed: names and distributions."""


def device_name(device: torch.device | None = None) -> str:
    """The GPU as torch reports it, or else the processor.

    Args:
        device: of which; by default the GPU if there is one.
    """
    on_gpu = torch.cuda.is_available() if device is None else device.type == "cuda"
    return torch.cuda.get_device_name(device) if on_gpu else processor_name()


def processor_name() -> str:
    """The processor as it calls itself, what torch uses of it, and how many cores there are."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    name = " / ".join(sorted(names)) or platform.machine()
    uses = torch.backends.cpu.get_cpu_capability()
    if torch.cpu.get_capabilities().get("amx_tile"):
        uses += " with AMX"
    return f"{name} ({uses}), {os.cpu_count()} cores"


def commit(folder: Path) -> str:
    """The commit of a source tree, with "-dirty" if tracked files differ from it.

    Results, and the documents with tables of them, do not count: a run itself writes them.
    """

    def git(*command: str) -> str:
        told = subprocess.run(
            ["git", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        return told.stdout.strip()

    name = git("rev-parse", "HEAD")
    written = (f":(top,exclude){path}" for path in ("benchmarks/results", "docs", "README.md"))
    is_dirty = name and git("status", "--porcelain", "--untracked-files=no", ":/", *written)
    return f"{name}-dirty" if is_dirty else name or "unknown"


def versions(packages: Mapping[str, str] = PACKAGES) -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name, distribution in packages.items():
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(distribution)
    return found


def write_result(result: dict[str, Any], path: Path) -> None:
    """Writes a result as JSON, replacing an older file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


class Growth:
    """Bytes that memory grew by at most inside a `with`, in `most`; `None` if not to be known.

    On a GPU torch's own allocator tells. Of an engine with another one nothing is known there: such
    allocators keep what they once had. On a CPU it is the resident memory of this process, whose
    record Linux lets a process reset.

    Args:
        device: where the work is done.
        in_torch: whether torch's allocator holds the engine's memory.
    """

    def __init__(self, device: torch.device, in_torch: bool) -> None:
        self.device = device
        self.in_torch = in_torch
        self.most: int | None = None
        self.before: int | None = None

    def __enter__(self) -> Growth:
        gc.collect()
        if self.device.type == "cuda" and not self.in_torch:
            return self
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
        self.before = self._now("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        after = None if self.before is None else self._most()
        if self.before is not None and after is not None:
            self.most = max(after - self.before, 0)

    def _most(self) -> int | None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return torch.cuda.max_memory_allocated(self.device)
        return self._now("VmHWM")

    def _now(self, field: str) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        status = Path("/proc/self/status")
        lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
        sizes = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
        return int(sizes[0]) * 1024 if sizes else None
