#!/usr/bin/env bash
# Everything that is measured on Multi30k for docs/recipe.md and the README, in one call: the
# comparison of all systems (three seeds), the search for a recipe (two seeds), and the decodings.
#
#   scripts/reproduce/quality.sh DIR [SIZE]
#
#   scripts/reproduce/quality.sh DIR gpu     on one GPU (default)
#   scripts/reproduce/quality.sh DIR cpu     days on 2 cores
#
# Each result is written as soon as it is there, and the same command goes on where it was stopped.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
case "${1:-}" in
"" | -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac
data="$1" size="${2:-gpu}"
"$here/multi30k.sh" "$data" --size "$size" --seeds 1,2,3
"$here/recipe.sh" "$data" --size "$size" --groups all --seeds 1,2
for direction in de-en en-de; do
    "$here/decoding.sh" --size "$size" --direction "$direction"
done
"$here/multi30k.sh" "$data" --size "$size" --systems abnet_minilm
"$here/../../.venv/bin/python" -m benchmarks.plots
