#!/usr/bin/env bash
# Scores AB-Net on the test set of WMT16 Ro-En as the paper decodes it, after scripts/train/wmt16_ro_en.sh.
#
#   scripts/generate/wmt16_ro_en.sh [PAIR] [OPTION...]
#
#   scripts/generate/wmt16_ro_en.sh              Romanian to English
#   scripts/generate/wmt16_ro_en.sh ro-en --iter-decode-max-iter 4 --batch-size 1
#
# The last ten checkpoints (LAST) are averaged; ten passes, four length candidates, a stop at the
# first repeat (--iter-decode-patience 2 is better: docs/recipe.md). Everything after PAIR goes to
# fairseq-generate and wins over what is set here. Prints sacreBLEU's scores against raw
# text and, below, the paper's tokenized BLEU. DATA and RUN name another
# prepared folder and another folder of checkpoints.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=ro-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
generate wmt16_ro_en "$pair" "$@"
