#!/usr/bin/env bash
# What each choice of decoding is worth: decodes Multi30k's validation set in many ways with an
# AB-Net that scripts/reproduce/multi30k.sh has trained; writes benchmarks/results/decoding-*.json
# and renews the tables. Prints the ten worst translations.
#
#   scripts/reproduce/decoding.sh [OPTION...]
#
#   scripts/reproduce/decoding.sh --help        lists the options
#   scripts/reproduce/decoding.sh               20 minutes on one core
#   scripts/reproduce/decoding.sh --size gpu
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
"$root/scripts/setup.sh"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python -m scripts.reproduce.decoding "$@"
