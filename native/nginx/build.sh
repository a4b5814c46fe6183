#!/bin/bash
# Builds ngx_http_fd_pass_module.so for the nginx that is installed, into build/.
#
# Debian's nginx-dev brings nginx's headers and its configure. For another nginx, point NGINX_SOURCE at the unpacked source of
# exactly the installed version; any nginx built --with-compat then loads the module.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source="${NGINX_SOURCE:-/usr/share/nginx/src}"
build="${1:-$here/build}"

if [[ ! -e "$source/configure" ]]; then
  echo "build.sh: no nginx source in $source. Install it with: apt-get install nginx-dev (or set NGINX_SOURCE)" >&2
  exit 1
fi

flags=(--with-compat --with-threads --with-http_ssl_module --with-http_v2_module --with-http_realip_module)
if [[ -e "$source/conf_flags" ]]; then
  # What Debian built its nginx with: sets NGX_CONF_FLAGS.
  . "$source/conf_flags"
  flags=("${NGX_CONF_FLAGS[@]}")
fi

mkdir -p "$build"
build="$(cd "$build" && pwd)"
log="$build/build.log"
# Its own for each run: two at a time would pull each other's files away.
# No dot in the name: nginx's configure takes ".S" and ".c" in a path for the end of a source file.
objs="$(mktemp -d "$build/objs-XXXXXX")"
trap 'rm -rf "$objs"' EXIT
# configure looks for its parts in the current folder, and writes into --builddir only.
cd "$source"
if ! {
  bash ./configure "${flags[@]}" --builddir="$objs" --add-dynamic-module="$here" \
    --with-cc-opt="-g -O2 -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wformat -Werror=format-security ${CFLAGS:-}" \
    --with-ld-opt="-Wl,-z,relro -Wl,-z,now ${LDFLAGS:-}" &&
    make -f "$objs/Makefile" modules
} >"$objs.log" 2>&1; then
  tail -n 30 "$objs.log" >&2
  mv "$objs.log" "$log"
  echo "build.sh: failed; all of it is in $log" >&2
  exit 1
fi
rm "$objs.log"
# A running nginx may have the old file mapped: replace it, never write into it.
mv "$objs/ngx_http_fd_pass_module.so" "$build/ngx_http_fd_pass_module.so"
echo "$build/ngx_http_fd_pass_module.so"
