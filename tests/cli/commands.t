# SPDX-License-Identifier: BSD-2-Clause
# What holds for every command, found through the table: a command nobody has written yet is tested already.
. "$(dirname "$0")/lib.sh"

names=$(hive help --symlinks)
check 'the table has the commands' sh -c '[ "$1" -ge 14 ]' - "$(echo "$names" | wc -l)"
mkdir man links
check 'man pages are written' hive help --man-dir man

# words NAME: how the command is called
words() {
    case $1 in
    hive-*) echo "hive ${1#hive-}" ;;
    *) echo "$1" ;;
    esac
}

for name in $names; do
    ln -s "$HIVE" "$T/bin/$name" 2>/dev/null
    call=$(words "$name")

    exits "$name --help" 0 $call --help
    is "$name --help says nothing on stderr" "$err" ''
    like "$name --help has an example" "$out" '^Examples:'
    check "$name --help fits 80 columns" sh -c '! printf "%s\n" "$1" | sed "/^Examples:/,\$d" | sed "s/…/./g" | grep -E "^.{81}"' - "$out"
    usage=$(printf '%s\n' "$out" | sed -n '/^Usage:/,/^$/s/^.......\(.*\)/\1/p')
    synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Ed/{/^\./d;s/\\-/-/g;s/\\(aq/'\''/g;s/\\(u2026\|\\\[u2026\]/…/g;p}' "man/$name.1")
    is "$name: man page synopsis equals usage" "$synopsis" "$usage"
    help=$out
    exits "symlink $name works" 0 "$name" --help
    is "symlink $name says the same" "$out" "$help"
    exits "$name -h" 0 "$name" -h
    exits "$name --version" 0 "$name" --version
    exits "$name --help on a full disk" 1 sh -c "$call --help >/dev/full"
    like "$name --help on a full disk says so" "$err" 'No space|stdout'

    exits "$name: unknown option" 2 $call --no-such-option-xyz
    like "$name: unknown option is named" "$err" 'no-such-option-xyz'
    is "$name: unknown option prints nothing on stdout" "$out" ''
    # a long option of its own, one letter left out
    option=$(printf '%s\n' "$help" | sed -n '/^Options:/,/^$/s/^ *\(-.,\)\{0,1\} *--\([a-z][a-z-]\{4,\}\).*/\2/p' | head -n 1)
    if [ -n "$option" ]; then
        exits "$name: misspelt option --${option%?}" 2 $call "--${option%?}x"
        like "$name: misspelt option gets a proposal" "$err" "did you mean .*$option"
    fi
done

for page in man/*; do
    if command -v mandoc >/dev/null; then
        run mandoc -T lint -W warning "$page"
        is "${page#man/} is clean" "$out$err" ''
    fi
done
command -v mandoc >/dev/null || skip 1 'no mandoc'

# without a daemon: exit code 3 and the next step
for call in 'submit true' status 'status jobs' 'status nodes' 'status --json' 'status 1' 'logs 1' 'wait 1' 'cancel 1' \
    'hold 1' 'release 1' 'retry 1' 'explain 1'; do
    exits "no daemon: hive $call" 3 hive $call
    like "no daemon: hive $call says what to do" "$err" 'hive daemon'
    is "no daemon: hive $call prints nothing on stdout" "$out" ''
done
exits 'no daemon: submit --wait' 3 hive submit --wait true
for call in 'version' 'version --json' 'help' 'help start' 'help scripts' 'help config' 'config' 'help submit' 'completion bash'; do
    exits "without a daemon: hive $call" 0 hive $call
    exits "hive $call on a full disk" 1 sh -c "hive $call >/dev/full"
done
check 'version --json is one JSON value' sh -c 'hive version --json | jq -es "length==1 and .[0].api==1 and (.[0].version|type)==\"string\""'

# the dispatcher
exits 'hive alone' 2 hive
exits 'unknown command' 2 hive sumbit
like 'unknown command gets a proposal' "$err" "did you mean 'submit'"
exits 'unknown option of hive' 2 hive --frobnicate
exits 'an empty command' 2 hive ''
exits 'hive --version' 0 hive --version
is 'hive --version prints name and version' "$out" "hive $(cat "$top/VERSION")"
exits 'a command with an escape in its name' 2 hive "$(printf 'sta\033[31mtus')"
check 'no escape reaches the terminal' sh -c '! printf %s "$1" | grep -q "$(printf "\033")"' - "$err"
exits 'unknown topic' 2 hive help frobnicate
exits 'symlink of an unknown command' 2 sh -c 'ln -s "$HIVE" links/hive-frob && links/hive-frob'
exits 'stdout closed' 1 sh -c 'hive help >&-'
exits 'stdin, stdout and stderr closed do no harm' 1 sh -c 'hive help <&- >&- 2>&-'

# what later versions have
for call in token drain resume top desktop service install 'launch gimp' 'launch --cli htop' 'launch --silent gimp' 'top --json' 'help top' 'config import x'; do
    exits "hive $call" 2 hive $call
    like "hive $call: not yet" "$err" 'is not in this version of hive'
    check "hive $call: no proposal" sh -c '! printf "%s" "$1" | grep -q "did you mean"' - "$err"
    is "hive $call: prints nothing on stdout" "$out" ''
done
for call in 'submit --gpu-memory 8G true' 'submit --retry-oom 2x true' 'submit --nodes 2 true' 'submit --nodes=2 true' 'submit -t 1 --torchrun true' \
    'submit --image x true' 'submit --send a true' 'submit --fetch a true' 'daemon --head x' 'daemon --join x' 'daemon --role head' 'daemon --role worker'; do
    exits "hive $call" 2 hive $call
    like "hive $call: not yet" "$err" 'is not in this version of hive'
    check "hive $call: no proposal" sh -c '! printf "%s" "$1" | grep -q "did you mean"' - "$err"
done
printf '#!/bin/sh\n#HIVE --nodes 2\ntrue\n' >later.sh
exits 'in a script' 2 hive submit ./later.sh
like 'in a script, with its line' "$err" 'later.sh:2: .*--nodes is not in this version of hive'
exits 'as a symlink' 2 sh -c 'ln -s "$HIVE" links/hive-launch && links/hive-launch gimp'
like 'as a symlink: not yet' "$err" 'launch is not in this version of hive'
check 'help does not show them' sh -c '! hive help | grep -wE "token|drain|resume|top|desktop|install"'
like 'what is none in any version gets its proposal' "$(hive submit --nod 2 true 2>&1)" 'did you mean --node'

# missing and wrong operands
for call in logs wait cancel hold release retry explain submit launch completion; do
    exits "hive $call without operands" 2 hive $call
    like "hive $call without operands says what to do" "$err" '.'
done
for call in 'completion tcsh' 'logs 1 2' 'explain 1 2' 'version x' 'daemon x' 'status --limit x' 'status --limit -1' 'logs --tail x 1' \
    'wait --timeout 5 1' 'wait --timeout x 1' 'submit -t 0 true' 'submit -t x true' 'submit -m 5 true' 'submit -m 8Q true' \
    'submit --timeout 5 true' 'submit -t' 'submit --threads=' 'submit --hold=yes true' 'status --status frob' 'submit --on-lost x true' \
    'daemon --listen' 'config no.such.key' 'config daemon.threads x' 'config daemon.threads 1 2' 'daemon --threads x'; do
    exits "hive $call" 2 hive $call
    like "hive $call explains itself" "$err" '^hive'
done
like 'misspelt setting gets a proposal' "$(hive config daemon.thread 2>&1)" 'did you mean .*daemon.threads'

# settings
check 'config sets a value' hive config daemon.threads 3
is 'config shows it' "$(hive config daemon.threads)" 3
like 'config says where it comes from' "$(hive config | grep daemon.threads)" 'user file'
is 'the environment wins over the file' "$(HIVE_DAEMON_THREADS=5 hive config daemon.threads)" 5
printf '[daemon]\nthreads = many\n' >"$T/hive.conf"
exits 'a bad value in a file stops nothing' 0 hive config
like 'it is named with its line' "$err" 'hive.conf:2:.*threads'
is 'and not taken' "$(hive config daemon.threads 2>/dev/null)" 0
exits 'a bad environment value' 2 env HIVE_CONFIG=/dev/null HIVE_DAEMON_THREADS=x hive config
like 'it is named' "$err" HIVE_DAEMON_THREADS
printf '[daemon]\nthrads = 1\n' >"$T/hive.conf"
exits 'an unknown key is no error' 0 hive config
like 'but a warning with its line' "$err" 'hive.conf:2:.*thrads'
printf 'garbage\n[daemon]\nfoo = 1\nthreads: 2\nno line\n' >"$T/hive.conf"
exits 'lines that are none are no error' 0 hive config
is 'but warnings that say what they are' "$err" "hive: warning: $T/hive.conf:1: expected key = value, not 'garbage'
hive: warning: $T/hive.conf:3: unknown key 'daemon.foo'
hive: warning: $T/hive.conf:5: expected key = value, not 'no line'"
is 'others count' "$(hive config daemon.threads 2>/dev/null)" 2
rm -f "$T/hive.conf"
exits 'a value that begins with a dash' 2 hive config daemon.threads -1
like 'is a value' "$err" "daemon.threads must be .*, not '-1'"
check 'and is taken where it may be' hive config daemon.node-name -x
is 'as it is' "$(hive config daemon.node-name)" -x
exits 'a misspelt option is no value' 2 hive config daemon.node-name --sytem
like 'and gets its proposal' "$err" 'did you mean --system'
exits 'a dash and --unset' 2 hive config --unset daemon.node-name -x
rm -f "$T/hive.conf"
like 'a setting far from all gets no proposal' "$(hive config daemon.foo 2>&1)" 'all settings: hive config'

# completions
for shell in bash zsh fish; do
    hive completion $shell >"comp.$shell"
    if command -v $shell >/dev/null; then
        check "$shell reads its completion" $shell -n "comp.$shell"
    fi
    for name in $names; do
        case $name in hive-*) grep -q -e "${name#hive-}" "comp.$shell" || ok 1 "$shell completes ${name#hive-}" ;; esac
    done
done

# the README's table
is 'README has the table of commands' \
    "$(sed -n '/<!-- made by: hive help --table -->/,/<!-- end -->/{/^<!--/d;p}' "$top/README.md")" "$(hive help --table)"
is 'CHANGELOG names this version' "$(grep -c -F "$(cat "$top/VERSION")" "$top/CHANGELOG.md" | sed 's/[1-9].*/yes/')" yes

done_testing
