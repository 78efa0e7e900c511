#!/bin/sh
# Types, lint, build, tests, and the packed package in an empty directory; with --all also what needs root or large tools.
# The last line counts: N passed, N failed, N skipped. A skipped test counts as a failure.
set -u
cd "$(dirname "$0")/.."
[ -d node_modules/typescript ] || npm ci --no-audit --no-fund || exit 1
exec node scripts/check.mjs "$@"
