# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# Hosts as nodes: added, used, cut off, crashed, removed, with the daemon restarted in between. Promises that are tried:
# nothing is lost, nothing runs twice, ends and output are what they were there.

. "$(dirname "$0")/lib.sh"
lab_begin
lab_host alpha users=alice
lab_host beta port=2222
lab_host gamma
cat >"$HOME/.ssh/config" <<'END'
Host beta
    Port 2222
Host *
    ServerAliveInterval 1
    ServerAliveCountMax 3
    ConnectTimeout 5
END
start_daemon --threads 2 || exit 1

node() { curl -s -m 10 "$url/api/v1/nodes/$1" | jq -r ".nodes[0]$2"; }
node_is() { [ "$(node "$1" "$2")" = "$3" ]; }
# wait_until NAME SECONDS COMMAND…
wait_until() {
    wait_name=$1
    shift
    check "$wait_name" wait_for "$@"
}
job() { hive status "$1" --json | jq -r ".jobs[0]$2"; }
# there HOST PATTERN: whether such a process runs there
there() { lab_on "$1" pgrep -f "$2" >/dev/null; }
not_there() { ! there "$@"; }
lines() { lab_on "$1" sh -c "wc -l <$2 2>/dev/null || echo 0"; }

# --- adding, and the two lines that it is for ---

run hive hosts add alpha beta gamma
is 'three hosts are added, and up' "$status/$(printf '%s\n' "$out" | grep -c 'is up: [0-9]* threads')" 0/3
run hive submit --node alpha --wait --follow -- hostname
is 'a job runs on the other machine' "$out/$status" alpha/0
is 'nodes are listed' "$(hive status nodes --json | jq -r '[.nodes[]|select(.kind=="ssh")|.name+" "+.status]|join(",")')" 'alpha up,beta up,gamma up'
wait_until 'each is measured' 30 eval '[ "$(hive status nodes --json | jq "[.nodes[]|select(.cpu_percent!=null and .load[0]!=null and .memory_available_bytes>0)]|length")" = 4 ]'
is 'with its cores and disk' "$(hive status nodes --json | jq -r '[.nodes[]|select(.disk_free_bytes>0 and (.cores_percent|length)>0 and .net_rx_bytes_per_s!=null)]|length')" 4
is 'hive is there, as its hash' "$(lab_on alpha sh -c 'ls .cache/hive/bin' | grep -cE '^[0-9a-f]{64}$')" 1
run hive hosts add alpha
is 'a second time is refused' "$status" 1
like 'in words' "$err" 'there is a node alpha already'

is 'a dry run names the node' "$(hive submit --node beta --dry-run -- true | sed -n 's/^then: *//p')" 'would start now on beta'

# --- what jobs see ---

run hive submit --node beta --wait --follow -- sh -c 'echo "$HIVE_NODE $HIVE_THREADS $HOME $PWD"; echo oops >&2; exit 7'
is 'exit codes come back' "$status" 7
is 'environment and folder are those of the node' "$out" 'beta 1 /root /root'
id=$(hive status jobs --json | jq -r '.jobs[0].id')
is 'and its errors' "$(hive logs "$id" --stderr)" oops
is 'the node stands with the job' "$(job "$id" .node)" beta
head -c 3000000 /dev/urandom >"$(lab_path gamma /root/random)"
id=$(hive submit -q --node gamma -- cat random)
hive wait "$id"
hive logs "$id" >got
is 'output is copied byte by byte' "$(sha256sum <got)" "$(sha256sum <"$(lab_path gamma /root/random)")"
is 'and nothing stays there' "$(lab_on gamma sh -c 'find / -xdev -path "*/attempts/*" -name "[0-9]*.[0-9]*.out" 2>/dev/null | wc -l')" 0
run hive submit --node alpha --wait -- no-such-program-anywhere
is 'a program that is not there' "$status" 127
run hive submit --node alpha --timeout 1s --wait -- sleep 100
is 'a time limit' "$status" 124
run hive submit --node nowhere -- true
is 'a node that is not known is refused' "$status" 1
id=$(hive submit -q -- hostname)
hive wait "$id"
is 'who asks for no node stays here' "$(hive logs "$id")" "$(hostname)"

# --- many, and all over ---

for host in alpha beta gamma; do hive submit -q --node $host --array 1-40 -- sh -c 'echo "$HIVE_TASK_ID" >>done' >>arrays; done
# shellcheck disable=SC2046
hive wait $(cat arrays)
for host in alpha beta gamma; do
    is "all tasks ran once on $host" "$(lab_on $host sh -c 'sort -n done | uniq | wc -l; wc -l <done' | tr '\n' ' ')" '40 40 '
done

# --- cancelling ends the whole tree ---

id=$(hive submit -q --node alpha -- sh -c 'setsid sleep 7771 & sleep 7772')
wait_until 'it runs there' 20 there alpha 'sleep 7771'
wait_until 'what it uses is shown' 30 eval 'hive status nodes >/dev/null; [ "$(job "$id" .memory_used_bytes)" -gt 0 ]'
hive cancel "$id"
wait_until 'cancelled' 20 status_is "$id" cancelled
check 'its whole tree is gone' not_there alpha 'sleep 777[12]'

# --- the agent is killed, the link process is killed, the server is restarted: jobs go on ---

id=$(hive submit -q --node alpha -- sh -c 'echo one >>runs; until [ -e go ]; do sleep 0.1; done; echo end; exit 5')
wait_until 'a long job runs' 20 there alpha 'until .*go'
lab_on alpha pkill -KILL -f 'hive agent'
wait_until 'alpha is away' 20 node_is alpha .status suspect
wait_until 'alpha is back' 60 node_is alpha .status up
pkill -KILL -f 'hive link .*-- alpha'
wait_until 'alpha is away again' 20 node_is alpha .status suspect
wait_until 'and back again' 60 node_is alpha .status up
lab_sshd_restart alpha
is 'the job still runs' "$(job "$id" .status)" running

# --- the daemon is killed ---

stop_daemon KILL
start_daemon --threads 2 || exit 1
wait_until 'alpha is back with a new daemon' 60 node_is alpha .status up
is 'the job is running for it' "$(job "$id" .status)" running
lab_on alpha touch go
wait_until 'and ends' 30 status_is "$id" failed
is 'with its own code and output, after one run' "$(job "$id" .exit_code)/$(hive logs "$id")/$(lines alpha runs)" 5/end/1

# --- a cut in each direction, while jobs end ---

for direction in both in out; do
    id=$(hive submit -q --node beta -- sh -c "echo $direction >>cuts; until [ -e go-$direction ]; do sleep 0.1; done; exit 3")
    wait_until "a job runs on beta before a cut ($direction)" 20 there beta "go-$direction"
    lab_cut beta $direction
    wait_until "beta is away ($direction)" 40 node_is beta .status suspect
    lab_on beta touch "go-$direction"
    lab_mend beta
    wait_until "its end comes ($direction)" 90 status_is "$id" failed
    is "as it was, after one run ($direction)" "$(job "$id" .exit_code)/$(lab_on beta grep -c $direction cuts)" 3/1
done

# --- a slow link ---

lab_slow beta 300 1mbit
id=$(hive submit -q --node beta -- sh -c 'head -c 200000 /dev/zero | tr "\0" x; exit 6')
wait_until 'a job over a slow link ends' 60 status_is "$id" failed
is 'with all of its output' "$(job "$id" .exit_code)/$(hive logs "$id" | wc -c)" 6/200000
lab_slow beta 0

# --- a host that crashes ---

id=$(hive submit -q --node gamma --on-lost hold -- sleep 1000)
wait_until 'a job runs on gamma' 20 there gamma 'sleep 1000'
lab_restart gamma
wait_until 'after a crash of its host it is lost' 90 status_is "$id" lost
id=$(hive submit -q --node gamma --on-lost requeue -- sh -c 'echo x >>tries; [ "$(wc -l <tries)" -ge 2 ] || sleep 1000')
wait_until 'another job runs on gamma' 20 there gamma 'sleep 1000'
lab_restart gamma
wait_until 'asked for, it runs again' 90 status_is "$id" succeeded

# --- the host's key changes ---

lab_new_host_key gamma
lab_sshd_restart gamma
pkill -KILL -f 'hive link .*-- gamma'
wait_until 'a changed key is refused' 60 eval 'node gamma .error | grep -q key'
like 'status shows it' "$(COLUMNS=300 hive status nodes | grep ^gamma)" 'down .*key'
like 'with what to do' "$(node gamma .hint)" 'hive hosts trust'
lab_trust gamma
curl -s -X POST -H 'Content-Type: application/json' "$url/api/v1/nodes/gamma/connect" >/dev/null
wait_until 'trusted, it is up again' 60 node_is gamma .status up

# --- over time ---

points() { curl -s -m 10 "$url/api/v1/nodes/$1/metrics?series=cpu_percent,memory_available_bytes" | jq '[.points[]|select(.mean[1]>0)]|length'; }
wait_until 'what a node does is kept over time' 60 eval '[ "$(points alpha)" -ge 2 ]'
wait_until 'what this machine does, too' 60 eval '[ "$(points "$(hostname)")" -ge 1 ]'

# --- a host where hive can't run ---

lab_host delta arch=aarch64
run hive hosts add delta
is 'a machine of another kind can not be used' "$status" 1
like 'and why' "$err" 'aarch64'
is 'it takes no jobs' "$(node delta .status)" drained
wait_until 'but is measured, by its shell' 30 eval '[ "$(node delta .cpu_percent)" != null ] && [ "$(node delta .memory_available_bytes)" -gt 0 ]'
run hive submit --node delta -- true
is 'a job for it is refused' "$status" 1
like 'with the reason' "$err" 'delta can run no jobs: .*aarch64'
run hive hosts remove delta
is 'removed, too' "$status/$err" 0/

# --- removing ---

id=$(hive submit -q --node beta -- sleep 1000)
wait_until 'a job runs on beta' 20 there beta 'sleep 1000'
run hive hosts remove beta
is 'not while jobs run there' "$status" 1
hive cancel "$id"
wait_until 'cancelled on beta' 20 status_is "$id" cancelled
for host in alpha beta gamma; do run hive hosts remove $host; done
is 'removed' "$status/$err" 0/
wait_until 'what was copied is gone' 30 eval '! lab_on beta sh -c "ls .cache/hive/bin/*/hive" >/dev/null 2>&1'
wait_until 'no agent is left' 30 not_there beta 'hive agent'
wait_until 'no link process is left' 30 eval '! pgrep -f "hive link" >/dev/null'
run hive hosts list
is 'the list is empty' "$out" ''
end_daemon
is 'the daemon ends with status 0' "$daemon_status" 0
is 'its log has no defects' "$(grep -E 'Sanitizer|runtime error|assert' "$T/daemon.log")" ''

done_testing
