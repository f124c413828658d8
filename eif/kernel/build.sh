#!/bin/sh
# Runs inside the build base. What varies between machines and does not belong into a kernel is fixed here.
set -eu
export LC_ALL=C TZ=UTC
export KBUILD_BUILD_USER=cloister KBUILD_BUILD_HOST=cloister KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_VERSION=1
umask 022

cd /build
echo "unpacking the source"
mkdir linux
tar -xf linux-source.tar.xz -C linux --strip-components=1
rm linux-source.tar.xz
cd linux

make -s KCONFIG_ALLCONFIG=/build/fragment allnoconfig
# Kconfig drops in silence what it does not know or what lacks a dependency.
dropped=0
while read -r line; do
  case "$line" in
    CONFIG_*=*)
      grep -qxF "$line" .config || { echo "not in the final configuration: $line"; dropped=1; } ;;
    "# CONFIG_"*" is not set")
      name=${line#"# "}
      grep -q "^${name%% *}=" .config && { echo "set in the final configuration: ${name%% *}"; dropped=1; } ;;
  esac
done < /build/fragment
[ "$dropped" = 0 ] || exit 1

echo "compiling"
make -j"$(nproc)" bzImage

mkdir /build/out
cp arch/x86/boot/bzImage .config /build/out/
gcc --version | head -n 1 > /build/out/compiler
