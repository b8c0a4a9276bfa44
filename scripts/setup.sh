#!/usr/bin/env bash
# Makes .venv with everything the project needs; does nothing, at once, when that is there already.
#
#   scripts/setup.sh
#
# PYTHON names the interpreter (3.11 or 3.12) of a new .venv; without it the first that works is
# taken.
# On a machine without a GPU, a PIP_EXTRA_INDEX_URL with PyTorch's CPU wheels spares the download of
# torch's CUDA libraries.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A pyenv shim exists for versions that are not active, and Debian's python may come without
# ensurepip, so each candidate is tried rather than looked up.
is_usable() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
    >/dev/null 2>&1
}

find_python() {
  local candidate candidates=(python3.11 python3.12 python3 python /usr/bin/python3)
  if [[ -n ${PYTHON:-} ]]; then
    candidates=("$PYTHON")
  fi
  for candidate in "${candidates[@]}"; do
    if is_usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "setup: error: need Python 3.11 or 3.12 with venv and pip, and found none;" \
    "set PYTHON to such an interpreter." >&2
  return 1
}

# Programs of a .venv that was moved, with its project, look for Python where it was: the first of
# their lines, or the second where there is a space in the path, says where.
is_there() {
  local programs
  is_usable .venv/bin/python &&
    programs=$(sed -n '1,2s|^[^/]*\(/.*\)/python[0-9.]*.*$|\1|p' .venv/bin/pip 2>/dev/null) &&
    [[ ${programs%%$'\n'*} -ef .venv/bin ]]
}

stamp=.venv/.setup-stamp
inputs=$(sha256sum setup.py pyproject.toml constraints.txt scripts/setup.sh | sha256sum)
if [[ -f $stamp && $(<"$stamp") == "$inputs" ]] && is_there; then
  exit 0
fi

if ! is_there; then
  python=$(find_python)
  echo "setup: making .venv with $("$python" -V)"
  "$python" -m venv --clear .venv
fi
rm -f "$stamp"

pip_install() {
  .venv/bin/python -m pip --disable-pip-version-check install --constraint constraints.txt "$@"
}
echo "setup: installing torch"
pip_install torch setuptools
echo "setup: installing what the project, fairseq and the tests need (a minute or two)"
pip_install --no-build-isolation --editable '.[fairseq,quickstart,plots,test]'
echo "setup: installing fairseq without torchaudio (setup.py says why)"
pip_install -qq --no-deps ve-fairseq
.venv/bin/python -c 'import abnet, fairseq, torch, transformers'
echo "$inputs" >"$stamp"
echo "setup: done"
