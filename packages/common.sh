# What the scripts of this folder share. Each sources this file first.
#
# MACHINE is x86_64 or aarch64, PROFILE a profile of Cargo. All results are in target/packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
machine=${MACHINE:-$(uname -m)}
profile=${PROFILE:-release}
target=$machine-unknown-linux-musl
case $machine in
    x86_64) debian_machine=amd64 ;;
    aarch64) debian_machine=arm64 ;;
    *) echo "there are no packages for $machine" >&2 && exit 2 ;;
esac
name=recoup-$version-$machine-linux
out=$PWD/target/packages
# What every package has: the program and the files beside it.
tree=$out/$name
# The time of every file in a package, so that one commit always makes the same packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

commit() {
    # Changes that are not committed must show in `recoup --version`.
    git describe --always --abbrev=40 --exclude '*' --dirty=-modified
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs Debian packages that are missing. Each argument is PROGRAM=PACKAGE.
need() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    if [ "${#missing[@]}" -ne 0 ]; then
        as_root apt-get update -q
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    fi
}
