# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# Names that only glibc's name services know, looked up by a static program, which can't load them: it asks getent.

. "$(dirname "$0")/lib.sh"
musl=$top/build/vendor/musl/musl/bin/musl-gcc
library=$top/build/static/libhive.a
if ! [ -x "$musl" ] || ! [ -f "$library" ]; then
    skip 1 'no static build: make static'
    done_testing
    exit 0
fi

lab_begin
lab_host alpha
lab_name nickname "$(lab_addr alpha)"
check 'a static program is built' "$musl" -std=gnu11 -D_GNU_SOURCE -iquote "$top/core" -static -o "$T/names" \
    "$top/tests/lab/names.c" "$library"
names() { timeout 20 "$T/names" "$@"; }

# --- hosts ---

is 'what is in /etc/hosts' "$(names host alpha)" "$(lab_addr alpha)"
check 'the C library knows that' names libc alpha
exits 'but not the name of a service' 1 names libc nickname
is 'which is found' "$(names host nickname)" "$(lab_addr alpha)"
is 'in capitals too' "$(names host NickName)" "$(lab_addr alpha)"
exits 'a name that nobody knows' 1 names host nosuchname
like 'and why' "$err" 'nobody here knows the name'
exits 'no name at all' 2 names host -version
is 'an address' "$(names host fe80::1%lo)" fe80::1%lo
is 'without getent, /etc/hosts' "$(names nogetent alpha)" "$(lab_addr alpha)"
exits 'and DNS, where nobody answers here' 2 names nogetent nosuchname

# --- users ---

is 'a user of /etc/passwd' "$(names user root)" "$(getent passwd root | awk -F: '{ print $1 ":" $3 ":" $4 ":" $6 ":" $7 }')"
is 'by number' "$(names uid 0)" "$(names user root)"
exits 'a user that nobody knows' 1 names user nosuchuser
exits 'a number that nobody knows' 1 names uid 4242424

# A directory of users, behind a getent that asks it: glibc's own can't be taught more users without a service.
printf '#!/bin/sh\ncase $1.$2 in\npasswd.dora | passwd.5151) echo dora:x:5151:5151:Dora:/home/dora:/bin/zsh ;;\n*) exit 2 ;;\nesac\n' \
    >"$T/getent"
chmod 755 "$T/getent"
mount --bind "$T/getent" "$(readlink -f /usr/bin/getent)"
ok $? 'a directory of users'
is 'a user of the directory' "$(names user dora)" dora:5151:5151:/home/dora:/bin/zsh
is 'by number' "$(names uid 5151)" dora:5151:5151:/home/dora:/bin/zsh
exits 'and who is not in it' 1 names uid 5152
umount "$(readlink -f /usr/bin/getent)"

done_testing
