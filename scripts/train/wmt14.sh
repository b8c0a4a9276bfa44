#!/usr/bin/env bash
# AB-Net on WMT14, as the paper trains it on eight GPUs, after scripts/prepare/wmt14.sh.
#
#   scripts/train/wmt14.sh [PAIR] [OPTION...]
#
#   scripts/train/wmt14.sh                      English to German, into checkpoints/wmt14.en-de
#   scripts/train/wmt14.sh de-en --bf16
#
# All GPUs of the machine are used; a batch is 8 x 4,096 tokens on fewer of them too. The paper's
# figures are from distilled training data: make those with `abnet distill`, prepare them with
# scripts/prepare/text.sh and name the folder in DATA, whose name the folder of the checkpoints then
# ends in; SAVE names that folder itself. Everything after PAIR goes to fairseq-train and wins over
# what is set here. Training that was stopped goes on from its last checkpoint. For several machines:
# scripts/train/distributed.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=en-de
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
# Few epochs are gone through, so the ten checkpoints to average are some updates apart instead.
train wmt14 "$pair" --arch abnet_wmt_en_de --max-tokens 4096 --update-freq "$(gathered)" \
    --no-epoch-checkpoints --save-interval-updates 2000 --keep-interval-updates 10 "$@"
