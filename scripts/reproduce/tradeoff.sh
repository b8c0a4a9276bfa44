#!/usr/bin/env bash
# What speed costs in BLEU: decodes Multi30k's validation set in many ways with the Transformer,
# AB-Net and its one-pass systems (CTC, graphs of words) that scripts/reproduce/multi30k.sh has
# trained, times each for one sentence at a time, writes benchmarks/results/tradeoff-*.json and renews the tables.
#
#   scripts/reproduce/tradeoff.sh [OPTION...]
#
#   scripts/reproduce/tradeoff.sh --help    lists the options
#   scripts/reproduce/tradeoff.sh           half an hour on 2 cores that do nothing else
#   scripts/reproduce/tradeoff.sh --size gpu
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
"$root/scripts/setup.sh"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python -m scripts.reproduce.tradeoff "$@"
