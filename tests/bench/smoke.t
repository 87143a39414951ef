#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tests/bench/run works: at a hundredth of its size it measures all that it can measure here. What it measures isn't
# looked at; a machine that runs tests side by side has nothing to say about that.
cd "$(dirname "$0")/../.." || exit 1
out=$(mktemp) || exit 1
trap 'rm -f "$out" "$out.err"' EXIT
trap 'exit 1' HUP INT TERM
count=0
failed=0

ok() { # ok STATUS NAME
    count=$((count + 1))
    [ "$1" -eq 0 ] && echo "ok $count - $2" && return
    failed=$((failed + 1))
    echo "not ok $count - $2"
}
# has ROW: it is there, with a number above zero
has() {
    awk -v row="$1" 'index($0, row) == 1 { rest = substr($0, length(row) + 1); sub(/^ +/, "", rest); if (rest + 0 > 0) found = 1 }
        END { exit !found }' "$out"
    ok $? "$1"
}

BENCH_SCALE=0.002 BENCH_REPEAT=1 BENCH_LONG_S=86400.$$ timeout 120 tests/bench/run >"$out" 2>"$out.err"
status=$?
ok $status 'tests/bench/run at a tiny scale'
if [ $status -ne 0 ]; then
    sed 's/^/# /' "$out" "$out.err"
fi
! grep -lz "^86400[.]$$\$" /proc/[0-9]*/cmdline 2>/dev/null | grep -q .
ok $? 'it leaves no process'
has 'posix_spawn and wait in C (raw)'
has 'hive, durable, submitted in bulk'
has 'hive, durable, submitted one by one'
has 'xargs -P (no queue, no record)'
has 'CPU time a job: raw'
has 'the disk: fdatasync of 32 KiB, median'
has 'hive submit -q in a shell loop'
has 'hive, bulk of 100,000'
has 'hive submit --wait, median'
has 'idle, PSS'
has 'with 2000 jobs queued, PSS'
has 'hive status, from start to exit'
has 'GET /api/v1/jobs, first page'
has 'the daemon starts again'
if command -v tsp >/dev/null; then
    has 'task-spooler in a shell loop (not durable)'
    has 'tsp -f, median'
fi
ok "$(grep -vc '^bench: ' "$out.err")" 'nothing unexpected on standard error'
[ $failed -eq 0 ] || sed 's/^/# /' "$out" "$out.err"
echo "1..$count"
[ $failed -eq 0 ]
