# SPDX-License-Identifier: BSD-2-Clause
# cancel, hold, release, retry, wait.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 4 || exit 1

job() { hive status --json "$1" | jq -c ".jobs[0]|.$2"; }
running() { wait_for 10 status_is "$1" running; }

# cancel ends whole trees: a double-forked grandchild in a session of its own, one that ignores SIGTERM
cat >tree.sh <<'S'
trap '' TERM
echo $$ >>pids
setsid sh -c 'trap "" TERM HUP; echo $$ >>pids; (setsid sh -c "echo \$\$ >>pids; exec sleep 1000" &) & while :; do sleep 1; done' &
(sleep 1000 & echo $! >>pids) &
while :; do sleep 1; done
S
alive() { for p in $(cat pids); do kill -0 "$p" 2>/dev/null && return 0; done; return 1; }
dead() { ! alive; }
id=$(hive submit -q 'sh tree.sh')
wait_for 10 sh -c '[ "$(wc -l <pids)" -ge 4 ]'
check 'the tree runs' alive
check 'cancel' hive cancel "$id"
check 'every process of the tree ends' wait_for 10 dead
check 'the job is cancelled' wait_for 5 status_is "$id" cancelled
exits 'wait for a cancelled job: the signal that ended it' 137 hive wait "$id"
exits 'cancel it again' 1 hive cancel "$id"
like 'it says why not' "$err" 'cancelled|ended|finished'

# what a job leaves behind is ended when its main process ends
: >pids
id=$(hive submit -q 'setsid sh -c "echo \$\$ >>pids; exec sleep 1000" & until [ -s pids ]; do sleep 0.01; done')
check 'a job that leaves a process behind succeeds' hive wait "$id"
check 'and the process is ended' wait_for 5 dead

# grace
id=$(hive submit -q 'trap "echo got it; exit 0" TERM; echo ready; while :; do sleep 0.05; done')
running "$id"
wait_for 5 sh -c '[ "$(hive logs '"$id"')" = ready ]'
check 'cancel with time to clean up' hive cancel --grace 5s "$id"
wait_for 10 status_is "$id" cancelled
is 'the job could clean up' "$(hive logs "$id")" 'ready
got it'

# queued, held, arrays, tasks, several
blocker=$(hive submit -q -t 4 'exec sleep 1000')
running "$blocker"
id=$(hive submit -q true)
check 'cancel a queued job' hive cancel "$id"
is 'it never ran' "$(job "$id" status) $(job "$id" attempts)" '"cancelled" 0'
exits 'logs of a job that never ran' 1 hive logs "$id"
like 'says so' "$err" 'not started|never|has no'
array=$(hive submit -q --array 1-100 'exec sleep 1000')
check 'cancel a queued array' hive cancel "$array"
is 'it is cancelled' "$(job "$array" status) $(job "$array" array.cancelled)" '"cancelled" 100'
a=$(hive submit -q true) b=$(hive submit -q true)
check 'cancel several' hive cancel "$a" "$b"
is 'both are' "$(job "$a" status)$(job "$b" status)" '"cancelled""cancelled"'
exits 'cancel one that is there and one that is not' 1 hive cancel 99999 "$(hive submit -q true)"
like 'names the one that is not' "$err" 99999
is 'the other one is cancelled' "$(hive status jobs --json --limit 1 | jq -r '.jobs[0].status')" cancelled
for bad in x 1x -1 0 1_ _1 1_x 99999999999999999999 '1/../2' '1?x' ''; do
    run hive cancel -- "$bad"
    check "cancel '$bad' is refused" [ "$status" -eq 1 -o "$status" -eq 2 ]
done
hive cancel "$blocker" >/dev/null
array=$(hive submit -q --array 1-3 'exec sleep 1000')
running "${array}_2"
check 'cancel one task' hive cancel "${array}_2"
check 'it is cancelled' wait_for 5 status_is "${array}_2" cancelled
is 'the others run on' "$(job "${array}_1" status) $(job "$array" array.running)" '"running" 2'
check 'cancel the array' hive cancel "$array"
check 'it ends' wait_for 5 status_is "$array" cancelled
is 'all of its tasks' "$(curl -s "$url/api/v1/jobs?array=$array" | jq -c '[.jobs[].status]|unique')" '["cancelled"]'

# hold, release
a=$(hive submit -q -t 4 'sleep 1000')
running "$a"
id=$(hive submit -q true)
check 'hold a queued job' hive hold "$id"
hive cancel "$a" >/dev/null
check 'others pass it' hive submit --wait true
is 'it stays' "$(job "$id" status) $(job "$id" held)" '"queued" true'
like 'and says why' "$(hive explain "$id")" 'held'
check 'hold it again' hive hold "$id"
check 'release it' hive release "$id"
exits 'it runs' 0 hive wait "$id"
exits 'hold what has ended' 1 hive hold "$id"
exits 'release what is not held' 1 hive release "$id"
array=$(hive submit -q --array 1-6%1 'until [ -e held ]; do sleep 0.02; done')
running "${array}_1"
check 'hold a running array' hive hold "$array"
: >held
hive wait --timeout 2s "${array}_1"
is 'no further task starts' "$(job "$array" array | jq -c '[.running,.queued>0]')" '[0,true]'
check 'release the array' hive release "$array"
exits 'it goes on' 0 hive wait "$array"

# retry
id=$(hive submit -q 'echo run $HIVE_ATTEMPT; [ -e go ]')
hive wait "$id" 2>/dev/null
: >go
check 'retry a failed job' hive retry "$id"
exits 'it succeeds now' 0 hive wait "$id"
is 'its output is that of the second run' "$(hive logs "$id")" 'run 2'
is 'the first is kept' "$(hive logs --attempt 1 "$id")" 'run 1'
is 'two attempts are listed' "$(job "$id" 'attempt_list|[.[].exit_code]')" '[1,0]'
check 'retry a job that succeeded' hive retry "$id"
hive wait "$id"
a=$(hive submit -q 'exec sleep 1000')
running "$a"
exits 'retry what runs' 1 hive retry "$a"
like 'says why not' "$err" 'running'
hive cancel "$a" >/dev/null
wait_for 5 status_is "$a" cancelled
rm go
array=$(hive submit -q --array 1-3 'echo $HIVE_TASK_ID $HIVE_ATTEMPT; [ -e go ]')
hive wait "$array" 2>/dev/null
: >go
check 'retry one task' hive retry "${array}_2"
hive wait "$array" 2>/dev/null
is 'only that one ran again' "$(job "$array" array | jq -c '[.succeeded,.failed]')" '[1,2]'
check 'retry the array' hive retry "$array"
exits 'then all is well' 0 hive wait "$array"
is 'the good one ran no third time' "$(hive logs "${array}_2")" '2 2'
array=$(hive submit -q --hold --array 1-3 true)
hive cancel "$array" >/dev/null
check 'retry an array that was cancelled before it began' hive retry "$array"
run hive release "$array"
exits 'it runs' 0 hive wait "$array"

# wait
exits 'wait for several, all good' 0 hive wait "$(hive submit -q 'sleep 0.1')" "$(hive submit -q true)"
exits 'wait for several, one failed' 1 hive wait "$(hive submit -q 'exit 5')" "$(hive submit -q true)"
exits 'wait for one: its exit code' 5 hive wait "$(hive submit -q 'exit 5')"
a=$(hive submit -q 'exec sleep 1000')
exits 'wait with a limit' 124 hive wait --timeout 200ms "$a"
is 'the job goes on' "$(job "$a" status)" '"running"'
exits 'wait for a job that does not exist' 1 hive wait 99999
hive wait "$a" 2>wait.err &
waiter=$!
hive cancel "$a" >/dev/null
wait $waiter
is 'a waiter sees the cancel' "$?" 137
hive submit --wait 'exec sleep 1000' >wait.out 2>&1 &
waiter=$!
wait_for 10 sh -c '[ "$(hive status jobs --json --status running | jq ".jobs|length")" = 1 ]'
check 'SIGINT ends the waiting' \
    wait_for 10 sh -c "kill -INT $waiter; grep -q '^State:.Z' /proc/$waiter/status || ! kill -0 $waiter"
wait $waiter
like 'it says how to go on' "$(cat wait.out)" 'hive wait|hive logs|hive cancel'
is 'and nothing else' "$(hive status jobs --json --status running | jq '.jobs|length')" 1
for id in $(hive status jobs --json --status running,queued | jq -r '.jobs[].id'); do hive cancel "$id" >/dev/null; done
check 'nothing runs at the end' wait_for 5 sh -c '[ "$(hive status jobs --json --status running,queued | jq ".jobs|length")" = 0 ]'

done_testing
