#!/usr/bin/env bash
# WMT16: news, Romanian to or from English (0.6M pairs), with the paper's BERTs.
#
#   scripts/prepare/wmt16_ro_en.sh [PAIR] [OPTION...]
#
#   scripts/prepare/wmt16_ro_en.sh              Romanian to English, into data-bin/wmt16_ro_en.ro-en
#   scripts/prepare/wmt16_ro_en.sh ro-en --back-translated
#
# PAIR is ro-en or en-ro. Everything after it goes to `abnet prepare wmt16_ro_en`: --source-bert,
# --target-bert, --dest, --workers, --from, --back-translated (2M pairs more), ...
# BERTs: bert-base-cased for English, bert-base-multilingual-cased for Romanian.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=ro-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
prepare wmt16_ro_en "$pair" bert-base-cased "$@"
