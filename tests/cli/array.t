# SPDX-License-Identifier: BSD-2-Clause
# Arrays, --each-line and --after.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 4 || exit 1

job() { hive status --json "$1" | jq -c ".jobs[0]|.$2"; }

# arrays
id=$(hive submit -q -n 'an array' --array 1-5 'echo task $HIVE_TASK_ID of $HIVE_JOB_ID')
exits 'wait for an array' 0 hive wait "$id"
is 'its counts' "$(job "$id" array | jq -c '[.total,.succeeded,.failed,.queued,.running]')" '[5,5,0,0,0]'
for task in 1 3 5; do is "output of task $task" "$(hive logs "${id}_$task")" "task $task of $id"; done
is 'a task shows the name, command and folder of its array' \
    "$(job "${id}_2" 'id as $id|[$id,.name,.command,.workdir,.array_id,.task]')" \
    "[\"${id}_2\",\"an array\",\"echo task \$HIVE_TASK_ID of \$HIVE_JOB_ID\",\"$T\",\"$id\",2]"
exits 'a task that is none' 1 hive logs "${id}_9"
like 'is said' "$err" "${id}_9"
row=$(hive submit -q true) # tasks took the numbers between
for n in $(seq $((id + 1)) $((row - 1))); do
    exits "number $n names no job of its own" 1 hive status "$n"
    exits "nor for cancel" 1 hive cancel "$n"
    exits "nor for --after" 1 hive submit --after "$n" true
done
is 'steps' "$(hive wait "$(hive submit -q --array 0-9:4 -o step-%a true)" && echo step-*)" 'step-0 step-4 step-8'
is 'one task alone' "$(hive wait "$(hive submit -q --array 7-7 -o one-%a true)" && echo one-*)" one-7
id=$(hive submit -q --array 1-4 'exit $((HIVE_TASK_ID % 2))')
exits 'an array fails when a task fails' 1 hive wait "$id"
is 'its counts, failed' "$(job "$id" array | jq -c '[.succeeded,.failed]')" '[2,2]'
exits 'wait for a task' 1 hive wait "${id}_3"
exits 'wait for another task' 0 hive wait "${id}_4"
check 'retry runs the failed ones again' hive retry "$id"
hive wait "$id" 2>/dev/null
is 'retry left the good ones alone' "$(job "${id}_3" attempts) $(job "${id}_4" attempts)" '2 1'

like 'explain of an array that ended counts its tasks' "$(hive explain "$id")" '^  4 tasks: 2 succeeded, 2 failed; '

# tasks that have not started
id=$(hive submit -q --threads 2 -n steps --array 1-21:2 'exec sleep 1000')
wait_for 10 sh -c '[ "$(hive status --json '"$id"' | jq ".jobs[0].array.running")" = 2 ]'
exits 'explain of a task that waits' 0 hive explain "${id}_21"
like 'it says for what its array waits' "$out" "^job ${id}_21: queued: has not started; array $id: needs 2 threads, 0 free"
is 'the same as JSON' "$(hive explain --json "${id}_21" | jq -c '[.job.id,.job.name,.job.status,.job.task,.attempts]')" "[\"${id}_21\",\"steps\",\"queued\",21,[]]"
for task in 22 2 0 23; do
    exits "explain ${id}_$task: no such task" 1 hive explain "${id}_$task"
    like "explain ${id}_$task: which there are" "$err" "${id}_1, ${id}_3 and so on in steps of 2 to ${id}_21"
done
plain=$(hive submit -q true)
exits 'a task of a job that is no array' 1 hive explain "${plain}_1"
like 'is said' "$err" "job $plain is no array"
exits 'status of a task that waits' 1 hive status "${id}_21"
like 'names the command that says why' "$err" "hive explain ${id}_21"
hive hold "$id" >/dev/null
like 'explain of a task whose array is held' "$(hive explain "${id}_21")" 'held'
hive cancel "$id" >/dev/null
is 'explain of a task that was cancelled before it started' "$(hive explain "${id}_21")" "job ${id}_21: cancelled with its array, before it started"
hive wait "$plain"

# %LIMIT: count those that run at the same time
mkdir run-now peaks
id=$(hive submit -q --array 1-24%3 'touch run-now/$HIVE_TASK_ID; ls run-now | wc -l >peaks/$HIVE_TASK_ID; sleep 0.05; ls run-now | wc -l >>peaks/$HIVE_TASK_ID; rm run-now/$HIVE_TASK_ID')
check 'an array with a limit ends' hive wait "$id"
is 'all its tasks ran' "$(ls peaks | wc -l)" 24
is 'never more than the limit at once, and as many' "$(cat peaks/* | sort -n | tail -n 1)" 3

# a large one costs little
begin=$(date +%s%N)
id=$(hive submit -q --array '1-100000%2' 'exec sleep 100')
took=$((($(date +%s%N) - begin) / 1000000))
ok "$([ "$took" -lt 1000 ]; echo $?)" "100,000 tasks are submitted in $took ms"
wait_for 10 sh -c '[ "$(hive status --json '"$id"' | jq ".jobs[0].array.running")" = 2 ]'
is 'two run, the rest waits' "$(job "$id" array | jq -c '[.total,.running,.queued]')" '[100000,2,99998]'
is 'tasks that run are listed' "$(curl -s "$url/api/v1/jobs?array=$id" | jq -c '[.jobs[].task]|sort')" '[1,2]'
check 'the database stays small' [ "$(du -k state/hive.db | cut -f 1)" -lt 2000 ]
exits 'cancel a task that has not started' 0 hive cancel "${id}_50000"
check 'cancel the array' hive cancel "$id"
check 'it ends at once' wait_for 5 status_is "$id" cancelled
is 'all of it is cancelled' "$(job "$id" array | jq -c '[.running,.queued,.succeeded]')" '[0,0,0]'

# --each-line
printf 'one\n\ntwo words\n$HOME;`x`"q\n  blanks  \nlast without end' >lines
id=$(hive submit -q --each-line lines --array %1 -- printf '<%s|%s>' {} -x{}x)
hive wait "$id"
is 'each line stands for {}, as it is' "$(for n in 1 2 3 4 5; do hive logs "${id}_$n"; echo; done)" '<one|-xonex>
<two words|-xtwo wordsx>
<$HOME;`x`"q|-x$HOME;`x`"qx>
<  blanks  |-x  blanks  x>
<last without end|-xlast without endx>'
id=$(sed 3q lines | hive submit -q --each-line - 'echo {} "$HIVE_LINE"')
check 'lines from stdin' hive wait "$id"
is 'in a shell command {} is quoted' "$(hive logs "${id}_2")" 'two words two words'
id=$(printf '%s\n' 'x; touch oops' "it's" | hive submit -q --each-line - -- echo)
hive wait "$id"
is 'without {} the line is the last argument' "$(hive logs "${id}_1")" 'x; touch oops'
is 'a quote in a line' "$(hive logs "${id}_2")" "it's"
check 'nothing of a line is run' [ ! -e oops ]
exits 'no lines' 2 hive submit --each-line /dev/null true
seq 5000 | hive submit -q --each-line - --hold true >id.txt
is 'many lines' "$(job "$(cat id.txt)" array.total)" 5000
hive cancel "$(cat id.txt)" >/dev/null

# --after
first=$(hive submit -q --hold 'exit 3')
ok_job=$(hive submit -q --after "$first" true)
any=$(hive submit -q --after "$first:any" 'echo any')
fail=$(hive submit -q --after "$first:fail" 'echo fail')
chain=$(hive submit -q --after "$ok_job" true)
both=$(hive submit -q --after "$any,$fail:any" true)
like 'a job that waits for another says so' "$(job "$ok_job" reason)" "waiting for job $first"
like 'explain says so too' "$(hive explain "$ok_job")" "$first"
is 'after is shown' "$(job "$both" after)" "[\"$any:ok\",\"$fail:any\"]"
hive release "$first"
exits 'any runs after a failure' 0 hive wait "$any"
exits 'fail runs after a failure' 0 hive wait "$fail"
exits 'ok does not' 125 hive wait "$ok_job"
is 'it is cancelled' "$(job "$ok_job" status)" '"cancelled"'
like 'with the reason' "$(job "$ok_job" reason)" "job $first"
exits 'so is what waits for it' 125 hive wait "$chain"
like 'with its own reason' "$(job "$chain" reason)" "job $ok_job"
exits 'two dependencies' 0 hive wait "$both"
exits 'after a job that is already done' 0 hive submit --wait --after "$any" true
run hive submit -q --after "$first" true
check 'after a job that has already failed: refused or cancelled' \
    sh -c '[ "$1" -ne 0 ] || [ "$(hive status --json "$2" | jq -r ".jobs[0].status")" = cancelled ]' - "$status" "$out"
array=$(hive submit -q --array 1-3 'sleep 0.1')
exits 'after an array: all its tasks' 0 hive submit --wait --after "$array" true
is 'after an array: it was over' "$(job "$array" array.succeeded)" 3
held=$(hive submit -q --hold true)
dep=$(hive submit -q --after "$held" true)
check 'cancel of what another waits for' hive cancel "$held"
exits 'cancels that too' 125 hive wait "$dep"

is 'nothing is left' "$(hive status jobs --json --status queued,running | jq '.jobs|length')" 0
done_testing
