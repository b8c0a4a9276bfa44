#!/usr/bin/env bash
# The paper's low-resource pairs of IWSLT14: Italian, Spanish and Dutch to and from English.
#
#   scripts/reproduce/table3a.sh [OPTION...]
#
#   scripts/reproduce/table3a.sh --toy       tries it on a tiny corpus, in minutes
#   scripts/reproduce/table3a.sh --help      lists the options
#
# Prepares, trains with the paper's settings, decodes, scores, and prints the paper's figures beside
# ours; writes benchmarks/results/paper-*.json. The same command goes on where it was stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/paper.sh"
paper table3a "$@"
