# Part of run.sh: installs what is missing and picks the Rust toolchain. Sourced, not run; the
# current folder is the checkout.
#
# Outside of the checkout it changes nothing but installed packages, rustup's list of toolchains and, where
# apt would have to remove a package for QEMU, /opt/qemu-system-x86 and a link to it in /usr/local/bin. It
# says so when it does. VMALLOC_TOOLCHAIN=rustup or =debian forces one of two roads:
#
#   rustup   the toolchain that rust-toolchain.toml pins
#   debian   Debian's rustc-web packages, completed in .toolchain/ by what they lack for bare metal
#
# Without it a finished .toolchain/ is used, else what rustup has or can install, else, for who may install
# packages, rustup's package, else Debian's Rust. Who is not root is told of rustup first, which needs no root.

channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
host=$(uname -m)-unknown-linux-gnu
target=x86_64-unknown-none
debian=$PWD/.toolchain
debian_rust=(rustc-web cargo-web rust-web-src rust-web-clippy rustfmt-web lld)
# Rustup knows toolchains by name; one for each checkout.
linked=vmalloc-kernel-$(printf '%s' "$PWD" | cksum | cut -d' ' -f1)

say() { printf 'run.sh: %s\n' "$*" >&2; }

# lacking LINE: the machine lacks something; says what.
lacking() {
    say "$1"
    exit 4
}

# room: looks whether what is built can be written. Cargo says it in many lines, or a linker dies.
room() {
    local folder=${CARGO_TARGET_DIR:-$PWD/target} free
    # Cargo makes what is not there, and marks it as its own.
    until [[ -e $folder ]]; do folder=$(dirname -- "$folder"); done
    [[ -w $folder ]] ||
        lacking "cannot write to $folder, where all that is built goes; CARGO_TARGET_DIR may name another folder"
    free=$(df --output=avail -- "$folder" 2>/dev/null | tail -n 1) || return 0
    # In KiB.
    ((${free:-65536} >= 65536)) ||
        lacking "the disk of $folder is full, where all that is built goes; CARGO_TARGET_DIR may name another folder"
}

# writable_home NAME: a home that can be written to, where cargo or rustup must write and NAME names no other folder.
writable_home() {
    [[ ${!1:-} || -w $HOME ]] ||
        lacking "please set HOME, or $1: this user may not write to $HOME, and Rust keeps its files there"
}

# home: what HOME says or should; cargo keeps its files there.
home() {
    # A tilde means the user's entry in passwd only where HOME is not set.
    [[ ${HOME:-} ]] || { unset HOME; HOME=~; }
    writable_home CARGO_HOME
    export HOME
    # Where rustup's installer puts it, which shells that were open then do not know.
    local bin=${CARGO_HOME:-$HOME/.cargo}/bin
    command -v rustup >/dev/null || [[ ! -x $bin/rustup ]] || export PATH=$bin:$PATH
}

# --- packages -----------------------------------------------------------------------------------

beside=/opt/qemu-system-x86

# as_root COMMAND...: runs it as root, and fails where that needs a password.
as_root() { if ((EUID)); then sudo -n "$@"; else "$@"; fi; }

updated=
# Before its first update apt knows no package, and after a while it knows too old ones.
apt_update() {
    [[ $updated ]] && return
    say "apt-get update, so that packages can be found"
    as_root apt-get update >/dev/null 2>&1
    updated=yes
}

# may_install: whether packages can be installed without asking anybody.
may_install() { command -v apt-get >/dev/null && as_root true 2>/dev/null; }

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# known PACKAGE: whether apt could install it.
known() {
    command -v apt-get >/dev/null || return 1
    local candidate='Candidate: [^(]'
    [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) =~ $candidate ]] && return
    may_install && apt_update && [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) =~ $candidate ]]
}

# packages WHAT PACKAGE...: installs what is missing of the packages.
packages() {
    local what=$1 package missing=() log
    shift
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || lacking "please install $what (on Debian: ${missing[*]})"
    may_install || lacking "please install $what, as root: apt-get install ${missing[*]}"
    apt_update || true
    say "apt-get install ${missing[*]}: $what"
    log=$(mktemp)
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-remove --no-install-recommends "${missing[@]}" \
        >"$log" 2>&1 </dev/null; then
        tail -5 "$log" >&2
        lacking "apt-get could not install ${missing[*]}; all it said is in $log"
    fi
    rm -f "$log"
}

# displacing PACKAGE: whether apt would have to remove another package for it.
displacing() {
    apt_update || true
    [[ $(LC_ALL=C apt-get install --simulate --no-remove --no-install-recommends "$1" 2>&1) == *'remove is disabled'* ]]
}

# qemu_beside: QEMU beside what is installed, such as the tools of a newer QEMU: its packages are unpacked, not
# installed, and only the libraries that they need are. QEMU looks for its files where its program lies.
qemu_beside() {
    local log
    say "apt-get download qemu-system-x86 and its files into $beside, because apt would remove another package for it"
    log=$(mktemp)
    # Where bash looks at a result it does not end at a failure, so each step is asked.
    if ! (
        cd "$(mktemp -d)" &&
            apt-get download qemu-system-x86 qemu-system-common qemu-system-data seabios ipxe-qemu &&
            for package in *.deb; do as_root dpkg-deb --extract "$package" "$beside" || exit; done &&
            depends=$(dpkg-deb --field qemu-system-x86_*.deb Depends) &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get satisfy -y --no-remove --no-install-recommends \
                "$(sed -E 's/, (qemu-system-|seabios|ipxe-qemu)[^,]*//g' <<<"$depends")" &&
            as_root ln -sf "$beside/usr/bin/qemu-system-x86_64" /usr/local/bin/ &&
            rm -r "$PWD"
    ) >"$log" 2>&1 </dev/null; then
        tail -5 "$log" >&2
        lacking "QEMU could not be unpacked; all that was said is in $log"
    fi
    rm -f "$log"
}

# Without them neither cargo nor rustup trusts a server. What installs them is not what brings them.
certificates() {
    [[ -e /etc/debian_version && ! -e /etc/ssl/certs/ca-certificates.crt ]] && may_install || return 0
    (packages "certificates, by which cargo and rustup know the servers they download from" ca-certificates) || true
}

# machine_packages WORD...: the user's words may name an emulator of their own.
machine_packages() {
    local what='' need=() firmware places
    if ! command -v cc >/dev/null; then
        what+=", a C compiler, which links the host program"
        need+=(gcc libc6-dev)
    fi
    if [[ " $* " != *" --emulator"[=\ ]* ]] && ! command -v qemu-system-x86_64 >/dev/null; then
        if may_install && displacing qemu-system-x86; then
            qemu_beside
        else
            what+=", QEMU, which the kernel runs in"
            need+=(qemu-system-x86)
        fi
    fi
    # The places where boot looks, from its source.
    places=$(sed -n 's|^ *"\(/usr/.*\)",$|\1|p' boot/src/machine/firmware.rs)
    for firmware in ${OVMF_PATH:+"$OVMF_PATH"} $places ''; do
        [[ -e $firmware ]] && break
    done
    if [[ ! $firmware ]]; then
        what+=", OVMF, the UEFI firmware that the kernel is booted by"
        need+=(ovmf)
    fi
    # In one go: who must ask somebody for packages asks once.
    ((${#need[@]} == 0)) || packages "${what#, }" "${need[@]}"
}

# What the disk image of a kernel behind GRUB is made of. One test needs it, so all else works without it.
grub_packages() {
    local need=()
    command -v grub-mkrescue >/dev/null || need+=(grub-common)
    [[ -d /usr/lib/grub/x86_64-efi ]] || need+=(grub-efi-amd64-bin)
    command -v mformat >/dev/null || need+=(mtools)
    command -v xorriso >/dev/null || need+=(xorriso)
    ((${#need[@]} == 0)) || (packages "GRUB and what makes a disk image of it, by which an example is booted" "${need[@]}") || true
}

# Programs that tests of the host program use. They are left out where these are missing, but for git, which one needs.
tool_packages() {
    local need=()
    command -v git >/dev/null || need+=(git)
    command -v gdb >/dev/null || need+=(gdb)
    command -v tmux >/dev/null || need+=(tmux)
    command -v trace-cmd >/dev/null || need+=(trace-cmd)
    ((${#need[@]} == 0)) || (packages "git, gdb, tmux and trace-cmd, by which mutants, a kernel, its console and its traces are tried" "${need[@]}") || true
}

# --- the pinned toolchain, by rustup ------------------------------------------------------------

rustup_ready() {
    local folder=${RUSTUP_HOME:-$HOME/.rustup}/toolchains/$channel-$host
    command -v rustup >/dev/null && [[ -x $folder/bin/cargo && -x $folder/bin/cargo-clippy && -x $folder/bin/rustfmt &&
        -d $folder/lib/rustlib/src/rust/library && -d $folder/lib/rustlib/$target/lib &&
        -d $folder/lib/rustlib/$host/lib && -x $folder/lib/rustlib/$host/bin/rust-lld ]]
}

rustup_install() {
    command -v rustup >/dev/null || return 1
    writable_home RUSTUP_HOME
    say "rustup toolchain install $channel: what rust-toolchain.toml pins"
    local log
    log=$(mktemp)
    if timeout 600 rustup toolchain install "$channel" --profile minimal --target "$target" \
        --component rust-src,llvm-tools,rustfmt,clippy >"$log" 2>&1 </dev/null && rustup_ready; then
        rm -f "$log"
        return 0
    fi
    say "rustup could not: $(grep -m1 '^error' "$log" || tail -1 "$log"); all it said is in $log"
    return 1
}

# Miri, which .ci/run looks for undefined behaviour with. All else works without it, so it may be missing.
rustup_miri() {
    local log
    log=$(mktemp)
    cargo miri --version >/dev/null 2>&1 || timeout 120 rustup component add miri --toolchain "$channel" >"$log" 2>&1 </dev/null ||
        say "rustup could not install Miri, so its step will be left out: $(grep -m1 '^error' "$log" || tail -1 "$log")"
    rm -f "$log"
}

# Rustup's own package, which newer Debians and Ubuntus have. Where another package stands in its way that stays.
rustup_package() {
    ! command -v rustup >/dev/null && may_install && known rustup || return 1
    writable_home RUSTUP_HOME
    (packages "rustup, which installs the Rust that rust-toolchain.toml pins" rustup)
}

# --- Debian's toolchain, completed --------------------------------------------------------------

debian_ready() {
    [[ -x /usr/bin/rustc && -r $debian/complete && $(<"$debian/complete") == "$(/usr/bin/rustc -V) $debian" ]]
}

# Whether there is such a thing here, whoever may install it.
debian_known() { [[ $host == x86_64-* ]] && known rustc-web; }

debian_to_be_had() {
    debian_known || return 1
    local package
    may_install && return
    for package in "${debian_rust[@]}"; do
        installed "$package" || return 1
    done
}

# wrapper PROGRAM COMMAND...: a script of that name in .toolchain/bin.
wrapper() {
    local program=$1
    shift
    cat >"$debian/bin/$program" <<EOF
#!/bin/sh
# Debian's Rust is a stable one, and knows nothing of this folder's target.
export RUSTC_BOOTSTRAP=1 SYSROOT='$debian'
exec $* "\$@"
EOF
    chmod +x "$debian/bin/$program"
}

debian_install() {
    packages "Debian's Rust, whose packages include the library's source" "${debian_rust[@]}"
    say "completing Debian's Rust in .toolchain, about half a minute"
    rm -rf "$debian"
    mkdir -p "$debian/bin" "$debian/lib/rustlib/$target/lib" "$debian/lib/rustlib/$host/bin"
    ln -s "/usr/lib/rustlib/$host/lib" "$debian/lib/rustlib/$host/lib"
    ln -s /usr/lib/rustlib/src "$debian/lib/rustlib/src"
    ln -s /usr/bin/ld.lld "$debian/bin/rust-lld"
    ln -s /usr/bin/ld.lld "$debian/lib/rustlib/$host/bin/rust-lld"
    # Cargo looks for its subcommands in its home first, unless that is further back in PATH.
    wrapper cargo "env PATH='$debian/bin':\"\$PATH:\${CARGO_HOME:-\$HOME/.cargo}/bin\" /usr/bin/cargo"
    wrapper rustc "/usr/bin/rustc --sysroot '$debian'"
    wrapper rustdoc "/usr/bin/rustdoc --sysroot '$debian'"
    local program build
    for program in cargo-clippy clippy-driver cargo-fmt rustfmt; do
        wrapper "$program" "/usr/bin/$program"
    done
    # The target's library, from Debian's source: an empty crate makes cargo build it. Bitcode is
    # kept for link-time optimisation. Built elsewhere, out of reach of .cargo/config.toml.
    build=$(mktemp -d)
    mkdir "$build/src"
    printf '#![no_std]\n' >"$build/src/lib.rs"
    printf '[package]\nname = "empty"\nedition = "2024"\n[workspace]\n' >"$build/Cargo.toml"
    if ! (cd "$build" && env -u RUSTUP_TOOLCHAIN RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$build/target" \
        /usr/bin/cargo build --release --target "$target" \
        -Zbuild-std=core,alloc,compiler_builtins -Zbuild-std-features=compiler-builtins-mem) >"$build/log" 2>&1; then
        tail -5 "$build/log" >&2
        lacking "Debian's Rust could not build its library for $target; all it said is in $build/log"
    fi
    cp "$build/target/$target/release/deps/"lib{core,alloc,compiler_builtins}-*.rlib "$debian/lib/rustlib/$target/lib/"
    rm -rf "$build"
    printf '%s %s\n' "$(/usr/bin/rustc -V)" "$debian" >"$debian/complete"
    debian_register
}

# Plain cargo, where it is rustup's, gets to know the folder.
debian_register() {
    command -v rustup >/dev/null || return 0
    [[ $(rustup override list 2>/dev/null) == *"$linked"* ]] && return
    say "rustup toolchain link $linked, and an override in this folder: plain cargo uses .toolchain here"
    rustup toolchain link "$linked" "$debian" >/dev/null 2>&1 &&
        rustup override set "$linked" --path "$PWD" >/dev/null 2>&1 ||
        lacking "rustup could not register $debian"
}

# Takes back all of debian_install but the packages.
debian_remove() {
    [[ -e $debian ]] || return 0
    say "removing .toolchain, because VMALLOC_TOOLCHAIN=rustup"
    if command -v rustup >/dev/null && [[ $(rustup toolchain list) == *"$linked"* ]]; then
        say "rustup override unset, rustup toolchain uninstall $linked"
        rustup override unset --path "$PWD" >/dev/null 2>&1 || true
        rustup toolchain uninstall "$linked" >/dev/null 2>&1 || true
    fi
    rm -rf "$debian"
}

# --- which toolchain ----------------------------------------------------------------------------

use_rustup() {
    export RUSTUP_TOOLCHAIN=$channel
    plain_cargo="plain cargo run and cargo test work now"
}

use_debian() {
    unset RUSTUP_TOOLCHAIN
    export PATH=$debian/bin:$PATH
    plain_cargo="plain cargo run and cargo test work now"
    command -v rustup >/dev/null || plain_cargo="cargo run and cargo test work now after export PATH=$debian/bin:\$PATH"
}

# What to do where nothing could be installed, on one line.
advice() {
    local line
    if command -v rustup >/dev/null; then
        line="please have rustup install it: rustup toolchain install $channel"
    else
        line="please install rustup, which needs no root, and run this again:"
        line+=" curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain none"
        if known rustup; then
            line+=" (or, as root: apt-get install rustup)"
            printf '%s' "$line"
            return
        fi
    fi
    ! debian_known || line+=" (or, as root: apt-get install ${debian_rust[*]})"
    printf '%s' "$line"
}

# Makes `cargo` the one that suits, installing it if need be.
toolchain() {
    home
    certificates
    case ${VMALLOC_TOOLCHAIN:-} in
        rustup)
            rustup_ready || rustup_install || { rustup_package && rustup_install; } || lacking "$(advice)"
            debian_remove
            use_rustup
            ;;
        debian)
            if ! debian_ready; then
                debian_known || lacking "there is no Debian package rustc-web here"
                debian_install
            fi
            use_debian
            ;;
        '')
            if debian_ready; then
                use_debian
            elif rustup_ready || rustup_install || { rustup_package && rustup_install; }; then
                use_rustup
            elif debian_to_be_had; then
                debian_install
                use_debian
            else
                lacking "$(advice)"
            fi
            ;;
        *)
            say "VMALLOC_TOOLCHAIN=$VMALLOC_TOOLCHAIN: neither rustup nor debian"
            exit 2
            ;;
    esac
}
