#!/bin/sh
# npm run fidelity: every golden case against a float64 reference and against two releases of mergekit; fills docs/fidelity.md.
# Needs python3 with venv, and the network once (mergekit brings torch: some GB each). FIDELITY_VENV_014 and FIDELITY_VENV_015 name
# virtual environments to use.
set -eu
cd "$(dirname "$0")/.."

# environment FOLDER REQUIREMENTS
environment() {
  if [ ! -x "$1/bin/python" ]; then
    mkdir -p "$(dirname "$1")"
    python3 -m venv "$1"
  fi
  "$1/bin/python" -m pip install --quiet --requirement "$2"
}

old=${FIDELITY_VENV_014:-.bench/venv}
new=${FIDELITY_VENV_015:-.bench/mergekit-0.1.5}
environment "$old" bench/mergekit-requirements.txt
environment "$new" scripts/fidelity/mergekit-0.1.5-requirements.txt

[ -d node_modules ] || npm ci
[ -f dist/cli/main.js ] || npm run build

exec env PYTHONHASHSEED=0 "$new/bin/python" scripts/fidelity/fidelity.py \
  --peer "0.1.4=$old/bin/python" --peer "0.1.5=$new/bin/python" "$@"
