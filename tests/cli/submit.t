# SPDX-License-Identifier: BSD-2-Clause
# hive submit: its forms and options, and that what can't work is refused at once.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 4 || exit 1

job() { hive status --json "$1" | jq -r ".jobs[0].$2"; }
# output ARGUMENT...: of a job submitted with these
output() { hive submit --follow "$@" 2>/dev/null; }

# forms
is 'one word is a shell command' "$(output 'echo a  b | tr a-z A-Z')" 'A B'
is 'several words are passed on as they are' "$(output printf '[%s]' 'a  b' '$HOME' '' '*')" '[a  b][$HOME][][*]'
is 'after -- one word is a program' "$(output -- pwd)" "$T"
exits 'after -- one word is no shell command' 127 hive submit --wait -- 'echo hi'
exits 'options after the command' 2 hive submit 'echo a; echo b' --wait
like 'options after the command: what to do' "$err" 'options come first'
is 'options of the program stay its own' "$(output echo -n --wait)" '--wait'
printf 'hi\n' >input
is 'stdin of a job is empty' "$(output 'wc -c' <input | tr -d ' ')" 0
printf '\377\376 bytes' >want
output "printf '\\377\\376 bytes'" >got
check 'bytes come out as they went in' cmp want got

# scripts
cat >job.sh <<'S'
#!/bin/sh
# a comment
#HIVE -n training -t 3
#HIVE --timeout 90s --env "GREETING=hello world" -p -5

#HIVE --retry 2
echo "$GREETING $HIVE_THREADS $*"
#HIVE -t 1
S
id=$(hive submit -q ./job.sh one 'two  words' 2>err.txt)
check 'script runs' hive wait "$id"
is 'script sees environment, threads and arguments' "$(hive logs "$id")" 'hello world 3 one two  words'
is 'script options' "$(hive status --json "$id" | jq -c '.jobs[0]|[.name,.threads,.timeout_seconds,.priority,.retries_left]')" '["training",3,90,-5,2]'
like 'a #HIVE line after the first command is warned of' "$(cat err.txt)" 'job.sh:8'
is 'the command line wins over the script' "$(job "$(hive submit -q -n other ./job.sh)" name)" other
printf '#!/bin/sh\n#HIVE --tiemout 90s\ntrue\n' >bad.sh
exits 'a wrong option in a script' 2 hive submit ./bad.sh
like 'is named with file and line' "$err" 'bad.sh:2:.*tiemout'
printf '#!/bin/sh\n#HIVE -t "3\ntrue\n' >bad.sh
exits 'an open quote in a script' 2 hive submit ./bad.sh
like 'is named with file and line, too' "$err" 'bad.sh:2'
printf '#!/bin/sh\n#HIVE --wait\ntrue\n' >bad.sh
exits 'an option that makes no sense in a script' 2 hive submit ./bad.sh
printf '#!%s\nprint("perl\\n");\n' "$(command -v perl)" >perl.pl
is 'a script runs with its own interpreter' "$(output ./perl.pl)" perl
cp job.sh gone.sh
id=$(hive submit -q --hold ./gone.sh x 2>/dev/null)
rm gone.sh
hive release "$id"
check 'the script was copied' hive wait "$id"
exits 'a script that is a folder' 126 hive submit --wait -- ./bin
exits 'no such script' 127 hive submit --wait ./no-such-file.sh

# environment and folder
is 'HIVE_* are set' "$(output -t 2 'echo $HIVE_JOB_ID $HIVE_THREADS $HIVE_ATTEMPT $HIVE_NODE ${HIVE_TASK_ID-none}')" \
    "$(($(hive status jobs --json --limit 1 | jq -r '.jobs[0].id') + 0)) 2 1 $(hive status nodes --json | jq -r '.nodes[0].name') none"
export PASSED='from here' NOT_PASSED=secret
is '--env NAME=VALUE and NAME' "$(output --env 'A=b=c d' --env PASSED 'echo "$A|$PASSED|${NOT_PASSED-unset}"')" 'b=c d|from here|unset'
is '--env with an empty value' "$(output --env A= 'echo "[${A-unset}]"')" '[]'
exits '--env with an unset variable' 2 hive submit --env NO_SUCH_VARIABLE_HERE true
like '--env with an unset variable says so' "$err" NO_SUCH_VARIABLE_HERE
exits '--env with a bad name' 2 hive submit --env '1x=y' true
is 'the folder is the current one' "$(mkdir -p 'in here' && cd 'in here' && output pwd)" "$T/in here"
is '--workdir' "$(output --workdir "$T/in here" pwd)" "$T/in here"
is '--workdir, relative' "$(output --workdir 'in here' pwd)" "$T/in here"
exits '--workdir that is missing is refused' 1 hive submit --wait --workdir /no/such/folder true
like 'is said' "$(hive submit --wait --workdir /no/such/folder true 2>&1)" '/no/such/folder'
is 'the job has a name' "$(job "$(hive submit -q '/usr/bin/env true')" name)" env
is '-n' "$(job "$(hive submit -q -n 'späße 火' true)" name)" 'späße 火'

# output files
hive submit -q --wait -o out-%j.txt -e err-%%.txt 'echo o; echo e >&2' >id.txt
is '-o with the job id, relative to the folder' "$(cat "out-$(cat id.txt).txt")" o
is '-e with a percent sign' "$(cat err-%.txt)" e
id=$(hive submit -q --wait --array 3-4 -o 'task-%j-%a.txt' 'echo t$HIVE_TASK_ID')
is '-o of an array' "$(cat "task-$id-3.txt" "task-$id-4.txt")" 't3
t4'
is 'logs finds it there' "$(hive logs "${id}_4")" t4
hive submit -q --wait -o both.txt -e both.txt 'echo 1; echo 2 >&2; echo 3' >/dev/null
is 'stdout and stderr into one file, in order' "$(cat both.txt)" '1
2
3'
exits '-o into a missing folder is refused' 1 hive submit --wait -o /no/such/dir/x true
like 'is said, with the path' "$err" '/no/such/dir'
exits '-o that is a folder is refused' 1 hive submit --wait -o "$T/in here" true
for path in 'x%q' 'x%' '%%%' '%é'; do
    exits "-o $path: no placeholder" 2 hive submit -q -o "$path" true
    like "-o $path: the placeholders are named" "$err" '%j .*%a .*%%'
done
like '-o: the option is named' "$(hive submit -o x%q true 2>&1)" '^hive: --output: .*%q'
exits '-e: the same' 2 hive submit -e x%q true
like '-e: the option is named' "$err" '^hive: --error: .*%q'
exits '-o with an empty path' 2 hive submit -o '' true
like '-o with an empty path: says so' "$err" '--output: .*empty'
is 'a job of REST: the same' "$(curl -s -X POST "$url/api/v1/jobs/submit" -H 'Content-Type: application/json' -d '{"command":"true","stdout_path":"a%z"}' | jq -r .error.message)" \
    'stdout_path: there is no placeholder %z'
exits '-o /dev/full: the job sees the error' 1 hive submit --wait -o /dev/full 'echo x; exit $?'

# exit codes
for n in 0 1 3 99 255; do exits "--wait: exit code $n" $n hive submit --wait "exit $n"; done
exits '--wait: a signal' 137 hive submit --wait 'kill -9 $$'
exits '--wait: SIGTERM' 143 hive submit --wait 'kill -TERM $$'
exits '--wait: not found' 127 hive submit --wait -- no-such-program-xyz
exits '--wait: not executable' 126 hive submit --wait -- ./input
exits '--timeout' 124 hive submit --wait --timeout 100ms 'sleep 30'
is '--timeout: status' "$(hive status jobs --json --limit 1 | jq -r '.jobs[0].status')" timeout
exits '--follow shows both streams' 5 hive submit --follow 'echo out; echo err >&2; exit 5'
is '--follow: stdout' "$out" out
like '--follow: stderr' "$err" '^err$'
id=$(hive submit -q --hold true)
exits '--wait of a cancelled job' 125 sh -c 'hive cancel '"$id"' && hive wait '"$id"

# retry
hive submit --wait --retry 2 'echo try $HIVE_ATTEMPT; [ $HIVE_ATTEMPT = 3 ]' >/dev/null 2>&1
is '--retry runs it again until it succeeds' "$?" 0
is '--retry: attempts' "$(hive status jobs --json --limit 1 | jq -r '.jobs[0].attempts')" 3
exits '--retry gives up' 7 hive submit --wait --retry 1 'exit 7'
is '--retry gave up after two' "$(hive status jobs --json --limit 1 | jq -r '.jobs[0].attempts')" 2
begin=$(date +%s%N)
hive submit --wait --retry 1 --retry-delay 700ms 'exit 1' 2>/dev/null
took=$((($(date +%s%N) - begin) / 1000000))
ok "$([ "$took" -ge 700 ]; echo $?)" "--retry-delay waits ($took ms)"

# answers
is '-q prints the id alone' "$(hive submit -q true | grep -cE '^[0-9]+$')" 1
run hive submit --json true
is '--json is one value' "$(printf '%s' "$out" | jq -cs '[length,.[0].api,(.[0].id|type),.[0].status]')" '[1,1,"string","queued"]'
run hive submit --wait --json 'exit 4'
is '--wait --json is the finished job' "$status $(printf '%s' "$out" | jq -cs '[length,.[0].status,.[0].exit_code]')" '4 [1,"failed",4]'
before=$(hive status jobs --json --limit 1 | jq -r '.jobs[0].id')
exits '--dry-run' 0 hive submit --dry-run 'echo hi'
like '--dry-run says what would happen' "$out$err" 'would start now'
is '--dry-run --json is one value' "$(hive submit --dry-run --json --array 1-5 true | jq -cs '[length,.[0].dry_run,.[0].job.id]')" '[1,true,null]'
exits '--dry-run checks' 1 hive submit --dry-run -t 9999 true
is '--dry-run of a plain job' "$(hive submit --dry-run true | sed 's/ on .*//')" "command:    true
name:       true
folder:     $T
reserves:   1 thread
then:       would start now
Nothing was submitted."
node=$(hive status nodes --json | jq -r '.nodes[0].name')
set -- -n x -t 2 -m 100M -p -5 --after "$before:any" --timeout 1h --retry 3 --retry-delay 10s --env A=b --env 'C=d e' --on-lost requeue \
    --node "$node" -o 'o%j-%a' -e e%% --array 1-10:3%2 --hold 'echo hi'
is '--dry-run shows all that was asked for' "$(hive submit --dry-run "$@" 2>/dev/null)" "command:    echo hi
name:       x
folder:     $T
reserves:   2 threads, 100M memory
priority:   -5
time limit: 1h
node:       $node
tasks:      4, numbers 1 to 10 in steps of 3, at most 2 at once
retries:    3, each after 10s
if lost:    it is run again
after:      $before:any
variable:   A=b
variable:   C=d e
output:     o%j-%a
errors:     e%%
then:       would be held until released
Nothing was submitted."
is '--dry-run --json, too' "$(hive submit --dry-run --json "$@" 2>/dev/null | jq -c '.job|[.name,.threads,.memory_bytes,.priority,.after,.timeout_seconds,.retries_left,.retry_delay_seconds,.env,.on_lost,.node,.stdout_path,.stderr_path,.held,.array.total,.array.limit]')" \
    "[\"x\",2,104857600,-5,[\"$before:any\"],3600,3,10,{\"A\":\"b\",\"C\":\"d e\"},\"requeue\",\"$node\",\"o%j-%a\",\"e%%\",true,4,2]"
like '--dry-run of lines' "$(seq 5 | hive submit --dry-run --each-line - --array %2 -- echo)" '^tasks: +5, one for each line, at most 2 at once$'
like '--dry-run of a script' "$(hive submit --dry-run ./job.sh 2>/dev/null)" '^variable: +GREETING=hello world$'
is '--dry-run stores nothing' "$(hive status jobs --json --limit 1 | jq -r '.jobs[0].id')" "$before"
a=$(hive submit -q --idempotency-key k1 'echo once')
is 'the same key is the same job' "$(hive submit -q --idempotency-key k1 'echo once')" "$a"
exits 'the same key with another command' 1 hive submit --idempotency-key k1 'echo twice'
like 'says so' "$err" 'key'
exits 'a key with a line break' 2 hive submit --idempotency-key 'a
b' true

# hold
id=$(hive submit -q --hold true)
is '--hold: stays queued' "$(job "$id" status) $(job "$id" held)" 'queued true'
check 'release' hive release "$id"
check 'and it runs' hive wait "$id"
for how in --wait --follow '--wait --json'; do
    hive submit $how --hold 'echo out' >held.out 2>held.err &
    pid=$!
    check "$how --hold: says that it is held" wait_for 10 grep -q 'is held.*hive release' held.err
    id=$(sed -n 's/.*hive release \([0-9]*\)$/\1/p' held.err)
    is "$how --hold: names the job" "$(job "$id" held)" true
    hive release "$id" >/dev/null
    wait "$pid"
    is "$how --hold: then it waits for the end" "$?" 0
done
run hive submit --hold true
is '--hold alone says nothing of waiting' "$err" ''
hive cancel "${out##* }" >/dev/null

# what can never run is refused at once, with the reason
for args in '-t 9999' '-m 900T' '-g 1' '--node no-such-node'; do
    run hive submit $args true
    check "refused: $args" [ "$status" -eq 1 -o "$status" -eq 2 ]
    like "refused: $args: says why" "$err" 'thread|memory|GPU|gpu|node'
    is "refused: $args: no id" "$out" ''
done
exits 'after a job that does not exist' 1 hive submit --after 99999 true
like 'after a job that does not exist: says so' "$err" 99999
exits 'after nonsense' 2 hive submit --after 1:maybe true
exits 'an array that counts down' 2 hive submit --array 5-1 true
like 'an array that counts down: says so' "$err" '5-1: its last task comes before its first'
exits 'an array of too many tasks' 1 hive submit --array 1-99999999999 true
exits 'an array that never starts' 2 hive submit --array 1-3%0 true
like 'an array that never starts: says so' "$err" '1-3%0: with at most 0 at once'
exits 'an array without a step' 2 hive submit --array 1-3:0 true
like 'an array without a step: says so' "$err" 'step of 0'
exits 'an array that is no array' 2 hive submit --array x true
like 'an array that is no array: says what is expected' "$err" 'FIRST-LAST'
exits 'both array and each-line' 2 hive submit --array 1-3 --each-line input true
exits 'no such file of lines' 1 hive submit --each-line /no/such/file true
exits 'an empty command' 2 hive submit ''
exits 'a command of blanks' 2 hive submit '  '
exits 'a command that is too long' 1 hive submit "$(head -c 70000 /dev/zero | tr '\0' x)" "$(head -c 70000 /dev/zero | tr '\0' x)" true
exits 'text that is not UTF-8 is refused' 2 hive submit --wait "$(printf 'true \377')"
check 'the daemon is still there' hive status
check 'after all this a job runs' hive submit --wait true
is 'nothing is left running' "$(hive status jobs --json --status running | jq '.jobs|length')" 0

done_testing
