#!/usr/bin/env bash
# Proves the README's two commands on a fresh clone with empty caches: the demo reaches its ready line
# within eight minutes, starts a second time within 15 s, and every test passes.
set -euo pipefail
top=$(git rev-parse --show-toplevel)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q "$top" "$work/main"
[ -d "$top/../shared" ] && ln -s "$(realpath "$top/../shared")" "$work/shared"
export PIP_CACHE_DIR="$work/pip-cache" npm_config_cache="$work/npm-cache" PORT_OFFSET=${PORT_OFFSET:-500}
cd "$work/main"

demo_until_ready() { # seconds allowed
  local log="$work/demo.log" began=$SECONDS
  : > "$log"
  setsid make demo > "$log" 2>&1 &
  local leader=$!
  while ! grep -q '^ready: ' "$log"; do
    if [ $((SECONDS - began)) -gt "$1" ] || ! kill -0 "$leader" 2>/dev/null; then
      echo "no ready line after $((SECONDS - began)) s"; tail -n 40 "$log"; kill -INT -- "-$leader" 2>/dev/null; exit 1
    fi
    sleep 0.5
  done
  echo "ready after $((SECONDS - began)) s (allowed $1 s)"
  kill -INT -- "-$leader"
  wait "$leader" || true
}

demo_until_ready 480
demo_until_ready 15
make test
