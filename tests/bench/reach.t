#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# tests/bench/reach works: at a fiftieth of its size it measures all that it measures. What comes out isn't looked at.
cd "$(dirname "$0")/../.." || exit 1
if [ "$(id -u)" -ne 0 ]; then
    printf 'ok 1 # SKIP needs root: network namespaces\n1..1\n'
    exit 0
fi
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
# has ROW [N]: it is there N times, with numbers above zero
has() {
    awk -v row="$1" -v want="${2:-1}" 'index($0, row) == 1 { rest = substr($0, length(row) + 1); if (rest + 0 > 0) found++ }
        END { exit found != want }' "$out"
    ok $? "$1"
}

# shown ROW [N]: with numbers; in seconds this short nobody may have been woken
shown() {
    awk -v row="$1" -v want="${2:-1}" 'index($0, row) == 1 && substr($0, length(row) + 1) ~ /^ +[0-9]/ { found++ }
        END { exit found != want }' "$out"
    ok $? "$1"
}

BENCH_SCALE=0.02 BENCH_REPEAT=1 timeout 400 tests/bench/reach >"$out" 2>"$out.err"
status=$?
if grep -q '# SKIP' "$out"; then
    cat "$out"
    exit $status
fi
ok $status 'tests/bench/reach at a tiny scale'
has 'hive link --exec, median'
has 'a program that holds the link, median'
has 'ssh through a ControlMaster, median'
has 'ssh, cold, median'
has 'the program alone, here, median'
has 'ssh, cold, to hive link --exec'
has 'hive link --exec ' # 8 at a time
has 'near side: the link process, PSS' 2
has 'far side: agent, spawner, shims, PSS' 2
has "far side: sshd's processes for it, PSS" 2
shown 'daemon, its spawner and shims ' 2
shown 'link processes, all' 2
shown 'daemon and link processes' 2
shown 'the agent of a host ' 2
shown "sshd's processes for a host" 2
has 'GET /api/v1/nodes with 4 hosts'
ok "$(grep -vc '^bench: reach: ' "$out.err")" 'nothing unexpected on standard error'
[ $failed -eq 0 ] || sed 's/^/# /' "$out" "$out.err"
echo "1..$count"
[ $failed -eq 0 ]
