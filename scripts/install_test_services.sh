#!/usr/bin/env bash
# What the tests need beside Python: Redis, PostgreSQL, Chromium and Node. The tests start them themselves.
# On Debian as root the missing ones are installed. Elsewhere this says what to install; the tests that need
# it are then skipped by name, and under CI=true this fails instead.
set -euo pipefail

has() {
    command -v "$1" >/dev/null
}

# Homebrew puts PostgreSQL's commands beside the path, and macOS' browsers are no commands.
has_postgresql() {
    has initdb || compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null ||
        compgen -G "/opt/homebrew/opt/postgresql*/bin/initdb" >/dev/null ||
        compgen -G "/usr/local/opt/postgresql*/bin/initdb" >/dev/null
}

has_chromium() {
    has chromium || has chromium-browser || has google-chrome ||
        [ -d "/Applications/Google Chrome.app" ] || [ -d "/Applications/Chromium.app" ]
}

missing=() # Debian's names
brew=()    # Homebrew's
has redis-server || { missing+=(redis-server) && brew+=(redis); }
has_postgresql || { missing+=(postgresql) && brew+=(postgresql@17); }
has_chromium || { missing+=(chromium) && brew+=(google-chrome); }
has curl || { missing+=(curl) && brew+=(curl); }
has xgettext || { missing+=(gettext) && brew+=(gettext); }
has node || { missing+=(nodejs) && brew+=(node); }
has npm || missing+=(npm) # Homebrew's node has it
[ "${#missing[@]}" -eq 0 ] && exit 0

if has apt-get && [ "$(id -u)" -eq 0 ]; then
    echo "Installing ${missing[*]} …"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    exit 0
fi

echo "Not installed here: ${missing[*]}. The tests that need them will be skipped." >&2
if [ "$(uname)" = Darwin ]; then
    echo "  brew install ${brew[*]-node}" >&2
else
    echo "  Debian, Ubuntu: sudo apt-get install ${missing[*]}" >&2
fi
[ "${CI:-}" != "true" ]
