# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# Things that go wrong around the daemon: no descriptors, clocks that jump, a database that can't be used, a second
# daemon, a socket nobody listens on, a daemon that doesn't answer.

. "$(dirname "$0")/../cli/lib.sh"

fails() { # STATUS NAME ERE COMMAND...: that exit status and message
    fails_status=$1 fails_name=$2 fails_text=$3
    shift 3
    exits "$fails_name: exit $fails_status" "$fails_status" timeout 60 "$@"
    like "$fails_name: why" "$err" "$fails_text"
}

# --- no descriptors ---

start_daemon --threads 2
long=$(hive submit -q "while [ ! -e $T/go ]; do sleep 0.02; done; exit 4")
check 'a job runs' wait_for 10 status_is "$long" running
highest=$(ls "/proc/$daemon_pid/fd" | sort -n | tail -n 1)
check 'no descriptor is left' prlimit --pid "$daemon_pid" --nofile=$((highest + 1)):
for n in 1 2 3 4 5 6 7 8; do
    timeout 3 hive status >/dev/null 2>&1 &
    eval "client_$n=$!"
done
for n in 1 2 3 4 5 6 7 8; do
    eval "wait \$client_$n"
    [ $? -lt 128 ] || ok 1 'a client crashed'
done
touch "$T/go"
check 'the daemon lives without descriptors' kill -0 "$daemon_pid"
prlimit --pid "$daemon_pid" --nofile=1024:
check 'and answers when there are some' wait_for 20 timeout 5 hive status
check 'the end of the job is known' wait_for 10 status_is "$long" failed
is 'with its code' "$(hive status --json "$long" | jq '.jobs[0].exit_code')" 4
exits 'and the next one runs' 0 hive submit --wait true

# --- a second daemon, a stopped one, a stale socket ---

fails 1 'a second daemon on the same state' "pid $daemon_pid" \
    env HIVE_RUNTIME_DIR="$T/run2" hive daemon --listen none
fails 1 'a second daemon on the same socket' 'daemon' env HIVE_STATE_DIR="$T/state2" hive daemon --listen none
exits 'which does not disturb the first' 0 hive submit --wait true
kill -STOP "$daemon_pid"
stopped_at=$(date +%s)
fails 1 'a stopped daemon' "doesn't answer|did not answer|no answer" hive status
check 'does not keep the command for long' [ $(($(date +%s) - stopped_at)) -le 45 ]
kill -CONT "$daemon_pid"
exits 'and serves again' 0 hive submit --wait true
stop_daemon KILL
check 'a killed daemon leaves its sockets' [ -S "$T/run/hive.sock" ]
exits 'nobody listens there: exit 3' 3 hive status
like 'with the next step' "$err" 'hive daemon'
check 'the next one takes them over' start_daemon --threads 2
exits 'and serves' 0 hive submit --wait true
stop_daemon TERM

# --- clocks ---

# The monotonic clock is far ahead while the daemon and a job run, then back: as after a reboot.
if is_root && unshare --time --monotonic 1000000 true 2>/dev/null; then
    start_far() {
        rm -f "$T/ready"
        mkfifo "$T/ready"
        unshare --time --monotonic 1000000 --boottime 1000000 hive daemon --ready-fd 9 --listen none --threads 2 \
            9>"$T/ready" </dev/null 2>>"$T/daemon.log" &
        daemon_pid=$!
        [ "$(timeout 20 head -c 1 "$T/ready" | wc -c)" = 1 ]
    }
    rm -f "$T/go"
    check 'a daemon with its clock a million seconds ahead' start_far
    far=$(hive submit -q --timeout 1h "while [ ! -e $T/go ]; do sleep 0.02; done; exit 8")
    delayed=$(hive submit -q --retry 1 --retry-delay 2s "echo >>$T/tries; [ \$(wc -l <$T/tries) = 2 ]")
    check 'both run' wait_for 10 test -s "$T/tries"
    check 'one runs on' wait_for 10 status_is "$far" running
    stop_daemon KILL
    check 'the next daemon has the clock of now' start_daemon --threads 2
    is 'the job goes on' "$(job_status "$far")" running
    check 'the delayed retry comes' wait_for 20 status_is "$delayed" succeeded
    touch "$T/go"
    check 'the job ends' wait_for 10 status_is "$far" failed
    is 'with its own code' "$(hive status --json "$far" | jq '.jobs[0].exit_code')" 8
    stop_daemon TERM
else
    skip 1 'a time namespace needs root'
fi

# The wall clock jumps under the running daemon, by an hour or ten years: only a dynamically linked one can be fooled.
dev=$top/build/dev/hive
if [ -x "$dev" ] && [ -e "$top/build/faults/wallclock.so" ]; then
    echo 0 >"$T/offset"
    jump() { echo "$1" >"$T/offset.new" && mv "$T/offset.new" "$T/offset"; }
    start_jumpy() {
        rm -f "$T/ready"
        mkfifo "$T/ready"
        WALLCLOCK_FILE=$T/offset LD_PRELOAD=$top/build/faults/wallclock.so \
            ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0:exitcode=77 \
            "$dev" daemon --ready-fd 9 --listen none --threads 2 9>"$T/ready" </dev/null 2>>"$T/daemon.log" &
        daemon_pid=$!
        [ "$(timeout 20 head -c 1 "$T/ready" | wc -c)" = 1 ]
    }
    check 'a daemon whose wall clock can jump' start_jumpy
    one=$(hive submit -q --timeout 3s 'sleep 60')
    two=$(hive submit -q 'sleep 1; exit 9')
    check 'they run' wait_for 10 status_is "$two" running
    jump 315360000
        three=$(hive submit -q true)
    check 'ten years ahead: a job runs' wait_for 10 status_is "$three" succeeded
    year=$(hive status --json "$three" | jq -r '.jobs[0].finished_at[:4]')
    check 'and is dated there' [ "$year" -ge $(($(date +%Y) + 9)) ]
    check 'one that ran meanwhile has its own end' wait_for 10 status_is "$two" failed
    took=$(curl -sS --unix-socket "$T/run/hive.sock" "http://localhost/api/v1/jobs/$two/attempts" |
        jq '.attempts[0].duration_seconds|floor')
    check 'and its real duration' [ "$took" -lt 60 ]
    check 'a time limit is one of real seconds' wait_for 20 status_is "$one" timeout
    jump -3600
    four=$(hive submit -q --retry 1 --retry-delay 1s "echo >>$T/four; [ \$(wc -l <$T/four) = 2 ]")
    check 'an hour back: a job and its retry run' wait_for 20 status_is "$four" succeeded
    stop_daemon TERM
    is 'a clean end' "$daemon_status" 0
    check 'history is still there' start_daemon --threads 2
    is 'whole' "$(hive status --json "$three" "$four" | jq -r '[.jobs[].status]|unique|.[]')" succeeded
    stop_daemon TERM
else
    skip 1 'build/dev/hive is not there'
fi

# --- the database ---

db=$T/state/hive.db
cp -a "$T/state" "$T/good"
restore() { rm -rf "$T/state" && cp -a "$T/good" "$T/state"; }

head -c 65536 /dev/urandom >"$db"
rm -f "$db"-wal "$db"-shm
fails 1 'a database of garbage' 'hive.db' hive daemon --listen none
like 'what to do about it' "$err" 'copy|move|recover'
is 'it is left as it is' "$(wc -c <"$db")" 65536
restore
# PRAGMA user_version, four bytes at 60 of the first page
printf '\0\0\3\347' | dd of="$db" bs=1 seek=60 conv=notrunc 2>/dev/null
fails 1 'a database of a newer hive' 'newer|999' hive daemon --listen none
restore
: >"$db"
rm -f "$db"-wal "$db"-shm
run timeout 4 hive daemon --listen none
like 'an empty file is taken for a new database, or refused; no crash' "$status" '^(0|1|124)$'
restore
if is_root; then
    hive_for_all
    chown -R 65534:65534 "$T/state" "$T/run"
    chmod 000 "$db"
    fails 4 'an unreadable database' 'ermission denied|not allowed|may not' \
        setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent "$hive_for_all" daemon --listen none
    chown -R 0:0 "$T/run"
else
    chmod 000 "$db"
    fails 4 'an unreadable database' 'ermission denied' hive daemon --listen none
fi
restore
check 'the good one serves' start_daemon --threads 2
check 'with its jobs' hive status 1
stop_daemon TERM
is 'and ends well' "$daemon_status" 0
done_testing
