#!/usr/bin/env bash
# Scores AB-Net on the test set of Multi30k as the paper decodes it, after scripts/train/multi30k.sh.
#
#   scripts/generate/multi30k.sh [PAIR] [OPTION...]
#
#   scripts/generate/multi30k.sh                 German to English
#   scripts/generate/multi30k.sh de-en --iter-decode-max-iter 4 --batch-size 1
#
# The last ten checkpoints (LAST) are averaged; ten passes, four length candidates, a stop at the
# first repeat (--iter-decode-patience 2 is better: docs/recipe.md). Everything after PAIR goes to
# fairseq-generate and wins over what is set here. Prints sacreBLEU's scores against raw
# text and, below, tokenized BLEU. DATA and RUN name another
# prepared folder and another folder of checkpoints.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=de-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
generate multi30k "$pair" "$@"
