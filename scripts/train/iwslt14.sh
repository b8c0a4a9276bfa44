#!/usr/bin/env bash
# AB-Net on IWSLT14, as the paper trains it on one GPU, after scripts/prepare/iwslt14.sh.
#
#   scripts/train/iwslt14.sh [PAIR] [OPTION...]
#
#   scripts/train/iwslt14.sh                    German to English, into checkpoints/iwslt14.de-en
#   scripts/train/iwslt14.sh en-it --bf16
#
# Everything after PAIR goes to fairseq-train and wins over what is set here. Training that was
# stopped goes on from its last checkpoint. DATA names another prepared folder,
# whose name the folder of the checkpoints then ends in, SAVE that folder itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=de-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
train iwslt14 "$pair" --arch abnet_iwslt_de_en --max-tokens 4096 "$@"
