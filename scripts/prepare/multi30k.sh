#!/usr/bin/env bash
# Multi30k: 29,000 image captions, German or French to or from English; the small real benchmark.
#
#   scripts/prepare/multi30k.sh [PAIR] [OPTION...]
#
#   scripts/prepare/multi30k.sh                 German to English, into data-bin/multi30k.de-en
#   scripts/prepare/multi30k.sh en-de --source-bert berts/en --target-bert berts/de
#   scripts/prepare/multi30k.sh de-en --from DIR with text that is there already
#
# PAIR is one of de-en, en-de, fr-en, en-fr. Everything after it goes to `abnet prepare multi30k`:
# --source-bert, --target-bert, --dest, --workers, --from, ...
# BERTs (the paper has no such task; these are its choices for other tasks): bert-base-uncased for
# English, bert-base-german-cased for German, bert-base-multilingual-cased for French.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
pair=de-en
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[a-z]*) pair="$1" && shift ;;
esac
prepare multi30k "$pair" bert-base-uncased "$@"
