"""Rule 1 of the design: the library never needs fairseq; and what `import abnet` gives."""

from __future__ import annotations

import subprocess
import sys

HIDE_AND_IMPORT = """
import importlib, inspect, pkgutil, sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fairseq", "fairseq_cli", "fairseq_plugins"):
            raise ImportError("hidden: " + name)
sys.meta_path.insert(0, Hide())
import abnet
assert set(abnet.__all__) <= set(dir(abnet))  # before anything is loaded
from abnet import beam_search, mask_predict
for name in abnet.__all__:
    for public in (getattr(abnet, name), getattr(abnet, name)):  # a module is there from the second
        assert inspect.isclass(public) or inspect.isfunction(public), (name, public)
assert callable(mask_predict) and callable(beam_search)
names = [m.name for m in pkgutil.walk_packages(abnet.__path__, "abnet.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_names_are_public_and_modules_import_with_fairseq_hidden() -> None:
    result = subprocess.run(
        [sys.executable, "-c", HIDE_AND_IMPORT], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 20
