#!/usr/bin/env bash
# Does the project's work: installs what is missing (boot/setup.sh), then hands over to the host
# program in boot/, which reads all options. `./run.sh --help` lists the actions.
set -euo pipefail

# The user's words, before anything is installed for them.
action=${1:-boot}
case $action in
    boot | exec | test | fuzz | soak | machines | mutants | bench | replay | trace | report | rooms | cargo | -*) ;;
    setup)
        if (($# > 1)); then
            printf 'run.sh: setup takes no arguments: %s\n' "$2" >&2
            exit 2
        fi
        ;;
    *)
        printf 'run.sh: %s: no such action; see ./run.sh --help\n' "$action" >&2
        exit 2
        ;;
esac

# Paths that the user names are meant from here.
here=$PWD
for name in CARGO_TARGET_DIR OVMF_PATH; do
    [[ ! ${!name:-} ]] || export "$name=$(realpath -m -- "${!name}")"
done
cd "$(dirname "${BASH_SOURCE[0]}")"
# Without symbolic links, as rustup knows folders.
cd "$(pwd -P)"
source boot/setup.sh
[[ $action == cargo ]] || room
toolchain

boot=(--package boot --target host-tuple)
quiet=--quiet
if [[ ! -x ${CARGO_TARGET_DIR:-target}/$host/debug/boot ]]; then
    # Progress is worth seeing now.
    quiet=
fi

case $action in
    cargo)
        # For scripts: cargo as all else here runs it.
        shift
        cd "$here"
        exec cargo "$@"
        ;;
    setup)
        machine_packages
        grub_packages
        tool_packages
        [[ $quiet ]] || say "building the host program and the boot loader, about a minute"
        cargo build $quiet "${boot[@]}"
        if [[ -e $debian ]]; then debian_register; else rustup_miri; fi
        say "all is there; $plain_cargo"
        ;;
    *)
        machine_packages "$@"
        [[ $action != test ]] || { grub_packages; tool_packages; }
        [[ $quiet ]] || say "building the host program and the boot loader, about a minute"
        # From the checkout, whose .cargo/config.toml decides the build, not the one of another folder. The host
        # program goes back.
        export VMALLOC_CURRENT_DIR=$here
        exec cargo run $quiet "${boot[@]}" -- "$@"
        ;;
esac
