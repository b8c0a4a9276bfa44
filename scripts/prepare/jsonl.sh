#!/usr/bin/env bash
# Your own pairs in JSONL files: a JSON object a line, with a text for the source and one for the
# target.
#
#   scripts/prepare/jsonl.sh PAIR --train FILE --valid FILE [--test FILE] [OPTION...]
#
#   scripts/prepare/jsonl.sh document-summary --train train.jsonl --valid valid.jsonl \
#       --source-bert bert-base-cased --target-bert bert-base-cased --overlong-source truncate
#       reads the keys "document" and "summary"
#
# PAIR is what the two sides are called, and the keys if --source-key and --target-key name no
# others. Everything after it goes to `abnet prepare jsonl`: --source-bert, --target-bert, --dest,
# --overlong-source, --workers, ...
# BERTs, if none are given: bert-base-cased for a side called en, bert-base-german-cased for de
# and bert-base-multilingual-cased for every other.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
case "${1:-}" in
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
[!-]*-*) pair="$1" && shift ;;
*) usage "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
prepare jsonl "$pair" bert-base-cased "$@"
