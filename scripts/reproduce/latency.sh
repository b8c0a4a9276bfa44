#!/usr/bin/env bash
# How long each system takes for one sentence of Multi30k's test2016: all that
# scripts/reproduce/multi30k.sh has trained, in turn; writes benchmarks/results/latency-*.json and
# renews the tables.
#
#   scripts/reproduce/latency.sh [OPTION...]
#
#   scripts/reproduce/latency.sh --help       lists the options
#   scripts/reproduce/latency.sh              minutes on one core that does nothing else
#   scripts/reproduce/latency.sh --size gpu --direction en-de
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
"$root/scripts/setup.sh"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python -m scripts.reproduce.latency "$@"
