#!/bin/sh
# Serves ./public with Debian's nginx, in the foreground and as an ordinary user, on $PORT.
set -eu
PATH="$PATH:/usr/sbin"
# nginx wants a place of its own for its configuration, its pid and its temporary files. One per user and port, so that
# instances do not meet and restarts do not pile up.
own="${TMPDIR:-/tmp}/nginx-site-$(id -u)-$PORT"
mkdir -p "$own"
sed "s|{{port}}|$PORT|; s|{{root}}|$PWD/public|" nginx.conf.in > "$own/nginx.conf"
exec nginx -e stderr -p "$own" -c "$own/nginx.conf" -g 'daemon off;'
