# SPDX-License-Identifier: BSD-2-Clause
# Jobs outlive their daemon: ended with TERM and KILL while jobs run and wait; a second daemon; an upgrade.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 4 || exit 1

job() { hive status --json "$1" | jq -c ".jobs[0]|.$2"; }
mkfifo gate

for signal in TERM KILL; do
    rm -f gate go
    mkfifo gate
    running=$(hive submit -q 'echo before; read x <gate; echo after; exit 7')
    quick=$(hive submit -q 'echo $$ >quick.pid; echo quick; until [ -e go ]; do sleep 0.05; done; echo done; exit 3')
    wait_for 10 status_is "$quick" running
    wait_for 10 status_is "$running" running
    waiting=$(hive submit -q --hold 'echo waited')
    after=$(hive submit -q --after "$running:any" 'echo after it')
    array=$(hive submit -q --array 1-6%1 'sleep 0.05; echo $HIVE_TASK_ID >>tasks-'$signal)
    hive wait "$running" 2>/dev/null &
    waiter=$!
    hive logs -f "$running" >follow.out 2>/dev/null &
    follower=$!
    curl -sN "$url/api/v1/events" >/dev/null 2>&1 &
    watcher=$!
    for pid in $waiter $follower $watcher; do wait_for 10 sh -c "ls -l /proc/$pid/fd | grep -q socket"; done
    wait_for 10 grep -q before follow.out
    stop_daemon $signal
    is "$signal: exit status of the daemon" "$daemon_status" "$([ $signal = TERM ] && echo 0 || echo 137)"
    exits "$signal: no daemon" 3 hive status
    : >go # this one ends while no daemon is there
    wait_for 10 sh -c '! kill -0 "$(cat quick.pid)"'
    check "$signal: the daemon starts again" start_daemon --threads 4
    check "$signal: what ended meanwhile is known" wait_for 10 sh -c '[ "$(hive status --json '"$quick"' | jq -r ".jobs[0].status")" = failed ]'
    is "$signal: with its exit code" "$(job "$quick" exit_code)" 3
    is "$signal: and output" "$(hive logs "$quick")" 'quick
done'
    is "$signal: what runs was adopted" "$(job "$running" status) $(job "$running" attempts)" '"running" 1'
    is "$signal: what was held is held" "$(job "$waiting" held) $(job "$waiting" status)" 'true "queued"'
    echo >gate
    exits "$signal: the adopted one ends with its code" 7 hive wait "$running"
    is "$signal: with all its output" "$(hive logs "$running")" 'before
after'
    wait $waiter
    is "$signal: a waiter lived through it" "$?" 7
    wait $follower
    is "$signal: so did a follower, and missed nothing" "$(cat follow.out)" 'before
after'
    wait $watcher
    exits "$signal: what waited for it runs" 0 hive wait "$after"
    check "$signal: release" hive release "$waiting"
    exits "$signal: what was held runs" 0 hive wait "$waiting"
    exits "$signal: the array goes on" 0 hive wait "$array"
    is "$signal: each task ran once" "$(sort -n tasks-$signal | tr '\n' ' ')" '1 2 3 4 5 6 '
done

# cancel after a restart, and when the daemon dies in the middle
id=$(hive submit -q 'setsid sleep 1000 & exec sleep 1000')
wait_for 10 status_is "$id" running
stop_daemon KILL
start_daemon --threads 4
check 'cancel an adopted job' hive cancel "$id"
check 'it ends' wait_for 10 status_is "$id" cancelled

# a submit while the daemon is restarted is neither lost nor doubled
stop_daemon KILL
(sleep 0.3; hive status >/dev/null 2>&1) &
hive submit -q --idempotency-key restart 'echo once' >id1 2>/dev/null
start_daemon --threads 4
hive submit -q --idempotency-key restart 'echo once' >id2
is 'one job' "$(curl -s "$url/api/v1/jobs?q=once" | jq '.jobs|length')" 1

# a second daemon
run timeout 10 hive daemon --listen none
is 'a second daemon is refused' "$status" 1
like 'it says why' "$err" 'already|running|another'
check 'the first goes on' hive submit --wait true
run timeout 10 env HIVE_STATE_DIR="$T/state2" HIVE_RUNTIME_DIR="$T/run2" hive daemon --listen "${url#http://}"
is 'a port that is taken' "$status" 1
like 'it is named, with what to do' "$err" '--listen'

# upgrade: another copy of the binary takes over
id=$(hive submit -q 'until [ -e upgraded ]; do sleep 0.05; done; echo survived; exit 9')
wait_for 10 status_is "$id" running
stop_daemon TERM
cp -L "$HIVE" "$T/bin/hive.new"
mv "$T/bin/hive.new" "$T/bin/hive"
check 'the new binary starts' start_daemon --threads 4
is 'it took the job over' "$(job "$id" status)" '"running"'
: >upgraded
exits 'and knows how it ended' 9 hive wait "$id"
is 'with its output' "$(hive logs "$id")" survived

# a job that was running when everything died is lost, not succeeded
id=$(hive submit -q 'echo $PPID >shim; echo $$ >main; exec sleep 1000')
wait_for 10 test -s main
kill -KILL "$(cat shim)" 2>/dev/null
check 'a job whose starter is killed is lost' wait_for 10 status_is "$id" lost
like 'with a reason' "$(job "$id" reason)" '.....'
exits 'wait says so' 125 hive wait "$id"
check 'its process was ended' wait_for 5 sh -c '! kill -0 $(cat main) 2>/dev/null'
id=$(hive submit -q --on-lost requeue 'echo $PPID >shim2; echo x >>runs; [ $HIVE_ATTEMPT = 2 ] || exec sleep 1000')
wait_for 10 test -s runs
kill -KILL "$(cat shim2)"
exits '--on-lost requeue runs it again' 0 timeout 10 hive wait "$id"
is 'twice' "$(wc -l <runs)" 2

check 'stop' stop_daemon TERM
is 'no process of ours lives' "$(leftovers)" ''
done_testing
