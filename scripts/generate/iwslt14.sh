#!/usr/bin/env bash
# Scores AB-Net on the test set of IWSLT14 as the paper decodes it, after scripts/train/iwslt14.sh.
#
#   scripts/generate/iwslt14.sh [PAIR] [OPTION...]
#
#   scripts/generate/iwslt14.sh                  German to English
#   scripts/generate/iwslt14.sh de-en --iter-decode-max-iter 4 --batch-size 1
#
# The last ten checkpoints (LAST) are averaged; ten passes, four length candidates, a stop at the
# first repeat (--iter-decode-patience 2 is better: docs/recipe.md). Everything after PAIR goes to
# fairseq-generate and wins over what is set here. Prints sacreBLEU's scores against raw
# text and, below, the paper's lower-cased tokenized BLEU. DATA and RUN name another
# prepared folder and another folder of checkpoints.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=de-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
score_options=(--lowercase)
generate iwslt14 "$pair" "$@"
