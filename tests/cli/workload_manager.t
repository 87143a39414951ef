# SPDX-License-Identifier: BSD-2-Clause
# workload-manager -config FILE.json: starts from the Go manager's configuration, and says what is wrong with one.
. "$(dirname "$0")/lib.sh"
ln -s "$HIVE" "$T/bin/workload-manager"

# try NAME JSON WANTED-ERE: refused with exit 1 or 2 and this message
try() {
    printf "$2" >bad.json
    run timeout 10 workload-manager -config bad.json
    check "$1: refused" [ "$status" -eq 1 -o "$status" -eq 2 ]
    like "$1: says where and what" "$err" "$3"
}
try 'no JSON' 'role: standalone' 'bad.json.*line 1'
try 'an error in line 3' '{\n "role": "standalone",\n "listen_port" 8080\n}' 'bad.json.*line 3'
try 'an empty file' '' 'bad.json'
try 'a list' '[]' 'bad.json:1'
try 'a port that is text' '{\n "listen_port": "8080"\n}' 'bad.json:2:.*listen_port'
try 'a port out of range' '{\n "listen_port": 70000\n}' 'bad.json:2:.*listen_port'
try 'a port with a fraction' '{\n "listen_port": 80.5\n}' 'bad.json:2:.*listen_port'
try 'threads' '{\n\n "max_threads": -1\n}' 'bad.json:3:.*max_threads'
try 'a role that is none' '{"role":"standalon"}' 'bad.json:1:.*role'
like 'a role that is none: proposal' "$err" 'did you mean .*standalone'
try 'head' '{"role":"head","worker_nodes":["10.0.0.1:8080"]}' 'bad.json:1:.*head.*standalone'
try 'worker' '{"role":"worker","head_node_address":"10.0.0.1:8080"}' 'bad.json:1:.*worker'
try 'workers of a wrong type' '{"worker_nodes":[1]}' 'bad.json:1:.*worker_nodes'
try 'NUL' '{"role":"stand\\u0000alone"}' 'bad.json.*line 1'
try 'given twice' '{"listen_port":1,\n"listen_port":2}' 'bad.json:[12]:.*listen_port'
exits 'no file' 1 workload-manager -config /no/such/file.json
like 'is named' "$err" '/no/such/file.json'
exits 'no -config' 2 workload-manager
for form in -config --config; do
    exits "$form without a value" 2 workload-manager $form
    like "$form without a value: what is missing" "$err" "$form needs a value: the JSON file"
done
exits 'a folder' 1 workload-manager -config /
head -c 2000000 /dev/zero | tr '\0' ' ' >bad.json
exits 'a huge file' 1 workload-manager -config bad.json

# a good one
port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
printf '{\n "role": "standalone",\n "listen_port": %d,\n "max_threads": 3,\n "frobs": 1\n}\n' "$port" >good.json
workload-manager -config good.json 2>"$T/daemon.log" &
daemon_pid=$!
check 'it starts' wait_for 10 curl -sf "http://127.0.0.1:$port/api/v1/health"
is 'with its threads' "$(curl -s "http://127.0.0.1:$port/api/v1/status" | jq .max_threads)" 3
like 'an unknown key is warned of, with its line' "$(cat daemon.log)" 'good.json:5:.*frobs'
id=$(curl -s -X POST "http://127.0.0.1:$port/api/v1/jobs/submit" -H 'Content-Type: application/json' \
    -d '{"command": "echo Hello World", "threads": 2, "stdout_path": "'"$T"'/o", "stderr_path": "'"$T"'/e"}' | jq -r .job_id)
check 'it runs jobs' hive wait "$id"
is 'their output is where it was asked for' "$(cat o)" 'Hello World'
stop_daemon TERM
is 'it stops' "$daemon_status" 0
for form in '--config good.json' '-config=good.json' '-c good.json'; do
    workload-manager $form 2>"$T/daemon.log" &
    daemon_pid=$!
    check "workload-manager $form" wait_for 10 curl -sf "http://127.0.0.1:$port/api/v1/health"
    stop_daemon TERM
done
hive daemon -c good.json 2>"$T/daemon.log" &
daemon_pid=$!
check 'hive daemon -c reads it, too' wait_for 10 curl -sf "http://127.0.0.1:$port/api/v1/health"

done_testing
