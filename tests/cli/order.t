# SPDX-License-Identifier: BSD-2-Clause
# What starts when: priority, age, backfill, and that threads and memory are never given out twice.
. "$(dirname "$0")/lib.sh"
start_daemon --threads 4 || exit 1

ended() { [ "$(hive status jobs --json --status queued,running | jq '.jobs|length')" = 0 ]; }
blocker() { blocker=$(hive submit -q -t 4 'exec sleep 1000') && wait_for 10 status_is "$blocker" running; }

# one at a time: priority first, then age
blocker
for job in 0:a 0:b 5:c -5:d 5:e 0:f; do
    hive submit -q -t 4 -p "${job%:*}" "echo ${job#*:} >>order" >/dev/null
done
is 'the queue is listed in the order it will start' \
    "$(curl -s "$url/api/v1/jobs?order=queue&status=queued" | jq -r '[.jobs[].command|ltrimstr("echo ")[0:1]]|join(" ")')" 'c e a b f d'
hive cancel "$blocker" >/dev/null
check 'all run' wait_for 10 ended
is 'priority, then age' "$(tr '\n' ' ' <order)" 'c e a b f d '

# backfill: a narrow job passes a wide one that doesn't fit
half=$(hive submit -q -t 2 'exec sleep 1000')
wait_for 10 status_is "$half" running
wide=$(hive submit -q -t 4 'true')
exits 'a narrow job passes a wide one' 0 timeout 10 hive submit --wait -t 2 true
is 'the wide one waits' "$(job_status "$wide")" queued
exits 'one that fits nowhere yet does not' 124 sh -c 'hive wait --timeout 300ms $(hive submit -q -t 3 true)'
hive cancel "$half" >/dev/null
exits 'the wide one runs when there is room' 0 timeout 10 hive wait "$wide"
check 'all end' wait_for 10 ended

# but it is not starved: after the window narrow ones must wait
stop_daemon
HIVE_JOBS_BACKFILL_WINDOW=300ms start_daemon --threads 4
half=$(hive submit -q -t 2 'sleep 1')
wait_for 10 status_is "$half" running
wide=$(hive submit -q -t 4 'echo wide >>starve')
for n in 1 2 3 4 5 6 7 8 9 10; do hive submit -q -t 1 'sleep 0.5; echo narrow >>starve' >/dev/null; done
exits 'the wide job runs though narrow ones keep coming' 0 timeout 15 hive wait "$wide"
ok "$([ "$(sed -n '/wide/q;p' starve | wc -l)" -lt 10 ]; echo $?)" 'before all the narrow ones'
check 'all end' wait_for 15 ended

# threads: many jobs of many widths, never more than there are at once
mkdir use
for n in $(seq 60); do
    width=$((n % 4 + 1))
    echo "{\"threads\":$width,\"command\":\"touch use/$n; for w in 1 2 3 4; do [ \$w -le $width ] && : >use/$n.\$w; done; ls use | grep -c '[.]' >>peak; sleep 0.02; rm use/$n.*\"}"
done | jq -cs "{defaults:{workdir:\"$T\"},jobs:.}" >bulk.json
check '60 jobs of all widths' curl -sf "$url/api/v1/jobs/bulk" -H 'Content-Type: application/json' -d @bulk.json
check 'all end' wait_for 20 ended
is 'all ran' "$(wc -l <peak)" 60
ok "$([ "$(sort -n peak | tail -n 1)" -le 4 ]; echo $?)" "never more than 4 threads at once, $(sort -n peak | tail -n 1) at most"
is 'all succeeded' "$(curl -s "$url/api/v1/jobs?limit=60" | jq -r '[.jobs[].status]|unique[]')" succeeded

# memory is reserved
total=$(hive status nodes --json | jq '.nodes[0].memory_total_bytes')
part=$((total * 3 / 5 / 1048576))M
a=$(hive submit -q -m "$part" 'exec sleep 1000')
wait_for 10 status_is "$a" running
b=$(hive submit -q -m "$part" 'true')
exits 'memory is given out once' 124 hive wait --timeout 300ms "$b"
like 'the other one says what it waits for' "$(hive explain "$b")" '[Mm]emory'
hive cancel "$a" >/dev/null
exits 'then it runs' 0 timeout 10 hive wait "$b"

# and enforced where the system lets us
cat >hog.pl <<'S'
my @a;
push @a, "x" x 10_000_000 for 1 .. 40;
print "got it all\n";
S
if [ "$(hive status nodes --json | jq -r '.nodes[0].memory_enforcement')" != none ]; then
    exits 'a job over its memory dies' 137 hive submit --wait -m 100M -- perl hog.pl
    id=$(hive status jobs --json --limit 1 | jq -r '.jobs[0].id')
    is 'its status is oom' "$(job_status "$id")" oom
    like 'explain says so' "$(hive explain "$id")" 'memory'
    is 'it did not get it all' "$(hive logs "$id")" ''
    # groups that somebody else removed are made again
    shim=$(hive submit --follow -m 100M 'echo $PPID' 2>/dev/null)
    find /sys/fs/cgroup -depth -type d -name "hive-shim-*-$shim" -exec rmdir {} + 2>/dev/null
    exits 'a job runs though its group was removed' 0 hive submit --wait -m 100M true
    exits 'a child over its memory dies' 1 hive submit --wait -m 100M 'perl hog.pl || exit 1'
else
    exits 'memory is not enforced here: the job runs' 0 hive submit --wait -m 100M -- perl hog.pl
    like 'submit says so' "$(hive submit -m 100M true 2>&1)" 'memory'
    like 'status says so' "$(hive status nodes)" 'memory'
    skip 4 'memory is not enforced on this system'
fi
exits 'a job within its memory runs' 0 hive submit --wait -m 1G -- perl hog.pl

done_testing
