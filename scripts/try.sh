#!/bin/sh
# Installs, builds and runs the main job on the models in examples/models: a TIES merge, verified.
set -eu
cd "$(dirname "$0")/.."
[ -d node_modules/typescript ] || npm ci --no-audit --no-fund
npm run --silent build
out=build/try
rm -rf "$out"
node dist/cli/main.js merge examples/recipes/ties.yml "$out"
node dist/cli/main.js verify "$out"
