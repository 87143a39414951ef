#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The corpus of every fuzz target through the sanitizer build: one test per target.
cd "$(dirname "$0")/../.." || exit 1
count=0
for source in tests/fuzz/fuzz_*.c; do
    name=${source#tests/fuzz/fuzz_}
    name=${name%.c}
    count=$((count + 1))
    if [ ! -d "tests/fuzz/corpus/$name" ]; then
        echo "not ok $count - fuzz target $name has no corpus"
    elif build/dev/fuzz/"$name" "tests/fuzz/corpus/$name" >build/dev/fuzz/"$name.out" 2>build/dev/fuzz/"$name.err"; then
        echo "ok $count - corpus of $name: $(tail -n 1 build/dev/fuzz/"$name.out")"
    else
        echo "not ok $count - corpus of $name"
        tail -n 40 build/dev/fuzz/"$name.err" | sed 's/^/# /'
    fi
done
echo "1..$count"
