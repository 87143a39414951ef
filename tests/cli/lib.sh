# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh
#
# Black-box tests of the command line, in TAP. A test file:
#
#   . "$(dirname "$0")/lib.sh"
#   start_daemon --threads 2
#   check 'submit prints the id' sh -c '[ "$(hive submit -q true)" = 1 ]'
#   is 'status of a finished job' "$(hive status --json 1 | jq -r '.jobs[0].status')" succeeded
#   done_testing
#
# Each file gets a folder of its own ($T, removed at the end), its own state and runtime folder, and daemons on
# port 0. Waits have deadlines and look at a condition; nothing sleeps for luck. HIVE names the binary
# (default build/hive). Processes are ended by the pid that was started here.

set -u
export LC_ALL=C
top=$(cd "$(dirname "$0")/../.." && pwd)
HIVE=${HIVE:-$top/build/hive}
[ -x "$HIVE" ] || { echo "Bail out! $HIVE is missing; build it first: make"; exit 1; }
T=$(mktemp -d "${TMPDIR:-/tmp}/hive-test.XXXXXX") || exit 1
mkdir -p "$T/bin" "$T/home"
ln -s "$HIVE" "$T/bin/hive"
PATH=$T/bin:$PATH
HOME=$T/home
export PATH HOME HIVE
export HIVE_STATE_DIR="$T/state" HIVE_RUNTIME_DIR="$T/run" HIVE_CONFIG="$T/hive.conf"
unset HIVE_DAEMON_LISTEN NO_COLOR XDG_RUNTIME_DIR XDG_STATE_HOME XDG_CONFIG_HOME 2>/dev/null
cd "$T" || exit 1

test_count=0
test_failed=0
daemon_pid=
skip_reason=

# ok CONDITION-STATUS NAME
ok() {
    test_count=$((test_count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $test_count - $2"
    else
        test_failed=$((test_failed + 1))
        echo "not ok $test_count - $2"
    fi
    return "$1"
}

# check NAME COMMAND...: the command succeeds; its output is shown when it doesn't
check() {
    check_name=$1
    shift
    if "$@" >"$T/check.out" 2>&1; then
        ok 0 "$check_name"
    else
        ok 1 "$check_name"
        echo "# exit status of: $*"
        sed 's/^/#   /' "$T/check.out"
        return 1
    fi
}

# is NAME GOT WANT
is() {
    if [ "$2" = "$3" ]; then
        ok 0 "$1"
    else
        ok 1 "$1"
        printf '%s\n' "$2" | sed 's/^/#  got: /'
        printf '%s\n' "$3" | sed 's/^/# want: /'
        return 1
    fi
}

# like NAME TEXT ERE
like() {
    if printf '%s\n' "$2" | grep -Eq -e "$3"; then
        ok 0 "$1"
    else
        ok 1 "$1"
        printf '%s\n' "$2" | sed 's/^/#  got: /'
        echo "# want: $3"
        return 1
    fi
}

# run COMMAND...: sets $status, $out and $err. A death by signal is never an expected result.
run() {
    "$@" >"$T/run.out" 2>"$T/run.err"
    status=$?
    out=$(cat "$T/run.out")
    err=$(cat "$T/run.err")
    case $status in
    132 | 134 | 135 | 136 | 139) ok 1 "'$*' must not crash (status $status)" ;;
    esac
    return 0
}

# exits NAME WANTED-STATUS COMMAND...: as run, and compares the exit status
exits() {
    exits_name=$1 exits_want=$2
    shift 2
    run "$@"
    is "$exits_name" "$status" "$exits_want" || printf '%s\n%s\n' "$out" "$err" | sed 's/^/#   /'
}

# skip N REASON: counts N tests as skipped; in CI that is a failure
skip() {
    skip_n=$1
    while [ "$skip_n" -gt 0 ]; do
        skip_n=$((skip_n - 1))
        test_count=$((test_count + 1))
        if [ "${CI:-}" = true ]; then
            test_failed=$((test_failed + 1))
            echo "not ok $test_count - $2 (must not be missing in CI)"
        else
            echo "ok $test_count # SKIP $2"
        fi
    done
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Makes a copy of hive that other users can run, wherever the project is: $hive_for_all.
hive_for_all() {
    chmod 755 "$T"
    hive_for_all=$T/hive-for-all
    cp "$HIVE" "$hive_for_all"
}

# wait_for SECONDS COMMAND...: until it succeeds; fails when the time is over
wait_for() {
    wait_end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$wait_end" ] || return 1
        sleep 0.02
    done
}

# start_daemon [ARG...]: returns when it is ready; sets $daemon_pid and $url. Its log is $T/daemon.log.
start_daemon() {
    rm -f "$T/ready"
    mkfifo "$T/ready"
    case " $* " in
    *" --listen "*) ;;
    *) set -- --listen 127.0.0.1:0 "$@" ;;
    esac
    exec 8<>"$T/ready"
    hive daemon --ready-fd 9 "$@" 9>"$T/ready" 8<&- </dev/null 2>>"$T/daemon.log" &
    daemon_pid=$!
    start_end=$(($(date +%s) + 20))
    until timeout 1 head -c 1 <&8 >/dev/null 2>&1 && exec 8<&-; do
        if ! kill -0 "$daemon_pid" 2>/dev/null || [ "$(date +%s)" -ge "$start_end" ]; then
            exec 8<&-
            return 1
        fi
    done
    url=$(sed -n 's/.*API at \(http:[^ ]*\).*/\1/p' "$T/daemon.log" | tail -n 1)
}

# stop_daemon [SIGNAL]: waits for its end
stop_daemon() {
    [ -n "$daemon_pid" ] || return 0
    kill "-${1:-TERM}" "$daemon_pid" 2>/dev/null
    wait "$daemon_pid" 2>/dev/null
    daemon_status=$?
    daemon_pid=
    return 0
}

# job_status ID: one word
job_status() { hive status --json "$1" | jq -r '.jobs[0].status'; }
status_is() { [ "$(job_status "$1")" = "$2" ]; }

# Everything that was started under this state folder and still lives
leftovers() {
    for leftover_dir in /proc/[0-9]*; do
        tr '\0' '\n' 2>/dev/null <"$leftover_dir/environ" | grep -qx "HIVE_STATE_DIR=$T/state" || continue
        [ "${leftover_dir#/proc/}" = "$$" ] && continue
        tr '\0' ' ' <"$leftover_dir/cmdline" 2>/dev/null
        echo "(${leftover_dir#/proc/})"
    done
}

# Cancels all that is left and stops the daemon
end_daemon() {
    [ -n "$daemon_pid" ] || return 0
    # shellcheck disable=SC2046
    hive cancel $(hive status jobs --json --limit 0 --status queued,running 2>/dev/null | jq -r '.jobs[].id' 2>/dev/null) >/dev/null 2>&1
    wait_for 10 sh -c '[ "$(hive status jobs --json --status running | jq ".jobs|length")" = 0 ]'
    stop_daemon TERM
}

no_leftovers() { [ -z "$(leftovers)" ]; }

cleanup() {
    cleanup_status=$?
    trap - EXIT
    end_daemon
    cd / && rm -rf "$T"
    exit "$cleanup_status"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# The last line of a test file. A daemon must end cleanly: with status 0, no word of a sanitizer, nothing left running.
done_testing() {
    if [ -n "$daemon_pid" ]; then
        end_daemon
        is 'the daemon ends with status 0' "$daemon_status" 0
        is 'its log has no defects' "$(grep -E 'Sanitizer|runtime error|assert' "$T/daemon.log")" ''
        check 'it leaves no process behind' wait_for 10 no_leftovers || leftovers | sed 's/^/# /'
    fi
    echo "1..$test_count"
    if [ "$test_failed" -gt 0 ]; then
        [ -f "$T/daemon.log" ] && tail -n 20 "$T/daemon.log" | sed 's/^/# daemon: /'
        exit 1
    fi
    exit 0
}
