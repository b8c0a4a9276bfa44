#!/usr/bin/env bash
# Everything that is measured on Multi30k for docs/recipe.md and the README, in one call: the
# comparison of AB-Net and its rivals (three seeds), the search for a recipe (two seeds), the
# decodings, all other systems (one seed), and the time that each takes for a sentence.
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
-h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" && exit ;;
"") echo "quality.sh: DIR is missing; --help says more" >&2 && exit 2 ;;
esac
data="$1" size="${2:-gpu}"
"$here/multi30k.sh" "$data" --size "$size" --seeds 1,2,3
"$here/recipe.sh" "$data" --size "$size" --groups all --seeds 1,2
for direction in de-en en-de; do
    "$here/decoding.sh" --size "$size" --direction "$direction"
done
"$here/multi30k.sh" "$data" --size "$size" --systems abnet_minilm
"$here/multi30k.sh" "$data" --size "$size" --systems \
    abnet_corrected,abnet_rescored,abnet_reranked,abnet_top_half,abnet_no_decoder_adapters,abnet_fb,abnet_sc,abnet_ctc,abnet_ctc_refined,abnet_dag,abnet_dag_ranked,abnet_dag_fuzzy,abnet_dag_fuzzy_ranked,abnet_after_ctc,abnet_enc,abnet_enc_ar,mask_predict,bert_fused_nat,bert2bert
for direction in de-en en-de; do
    "$here/latency.sh" --size "$size" --direction "$direction"
done
PYTHONPATH="$here/../.." "$here/../../.venv/bin/python" -m benchmarks.plots
