#!/usr/bin/env bash
# AB-Net, a Transformer and a CMLM on Multi30k: pre-trains a BERT a language, trains all systems on
# the same data, decodes test2016, writes benchmarks/results/*.json and renews the tables.
#
#   scripts/reproduce/multi30k.sh DIR [OPTION...]
#
#   scripts/reproduce/multi30k.sh DIR --help    lists the options
#   scripts/reproduce/multi30k.sh DIR           all of it in some four and a half hours on 2 cores
#   scripts/reproduce/multi30k.sh DIR --size gpu --seeds 1,2,3
#
# DIR holds train, valid and test2016 (.de, .en), raw, one sentence a line, and, for pre-training,
# mono/captions (.de, .en): the descriptions of task 2, which are no translations of each other.
# The same command goes on where it was stopped.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
"$root/scripts/setup.sh"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python -m scripts.reproduce.multi30k "$@"
