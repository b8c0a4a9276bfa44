#!/usr/bin/env bash
# IWSLT14: TED talks, German, Italian, Spanish or Dutch to or from English, with the paper's BERTs.
#
#   scripts/prepare/iwslt14.sh [PAIR] [OPTION...]
#
#   scripts/prepare/iwslt14.sh                  German to English, into data-bin/iwslt14.de-en
#   scripts/prepare/iwslt14.sh en-it            English to Italian
#   scripts/prepare/iwslt14.sh de-en --from DIR with archives that are there already
#
# PAIR is one of de-en, it-en, es-en, nl-en and their reverses. Everything after it goes to
# `abnet prepare iwslt14`: --source-bert, --target-bert, --dest, --workers, --from, ...
# BERTs: bert-base-uncased for English, bert-base-german-cased for German,
# bert-base-multilingual-cased for the others.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=de-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
prepare iwslt14 "$pair" bert-base-uncased "$@"
