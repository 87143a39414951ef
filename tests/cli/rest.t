# SPDX-License-Identifier: BSD-2-Clause
# The REST API as its users see it; first as the Go cluster workload manager's README shows it.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 2 || exit 1
api=$url/api/v1
curl() { command curl -m 60 "$@"; }

# post PATH JSON [CURL-ARG...]: prints the answer, sets nothing
post() {
    post_path=$1 post_body=$2
    shift 2
    curl -s -X POST "$api/$post_path" -H 'Content-Type: application/json' -d "$post_body" "$@"
}
# code ARG...: the HTTP status of a curl call
code() { curl -s -o body -w '%{http_code}' "$@"; }
post_code() {
    post_path=$1 post_body=$2
    shift 2
    code -X POST "$api/$post_path" -H 'Content-Type: application/json' -d "$post_body" "$@"
}
final() { [ "$(curl -s "$api/jobs/$1" | jq -r .finished_at)" != null ]; }

# --- the Go manager's README ---
answer=$(curl -s -X POST "$api/jobs/submit" -H "Content-Type: application/json" \
    -d '{"command": "sleep 1 && echo Hello World", "threads": 2, "stdout_path": "'"$T"'/output.txt", "stderr_path": "'"$T"'/error.txt"}')
is 'submit answers as it did' "$(echo "$answer" | jq -c '[(.job_id|type),.message,.status]')" '["string","Job submitted successfully","queued"]'
id=$(echo "$answer" | jq -r .job_id)
is 'the job object has its fields and types' \
    "$(curl -s "$api/jobs/$id" | jq -c '[.id,.command,.threads,.stdout_path,.stderr_path,(.status|type),(.node_address|type),(.submitted_at|test("^[0-9-]{10}T[0-9:]{8}(\\.[0-9]+)?Z$"))]')" \
    "[\"$id\",\"sleep 1 && echo Hello World\",2,\"$T/output.txt\",\"$T/error.txt\",\"string\",\"string\",true]"
wait_for 10 final "$id"
is 'the output is where it was asked for' "$(cat output.txt)" 'Hello World'
is 'the error file is there, too' "$(cat error.txt)" ''
like 'started_at is set' "$(curl -s "$api/jobs/$id" | jq -r .started_at)" '^20.*Z$'
for i in 1 2 3 4 5 6 7 8 9 10; do
    curl -s -X POST "$api/jobs/submit" -H "Content-Type: application/json" \
        -d "{\"command\": \"echo Job $i\", \"threads\": 1, \"stdout_path\": \"$T/job_$i.out\", \"stderr_path\": \"$T/job_$i.err\"}" >>loop.out
done
is 'the loop of ten' "$(jq -r .status loop.out | sort | uniq -c | tr -s ' ')" ' 10 queued'
wait_for 10 sh -c '[ "$(curl -s '"$api"'/status | jq ".queued_jobs+.running_jobs")" = 0 ]'
is 'all ten ran' "$(cat job_?.out job_10.out | sort | uniq | wc -l)" 10
is 'status' "$(curl -s "$api/status" | jq -c '[(.address|type),.max_threads,.used_threads,.available_threads,.queued_jobs,.running_jobs,.completed_jobs,(.last_heartbeat|type),.is_healthy]')" \
    '["string",2,0,2,0,0,11,"string",true]'
is 'cluster/status' "$(curl -s "$api/cluster/status" | jq -c '[.head_node.max_threads,.head_node.is_healthy,(.worker_nodes|type),.total_jobs]')" '[2,true,"array",11]'
is 'health' "$(code "$api/health") $(jq -r .status body)" '200 ok'
is 'version' "$(curl -s "$api/version" | jq -r .version)" "$(cat "$top/VERSION")"

# --- bulk ---
jq -nc '{defaults:{threads:1,hold:true},jobs:[range(10000)|{command:"true",name:"bulk \(.)"}]}' >bulk.json
begin=$(date +%s%N)
is '10,000 jobs in one request' "$(post jobs/bulk @bulk.json | jq -c '[.count,(.job_ids|length),.job_ids[0]==.first_id,.job_ids[9999]==.last_id]')" '[10000,10000,true,true]'
took=$((($(date +%s%N) - begin) / 1000000))
ok "$([ "$took" -lt 10000 ]; echo $?)" "in $took ms"
last=$(curl -s "$api/jobs?limit=1" | jq -r '.jobs[0].id')
is 'all or nothing' "$(post_code jobs/bulk '{"jobs":[{"command":"true"},{"command":"true","threads":9999}]}')" 422
like 'it names the wrong one' "$(cat body)" 'jobs\[1\]'
is 'nothing was added' "$(curl -s "$api/jobs?limit=1" | jq -r '.jobs[0].id')" "$last"
for body in '{"jobs":[]}' '{}' '[]' '5' '{"jobs":{}}' '{"jobs":[5]}' '{"jobs":[null]}' '{"jobs":[{}]}' '{"jobs":[{"command":"x"}],"frob":1}' \
    '{"jobs":[{"command":"x"}],"defaults":[]}' '{"jobs":[{"command":"x"}],"defaults":{"threads":"x"}}'; do
    is "bulk: $body" "$(post_code jobs/bulk "$body")" 400
done
is 'bulk over the limit' "$(jq -nc '{jobs:[range(100001)|{command:"x"}]}' >big.json; post_code jobs/bulk @big.json)" 400

# --- pages ---
pages() { # ORDER-AND-FILTER: all ids, page by page
    cursor=
    while :; do
        curl -s "$api/jobs?limit=999&$1${cursor:+&before=$cursor}" >page.json
        jq -r '.jobs[].id' page.json
        cursor=$(jq -r '.next//empty' page.json)
        [ -n "$cursor" ] || break
    done
}
pages '' >ids
is 'pages give each job once' "$(wc -l <ids) $(sort -u ids | wc -l)" '10011 10011'
is 'newest first' "$(sort -rn ids | cmp - ids && echo yes)" yes
is 'counts' "$(jq -c '[.counts.queued,.counts.succeeded]' page.json)" '[10000,11]'
for n in 1 2 3 4 5; do curl -s -X POST "$api/jobs/$((last - n))/cancel" >/dev/null; done
curl -s "$api/jobs?order=finished&limit=3" >page.json
is 'pages by end: first' "$(jq '.jobs|length' page.json)" 3
pages 'order=finished' >ids
is 'pages by end give each job once' "$(wc -l <ids) $(sort -u ids | wc -l)" '16 16'
jq -r '.jobs[].id' page.json >ids
cursor=$(jq -r .next page.json)
while [ "$cursor" != null ]; do
    curl -s "$api/jobs?order=finished&limit=3&before=$cursor" >page.json
    jq -r '.jobs[].id' page.json >>ids
    cursor=$(jq -r .next page.json)
done
is 'small pages by end, too, though many end at one time' "$(wc -l <ids) $(sort -u ids | wc -l)" '16 16'
is 'filter by status' "$(pages 'status=succeeded' | wc -l)" 11
is 'filter by text' "$(curl -s "$api/jobs?q=bulk%209999" | jq -r '.jobs[].name')" 'bulk 9999'
for bad in limit=0 limit=x limit=99999999 limit=-1 before=x status=frob order=frob array=x 'order=finished&before=5'; do
    is "jobs?$bad" "$(code "$api/jobs?$bad")" 400
done

for bad in jobs?stats=queued jobs?limit=1\&limt=2 health?x nodes?order=id "jobs/$last?wiat=1" "jobs/$last/logs?follw=1"; do
    is "$bad: no such parameter" "$(code "$api/$bad") $(jq -r '.error.kind,(.error.hint|length > 5)' body | tr '\n' ' ')" '400 invalid true '
done
is 'bulk has no dry run' "$(code -X POST "$api/jobs/bulk?dry_run=1" -H 'Content-Type: application/json' -d '{"jobs":[{"command":"true"}]}')" 400
is 'parameters against caches are ignored' "$(code "$api/cluster/status?_=1732147200") $(code "$api/jobs?_t=1&limit=1") $(code "$api/status?&")" '200 200 200'

# --- cancel the rest, watched by the event stream ---
command curl -m 60 -sN "$api/events" >events &
watcher=$!
command curl -m 60 -sN "$api/events?job=$((last - 10))" >events1 &
watcher1=$!
wait_for 5 sh -c "ls -l /proc/$watcher1/fd | grep -q socket"
wait_for 5 sh -c 'curl -s '"$api/jobs/$((last - 11))/cancel"' -X POST >/dev/null; curl -s '"$api/jobs/$((last - 10))/cancel"' -X POST >/dev/null; grep -q cancelled events1'
check 'an event tells of a change' wait_for 5 grep -q '^event: job' events
is 'its data is a job' "$(sed -n 's/^data: //p' events | tail -n 1 | jq -r '.status')" cancelled
is 'events of one job are of that job' "$(sed -n 's/^data: //p' events1 | jq -r .id | sort -u)" "$((last - 10))"
kill $watcher $watcher1

# --- long poll ---
id=$(post jobs/submit '{"command":"sleep 0.5; exit 3"}' | jq -r .id)
is 'wait answers at the end' "$(curl -s "$api/jobs/$id?wait=20" | jq -c '[.status,.exit_code]')" '["failed",3]'
id=$(post jobs/submit '{"command":"exec sleep 1000"}' | jq -r .id)
is 'or when the time is over' "$(curl -s "$api/jobs/$id?wait=1" | jq -r .status)" running
is 'wait: bad number' "$(code "$api/jobs/$id?wait=301") $(code "$api/jobs/$id?wait=x")" '400 400'
for n in 1 2 3 4 5; do curl -s -m 0.2 "$api/jobs/$id?wait=60" >/dev/null; done
is 'cancel with a grace' "$(post "jobs/$id/cancel" '{"grace":"1s"}' | jq -r .job.id)" "$id"
is 'cancel with nonsense' "$(post_code "jobs/$id/cancel" '{"grase":1}') $(post_code "jobs/$id/cancel" '[]')" '400 400'
wait_for 5 final "$id"
is 'cancel what has ended' "$(code -X POST "$api/jobs/$id/cancel") $(jq -r .error.kind body)" '409 conflict'
is 'attempts' "$(curl -s "$api/jobs/$id/attempts" | jq -c '[.api,(.attempts|length),.attempts[0].outcome]')" '[1,1,"cancelled"]'

# --- to the Go manager's clients each task of an array is a job ---
go_counts() { curl -s "$api/cluster/status" | jq -c '[.head_node.queued_jobs,.head_node.running_jobs,.head_node.completed_jobs,.total_jobs]'; }
before=$(go_counts)
hive wait "$(post jobs/submit '{"command":"true","array":"1-7"}' | jq -r .id)"
is 'tasks are counted one by one' "$(go_counts)" "$(echo "$before" | jq -c '[.[0],.[1],.[2]+7,.[3]+7]')"

# --- idempotency ---
a=$(post jobs/submit '{"command":"true"}' -H 'Idempotency-Key: one' | jq -r .id)
is 'same key, same body: same job' "$(post jobs/submit '{"command":"true"}' -H 'Idempotency-Key: one' | jq -c '[.id,.existing]')" "[\"$a\",true]"
is 'same key, other body' "$(post_code jobs/submit '{"command":"false"}' -H 'Idempotency-Key: one')" 422
is 'bulk, too' "$(post jobs/bulk '{"jobs":[{"command":"true"},{"command":"true"}]}' -H 'Idempotency-Key: two' | jq -c .job_ids)" \
    "$(post jobs/bulk '{"jobs":[{"command":"true"},{"command":"true"}]}' -H 'Idempotency-Key: two' | jq -c .job_ids)"
is 'a key that is too long' "$(post_code jobs/submit '{"command":"true"}' -H "Idempotency-Key: $(head -c 300 /dev/zero | tr '\0' k)")" 400

# --- bad requests: each gets an error with kind and message, and harms nothing ---
bad() { # WANTED PATH BODY
    got=$(post_code "$2" "$3")
    is "$(printf %.60s "$3") -> $1" "$got $(jq -c '[.api,(.error.kind|type),(.error.message|length>3)]' body)" "$1 [1,\"string\",true]"
}
for body in '' '{' '[]' '"x"' 'null' '{}' '{"command":5}' '{"command":""}' '{"command":"  "}' '{"command":null}' '{"command":"x","threads":"2"}' \
    '{"command":"x","threads":1.5}' '{"command":"x","threads":0}' '{"command":"x","threads":-1}' '{"command":"x","threads":1e99}' \
    '{"command":"x","threads":99999999999999999999}' '{"command":"x","frob":1}' '{"command":"x","thread":1}' '{"command":"x","env":[]}' \
    '{"command":"x","env":{"a=b":"c"}}' '{"command":"x","env":{"A":1}}' '{"command":"x","env":{"A":"b\u0000c"}}' '{"command":"x\u0000y"}' '{"command":"x","workdir":"rel"}' \
    '{"command":"x","stdout_path":""}' '{"command":"x","stdout_path":7}' '{"command":"x","timeout":"5"}' '{"command":"x","timeout":-1}' \
    '{"command":"x","memory":"8"}' '{"command":"x","memory":-5}' '{"command":"x","after":"1"}' '{"command":"x","after":["x"]}' '{"command":"x","after":[1]}' \
    '{"command":"x","array":"5-1"}' '{"command":"x","array":"1-5","lines":["a"]}' '{"command":"x","lines":[]}' '{"command":"x","array_limit":3}' \
    '{"argv":[]}' '{"argv":[""]}' '{"argv":[1]}' '{"argv":"x"}' '{"command":"x","argv":["x"]}' '{"command":"x","hold":"yes"}' '{"command":"x","priority":1000001}' \
    '{"command":"x","retry":-1}' '{"command":"x","on_lost":"frob"}' '{"command":"x","name":["x"]}' '{"command":"x"}{"command":"y"}' '{"command":"x",}' \
    '{"command":"\ud800"}'; do
    bad 400 jobs/submit "$body"
done
bad 400 jobs/submit "$(printf '{"command":"\377"}')"
bad 400 jobs/submit "$(perl -e 'print "[" x 100000')"
bad 400 jobs/submit "{\"command\":\"x\",\"command\":\"y\"}"
bad 422 jobs/submit '{"command":"x","threads":9999}'
bad 422 jobs/submit '{"command":"x","memory":"900T"}'
bad 422 jobs/submit '{"command":"x","gpus":1}'
bad 422 jobs/submit '{"command":"x","node":"nope"}'
bad 422 jobs/submit '{"command":"x","after":["999999"]}'
bad 413 jobs/submit "$(perl -e 'print q({"command":"), "x" x 120000, q(","script":null,"env":{"A":"), "y" x 50000, q("}})' >spec.json; echo @spec.json)"
perl -e 'print q({"command":"), "x" x 100_000_000, q("})' >huge.json
is 'a body of 100 MB' "$(code -X POST "$api/jobs/submit" -H 'Content-Type: application/json' -H 'Expect:' --data-binary @huge.json)" 413
rm huge.json
is 'routes' "$(code "$url/") $(code "$url/api") $(code "$api/") $(code "$api/frob") $(code "$api/jobs/frob") $(code "$api/jobs/1/frob") $(code "$api/jobs/999999") $(code "$api//jobs")" \
    '404 404 404 404 404 404 404 404'
is 'paths are not files' "$(code --path-as-is "$url/../../etc/passwd") $(code --path-as-is "$api/jobs/../../../etc/passwd") $(code "$api/jobs/%2e%2e%2f1") $(code "$api/jobs/1%00")" '404 404 404 400'
is 'wrong methods' "$(code -X POST "$api/jobs") $(code -X DELETE "$api/jobs/1") $(code "$api/jobs/submit") $(code -X PUT "$api/health") $(code -X OPTIONS "$api/health") $(code -X FROB "$api/health")" \
    '405 405 405 405 405 405'
like 'the allowed one is named' "$(curl -si -X DELETE "$api/jobs/1")" '^Allow: GET'
is 'HEAD' "$(curl -sI "$api/health" | head -n 1 | tr -d '\r')" 'HTTP/1.1 200 OK'
is 'other content types' "$(code -X POST "$api/jobs/submit" -d '{"command":"x"}') $(code -X POST "$api/jobs/submit" -H 'Content-Type: text/plain' -d '{"command":"x"}') $(code -X POST "$api/jobs/submit" -H 'Content-Type:' -d '{"command":"x"}') $(code -X POST "$api/jobs/submit" -H 'Content-Type: application/jsonx' -d '{"command":"x"}')" \
    '415 415 415 415'
is 'with a charset' "$(post_code jobs/submit '{"command":"true"}' -H 'Content-Type: application/json; charset=utf-8')" 200
like 'answers are not cached' "$(curl -si "$api/health")" '^Cache-Control: no-store'
check 'after all this the daemon lives' kill -0 "$daemon_pid"
is 'and runs jobs' "$(hive submit --wait true; echo $?)" "Submitted job $(hive status jobs --json --limit 1 | jq -r '.jobs[0].id')
0"

done_testing
