#!/usr/bin/env bash
# Whether the Transformer of the comparison is a fair one: trains it on Multi30k in the form in
# which others tell its BLEU (lower-cased Moses tokens, joint BPE), with the comparison's recipe,
# and writes benchmarks/results/tokenized-*.json.
#
#   scripts/reproduce/tokenized.sh DIR [OPTION...]
#
#   scripts/reproduce/tokenized.sh --help    lists the options
#   scripts/reproduce/tokenized.sh DIR       an hour and a half on one core
#   scripts/reproduce/tokenized.sh DIR --size gpu
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
"$root/scripts/setup.sh"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python -m scripts.reproduce.tokenized "$@"
