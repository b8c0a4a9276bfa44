#!/usr/bin/env bash
# Your own text: two files a split, line n of one the translation of line n of the other.
#
#   scripts/prepare/text.sh PAIR --train PREFIX --valid PREFIX [--test PREFIX] [OPTION...]
#
#   scripts/prepare/text.sh de-en --train my/train --valid my/valid --test my/test --dest data-bin/my
#       reads my/train.de and my/train.en, and so on (or my/train.de.gz, ...)
#
# PAIR is the two languages, as the files' names end (or any two names: my/train.document and
# my/train.summary are prepared as document-summary). Everything after it goes to
# `abnet prepare text`: --source-bert, --target-bert, --dest, --workers, ...
# BERTs, if none are given: bert-base-cased for English, bert-base-german-cased for German and
# bert-base-multilingual-cased for every other language.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[!-]*-*) pair="$1" && shift ;;
*) usage "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
prepare text "$pair" bert-base-cased "$@"
