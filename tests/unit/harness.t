#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Proves that the runner of the unit tests (unit_main.c) reports every way to fail as a failure:
# a harness nobody tested says PASS to anything. Needs a C compiler, nothing else of the build.
# Output is TAP.

cd "$(dirname "$0")/../.." || exit 1
cc=${CC:-cc}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/tmp"
export TMPDIR="$work/tmp"
count=0
failed=0

# check WHAT CONDITION...: one line of TAP; a failed one shows what the last program printed.
check() {
    what=$1
    shift
    count=$((count + 1))
    if "$@"; then
        echo "ok $count - $what"
    else
        failed=$((failed + 1))
        echo "not ok $count - $what"
        sed 's/^/# /' "$work/out" "$work/err"
    fi
}

# compile NAME FLAGS...: the runner with one fixture
compile() {
    name=$1
    shift
    # shellcheck disable=SC2086  # CC may carry options
    $cc -std=gnu11 -D_GNU_SOURCE -g -Icore -I. -Itests "$@" -o "$work/$name" \
        "tests/unit/harness/fixture_$name.c" tests/unit/unit_main.c core/base/buf.c \
        core/base/clock.c core/base/err.c core/base/fs.c core/base/fs_remove.c core/base/mem.c \
        core/base/safe_text.c core/base/str.c core/base/unit.c -lm >"$work/out" 2>"$work/err"
}

# run PROGRAM [TEST]: sets $rc
run() {
    UNIT_DEADLINE_S=1 "$work/$1" ${2:+"$2"} >"$work/out" 2>"$work/err"
    rc=$?
}

is() { [ "$1" = "$2" ]; }
out_has() { grep -q -x -- "$1" "$work/out"; }
err_has() { grep -q -- "$1" "$work/err"; }
nothing_left() { [ -z "$(ls -A "$work/tmp")" ]; }

# fails TEST SUMMARY: the test, run alone, ends the program with 1 and its TAP line says why
fails() {
    run all "$1"
    check "$1 ends the program with 1" is "$rc" 1
    check "$1 is reported: $2" out_has "not ok 1 - $1: $2"
}

check "the fixture compiles" compile all

run all passes
check "a passing test ends the program with 0" is "$rc" 0
check "a passing test is reported" out_has "ok 1 - passes"
check "output of a test is kept out of the TAP" err_has "on its standard output"
check "the folder of a test is removed" nothing_left

fails check_fails "exit code 1"
check "the failed condition is shown with its place" err_has "fixture_all.c:[0-9]*: 1 > 2"
fails check_str_fails "exit code 1"
check "both strings are shown" err_has "wanted: wanted"
fails check_str_null_fails "exit code 1"
fails check_int_fails "exit code 1"
check "both numbers are shown" err_has "3 is 3, wanted 4"
fails crashes "killed by signal 11 (.*)"
fails aborts "killed by signal 6 (.*)"
fails hangs "timed out"
fails hangs_hard "timed out"
fails exits_early "exited before its end"
fails exits_early_at_once "exited before its end"
fails leaves_a_process "left processes running"

run all child_check_fails_and_is_ignored
check "a child that ended is no process left behind" is "$rc" 0

run all no_such_test
check "an unknown test name is a failure" is "$rc" 2
check "an unknown test name is reported" out_has "not ok 1 - no_such_test: no such test"

run all
tests=$(grep -c '^TEST(' tests/unit/harness/fixture_all.c)
check "the program fails when one of its tests does" is "$rc" 1
check "every test that was written is in the plan" out_has "1..$tests"
check "every test that was written is run" is "$(grep -c -E '^(not )?ok ' "$work/out")" "$tests"
check "tests after a crash still run" is "$(grep -c '^ok ' "$work/out")" 2
check "no folder is left" nothing_left

check "the fixture without a test compiles" compile none
run none
check "a program without a test fails" is "$rc" 1
check "a program without a test says so" out_has "not ok 1 - no test in this program"

if compile leak -fsanitize=address; then
    ASAN_OPTIONS=detect_leaks=1 run leak
    check "a leak is a failure where the sanitizer is on" is "$rc" 1
else
    count=$((count + 1))
    echo "ok $count # SKIP the compiler has no address sanitizer"
fi

echo "1..$count"
[ "$failed" -eq 0 ]
