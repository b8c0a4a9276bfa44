#!/usr/bin/env bash
# AB-Net on WMT16 Ro-En, as the paper trains it on eight GPUs, after scripts/prepare/wmt16_ro_en.sh.
#
#   scripts/train/wmt16_ro_en.sh [PAIR] [OPTION...]
#
#   scripts/train/wmt16_ro_en.sh                Romanian to English, into checkpoints/wmt16_ro_en.ro-en
#   scripts/train/wmt16_ro_en.sh en-ro --bf16
#
# All GPUs of the machine are used; a batch is 8 x 4,096 tokens on fewer of them too. Everything
# after PAIR goes to fairseq-train and wins over what is set here. Training that was stopped goes on
# from its last checkpoint. DATA names another prepared folder,
# whose name the folder of the checkpoints then ends in, SAVE that folder itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=ro-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
train wmt16_ro_en "$pair" --arch abnet_wmt_en_de --max-tokens 4096 --update-freq "$(gathered)" "$@"
