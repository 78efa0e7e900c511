#!/bin/sh
# npm run consumers: merges the example recipes and uses the results as others do, in transformers, unchanged.
# Needs python3 with venv, and the network once. CONSUMERS_VENV names a virtual environment to use instead of the default.
set -eu
cd "$(dirname "$0")/.."

venv=${CONSUMERS_VENV:-.bench/consumers-venv}
if [ ! -x "$venv/bin/python" ]; then
  mkdir -p "$(dirname "$venv")"
  python3 -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --requirement scripts/consumers-requirements.txt

[ -d node_modules ] || npm ci
[ -f dist/cli/main.js ] || npm run build

exec "$venv/bin/python" scripts/consumers.py
