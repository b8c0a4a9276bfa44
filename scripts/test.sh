#!/usr/bin/env bash
# Sets up .venv if needed, then runs the whole test suite; extra arguments go to pytest.
#
#   scripts/test.sh
#   scripts/test.sh -k mask_predict
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
.venv/bin/ruff check --quiet .
.venv/bin/mypy
# One process a core and one thread a process: small models gain nothing from more threads.
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
exec .venv/bin/python -m pytest --numprocesses 2 --dist worksteal --quiet "$@"
