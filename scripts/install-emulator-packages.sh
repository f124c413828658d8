#!/usr/bin/env bash
# Installs what `make emulator` builds QEMU with, on Debian or Ubuntu. Needs root; does nothing where all is there.
set -euo pipefail

packages=(gcc binutils libc6-dev make ninja-build patch pkg-config python3-venv xz-utils
  libcbor-dev libfdt-dev libglib2.0-dev libgnutls28-dev zlib1g-dev)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "as root: apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
