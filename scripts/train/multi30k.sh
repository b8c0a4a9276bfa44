#!/usr/bin/env bash
# AB-Net on Multi30k with BERTs of the usual size, on one GPU, after scripts/prepare/multi30k.sh.
#
#   scripts/train/multi30k.sh [PAIR] [OPTION...]
#
#   scripts/train/multi30k.sh                   German to English, into checkpoints/multi30k.de-en
#   scripts/train/multi30k.sh en-de --bf16
#
# The paper has no such task; these are its IWSLT14 settings, with fewer updates for 29,000
# sentences. Everything after PAIR goes to fairseq-train and wins over what is set here. Training
# that was stopped goes on from its last checkpoint. DATA names another prepared folder,
# whose name the folder of the checkpoints then ends in, SAVE that folder itself.
# scripts/reproduce/multi30k.sh trains small BERTs of its own and compares with other systems.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=de-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
train multi30k "$pair" --arch abnet_iwslt_de_en --max-tokens 4096 \
    --warmup-updates 1000 --max-update 10000 "$@"
