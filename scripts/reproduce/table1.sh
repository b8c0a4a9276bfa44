#!/usr/bin/env bash
# Table 1 of the paper: parallel systems on IWSLT14, WMT16 Ro-En and WMT14.
#
#   scripts/reproduce/table1.sh [OPTION...]
#
#   scripts/reproduce/table1.sh --toy       tries it on a tiny corpus, in minutes
#   scripts/reproduce/table1.sh --help      lists the options
#
# Prepares, trains with the paper's settings, decodes, scores, and prints the paper's figures beside
# ours; writes benchmarks/results/paper-*.json. The same command goes on where it was stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/paper.sh"
paper table1 "$@"
