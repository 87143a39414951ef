# SPDX-License-Identifier: BSD-2-Clause
# hive logs: live and afterwards, exact bytes in a file, harmless on a terminal.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 4 || exit 1

run_job() { run_job_id=$(hive submit -q "$@") && hive wait "$run_job_id" 2>/dev/null; }

# exact bytes
perl -e 'srand 7; print join "", map { chr int rand 256 } 1..300000' >random
run_job 'cat random; cat random >&2'
hive logs "$run_job_id" >got
check 'bytes are exact' cmp random got
hive logs --stderr "$run_job_id" >got
check 'bytes of stderr are exact' cmp random got
curl -s "$url/api/v1/jobs/$run_job_id/logs?offset=299990" >got
check 'from an offset' sh -c 'tail -c 10 random | cmp - got'
run_job 'head -c 1000000 /dev/zero | tr "\0" x; echo; echo end'
is 'a line of 1 MB' "$(hive logs "$run_job_id" | wc -c)" 1000005
is '--tail after a line of 1 MB' "$(hive logs --tail 1 "$run_job_id")" end
is '--tail with a line of 1 MB' "$(hive logs --tail 2 "$run_job_id" | wc -c)" 1000005
run_job 'head -c 30000000 /dev/zero'
is '30 MB' "$(hive logs "$run_job_id" | wc -c)" 30000000
run_job true
is 'no output' "$(hive logs "$run_job_id")" ''

# --tail
run_job 'seq 1000; printf "no end"'
is '--tail 3' "$(hive logs --tail 3 "$run_job_id")" '999
1000
no end'
is '--tail 0' "$(hive logs --tail 0 "$run_job_id")" ''
is '--tail of more than there is' "$(hive logs --tail 5000 "$run_job_id" | wc -l)" 1000

# follow
mkfifo gate
id=$(hive submit -q 'echo first; echo err >&2; read x <gate; printf second; exit 3')
hive logs -f "$id" >follow.out &
follower=$!
check 'follow shows what is there' wait_for 10 grep -q first follow.out
check 'follow waits' kill -0 $follower
echo >gate
check 'follow ends with the job' wait $follower
is 'follow showed it all' "$(cat follow.out)" 'first
second'
id=$(hive submit -q --hold 'echo late')
hive logs -f "$id" >follow.out &
follower=$!
curl -sN "$url/api/v1/jobs/$id/logs?follow=true" >curl.out &
curler=$!
hive release "$id"
wait $follower
is 'follow waits for the start' "$(cat follow.out)" late
wait $curler
is 'so does curl -N' "$(cat curl.out)" late
id=$(hive submit -q --retry 1 --retry-delay 500ms 'echo try $HIVE_ATTEMPT; exit 1')
is 'follow goes on over a retry' "$(hive logs -f "$id")" 'try 1
try 2'
id=$(hive submit -q 'echo going; exec sleep 1000')
hive logs -f "$id" >follow.out &
follower=$!
wait_for 10 grep -q going follow.out
hive cancel "$id" >/dev/null
check 'follow ends with a cancel' wait $follower
id=$(hive submit -q 'while :; do echo y; done')
check 'a reader that goes away harms nobody' sh -c "hive logs -f $id | head -n 3"
hive cancel "$id" >/dev/null
check 'the endless writer is cancelled' wait_for 10 status_is "$id" cancelled
exits 'follow on a full disk' 1 sh -c "hive logs $id >/dev/full"

# a terminal is protected
run_job "printf 'a\\033]0;title\\007b\\033[31mred\\tx\\r\\n\\303\\244 \\302\\233 \\377'"
if command -v script >/dev/null; then
    script -qec "hive logs $run_job_id" /dev/null </dev/null >tty.out
    check 'no escape reaches a terminal' sh -c '! grep -q "$(printf "[\033\007]")" tty.out'
    check 'nor a C1 control' sh -c '! grep -q "$(printf "\302\233")" tty.out'
    like 'text does' "$(cat tty.out)" 'title.*red'
    like 'umlauts do' "$(cat tty.out)" "$(printf '\303\244')"
    script -qec "hive logs --raw $run_job_id" /dev/null </dev/null >tty.out
    check '--raw lets them through' grep -q "$(printf '\033')" tty.out
    script -qec "hive submit --follow 'printf \"\\033[2J\\033]0;x\\007\"'" /dev/null </dev/null >tty.out
    check 'submit --follow protects, too' sh -c '! grep -q "$(printf "\033")" tty.out'
else
    skip 6 'no script(1)'
fi

# attempts and wrong numbers
id=$(hive submit -q --retry 1 'echo $HIVE_ATTEMPT; exit 1')
hive wait "$id" 2>/dev/null
is '--attempt 1' "$(hive logs --attempt 1 "$id")" 1
is '--attempt 2' "$(hive logs --attempt 2 "$id")" 2
exits '--attempt 3' 1 hive logs --attempt 3 "$id"
exits '--attempt 0' 2 hive logs --attempt 0 "$id"
exits 'a job that does not exist' 1 hive logs 99999
exits 'no job id' 2 hive logs frob
id=$(hive submit -q --wait -o gone.txt 'echo x')
rm gone.txt
exits 'output that was removed' 1 timeout 10 hive logs "$id"
like 'is named' "$err" 'gone.txt'
exits 'follow of output that was removed ends' 0 timeout 10 hive logs -f "$id"
is 'it shows nothing' "$out" ''

# an array has no output of its own
id=$(hive submit -q --array 4-5 --wait 'echo T$HIVE_TASK_ID')
exits 'an array' 1 timeout 10 hive logs "$id"
like 'says where the output is' "$err" "name a task: hive logs ${id}_TASK"
exits 'follow of an array' 1 timeout 10 hive logs -f "$id"
is 'a task of it' "$(hive logs "${id}_5")" T5

done_testing
