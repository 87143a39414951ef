# SPDX-License-Identifier: BSD-2-Clause
# Functions shared by vendor/fetch, vendor/build and the scripts that read vendor/deps.lock. Sourced, not run.
# Needs VENDOR (this folder) to be set. Sets CACHE, the folder that holds the fetched files.

LOCK=$VENDOR/deps.lock
CACHE=${HIVE_CACHE:-$VENDOR/cache}

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

# lock_names: the dependencies, without their fallbacks, in the order of the lock
lock_names() {
    awk '/^\[/ { gsub(/[][]/, ""); if (!/:/) print }' "$LOCK"
}

# lock_candidates NAME: the section NAME, then its fallbacks
lock_candidates() {
    awk -v n="$1" '/^\[/ { gsub(/[][]/, ""); split($0, a, ":"); if (a[1] == n) print }' "$LOCK"
}

# lock_section SECTION: the lines of one section
lock_section() {
    awk -v s="[$1]" '/^\[/ { on = ($0 == s); next } on && NF && !/^#/' "$LOCK"
}

# lock_get SECTION KEY: every value of the key, one a line
lock_get() {
    lock_section "$1" | awk -v k="$2" '$1 == k && $2 == "=" { sub(/^[^=]*= */, ""); print }'
}

sha256() { sha256sum "$1" | cut -d' ' -f1; }

# have FILE SHA256: the cache holds this file, unharmed. A harmed one is put out of the way.
have() {
    [ -f "$CACHE/$1" ] || return 1
    [ "$(sha256 "$CACHE/$1")" = "$2" ] && return 0
    say "vendor: $CACHE/$1 does not have the SHA256 of the lock; moved to $1.bad"
    mv -f "$CACHE/$1" "$CACHE/$1.bad"
    return 1
}

# section_patches SECTION: "FILE SHA256" of the patch series in the cache (pinned, or found by vendor/fetch in the
# signed index of a later day); nothing where the section asks for none; fails where one is asked for and missing
section_patches() {
    _want=$(lock_get "$1" patches)
    [ -n "$_want" ] || return 0
    [ ! -f "$CACHE/$1.revision" ] || _want="$_want
$(cat "$CACHE/$1.revision")"
    _found=$(printf '%s\n' "$_want" | while read -r _f _sum; do
        if have "$_f" "$_sum"; then
            printf '%s %s\n' "$_f" "$_sum"
            break
        fi
    done)
    [ -n "$_found" ] && printf '%s\n' "$_found"
}

# upstream_file SECTION: the name in the cache of the authors' own file, which is Debian's name where they are the same
upstream_file() {
    lock_get "$1" upstream | while read -r _url _sum; do
        [ "$(lock_get "$1" orig | cut -d' ' -f2)" != "$_sum" ] || { lock_get "$1" orig; break; }
        case $_url in *.zip) _ext=zip ;; *.tar.xz) _ext=tar.xz ;; *) _ext=tar.gz ;; esac
        printf '%s_%s.upstream.%s %s\n' "${1%:*}" "$(lock_get "$1" version)" $_ext "$_sum"
    done
}

# section_orig SECTION: "FILE SHA256" of the release in the cache: Debian's file or the authors' own
section_orig() {
    { lock_get "$1" orig; upstream_file "$1"; } | {
        while read -r _f _sum; do
            if have "$_f" "$_sum"; then
                printf '%s %s\n' "$_f" "$_sum"
                exit 0
            fi
        done
        exit 1
    }
}

# resolve NAME: the first candidate section whose files are all in the cache; fails where there is none
resolve() {
    for _s in $(lock_candidates "$1"); do
        if section_orig "$_s" >/dev/null && section_patches "$_s" >/dev/null; then
            printf '%s\n' "$_s"
            return 0
        fi
    done
    return 1
}
