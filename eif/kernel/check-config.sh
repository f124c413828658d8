#!/bin/sh
# Kconfig drops in silence what it does not know and what lacks a dependency: every line of the fragment must be found in
# the final configuration.
set -eu
[ "$#" = 2 ] || { echo "usage: check-config.sh FRAGMENT CONFIG" >&2; exit 2; }
dropped=0
while IFS= read -r line; do
  case "$line" in
    CONFIG_*=*)
      grep -qxF "$line" "$2" || { echo "not in the final configuration: $line"; dropped=1; } ;;
    "# CONFIG_"*" is not set")
      name=${line#"# "}
      name=${name%% *}
      if grep -q "^$name=" "$2"; then echo "set in the final configuration: $name"; dropped=1; fi ;;
  esac
done < "$1"
exit "$dropped"
