#!/usr/bin/env bash
# How fast AB-Net translates beside fairseq, CTranslate2 and transformers, all in one run; writes
# benchmarks/results/speed-*.json as it goes and renews docs/speed.md. With --training: steps of
# training, into training-*.json.
#
#   scripts/bench.sh DIR [OPTION...]
#
#   scripts/bench.sh DIR --help                          lists the options
#   scripts/bench.sh DIR                                 on a CPU, about an hour on 2 idle cores
#   scripts/bench.sh DIR --device cuda --minutes 9       on a GPU, in 10 minutes; says what it skips
#   scripts/bench.sh DIR --training --processes 1,2      training, on a CPU
#   scripts/bench.sh DIR --training --device cuda        training, on a GPU; takes --minutes, too
#
# DIR holds newstest2013/newstest2013.de and .en, multi30k/test2016.de and .en, or one pair of them.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
"$root/scripts/setup.sh"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
status=0
python -m benchmarks.bench "$@" || status=$?
if ((status > 1)); then exit "$status"; fi # 1: a cell failed, and the others stand
python -m benchmarks.table --document "$root/docs/speed.md"
exit "$status"
