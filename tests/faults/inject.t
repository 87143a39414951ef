# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154,SC2034
#
# A cycle of start, submit, run, end and stop, in which the Nth call of a kind fails (EIO, ENOSPC) or ends the process
# (SIGKILL): in the daemon, and in spawner and shim. strace puts that in. Whatever was acknowledged must be there after
# a clean start, with the job's own result; where the starter was hit, also with an honest "lost" or an attempt that
# says it was not run. A request that was not acknowledged is sent again with the same key. Nothing runs twice.
#
# INJECT_ALL=1 takes every N. Otherwise it is every 12th or so, from a place that changes from day to day (INJECT_BEGIN).

. "$(dirname "$0")/../cli/lib.sh"
quiet=$top/build/faults/quiet
[ -x "$quiet" ] || { echo "Bail out! $quiet is missing; build it first: make faults-build"; exit 1; }
all=${INJECT_ALL:-}
begin=${INJECT_BEGIN:-$(($(date +%s) / 86400))}
# CALL:STEP, the step by which `make test` goes through the calls of that name
calls_daemon='write:1 pwrite64:12 fdatasync:3 fsync:1 ftruncate:2 mkdir:6 mkdirat:1 open:9 openat:5 renameat:1
    unlink:1 unlinkat:2 pread64:9 read:6'
calls_shim='write:1 mkdirat:2 openat:2 linkat:1 flock:1 unlinkat:1 sendto:1'
[ -z "$all" ] || calls_shim="$calls_shim mkdir:1 open:1 close:1"
kinds='signal=KILL error=EIO error=ENOSPC'

if ! strace -qq -o /dev/null -e trace=write -e inject=write:error=EIO:when=9999 true 2>"$T/strace.err"; then
    skip 1 "strace can't inject faults here: $(head -n 1 "$T/strace.err")"
    done_testing
fi
printf '[daemon]\nidle-shims = 0\n' >"$T/hive.conf"
echo "# INJECT_BEGIN=$begin"

# A failed case: what, and everything that helps
fault() {
    faults=$((faults + 1))
    echo "# $case_name: $1"
    [ -z "${2:-}" ] || printf '%s\n' "$2" | sed 's/^/#   /'
    sed 's/^/#   daemon: /' "$T/daemon.log" | tail -n 15
    grep -h -e INJECTED -e 'killed by SIGKILL' "$T"/trace* 2>/dev/null | sed 's/^/#   strace: /' | head -n 5
}

child_of() { sed 's/ .*//' "/proc/$1/task/$1/children" 2>/dev/null; }

# launch [STRACE-ARG...]: starts the daemon, traced if there are arguments. True when it became ready.
launch() {
    rm -f "$T/ready"
    mkfifo "$T/ready"
    if [ $# -gt 0 ]; then
        strace -qq -o "$T/trace" "$@" hive daemon --listen none --threads 2 --ready-fd 9 9>"$T/ready" \
            </dev/null 2>>"$T/daemon.log" &
    else
        hive daemon --listen none --threads 2 --ready-fd 9 9>"$T/ready" </dev/null 2>>"$T/daemon.log" &
    fi
    launched=$!
    exec 8<"$T/ready"
    launch_byte=$(timeout 20 head -c 1 <&8 | wc -c)
    exec 8<&-
    daemon_pid=$launched
    [ $# -eq 0 ] || daemon_pid=$(child_of "$launched")
    [ "$launch_byte" -eq 1 ]
}

# Ends what launch started.
land() {
    [ -z "$daemon_pid" ] || kill -TERM "$daemon_pid" 2>/dev/null
    wait "$launched" 2>/dev/null
    landed=$?
    daemon_pid=
}

submit() { timeout 30 hive submit -q --idempotency-key "$1" -- "$quiet" "$T/ran.$1" "$2"; }
ran() { ls "$T/ran.$1" | wc -l; }

# fate JOB: "status exit-code attempts outcome-of-the-last"
fate() {
    curl -sS --unix-socket "$T/run/hive.sock" "http://localhost/api/v1/jobs/$1/attempts" >"$T/attempts.json"
    hive status --json "$1" | jq -r --slurpfile a "$T/attempts.json" \
        '.jobs[0] | "\(.status) \(.exit_code) \(.attempts) \($a[0].attempts[-1].outcome)"'
}

# judge WHO: the first job must have come to an end that is true
judge() {
    fate=$(fate "$id")
    n=$(ran one)
    case $1:$fate:$n in
    *:"failed 7 "*" exited":1) ;;
    shim:"lost null "*" lost":[01]) ;;
    shim:"failed 125 "*" not_run":0) ;;
    *) fault "the job's fate: $fate, and it ran $n times" "$(jq -c .attempts "$T/attempts.json")" ;;
    esac
}

# cycle WHO STRACE-ARG...: one case
cycle() {
    who=$1
    shift
    rm -rf "$T/state" "$T/run" "$T"/trace* "$T"/ran.* "$T/daemon.log" "$T/strace.log"
    mkdir "$T/ran.one" "$T/ran.two"
    id= tracer=
    if [ "$who" = daemon ]; then
        launch -e "trace=$call" "$@"
    else
        launch || { fault "it didn't even start"; land; return; }
        strace -ff -o "$T/trace" -e "trace=$call" "$@" -p "$(child_of "$daemon_pid")" 2>"$T/strace.log" &
        tracer=$!
        wait_for 10 grep -q attached "$T/strace.log" || fault "strace did not attach" "$(cat "$T/strace.log")"
    fi
    if [ -n "$daemon_pid" ]; then
        id=$(submit one 7 2>"$T/submit.err")
        submitted=$?
        case $submitted:$id in
        0:[0-9]*) timeout 30 hive wait -q --timeout 20s "$id" >/dev/null 2>&1 & waiter=$! ;;
        [13]:) waiter= ;;
        *) fault "submit ended with $submitted, and said '$id'" "$(cat "$T/submit.err")" ;;
        esac
        # hive wait goes on over a restart of the daemon: it is only waited for here while there is one
        while [ -n "$waiter" ] && kill -0 "$waiter" 2>/dev/null && kill -0 "$daemon_pid" 2>/dev/null; do sleep 0.01; done
    fi
    land
    case $landed in
    0 | 1 | 2 | 4 | 137) ;; # 2: the settings, 4: SQLite takes what it cannot open for read-only
    *) fault "the daemon ended with $landed" ;;
    esac
    [ -z "$waiter" ] || { kill "$waiter" 2>/dev/null; wait "$waiter" 2>/dev/null; }
    waiter=
    [ -z "$tracer" ] || wait "$tracer"
    echo '--- clean start' >>"$T/daemon.log"
    launch || { fault "no clean start afterwards"; land; return; }
    again=$(submit one 7 2>"$T/submit.err") || fault "submit afterwards ended with $?" "$(cat "$T/submit.err")"
    [ -z "$id" ] || [ "$id" = "$again" ] || fault "job $id was acknowledged, and is lost: the key gave job $again"
    id=$again
    timeout 30 hive wait -q --timeout 20s "$id" >/dev/null 2>&1
    judge "$who"
    two=$(submit two 0) && hive wait -q --timeout 20s "$two" || fault "the next job does not succeed: $(fate "$two")"
    [ "$(ran two)" = 1 ] || fault "the next job ran $(ran two) times"
    land
    [ "$landed" -eq 0 ] || fault "the second daemon ended with $landed"
    wait_for 10 none_left || fault "processes are left" "$(leftovers)"
}
# As leftovers, in one go: this runs very often
none_left() { ! env -u HIVE_STATE_DIR grep -lzxF "HIVE_STATE_DIR=$T/state" /proc/[0-9]*/environ >/dev/null 2>&1; }

was_injected() { cat "$T"/trace* 2>/dev/null | grep -q -e INJECTED -e 'killed by SIGKILL'; }

# Most calls of that name that one process made in the last cycle
count_calls() { grep -c "^$1(" "$T"/count/trace* | sed 's/.*://' | sort -n | tail -n 1; }

cases_of() { # WHO CALLS
    [ -n "$2" ] || return
    faults=0 case_name="$1, nothing injected"
    call=$(echo "$2" | tr -s ' \n' ',' | sed 's/:[0-9]*//g')
    cycle "$1"
    rm -rf "$T/count" && mkdir "$T/count" && cp "$T"/trace* "$T/count"
    ok "$faults" "$1: nothing injected"
    for call in $2; do
        step=${call#*:} call=${call%:*}
        [ -z "$all" ] || step=1
        count=$(count_calls "$call")
        for kind in $kinds; do
            # a socket that is never to be written to: nothing could start, ever
            case $call:$kind in sendto:error*) continue ;; esac
            faults=0 cases=0 place=$((begin % step + 1))
            begin=$((begin + 1))
            while [ "$place" -le "$count" ]; do
                case_name="$1, $call number $place: $kind"
                cycle "$1" -e "inject=$call:$kind:when=$place"
                ! was_injected || cases=$((cases + 1))
                place=$((place + step))
            done
            total=$((total + cases))
            ok "$faults" "$1: $call, $kind: $cases places"
        done
    done
}

total=0 waiter=
# INJECT_DAEMON and INJECT_SHIM: other calls, to look into something
cases_of daemon "${INJECT_DAEMON-$calls_daemon}"
cases_of shim "${INJECT_SHIM-$calls_shim}"
[ "$total" -ge 30 ]
ok $? "faults were really put in: $total"
done_testing
