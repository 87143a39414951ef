# SPDX-License-Identifier: BSD-2-Clause
# hive status and explain: every wait has a reason, and nothing a job is called harms a terminal.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 2 --memory 4G || exit 1

job() { hive status --json "$1" | jq -c ".jobs[0]|.$2"; }
esc=$(printf '\033')

exits 'status of an empty queue' 0 hive status
exits 'status jobs of an empty queue' 0 hive status jobs
is 'status --json is one value' "$(hive status --json | jq -cs '[length,.[0].api,(.[0].jobs|type),(.[0].nodes|type)]')" '[1,1,"array","array"]'
is 'status nodes --json' "$(hive status nodes --json | jq -c '[.api,(.nodes|length),.nodes[0].threads_total,.nodes[0].memory_total_bytes]')" '[1,1,2,4294967296]'
is 'status jobs --json' "$(hive status jobs --json | jq -c '[.api,.jobs]')" '[1,[]]'

# reasons
big=$(hive submit -q -t 2 -n big 'exec sleep 1000')
wait_for 10 status_is "$big" running
threads=$(hive submit -q -t 2 -n threads true)
memory=$(hive submit -q -t 1 -m 3G -n memory true)
held=$(hive submit -q --hold -n held true)
after=$(hive submit -q --after "$big" -n after true)
array=$(hive submit -q --array 1-10%1 -n array true)
for id in $threads $memory $held $after $array; do
    check "job $id ($(job "$id" name)) has a reason" sh -c '[ -n "$1" ] && [ "$1" != null ]' - "$(job "$id" reason)"
    exits "explain $id" 0 hive explain "$id"
    like "explain $id says more" "$out" "job $id: queued: .+"
    is "explain $id --json" "$(hive explain --json "$id" | jq -c '[.api,.job.id,(.reason|length>0),(.lines|type)]')" "[1,\"$id\",true,\"array\"]"
done
like 'explain: threads' "$(hive explain "$threads")" '[Tt]hread'
like 'explain: held' "$(hive explain "$held")" 'hive release'
like 'explain: after' "$(hive explain "$after")" "job $big"
like 'explain: running' "$(hive explain "$big")" 'running'
like 'status shows reasons' "$(hive status)" "held"
id=$(hive submit -q --priority 10 --retry 3 --retry-delay 1h 'exit 1')
hive cancel "$big"
wait_for 10 sh -c '[ "$(hive status --json '"$id"' | jq ".jobs[0].attempts")" = 1 ]'
like 'explain: waits before it is run again' "$(hive explain "$id")" 'retry in|again in'
hive cancel "$id" >/dev/null
like 'explain: cancelled' "$(hive explain "$id")" "^job $id: cancelled: cancelled by user"
id=$(hive submit -q 'exit 3')
hive wait "$id" 2>/dev/null
is 'explain: failed' "$(hive explain "$id" | head -n 1)" "job $id: failed: exit code 3"
id=$(hive submit -q --retry 2 'exit $((HIVE_ATTEMPT + 4))')
hive wait "$id" 2>/dev/null
is 'explain: attempt by attempt' "$(hive explain "$id" | awk 'NR > 1 { print $1, $3, $4 }')" 'ATTEMPT OUTCOME EXIT
1 exited 5
2 exited 6
3 exited 7'
is 'explain --json: attempts' "$(hive explain --json "$id" | jq -c '[.attempts[]|[.number,.outcome,.exit_code]]')" '[[1,"exited",5],[2,"exited",6],[3,"exited",7]]'
id=$(hive submit -q 'kill -9 $$')
hive wait "$id" 2>/dev/null
like 'explain: the signal' "$(hive explain "$id" | tail -n 1)" 'signaled +sig 9'
id=$(hive submit -q -- no-such-program-xyz)
hive wait "$id" 2>/dev/null
like 'explain: the message' "$(hive explain "$id" | tail -n 1)" 'not_run .*no-such-program-xyz'
exits 'explain of no job' 1 hive explain 99999
hive wait "$threads" "$memory" "$array"

# lists
hive cancel "$held" >/dev/null
hive status jobs >list
is 'a list has a line for each job' "$(grep -cE "^ *($threads|$memory|$held|$after|$array) " list)" 5
is '--status' "$(hive status jobs --json --status cancelled | jq -r '[.jobs[].status]|unique|join(",")')" cancelled
is '--status, several' "$(hive status jobs --json --status cancelled,failed | jq -r '[.jobs[].status]|unique|join(",")')" cancelled,failed
is '--limit' "$(hive status jobs --json --limit 2 | jq '.jobs|length')" 2
is '--limit 0 is all' "$(hive status jobs --json --limit 0 | jq '.jobs|length')" "$(curl -s "$url/api/v1/jobs?limit=1000" | jq '.jobs|length')"
is '--user of somebody else' "$(hive status jobs --json --user nobody-at-all | jq -c .jobs)" '[]'
is '--user' "$(hive status jobs --json --user "$(id -un)" --limit 1 | jq '.jobs|length')" 1
exits 'a status that is none' 2 hive status jobs --status runing
like 'gets a proposal' "$err" 'did you mean running'
exits 'several jobs' 0 hive status "$threads" "$memory"
is 'several jobs, JSON' "$(hive status --json "$memory" "$threads" | jq -c '[.jobs[].id]')" "[\"$memory\",\"$threads\"]"
exits 'one that exists and one that does not' 1 hive status "$threads" 99999
like 'shows the one' "$out" "$threads"
like 'names the other' "$err" 99999
is 'what was measured' "$(hive status nodes --json | jq -c '.nodes[0] | [(.cpu_percent|type), (.iowait_percent|type), (.load|length), (.users|type), (.memory_available_bytes > 0), (.uptime_seconds > 0)]' |
    sed 's/"null"/"number"/g')" '["number","number",3,"array",true,true]'
like 'as a table' "$(hive status nodes | head -n 1)" '^NODE +STATUS +THREADS +CPU +IOWAIT +LOAD +MEMORY +FREE +GPUS +USERS +JOBS +NOTE'
for line in "$(hive status)" "$(hive status jobs)" "$(hive status nodes)" "$(hive status "$threads")"; do
    check 'no blanks at line ends' sh -c '! printf "%s\n" "$1" | grep -q " $"' - "$line"
done
check 'COLUMNS is respected' sh -c '! COLUMNS=60 hive status jobs | grep -E "^.{61}"'
check 'a narrow terminal does no harm' sh -c 'for n in 0 1 5 20 x -1 99999999999; do COLUMNS=$n hive status >/dev/null || exit 1; done'


# headings count what is below them
busy=$(hive submit -q -n busy --array 1-9 'exec sleep 1000')
wait_for 10 sh -c '[ "$(hive status --json '"$busy"' | jq ".jobs[0].array.running")" = 2 ]'
wait=$(hive submit -q --hold true)
hive status >headings
is 'running tasks' "$(sed -n '/^RUNNING/p' headings)" 'RUNNING (2 tasks of an array)'
is 'have a row each' "$(sed -n '/^RUNNING/,/^$/p' headings | grep -c "^${busy}_")" 2
is 'the rest of the array and a job' "$(sed -n '/^QUEUED/p' headings)" 'QUEUED (1 job, 7 tasks of an array)'
is 'have a row each, too' "$(sed -n '/^QUEUED/,/^$/p' headings | grep -cE "^($busy|$wait) ")" 2
is 'the node works at two' "$(hive status nodes --json | jq '.nodes[0].running_jobs')" 2
is 'the JSON of a list says how long it is' "$(curl -s "$url/api/v1/jobs?order=queue&limit=1" | jq -c '[(.jobs|length),.total]')" '[1,4]'
is 'counts: an array is one job' "$(hive status --json | jq -c '[.counts.running,.counts.queued]')" '[1,1]'
is 'what is cut is counted by rows' "$(hive status --limit 1 | grep -E '^(RUNNING|QUEUED|\.\.\.)' | tr '\n' ' ')" 'RUNNING (2) ... and 1 more QUEUED (2) ... and 1 more '
is 'of another user there is nothing' "$(hive status --user nobody-at-all | grep -E '^(RUNNING|QUEUED)' | tr '\n' ' ')" 'RUNNING (0) QUEUED (0) '

# no row is wider than the terminal
id=$(hive submit -q -m 100M -n "$(head -c 100 /dev/zero | tr '\0' n)" 'exit 3')
for columns in 20 40 60 80; do
    for call in status 'status jobs' 'status nodes'; do
        COLUMNS=$columns hive $call >narrow.out
        is "COLUMNS=$columns hive $call" "$(grep -E "^.{$((columns + 1))}" narrow.out | grep -v '^QUEUED (')" ''
    done
    like "COLUMNS=$columns: ids are whole" "$(COLUMNS=$columns hive status)" "^${busy}_1 "
done
like 'at 40 columns the columns that matter are there' "$(COLUMNS=40 hive status | sed -n '/^RUNNING/{n;p;}')" '^ID +NAME .*TIME'
if command -v script >/dev/null; then
    NO_COLOR=1 script -qec 'stty cols 40; hive status' /dev/null </dev/null | tr -d '\r' >narrow.out
    is 'on a terminal of 40 columns' "$(grep -E '^.{41}' narrow.out | grep -v '^QUEUED (')" ''
    like 'on a terminal of 40 columns there are rows' "$(cat narrow.out)" "^${busy}_1 "
else
    skip 2 'no script(1)'
fi
hive cancel "$busy" "$wait" "$id" >/dev/null

# names that attack the terminal
evil=$(printf 'a\033]0;owned\007\033[2Jb\tc\nd \302\233 \342\200\256txt \360\237\230\200')
id=$(hive submit -q -n "$evil" --hold "echo '$evil'")
is 'a strange name is kept' "$(job "$id" name | jq -r .)" "$evil"
for call in status 'status jobs' "status $id" "explain $id"; do
    hive $call >evil.out
    check "hive $call shows no controls" sh -c '! grep -q "$(printf "[\033\007\t]")" evil.out && ! grep -q "$(printf "\302\233")" evil.out && ! grep -q "$(printf "\342\200\256")" evil.out'
done
exits 'cancel it' 0 hive cancel "$id"
exits 'a name that is too long' 2 hive submit -n "$(head -c 300 /dev/zero | tr '\0' n)" true
id=$(hive submit -q -n "$(head -c 255 /dev/zero | tr '\0' n)" true)
check 'a long name is cut to the width' sh -c '! COLUMNS=80 hive status jobs | grep -E "^.{81}"'

# colours
if command -v script >/dev/null; then
    script -qec 'hive status' /dev/null </dev/null >tty.out
    check 'colours on a terminal' grep -q "$esc\[" tty.out
    NO_COLOR=1 script -qec 'hive status' /dev/null </dev/null >tty.out
    check 'not with NO_COLOR' sh -c '! grep -q "$1\[" tty.out' - "$esc"
else
    skip 2 'no script(1)'
fi
check 'not into a file' sh -c '! hive status | grep -q "$1"' - "$esc"

# watch
hive status --watch --json >watch.out &
watcher=$!
wait_for 10 test -s watch.out
id=$(hive submit -q 'exit 0')
check 'a change is shown' wait_for 10 sh -c 'grep -q "\"id\":\"'"$id"'\"" watch.out'
kill -INT $watcher
kill $watcher 2>/dev/null
wait $watcher 2>/dev/null
check 'each line is one JSON value' sh -c 'jq -es "length>=2 and all(.[]; .api==1)" <watch.out'
check 'a watch whose reader goes ends' sh -c 'timeout 10 hive status --watch --json | head -n 1'
exits 'a watch on a full disk ends' 1 timeout 10 sh -c 'hive status --watch --json >/dev/full'

# what a running job uses, with all its processes
busy=$(hive submit -q -- sh -c 'sh -c "while :; do :; done" & wait')
used() { hive status nodes >/dev/null && hive status "$busy" --json | jq -e ".jobs[0]|$1" >/dev/null; }
check 'CPU time of a running job is measured' wait_for 30 used '.cpu_seconds > 0.1 and .memory_used_bytes > 0'
check 'and how busy it is now' wait_for 30 used '.cpu_percent > 5'
like 'in words' "$(hive status "$busy")" 'uses +[0-9.]+ CPUs, [0-9.]+[KMG] memory, .* of CPU time'
hive cancel "$busy" >/dev/null
hive wait "$busy"
is 'an ended job uses nothing' "$(hive status "$busy" --json | jq '.jobs[0].cpu_seconds')" null

done_testing
