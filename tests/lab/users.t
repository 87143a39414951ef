# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# A daemon of a user whom only a directory knows, which a static program can't ask: getent can.

. "$(dirname "$0")/lib.sh"
lab_begin
hive_for_all
chmod 755 "$T" "$TMPDIR"
uid=5151
for folder in state run home; do
    mkdir -p "$T/dora/$folder"
    chmod 700 "$T/dora/$folder"
done
chown -R $uid:$uid "$T/dora"
ln -sf "$hive_for_all" "$T/bin/hive"
chmod 755 "$T/bin"
export HIVE_STATE_DIR="$T/dora/state" HIVE_RUNTIME_DIR="$T/dora/run"
printf '#!/bin/sh\n[ ! -e %s/stuck ] || exec sleep 1000\necho "$*" >>%s/asked\ncase $1.$2 in\npasswd.dora | passwd.5151) echo dora:x:5151:5151:Dora:%s/dora/home:/bin/bash ;;\n*) exit 2 ;;\nesac\n' \
    "$T" "$T" "$T" >"$T/getent"
: >"$T/asked"
chmod 666 "$T/asked"
chmod 755 "$T/getent"
mount --bind "$T/getent" "$(readlink -f /usr/bin/getent)"
ok $? 'a directory of users'

# as_dora COMMAND...: in a clean environment, even without HOME
as_dora() {
    (cd / && env -i PATH="$PATH" HIVE_STATE_DIR="$HIVE_STATE_DIR" HIVE_RUNTIME_DIR="$HIVE_RUNTIME_DIR" HIVE_CONFIG="$T/hive.conf" \
        setpriv --reuid=$uid --regid=$uid --clear-groups "$@")
}
# begin: dora's daemon; sets $daemon_pid
begin() {
    (cd / && exec env -i PATH="$PATH" HIVE_STATE_DIR="$HIVE_STATE_DIR" HIVE_RUNTIME_DIR="$HIVE_RUNTIME_DIR" HIVE_CONFIG="$T/hive.conf" \
        setpriv --reuid=$uid --regid=$uid --clear-groups hive daemon --threads 2 --listen none) 2>>"$T/daemon.log" &
    daemon_pid=$!
    check "$1" wait_for 20 as_dora hive status
}
job() { as_dora hive status "$1" --json | jq -r ".jobs[0]$2"; }

begin "the daemon of a user of the directory"
# shellcheck disable=SC2016
id=$(as_dora hive submit -q -- sh -c 'echo "$HOME $USER $LOGNAME $SHELL"')
as_dora hive wait "$id"
is 'jobs have the environment that the directory says' "$(as_dora hive logs "$id")" "$T/dora/home dora dora /bin/bash"
is 'and its name' "$(job "$id" .user)" dora
id=$(hive submit -q -- true)
is 'what root submits is of root' "$(as_dora hive wait "$id"; job "$id" .user)" root
is 'jobs are listed by the name' "$(as_dora hive status jobs --user dora --json | jq '.jobs | length')" 1
for i in 1 2 3; do as_dora hive submit -q -- true >/dev/null; done
is 'the directory was asked once' "$(grep -c "passwd $uid" "$T/asked")" 1
stop_daemon
is 'the daemon ends with status 0' "$daemon_status" 0

: >"$T/stuck"
started=$(date +%s)
begin 'with a directory that does not answer it starts'
check 'after some seconds' [ $(($(date +%s) - started)) -lt 15 ]
rm "$T/stuck"
id=$(as_dora hive submit -q -- true)
is 'and uses the number' "$(job "$id" .user)" $uid
check 'as it says' grep -q "gets* the user.s number as" "$T/daemon.log"
as_dora hive wait "$id"
stop_daemon
umount "$(readlink -f /usr/bin/getent)"

done_testing
