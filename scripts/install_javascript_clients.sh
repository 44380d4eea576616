#!/usr/bin/env bash
# The JavaScript clients that the tests run, as tests/javascript/package-lock.json pins them. Does nothing when
# they are there already.
set -euo pipefail
cd "$(dirname "$0")/../tests/javascript"

[ node_modules/.package-lock.json -nt package-lock.json ] && exit 0
npm ci --no-audit --no-fund --ignore-scripts --loglevel error
touch node_modules/.package-lock.json
