#!/usr/bin/env bash
# Scores AB-Net on the test set of WMT14 as the paper decodes it, after scripts/train/wmt14.sh.
#
#   scripts/generate/wmt14.sh [PAIR] [OPTION...]
#
#   scripts/generate/wmt14.sh                    English to German
#   scripts/generate/wmt14.sh en-de --iter-decode-max-iter 4 --batch-size 1
#
# The last ten checkpoints (LAST) are averaged; ten passes, four length candidates, a stop at the
# first repeat (--iter-decode-patience 2 is better: docs/recipe.md). Everything after PAIR goes to
# fairseq-generate and wins over what is set here. Prints sacreBLEU's scores against raw
# text and, below, the paper's tokenized BLEU. DATA and RUN name another
# prepared folder and another folder of checkpoints.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=en-de
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
generate wmt14 "$pair" "$@"
