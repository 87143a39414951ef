#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds build/hive: one static file that runs on any Linux of this architecture.
#
#   ./build-static.sh [--no-install] [--yes] [--locked] [--from-upstream]
#
#   --no-install     don't install missing packages, only name them (exit 1)
#   --yes            don't ask before using sudo
#   --locked         take only the source files that vendor/deps.lock names
#   --from-upstream  get sources from their authors' sites instead of a Debian archive
#
# Sources are kept in $HIVE_CACHE (default vendor/cache); from a full cache nothing is fetched. $HIVE_JOBS is the number
# of compilers that run at once (default: as many as there are CPUs).
set -eu
cd "$(dirname "$0")"

usage() { sed -n '3,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"; }

setup= fetch=
for arg; do
    case $arg in
    --no-install | --yes | -y) setup="$setup $arg" ;;
    --locked | --from-upstream) fetch="$fetch $arg" ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done

# shellcheck disable=SC2086
scripts/setup-deps $setup
# shellcheck disable=SC2086
vendor/fetch $fetch
jobs=
[ -n "${MAKELEVEL-}" ] || jobs=-j${HIVE_JOBS:-$(nproc)}
${MAKE:-make} $jobs static

printf 'build/hive  %s bytes  sha256 %s\n' "$(wc -c <build/hive)" "$(sha256sum build/hive | cut -d' ' -f1)"
