#!/usr/bin/env bash
# Table 2 of the paper: autoregressive systems on WMT14 and WMT16 Ro-En with back-translations.
#
#   scripts/reproduce/table2.sh [OPTION...]
#
#   scripts/reproduce/table2.sh --toy       tries it on a tiny corpus, in minutes
#   scripts/reproduce/table2.sh --help      lists the options
#
# Prepares, trains with the paper's settings, decodes, scores, and prints the paper's figures beside
# ours; writes benchmarks/results/paper-*.json. The same command goes on where it was stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/paper.sh"
paper table2 "$@"
