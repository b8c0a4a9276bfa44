#!/usr/bin/env bash
# WMT14: news, English to or from German (4.5M pairs) or French (40M pairs), with the paper's BERTs.
#
#   scripts/prepare/wmt14.sh [PAIR] [OPTION...]
#
#   scripts/prepare/wmt14.sh                    English to German, into data-bin/wmt14.en-de
#   scripts/prepare/wmt14.sh en-fr --source-bert bert-large-cased
#
# PAIR is one of en-de, de-en, en-fr, fr-en. Everything after it goes to `abnet prepare wmt14`:
# --source-bert, --target-bert, --dest, --workers, --from, --news-commentary 12, ...
# BERTs: bert-base-cased for English (the paper's autoregressive systems: bert-large-cased),
# bert-base-german-cased for German, bert-base-multilingual-cased for French.
# Disk: about 6 GB for German and 50 GB for French, archives included.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=en-de
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
prepare wmt14 "$pair" bert-base-cased "$@"
