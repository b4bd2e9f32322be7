#!/usr/bin/env bash
# Cargo's runner for the bare target: boots the ELF it is given, in the way of all other actions.
set -euo pipefail

# Cargo may give it relative to the current folder.
elf=$(realpath -- "$1")
shift
# Paths that the user names are meant from where they are: that is where cargo is, which starts test programs in the
# folder of their package.
VMALLOC_CURRENT_DIR=$(realpath -- "/proc/$PPID/cwd" 2>/dev/null) || VMALLOC_CURRENT_DIR=$PWD
export VMALLOC_CURRENT_DIR
if [[ ${CARGO_TARGET_DIR:-} ]]; then
    CARGO_TARGET_DIR=$(cd "$VMALLOC_CURRENT_DIR" && realpath -m -- "$CARGO_TARGET_DIR")
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What the outer cargo says of its package must not reach the inner one.
for name in $(compgen -e); do
    case $name in CARGO_PKG_* | CARGO_MANIFEST_* | CARGO_BIN_* | CARGO_CRATE_* | CARGO_PRIMARY_*) unset "$name" ;; esac
done
exec "${CARGO:-cargo}" run --quiet --package boot --target host-tuple -- run-elf "$elf" "$@"
