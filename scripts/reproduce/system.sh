#!/usr/bin/env bash
# One system on one corpus, from raw text to scores.
#
#   scripts/reproduce/system.sh SYSTEM [CORPUS] [PAIR] [OPTION...]
#
#   abnet systems                                         lists the systems
#   scripts/reproduce/system.sh abnet_enc_ar              on IWSLT14, German to English
#   scripts/reproduce/system.sh bert2bert wmt14 en-de --options=--bf16
#   scripts/reproduce/system.sh abnet_enc_ar iwslt14 en-de --source-bert roberta-base
#   scripts/reproduce/system.sh mask_predict --toy        tries it on a tiny corpus
#
# CORPUS is iwslt14, multi30k, wmt14, wmt16_ro_en or wmt16_ro_en_bt (with back-translations). The same
# command goes on where it was stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/paper.sh"
paper system "$@"
