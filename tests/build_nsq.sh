#!/bin/sh
# Builds nsqd, nsqlookupd and nsq_tail, which no Debian package brings, unless they are on the path already.
# NSQ_BIN names where to; as root /usr/local/bin is meant, else put ~/.local/bin on your path.
set -eu
version=v1.3.0

missing=
for program in nsqd nsqlookupd nsq_tail; do
	command -v "$program" >/dev/null || missing="$missing github.com/nsqio/nsq/apps/$program"
done
test -n "$missing" || exit 0

root() { test "$(id -u)" = 0; }

PATH="$PATH:/usr/local/go/bin"
command -v go >/dev/null || { root && apt-get update -q && apt-get install -y -q golang; } >/dev/null || {
	echo "nsqd is missing, and Go to build it, so its tests will be skipped: sudo apt-get install golang" >&2
	exit 0
}

if root; then folder="${NSQ_BIN:-/usr/local/bin}"; else folder="${NSQ_BIN:-$HOME/.local/bin}"; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$folder"
cd "$work"
# nsqd is made with another go-svc than its name says; what is not the main module has to be told so.
cat >go.mod <<MODULE
module servers

go 1.17

require github.com/nsqio/nsq $version

replace github.com/judwhite/go-svc => github.com/mreiferson/go-svc v1.2.2-0.20210815184239-7a96e00010f6
MODULE
# shellcheck disable=SC2086
GOBIN="$folder" GOFLAGS=-mod=mod go install $missing 2>"$work/log" || {
	cat "$work/log" >&2
	echo "nsqd could not be built, so its tests will be skipped" >&2
	exit 0
}
command -v nsqd >/dev/null || echo "nsqd is in $folder, which is not on your path: put it there" >&2
