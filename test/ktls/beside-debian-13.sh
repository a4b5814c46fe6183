#!/bin/sh
# For a guest: runs a command beside another root, in which /dev, /proc, the temporary files and the given folders are the same.
# Usage: beside-debian-13.sh <root> <folder>... -- <command> [argument]...
set -eu
root=$1
shift
share() {
  mkdir -p "$root$1"
  mount --rbind "$1" "$root$1"
}
share /dev
share /proc
share "${TMPDIR:-/tmp}"
while [ "$1" != -- ]; do
  share "$1"
  shift
done
shift
exec "$@"
