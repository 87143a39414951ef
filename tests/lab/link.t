# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# Link processes (`hive link`) against real servers: commands and their ends, bytes both ways, many clients, and what
# happens when clients, links, servers and networks die.

. "$(dirname "$0")/lib.sh"
# libssh2 forgets a host's key where the handshake fails: see vendor/libssh2/README.md.
printf 'leak:%s\n' hostkey_method_ssh kex_method_diffie_hellman >"$T/lsan"
export LSAN_OPTIONS="suppressions=$T/lsan:print_suppressions=0"
lab_begin
lab_host alpha users=alice 'sshd=MaxSessions 40'
lab_host beta port=2222
lab_host gamma
cat >"$HOME/.ssh/config" <<'END'
Host beta
    Port 2222
Host inner
    HostName gamma
    ProxyJump alpha
Host deep
    HostName gamma
    ProxyJump root@alpha,beta
Host round
    HostName gamma
    ProxyJump about
Host about
    ProxyJump round
Host proxied
    HostName gamma
    ProxyCommand ssh -o BatchMode=yes -W %h:%p alpha
Host *
    ServerAliveInterval 1
    ServerAliveCountMax 3
    ConnectTimeout 5
END
printf 'inner,deep,round,proxied %s\n' "$(grep '^gamma' "$HOME/.ssh/known_hosts" | cut -d ' ' -f 2,3 | head -n 1)" >>"$HOME/.ssh/known_hosts"
links=$HIVE_RUNTIME_DIR/links

# on HOST WORD...: runs it over the link; sets $out, $err, $status
on() { run timeout 60 hive link --exec "$@" </dev/null; }
state() { hive link --state "$1" 2>/dev/null | jq -r "${2:-.state}"; }
state_is() { [ "$(state "$1" "${3:-.state}")" = "$2" ]; }
link_pid() { state "$1" .pid; }
link_count() { # HOST
    for link_cmd in /proc/[0-9]*/cmdline; do
        tr '\0' ' ' 2>/dev/null <"$link_cmd"
        echo
    done | grep -c "hive link .*-- $1 \$"
}
gone() { ! kill -0 "$1" 2>/dev/null; }
# there HOST PATTERN: whether such a process runs there
there() { lab_on "$1" pgrep -f "$2" >/dev/null; }
not_there() { ! there "$@"; }
now() { date +%s%N | cut -c 1-13; }

# --- commands ---

on alpha 'echo out; echo err >&2; exit 3'
is 'a command: output, errors, status' "$out/$err/$status" out/err/3
on alpha true
is 'true' "$status" 0
on alpha false
is 'false' "$status" 1
# shellcheck disable=SC2016
on alpha 'kill -KILL $$'
is 'a command that was killed' "$status" 137
on alpha echo "it's" '$HOME'
is 'words are joined as ssh does' "$(on alpha echo '"a  b"' && echo "$out")" 'a  b'
on alice@alpha id -un
is 'another user is another link' "$out/$(link_count alice@alpha)" alice/1
on beta hostname
is 'a port of ssh_config' "$out/$status" beta/0
on gamma hostname
is 'a third host' "$out/$status" gamma/0
out=$(hive link --exec alpha echo "$(printf 'caf\351')" </dev/null | od -An -c | tr -d ' \n')
is 'a command that is no UTF-8' "$out" 'caf351\n'
is 'the state' "$(state alpha)/$(state alpha .via)" up/builtin
like 'the server' "$(state alpha .server)" '^OpenSSH_'
is 'nobody else may look at its files' "$(stat -c %a "$links" "$links/alpha.sock" "$links/alpha.log" | tr '\n' ' ')" '700 600 600 '
exits 'a second link process for a host' 0 hive link alpha
like 'says so' "$err" 'a link process of alpha is there already'
exits 'a name that is none' 2 hive link -- 'al pha'
exits 'no name' 2 hive link
exits 'a word that is an option' 2 hive link -- -oProxyCommand=x
on alpha true
is 'there is one for alpha' "$(link_count alpha)" 1

# --- bytes ---

head -c 67108864 /dev/urandom >"$T/64m"
sum=$(md5sum <"$T/64m")
is '64 MB through cat, from a file to a file' "$(hive link --exec alpha cat <"$T/64m" >"$T/back" && md5sum <"$T/back")" "$sum"
# shellcheck disable=SC2002
is 'and from a pipe to a slow reader' \
    "$(cat "$T/64m" | hive link --exec alpha cat | { sleep 1; perl -e '$| = 1; while (sysread STDIN, $d, 300000) { print $d; select undef, undef, undef, 0.002 }'; } | md5sum)" "$sum"
is 'stdin at its end' "$(printf 'one\ntwo\n' | hive link --exec alpha 'wc -l')" 2
is 'no input at all' "$(hive link --exec alpha 'cat | wc -c' </dev/null)" 0
is 'stdin that is closed' "$(hive link --exec alpha 'cat | wc -c' <&-)" 0
is 'output to /dev/full does no harm' "$(hive link --exec alpha 'echo x; exit 4' >/dev/full; echo $?)" 4
is 'a reader that goes ends the command' "$(timeout -k 5 20 hive link --exec alpha yes 2>/dev/null </dev/null | head -n 1)" y
check 'and it is gone there' wait_for 10 not_there alpha '^yes'
timeout -k 5 20 hive link --exec alice@alpha 'echo a; sleep 1; echo b; sleep 1; echo c; sleep 4323' </dev/null | head -n 1 >/dev/null
check 'by SIGHUP' wait_for 10 not_there alpha '^sleep 4323'
pss() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }
mkfifo "$T/stuck"
# shellcheck disable=SC2217
sleep 60 <"$T/stuck" &
sleeper=$!
hive link --exec alpha 'head -c 100000000 /dev/zero && echo done >/tmp/all' >"$T/stuck" &
stuck=$!
wait_for 10 there alpha 'head -c'
on alpha true
is 'who reads nothing holds nobody up' "$status" 0
kill -9 $sleeper
wait $sleeper 2>/dev/null
wait $stuck
check 'and is not waited for when he goes' wait_for 10 not_there alpha 'head -c'
is 'his output was not all taken' "$(lab_on alpha sh -c 'test -e /tmp/all; echo $?')" 1

# O_NONBLOCK is a flag of the open file, and that is the client's too
mkfifo "$T/fifo"
exec 7<>"$T/fifo"
hive link --exec alpha 'cat >/dev/null' <&7 &
reader=$!
wait_for 10 there alpha '^cat'
flags=$(perl -e 'use Fcntl; open F, "<&=7"; print fcntl(F, F_GETFL, 0) & O_NONBLOCK ? "nonblocking" : "blocking"')
is 'a pipe that is shared stays as it was' "$flags" blocking
kill -9 $reader
wait $reader 2>/dev/null
exec 7>&-

# --- many ---

for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    hive link --exec alpha "sleep 1; echo $i; exit $i" >"$T/many.$i" </dev/null &
    many="${many-} $!:$i"
done
wrong=
for i in $many; do
    wait "${i%:*}"
    [ "$?/$(cat "$T/many.${i#*:}")" = "${i#*:}/${i#*:}" ] || wrong="$wrong $i"
done
is '20 commands at once' "$wrong" ''
echo "# a link that has moved 200 MB: $(pss "$(link_pid alpha)") kB PSS"
many=
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
    hive link --exec gamma "sleep 0.5; exit $i" </dev/null &
    many="$many $!:$i"
done
wrong=
for i in $many; do
    wait "${i%:*}"
    [ $? = "${i#*:}" ] || wrong="$wrong $i"
done
is '16 where the server allows 10' "$wrong" ''
hive link --stop gamma
many=
for i in 1 2 3 4 5 6 7 8 9 10; do
    hive link --exec gamma "exit $i" </dev/null &
    many="$many $!:$i"
done
wrong=
for i in $many; do
    wait "${i%:*}"
    [ $? = "${i#*:}" ] || wrong="$wrong $i"
done
is '10 clients start the link at once' "$wrong" ''
is 'and there is one' "$(link_count gamma)" 1

# --- signals, clients that die ---

# shellcheck disable=SC2016
hive link --exec alice@alpha 'trap "echo caught; exit 5" TERM; echo ready; while :; do sleep 0.1; done' >"$T/signal.out" </dev/null &
signalled=$!
wait_for 10 grep -q ready "$T/signal.out"
kill $signalled
wait $signalled
is 'a signal is passed on' "$?/$(tail -n 1 "$T/signal.out")" 5/caught
hive link --exec alice@alpha 'echo ready; exec sleep 4321' >"$T/dead.out" </dev/null &
dead=$!
wait_for 10 grep -q ready "$T/dead.out"
kill -9 $dead
wait $dead 2>/dev/null
check 'a client that is killed takes its command along' wait_for 10 not_there alpha '^sleep 4321'
on alpha true
is 'and nothing else' "$status/$(link_count alpha)" 0/1

# --- links that die ---

hive link --exec alpha 'echo ready; exec sleep 100' >"$T/killed.out" 2>"$T/killed.err" </dev/null &
client=$!
wait_for 10 grep -q ready "$T/killed.out"
first=$(link_pid alpha)
kill -9 "$first"
wait $client
is 'the client of a link that is killed' "$?" 255
like 'is told' "$(cat "$T/killed.err")" 'the link process of alpha has ended'
on alpha hostname
is 'and the next command starts another one' "$out/$(link_count alpha)" alpha/1
check 'which is not the same' sh -c '[ "$1" != "$2" ]' - "$first" "$(link_pid alpha)"
hive link --exec alpha 'echo ready; exec sleep 100' >"$T/stop.out" 2>"$T/stop.err" </dev/null &
client=$!
wait_for 10 grep -q ready "$T/stop.out"
second=$(link_pid alpha)
exits 'stop' 0 hive link --stop alpha
wait $client
is 'ends what runs' "$?" 255
check 'and the process' wait_for 10 gone "$second"
check 'and its socket' test ! -e "$links/alpha.sock"
hive link alpha
second=$(link_pid alpha)
kill "$second"
check 'SIGTERM ends it too' wait_for 10 gone "$second"

# --- servers and networks that die ---

hive link beta
wait_for 10 state_is beta up
hive link --watch beta >"$T/watch" &
watcher=$!
wait_for 10 grep -q '"up"' "$T/watch"
hive link --exec beta 'echo ready; exec sleep 100' >"$T/crash.out" 2>"$T/crash.err" </dev/null &
client=$!
wait_for 10 grep -q ready "$T/crash.out"
lab_sshd_restart beta
# shellcheck disable=SC2046
lab_on beta pkill -f 'sshd: root' || :
wait $client
is 'a command whose connection breaks' "$?" 255
like 'ends with the reason' "$(cat "$T/crash.err")" 'beta'
check 'the link connects again' wait_for 20 state_is beta up
on beta hostname
is 'and works' "$out/$status" beta/0
check 'the change was told' wait_for 10 sh -c 'jq -r .state <"$1" | tr "\n" " " | grep -q "up waiting .*up"' - "$T/watch"
is 'with the reason' "$(jq -r 'select(.state == "waiting") | .error_kind' <"$T/watch" | head -n 1)" unavailable

lab_on beta pkill -f 'sshd.*listener|sshd -f|sshd$' || :
lab_on beta sh -c 'kill $(cat /run/sshd.pid)' 2>/dev/null || :
lab_on beta pkill -f 'sshd: root' || :
check 'a server that is away' wait_for 20 state_is beta waiting
like 'its state says why' "$(state beta .error)" 'refused|beta'
like 'and when it tries again' "$(state beta .retry_at)" '^20'
started=$(now)
run timeout 30 hive link --exec --wait 1s beta true </dev/null
is 'a command doesn'\''t wait longer than it should' "$status/$(($(now) - started < 8000))" 255/1
lab_find beta
rm -f "$(lab_path beta /run/sshd.pid)"
lab_server beta
exits 'connect tries at once' 0 hive link --connect beta
is 'pushed' "$(tail -n 1 "$T/watch" | jq -r .state)" up

hive link --exec beta 'echo ready; exec sleep 100' >"$T/cut.out" 2>"$T/cut.err" </dev/null &
client=$!
wait_for 10 grep -q ready "$T/cut.out"
lab_cut beta
started=$(now)
wait $client
is 'a cable that is cut' "$?" 255
like 'is found out by keep-alive' "$(cat "$T/cut.err")" "doesn't answer"
check 'in time' [ $(($(now) - started)) -lt 15000 ]
lab_mend beta
hive link --connect beta >/dev/null
check 'and mended' wait_for 30 state_is beta up
kill $watcher
wait $watcher 2>/dev/null

cp "$HOME/.ssh/known_hosts" "$T/known"
lab_new_host_key beta
lab_on beta pkill -f 'sshd: root' || :
check 'another host key' wait_for 30 state_is beta denied .error_kind
started=$(now)
exits 'connect says that it fails' 1 hive link --connect beta
on beta true
is 'a command is refused' "$status/$(($(now) - started < 6000))" 255/1
like 'and why' "$err" 'host key of beta has changed'
lab_trust beta
exits 'until it is trusted' 0 hive link --connect beta

# --- jump hosts ---

on inner hostname
is 'through a jump host' "$out/$status" gamma/0
is 'that has a link of its own' "$(link_count alpha)" 1
is '20 MB through it' "$(head -c 20000000 "$T/64m" | hive link --exec inner cat | md5sum)" "$(head -c 20000000 "$T/64m" | md5sum)"
on deep hostname
is 'through two' "$out/$status" gamma/0
on round true
is 'in a circle' "$status" 255
like 'is found out' "$err" 'reached through itself.*round -> about -> round'
pid=$(link_pid alpha)
hive link --exec inner 'echo ready; exec sleep 100' >"$T/jump.out" 2>"$T/jump.err" </dev/null &
client=$!
wait_for 10 grep -q ready "$T/jump.out"
kill -9 "$pid"
wait $client
is 'a jump host that is lost' "$?" 255
on inner hostname
is 'and found again' "$out/$status" gamma/0

# --- the system's ssh ---

on proxied hostname
is 'what only the system ssh can do' "$out/$status/$(state proxied .via)" gamma/0/system
hive link --ssh=system alice@alpha 2>/dev/null
hive link --stop alice@alpha
hive link --ssh=system alice@alpha
is 'the system ssh: 4 MB both ways' "$(head -c 4000000 "$T/64m" | hive link --exec alice@alpha cat | md5sum)" "$(head -c 4000000 "$T/64m" | md5sum)"
on alice@alpha 'exit 7'
is 'and a status' "$status/$(state alice@alpha .via)" 7/system
hive link --exec alice@alpha 'echo ready; exec sleep 4322' >"$T/sys.out" </dev/null &
dead=$!
wait_for 10 grep -q ready "$T/sys.out"
kill -9 $dead
wait $dead 2>/dev/null
hive link --stop alice@alpha
check 'its master ends too' wait_for 10 sh -c '! pgrep -f "[s]sh: .*alice.*mux"'
hive link --ssh=system nowhere-at-all
check 'a host that it can'\''t find' wait_for 20 state_is nowhere-at-all waiting
like 'in its words' "$(state nowhere-at-all .error)" 'ssh doesn.t reach nowhere-at-all: .*resolve'

# --- idle ---

hive link --stop gamma
hive link --idle=500ms gamma
idle=$(link_pid gamma)
check 'who has no client ends' wait_for 10 gone "$idle"
hive link gamma
check 'a connection' wait_for 10 state_is gamma up
size=$(pss "$(link_pid gamma)")
echo "# idle link: $size kB PSS"
case $(readlink -f "$HIVE") in
*/dev*) ;;
*) check 'takes less than 3 MB' [ "$size" -lt 3072 ] ;;
esac
for word in alpha alice@alpha beta gamma inner deep round root@alpha root@alpha,beta about proxied nowhere-at-all; do
    hive link --stop "$word" 2>/dev/null
done
check 'no link process is left' wait_for 10 sh -c '! pgrep -f "[h]ive link"' || pgrep -af 'hive link' | sed 's/^/# /'
is 'no defects' "$(cat "$links"/*.log "$links"/*.log.old 2>/dev/null | grep -E 'Sanitizer|runtime error|assert')" ''
done_testing
