#!/bin/bash
# Makes the Debian package of the module, for the nginx that is installed here, into build/ or the folder given.
#
# Works in a temporary copy and writes nothing else beside the sources. Needs no root and no network.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
output="${1:-$here/build}"

if ! command -v dpkg-buildpackage >/dev/null; then
  echo "package.sh: no dpkg-buildpackage. Install it with: apt-get install build-essential nginx-dev" >&2
  exit 1
fi

mkdir -p "$output"
output="$(cd "$output" && pwd)"
work="$(mktemp --directory)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
cp -r "$here/config" "$here/src" "$here/debian" "$work/source/"
cd "$work/source"
log="$output/package.log"
if ! dpkg-buildpackage --build=binary --unsigned-changes --unsigned-buildinfo >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "package.sh: failed; all of it is in $log" >&2
  exit 1
fi
cd "$work"
for package in *.deb; do
  cp "$package" "$output/"
  echo "$output/$package"
done
