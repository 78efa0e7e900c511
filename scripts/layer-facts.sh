#!/bin/sh
# npm run layer-facts: stacks layers of a small model of every configuration class of transformers, opens the results, and compares each
# layer with the one it came from. Needs python3 with venv, and the network once. LAYER_FACTS_VENV names a virtual environment to use
# instead. Arguments: model types, where only these are wanted; --vocabularies looks at counts of tokens instead; --json FILE keeps what was
# found of each class, and with --resume goes on from there; --command-line merges with the command line instead of in one process.
set -eu
cd "$(dirname "$0")/.."

venv=${LAYER_FACTS_VENV:-.bench/layer-facts-venv}
if [ ! -x "$venv/bin/python" ]; then
  mkdir -p "$(dirname "$venv")"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --requirement scripts/layer-facts/requirements.txt
fi

[ -d node_modules ] || npm ci
[ -f dist/cli/main.js ] || npm run build

exec "$venv/bin/python" scripts/layer-facts/run.py "$@"
