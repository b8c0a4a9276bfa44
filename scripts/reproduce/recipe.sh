#!/usr/bin/env bash
# The search for AB-Net's recipe on Multi30k: short trainings with one thing changed at a time,
# scored on the validation set; writes benchmarks/results/recipe-*.json and renews the tables.
#
#   scripts/reproduce/recipe.sh DIR [OPTION...]
#
#   scripts/reproduce/recipe.sh DIR --help      lists the options
#   scripts/reproduce/recipe.sh DIR             the groups that short trainings can tell apart; hours
#                                               on 2 cores
#   scripts/reproduce/recipe.sh DIR --size gpu --groups all --seeds 1,2
#
# DIR is that of scripts/reproduce/multi30k.sh, with which it shares its BERTs and data.
# The same command goes on where it was stopped.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
"$root/scripts/setup.sh"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python -m scripts.reproduce.recipe "$@"
