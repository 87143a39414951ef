# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# A disk that is really full: the state folder is a small tmpfs in a mount namespace of the test's own, once without
# blocks and once without inodes. Nothing is accepted that can't be kept; what runs goes on and its end is recorded as
# soon as there is room; what waits goes on waiting.

if [ "$(id -u)" -eq 0 ] && [ -z "${DISK_T_INSIDE:-}" ] && unshare --mount true 2>/dev/null; then
    DISK_T_INSIDE=1 exec unshare --mount --propagation private sh "$0"
fi
. "$(dirname "$0")/../cli/lib.sh"
if [ -z "${DISK_T_INSIDE:-}" ]; then
    skip 1 'a mount namespace needs root'
    done_testing
fi

# Before lib.sh's clean-up: a mounted folder can't be removed.
clean_disk() {
    clean_status=$?
    trap - EXIT
    rm -f "$T/state/filler"* 2>/dev/null
    if [ -n "$daemon_pid" ]; then
        stop_daemon TERM
        umount "$T/state" 2>/dev/null
    fi
    (exit "$clean_status")
    cleanup
}
trap clean_disk EXIT

mount_state() { # OPTIONS
    mkdir -p "$T/state"
    mount -t tmpfs -o "mode=700,$1" tmpfs "$T/state"
}
unmount_state() { umount "$T/state"; }
fill_blocks() { dd if=/dev/zero of="$T/state/filler" bs=4k 2>/dev/null; [ "$(df --output=avail "$T/state" | tail -n 1)" -eq 0 ]; }
fill_inodes() {
    fill_n=0
    while touch "$T/state/filler.$fill_n" 2>/dev/null; do fill_n=$((fill_n + 1)); done
    [ "$(df --output=iavail "$T/state" | tail -n 1)" -eq 0 ]
}
free_all() { rm -f "$T/state/filler"*; }
rest() { # METHOD PATH BODY: sets $http and $out
    http=$(curl -sS -o "$T/rest.out" -w '%{http_code}' --unix-socket "$T/run/hive.sock" -X "$1" \
        -H 'Content-Type: application/json' -d "$3" "http://localhost/api/v1$2")
    out=$(cat "$T/rest.out")
}

# --- no blocks ---

mount_state size=2m
start_daemon --threads 2
check 'the daemon starts on the small disk' [ -n "$daemon_pid" ]
runs=$(hive submit -q "while [ ! -e $T/go ]; do sleep 0.02; done; exit 5")
writes=$(hive submit -q -o "$T/out" "while [ ! -e $T/go ]; do sleep 0.02; done; echo fine")
waits=$(hive submit -q 'exit 3')
check 'two run' wait_for 10 sh -c "[ \$(hive status jobs --json --status running | jq '.jobs|length') = 2 ]"
check 'the disk is full' fill_blocks
accepted=0
# What is left of the log's last page may take a few more.
while [ $accepted -lt 500 ]; do
    run hive submit -q true
    [ "$status" -eq 0 ] || break
    accepted=$((accepted + 1))
done
is 'submit fails with 1' "$status" 1
like 'and says why' "$err" 'No space left on device|disk.*full'
like 'and what to do' "$err" 'make room on the disk'
long=$(printf '%20000s' '' | tr ' ' x)
rest POST /jobs/submit "{\"command\":\": $long\"}"
is 'HTTP says 507' "$http" 507
is 'and names the kind' "$(printf '%s' "$out" | jq -r .error.kind)" no_space
before=$(hive status jobs --json --limit 0 | jq '.jobs|length')
is 'refused jobs are not there' "$before" $((3 + accepted))
touch "$T/go"
check 'running jobs go on and end' wait_for 10 grep -q fine "$T/out"
check 'the daemon answers' hive status
like 'the log says that nothing is saved' "$(cat "$T/daemon.log")" 'nothing was saved'
free_all
check 'with room again the end of what ran is recorded' wait_for 20 status_is "$runs" failed
is 'with its exit code' "$(hive status --json "$runs" | jq '.jobs[0].exit_code')" 5
check 'the other one as well' wait_for 20 status_is "$writes" succeeded
check 'what waited runs' wait_for 20 status_is "$waits" failed
is 'once' "$(hive status --json "$waits" | jq -c '.jobs[0]|[.exit_code,.attempts]')" '[3,1]'
exits 'and submit works again' 0 hive submit -q --wait true

# --- full when it is killed, and at the start ---

slow=$(hive submit -q "while [ ! -e $T/go2 ]; do sleep 0.02; done; exit 6")
check 'one runs' wait_for 10 status_is "$slow" running
check 'the disk is full again' fill_blocks
stop_daemon KILL
touch "$T/go2"
run timeout 4 hive daemon --listen none
if [ "$status" -eq 124 ]; then
    ok 0 'a daemon started on the full disk serves'
else
    is 'a daemon that cannot start on the full disk says so' "$status" 1
    like 'with the reason' "$err" 'No space left on device|disk.*full'
fi
free_all
check 'it starts when there is room' start_daemon --threads 2
check 'and knows the end of what ran meanwhile' wait_for 20 status_is "$slow" failed
is 'with its exit code 6' "$(hive status --json "$slow" | jq '.jobs[0].exit_code')" 6
stop_daemon TERM
is 'a clean end' "$daemon_status" 0
check 'nothing is left' wait_for 10 sh -c '[ -z "$(ls '"$T"'/state/shims)" ]'
unmount_state

# --- no inodes ---

rm -f "$T/go" "$T/go2"
mount_state size=8m,nr_inodes=120
start_daemon --threads 2
runs=$(hive submit -q "while [ ! -e $T/go ]; do sleep 0.02; done; exit 7")
check 'one runs' wait_for 10 status_is "$runs" running
check 'no inodes are left' fill_inodes
run hive submit -q "echo >>$T/starved; exit 3"
is 'a job that can be kept is accepted' "$status" 0
starved=$out
sleepers=$(hive submit -q true)
touch "$T/go"
check 'what runs ends' wait_for 10 status_is "$runs" failed
is 'with its exit code 7' "$(hive status --json "$runs" | jq '.jobs[0].exit_code')" 7
check 'what cannot be started is tried' wait_for 10 status_is "$starved" running
like 'and waits' "$(job_status "$starved") $(job_status "$sleepers")" '^(queued|running) (queued|running)$'
check 'really' [ ! -e "$T/starved" ]
free_all
check 'and runs when there are inodes again' wait_for 30 status_is "$starved" failed
is 'once, with its own exit code' "$(hive status --json "$starved" | jq '.jobs[0].exit_code')" 3
is 'really once' "$(wc -l <"$T/starved")" 1
check 'all of them' wait_for 30 status_is "$sleepers" succeeded
stop_daemon TERM
is 'a clean end again' "$daemon_status" 0
unmount_state
done_testing
