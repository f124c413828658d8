#!/usr/bin/env bash
# Puts an unpacked release on an EC2 parent: code, users, units, and templates of the settings. A second run changes
# nothing. Settings that are there are left as they are. Nothing is started.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: install.sh [options]            from an unpacked release, as root

  --memory-mib N    for the enclave, in allocator.yaml and in a new enclave.json (default 1024)
  --cpu-count N     likewise (default 2)
  --root DIR        install into this folder in place of /
  --settings-only   users, units and settings, without the code
  --uninstall       take away code and units; settings, records and users stay
  --dry-run         say what would be done, and do nothing
  --help            show this
TEXT
}

root=
memory_mib=1024
cpu_count=2
dry_run=no
code=yes
action=install
while [ $# -gt 0 ]; do
  case $1 in
    --memory-mib | --cpu-count | --root)
      [ $# -ge 2 ] || { echo "install.sh: $1 needs a value" >&2; exit 2; }
      case $1 in --memory-mib) memory_mib=$2 ;; --cpu-count) cpu_count=$2 ;; --root) root=${2%/} ;; esac
      shift
      ;;
    --settings-only) code=no ;;
    --uninstall) action=uninstall ;;
    --dry-run) dry_run=yes ;;
    --help) usage; exit 0 ;;
    *) echo "install.sh: there is no option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
for number in "$memory_mib" "$cpu_count"; do
  [[ $number =~ ^[1-9][0-9]{0,6}$ ]] || { echo "install.sh: expected a number, got $number" >&2; exit 2; }
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
release=$(dirname "$here")
changes=0

# Says what is done, and does it unless only asked to say.
change() {
  changes=$((changes + 1))
  echo "$1"
  shift
  [ "$dry_run" = yes ] || "$@"
}

# put MODE SOURCE TARGET: a file of ours, replaced if it differs.
put() {
  local target=$root$3
  if [ -f "$target" ] && cmp -s "$2" "$target" && [ "$(stat -c %a "$target")" = "${1#0}" ]; then return; fi
  change "write $target" install -D -m "$1" "$2" "$target"
}

# put_new MODE SOURCE TARGET: a setting, which is the operator's once it is there.
put_new() {
  [ -e "$root$3" ] || change "write $root$3" install -D -m "$1" "$2" "$root$3"
}

take() {
  [ -e "$root$1" ] || [ -L "$root$1" ] || return 0
  change "remove $root$1" rm -rf "$root$1"
}

# On the running system, or in the folder where the program can do that; elsewhere it is left out, and said.
system() {
  local program=$1
  shift
  if ! command -v "$program" >/dev/null; then echo "no $program here: left out"; return; fi
  if [ "$dry_run" = yes ]; then echo "$program $*"; return; fi
  "$program" ${root:+"--root=$root"} "$@"
}

UNITS=(cloister-parent.service cloister-enclave.service cloister-health.timer)
ALLOCATOR=/etc/nitro_enclaves/allocator.yaml
MARK="# Written by Cloister's install.sh."

swap_code() {
  rm -rf "$root/opt/cloister.new"
  mkdir -p "$root/opt/cloister.new"
  cp -a "$release"/. "$root/opt/cloister.new"
  [ "$(id -u)" -ne 0 ] || chown -R 0:0 "$root/opt/cloister.new"
  rm -rf "$root/opt/cloister.old"
  [ ! -e "$root/opt/cloister" ] || mv "$root/opt/cloister" "$root/opt/cloister.old"
  mv "$root/opt/cloister.new" "$root/opt/cloister"
  rm -rf "$root/opt/cloister.old"
}

put_code() {
  if [ ! -f "$release/RELEASE" ]; then
    echo "install.sh: $release is no release (make release makes one); --settings-only goes without" >&2
    exit 1
  fi
  if [ "$release" = "$root/opt/cloister" ] || cmp -s "$release/RELEASE" "$root/opt/cloister/RELEASE"; then return; fi
  change "write $root/opt/cloister: $(head -n 1 "$release/RELEASE")" swap_code
}

# The allocator's script wants "---" first, and reads line by line.
write_allocator() {
  mkdir -p "$(dirname "$root$ALLOCATOR")"
  [ ! -f "$root$ALLOCATOR" ] || grep -qF "$MARK" "$root$ALLOCATOR" || cp -p "$root$ALLOCATOR" "$root$ALLOCATOR.before-cloister"
  printf -- '---\n%s\nmemory_mib: %s\ncpu_count: %s\n' "$MARK" "$memory_mib" "$cpu_count" >"$root$ALLOCATOR"
  chmod 0644 "$root$ALLOCATOR"
}

put_allocator() {
  local wanted
  wanted=$(printf -- '---\n%s\nmemory_mib: %s\ncpu_count: %s\n' "$MARK" "$memory_mib" "$cpu_count")
  [ "$(cat "$root$ALLOCATOR" 2>/dev/null)" = "$wanted" ] || change "write $root$ALLOCATOR" write_allocator
}

write_enclave_config() {
  install -D -m 0644 "$here/etc/enclave.json" "$root/etc/cloister/enclave.json"
  sed -i "s/\"memory_mib\": [0-9]*/\"memory_mib\": $memory_mib/; s/\"cpu_count\": [0-9]*/\"cpu_count\": $cpu_count/" \
    "$root/etc/cloister/enclave.json"
}

# Drop-ins for newer systemd, whose older versions would warn of unknown settings.
has_restart_steps() {
  local version
  version=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 254 ]
}

install_all() {
  [ "$code" = no ] || put_code
  put 0644 "$here/systemd/sysusers.conf" /usr/lib/sysusers.d/cloister.conf
  put 0644 "$here/systemd/tmpfiles.conf" /usr/lib/tmpfiles.d/cloister.conf
  for unit in cloister-parent.service cloister-enclave.service cloister-health.service cloister-health.timer; do
    put 0644 "$here/systemd/$unit" "/etc/systemd/system/$unit"
  done
  put 0644 "$here/systemd/allocator.conf" /etc/systemd/system/nitro-enclaves-allocator.service.d/cloister.conf
  if has_restart_steps; then
    put 0644 "$here/systemd/restart-backoff.conf" /etc/systemd/system/cloister-parent.service.d/restart-backoff.conf
  fi
  [ -e "$root/etc/cloister/enclave.json" ] || change "write $root/etc/cloister/enclave.json" write_enclave_config
  put_new 0640 "$here/etc/parent.json" /etc/cloister/parent.json
  put_new 0644 "$here/etc/cloister.env" /etc/cloister/cloister.env
  put_allocator

  if [ "$changes" -eq 0 ]; then echo "nothing to do"; return; fi
  system systemd-sysusers cloister.conf
  system systemd-tmpfiles --create cloister.conf
  system systemctl enable "${UNITS[@]}"
  [ -n "$root" ] || system systemctl daemon-reload
  cat <<TEXT
Fill in $root/etc/cloister/{enclave,parent}.json, put the image, its measurements.json and a copy of its cloister.yaml where
they say, then: systemctl restart nitro-enclaves-allocator && systemctl start cloister-parent cloister-enclave cloister-health.timer
and: cloister doctor   (/opt/cloister/bin/node /opt/cloister/bin/cloister.js doctor)
TEXT
}

uninstall_all() {
  if [ -e "$root/etc/systemd/system/cloister-parent.service" ]; then
    # Stops what runs first: the enclave ends, and requests under way are answered.
    if [ -z "$root" ]; then system systemctl stop cloister-health.timer cloister-enclave.service cloister-parent.service; fi
    system systemctl disable "${UNITS[@]}"
  fi
  for unit in "${UNITS[@]}" cloister-health.service; do take "/etc/systemd/system/$unit"; done
  take /etc/systemd/system/cloister-parent.service.d/restart-backoff.conf
  take /etc/systemd/system/nitro-enclaves-allocator.service.d/cloister.conf
  take /usr/lib/sysusers.d/cloister.conf
  take /usr/lib/tmpfiles.d/cloister.conf
  take /opt/cloister
  if [ -f "$root$ALLOCATOR.before-cloister" ]; then
    change "put back $root$ALLOCATOR" mv "$root$ALLOCATOR.before-cloister" "$root$ALLOCATOR"
  fi
  if [ "$changes" -eq 0 ]; then echo "nothing to do"; return; fi
  [ -n "$root" ] || system systemctl daemon-reload
  echo "left: $root/etc/cloister, $root/var/lib/cloister (the records: every wallet), users cloister and cloister-enclave"
}

if [ -z "$root" ] && [ "$dry_run" = no ] && [ "$(id -u)" -ne 0 ]; then
  echo "install.sh: run it as root, or with --root or --dry-run" >&2
  exit 1
fi
if [ "$action" = install ]; then install_all; else uninstall_all; fi
