#!/usr/bin/env bash
# Builds the newest Linux that Debian has, with Linux's own test of vmalloc in it:
#
#   bench/linux/build.sh FOLDER
#
# leaves in FOLDER `bzImage`, `config` (all options) and `version` (one line). The source is the newest
# package linux-source-* of Debian's unstable, by apt with lists of its own in FOLDER, so that nothing
# of unstable can get installed; where that cannot be reached, of the Debian that runs here.
#
# Does nothing where FOLDER has what this script and its `config` build; remove FOLDER to look for a
# newer Linux. Exit status: 0 it is there; 1 it could not be built; 2 usage; 4 something is lacking.
set -euo pipefail

if (($# != 1)); then
    printf 'usage: bench/linux/build.sh FOLDER\n' >&2
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd -P)
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source boot/setup.sh
say() { printf 'linux: %s\n' "$*" >&2; }

if [[ $folder == *[[:space:]:]* ]]; then
    say "$folder: Linux cannot be built in a folder whose name has spaces or colons"
    exit 2
fi
# One builds at a time. What a build that was ended has started keeps the lock until it has ended, too.
exec 9>"$folder/lock"
flock -n 9 || { say "another build is under way in $folder; waiting for it" && flock 9; }
stamp=$(cat bench/linux/build.sh bench/linux/config | sha256sum)
if [[ -e $folder/bzImage && -r $folder/stamp && $(<"$folder/stamp") == "$stamp" ]]; then
    exit 0
fi
work=$folder/work log=$folder/log
source=$work/source

# failed LINE: the build went wrong; shows the end of its log.
failed() {
    tail -5 "$log" >&2
    say "$1; all it said is in $log"
    exit 1
}

# --- the source ---------------------------------------------------------------------------------

# What makes apt know unstable and nothing else, in a folder of its own.
unstable() {
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE)' 'Label: Debian' 2>/dev/null | head -1)
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    printf 'deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s sid main\n' \
        "${mirror:-http://deb.debian.org/debian}" >"$work/apt/sources.list"
    apt=(-o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$work/apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work/apt/cache"
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::http::Timeout=20)
    apt-get "${apt[@]}" update >>"$log" 2>&1 || true
}

# fetch: downloads the newest source package that apt, with its options, knows; fails if there is none.
fetch() {
    local package
    package=$(apt-cache "${apt[@]}" search --names-only '^linux-source-[0-9.]+$' | cut -d' ' -f1 | sort -V | tail -1)
    [[ $package ]] || return 1
    say "fetching $package, about 160 MB"
    (cd "$work" && apt-get "${apt[@]}" download "$package") >>"$log" 2>&1
}

[[ $(uname -m) == x86_64 ]] || lacking "Linux for x86-64 is built only on such a computer"
command -v apt-get >/dev/null || lacking "Linux's source is fetched by Debian's apt-get, which is not here"
rm -rf "$work" "$folder/stamp"
mkdir -p "$source"
: >"$log"

say "looking for the newest Linux in Debian's unstable"
unstable
if ! fetch; then
    say "Debian's unstable cannot be reached; looking in this Debian"
    apt=()
    as_root true 2>/dev/null && apt_update || true
    fetch || lacking "no package linux-source-* could be fetched; all that apt said is in $log"
fi
deb=("$work"/linux-source-*.deb)
package=$(dpkg-deb --show --showformat '${Package} ${Version}' "${deb[0]}")

packages "what compiling Linux needs" gcc libc6-dev make flex bison bc libelf-dev xz-utils

say "unpacking $package"
dpkg-deb --fsys-tarfile "${deb[0]}" | tar -xO --wildcards './usr/src/*.tar.xz' |
    tar -xJ --strip-components=1 -C "$source" 2>>"$log" || failed "$package could not be unpacked"

# --- the kernel ---------------------------------------------------------------------------------

# Up to 6.12 the test wants to be a module, though it needs nothing of one; a module would need a disk.
sed -i '/^config TEST_VMALLOC$/,/^config/{/depends on m$/d}' "$source/lib/Kconfig.debug"

linux() { env -u MAKEFLAGS make -C "$source" ARCH=x86_64 "$@"; }

linux KCONFIG_ALLCONFIG="$PWD/bench/linux/config" allnoconfig >>"$log" 2>&1 || failed "$package could not be configured"
while read -r line; do
    case $line in
        CONFIG_*) grep -qxF "$line" "$source/.config" ;;
        '# CONFIG_'*' is not set')
            option=${line#\# }
            ! grep -q "^${option%% *}=" "$source/.config"
            ;;
    esac || {
        say "$package does not take $line, which bench/linux/config asks for"
        exit 1
    }
done <bench/linux/config

say "compiling $package, about 6 minutes of one core"
linux -j"$(nproc)" bzImage >>"$log" 2>&1 || failed "$package could not be compiled"

# In one step: a machine may be starting from the last one.
cp "$source/arch/x86/boot/bzImage" "$folder/bzImage.new"
mv "$folder/bzImage.new" "$folder/bzImage"
cp "$source/.config" "$folder/config"
printf 'Linux %s (%s), gcc %s\n' "$(linux -s kernelversion)" "$package" "$(gcc -dumpfullversion)" >"$folder/version"
rm -rf "$work"
printf '%s\n' "$stamp" >"$folder/stamp"
say "$(<"$folder/version") is in $folder"
