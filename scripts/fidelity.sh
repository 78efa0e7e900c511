#!/bin/sh
# npm run fidelity: every golden case against a float64 reference and against mergekit 0.1.4; fills docs/fidelity.md.
# Needs python3 with venv, and the network once (mergekit brings torch: some GB). FIDELITY_VENV names a virtual environment to use.
set -eu
cd "$(dirname "$0")/.."

venv=${FIDELITY_VENV:-.bench/venv}
if [ ! -x "$venv/bin/python" ]; then
  mkdir -p "$(dirname "$venv")"
  python3 -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --requirement bench/mergekit-requirements.txt

[ -d node_modules ] || npm ci
[ -f dist/cli/main.js ] || npm run build

exec env PYTHONHASHSEED=0 "$venv/bin/python" scripts/fidelity/fidelity.py "$@"
