#!/usr/bin/env bash
# What the tests need beside Python: Redis, PostgreSQL, Chromium and Node. The tests start them themselves.
# On Debian as root the missing ones are installed. Elsewhere this says what to install; the tests that need
# it are then skipped by name, and under CI=true this fails instead.
set -euo pipefail

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    [ -d "/Applications/Google Chrome.app" ] || [ -d "/Applications/Chromium.app" ] || missing+=(chromium)
command -v curl >/dev/null || missing+=(curl)
command -v xgettext >/dev/null || missing+=(gettext)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
[ "${#missing[@]}" -eq 0 ] && exit 0

if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    echo "Installing ${missing[*]} …"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    exit 0
fi

echo "Not installed here: ${missing[*]}. The tests that need them will be skipped." >&2
echo "  Debian, Ubuntu: sudo apt-get install ${missing[*]}" >&2
echo "  macOS:          brew install redis postgresql@16 node && brew install --cask chromium" >&2
[ "${CI:-}" != "true" ]
