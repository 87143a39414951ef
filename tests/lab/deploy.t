# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154,SC2034
#
# hive copies itself to hosts (core/net/ssh_deploy): over link processes, to real servers, to login shells and userlands
# of all kinds, and where there is no room, no right, no network.

. "$(dirname "$0")/lib.sh"
# libssh2 forgets a host's key where the handshake fails: see vendor/libssh2/README.md.
printf 'leak:%s\n' hostkey_method_ssh kex_method_diffie_hellman >"$T/lsan"
export LSAN_OPTIONS="suppressions=$T/lsan:print_suppressions=0"
lab_begin
cat >"$HOME/.ssh/config" <<'END'
Host patient
    HostName alpha
    HostKeyAlias alpha
    ServerAliveCountMax 60
Host *
    ServerAliveInterval 1
    ServerAliveCountMax 3
    ConnectTimeout 5
END
sha=$(sha256sum "$HIVE" | cut -d ' ' -f 1)
size=$(stat -L -c %s "$HIVE")
machine=$(uname -m)
version=$(cat "$lab_top/VERSION")
[ "$machine" = aarch64 ] && other=x86_64 || other=aarch64

# linked WORD: its link process is there
linked() {
    case " ${links-} " in
    *" $1 "*) ;;
    *) hive link "$1" </dev/null && links="${links-} $1" ;;
    esac
}
# deploy HOST [OPTION...]: sets $status, $out, $err
deploy() {
    deploy_host=$1
    shift
    linked "$deploy_host"
    run timeout 100 "$lab_tools/deployrun" -V "$version" -i lab "$@" "$deploy_host" </dev/null
}
# field NAME: of the result
field() { printf '%s\n' "$out" | sed -n "s/^$1 //p"; }
# result NAME WANT: kind, copied, own
result() { is "$1" "$(field kind)/$(field copied)/$(field own)" "$2" || printf '%s\n%s\n' "$out" "$err" | sed 's/^/#   /'; }
place() { field path | sed "s:/bin/$sha/hive\$::"; }
# there HOST: all that hive has there, but for what stands below the file's own folder name
there() { lab_on "$1" find /root /home /tmp /var/tmp /run -path '*hive*' -type f; }
no_partial() { [ -z "$(there "$1" | grep '/\.new\.')" ]; }

# --- a host as most are ---

lab_host alpha users=alice,fish:/usr/bin/fish,tcsh:/usr/bin/tcsh,zsh:/usr/bin/zsh,bash:/bin/bash,nobody2:/usr/sbin/nologin
deploy alpha -a
result 'a fresh host' agent/1/0
is 'where it is' "$(field path)" "/root/.cache/hive/bin/$sha/hive"
is 'it is the whole file, for its owner alone' "$(lab_on alpha stat -c '%s %a' "$(field path)") $(lab_on alpha sha256sum "$(field path)" | cut -d ' ' -f 1)" "$size 700 $sha"
like 'and the agent says hello' "$(field agent)" '"type": ?"hello"'
is 'and ends with its input' "$(field agent_end)" 'code 0'
is 'what the host is' "$(field os)/$(field arch)/$(field home)/$(field uid)" "Linux/$machine//root/0"
is 'nothing to complain about' "$(field error)$(field noexec)" 0
is 'bytes that were sent' "$(field sent)" "$size"
deploy alpha -a
result 'the second time' agent/0/0
like 'the agent is there at once' "$(field agent)" '"type": ?"hello"'
is 'and nothing is sent' "$(field sent)" 0
lab_on alpha truncate -s 1000 "$(field path)"
deploy alpha
result 'a file that was cut is replaced' agent/1/0
lab_on alpha sh -c 'printf x | dd of="$1" bs=1 seek=5000 conv=notrunc 2>/dev/null' - "$(field path)"
deploy alpha
result 'and one with other content' agent/1/0
deploy alpha -s
result 'a shell is enough' shell/0/0
is 'without a word' "$(field error)" ''
for shell in alice bash zsh fish tcsh; do
    if ! lab_on $shell@alpha true 2>/dev/null; then
        skip 3 "no login shell $shell here"
        continue
    fi
    deploy $shell@alpha -a
    result "login shell of $shell" agent/1/0
    is 'at home' "$(place)" "/home/$shell/.cache/hive"
    like 'the agent runs' "$(field agent)" '"type": ?"hello"'
done
deploy nobody2@alpha
result 'no login shell' failed/0/0
like 'says why' "$(field error)" 'no shell runs commands there; it says: This account'
lab_on fish@alpha sh -c 'mkdir -p .config/fish && echo "echo Welcome to @end" >.config/fish/config.fish'
deploy fish@alpha
result 'a greeting' agent/0/0

# --- versions ---

lab_on alpha sh -c 'cd /root/.cache/hive/bin && for c in 0 1 2; do
    d=$(printf "%064d" 0 | tr 0 $c); mkdir $d; cp /bin/sleep $d/hive; touch -d "-40 days" $d; done
    touch -d "-20 days" 1111*; mv '"$sha"' /tmp/was'
lab_bg alpha sh -c 'exec /root/.cache/hive/bin/2*/hive 60'
sleeper=$lab_bg
runs_there() { lab_on alpha sh -c 'for e in /proc/[0-9]*/exe; do [ "$e" -ef "$(echo /root/.cache/hive/bin/2*/hive)" ] && exit 0; done; exit 1'; }
wait_for 10 runs_there
deploy alpha
result 'a new version' agent/1/0
is 'takes away what nobody uses' "$(lab_on alpha ls /root/.cache/hive/bin | cut -c 1-4 | tr '\n' ' ')" "$(printf '%s\n' 1111 2222 "$sha" | cut -c 1-4 | sort | tr '\n' ' ')"
kill "$sleeper"
wait "$sleeper" 2>/dev/null
deploy alpha -R
is 'removed, all versions' "$(field removed)/$(field stuck)" 3/
is 'nothing is left' "$(there alpha | grep '^/root')" ''
like 'but the state of agents' "$(field left)" '^(/var/lib/hive/agent\\n)?$'
deploy alpha -r
is 'nothing to remove' "$(field removed)" 0

# --- many at once ---

pids=
for i in 1 2 3 4; do
    timeout 100 "$lab_tools/deployrun" -a -V "$version" -i "$i" alpha >"$T/many.$i" </dev/null &
    pids="$pids $!"
done
many=
for i in $pids; do
    wait "$i"
    many="$many$?"
done
is 'four at once' "$many" 0000
is 'all with an agent' "$(cat "$T"/many.* | grep -c '^agent .*hello')" 4
check 'and nothing is left lying about' no_partial alpha

# --- a network that goes ---

deploy alpha -R
lab_slow alpha 20 2mbit
timeout 100 "$lab_tools/deployrun" -i cut -e "$T/under-way" alpha >"$T/cut.out" 2>&1 </dev/null &
cut=$!
check 'a copy is under way' wait_for 30 test -e "$T/under-way"
lab_cut alpha
wait $cut
is 'a copy that is cut fails' "$?" 2
like 'and is told' "$(cat "$T/cut.out")" 'error_kind (unavailable|timeout)'
lab_mend alpha
lab_slow alpha 0
[ -n "$(there alpha | grep '/\.new\.')" ]
ok $? 'a part of it is there, and its shell waits for the rest'
deploy alpha -i cut -a
result 'the next attempt' agent/1/0
check 'clears that away' no_partial alpha
deploy alpha -R
lab_slow alpha 20 2mbit
rm "$T/under-way"
timeout 100 "$lab_tools/deployrun" -i cut -e "$T/under-way" alpha >"$T/cut.out" 2>&1 </dev/null &
cut=$!
wait_for 30 test -e "$T/under-way"
kill -9 "$(hive link --state alpha | jq .pid)"
wait $cut
is 'a link process that is killed' "$?" 2
like 'is told' "$(cat "$T/cut.out")" 'error_kind unavailable'
lab_slow alpha 0
check 'the shell there cleans up' wait_for 30 no_partial alpha
links=
deploy alpha -i cut
result 'the next attempt' agent/1/0
deploy patient -R
lab_slow alpha 20 2mbit
rm "$T/under-way"
timeout 100 "$lab_tools/deployrun" -i cut -t 3 -e "$T/under-way" patient >"$T/cut.out" 2>&1 </dev/null &
cut=$!
wait_for 30 test -e "$T/under-way"
# That of the connection that was cut may still wait, too.
writer_stops() { lab_on alpha pkill -STOP -x cat; }
check 'who writes it there is stopped' wait_for 10 writer_stops
wait $cut
is 'a copy that stands still' "$?" 2
like 'is given up' "$(cat "$T/cut.out")" 'error the copy came no further for 3 s'
lab_slow alpha 0
# What was in the pipe and the windows may have been all of the rest.
deploy alpha -i cut
is 'and then it goes' "$(field kind)" agent
check 'without leftovers' no_partial alpha

# --- places ---

lab_host beta home=noexec users=alice,bob
deploy beta -a
result 'a home without programs' agent/1/0
is 'another place' "$(place)/$(field noexec)" /tmp/hive-0/1
like 'says so' "$(field error)" '^hive can.t be kept there: /root/.cache/hive: programs can.t be run from there \(noexec\)$'
like 'the agent runs' "$(field agent)" '"type": ?"hello"'
is 'a folder of its own' "$(lab_on beta stat -c '%U %a' /tmp/hive-0)" 'root 700'
is 'and nothing in the other one' "$(there beta | grep -v '^/tmp/hive-0/')" ''
lab_on bob@beta mkdir /tmp/hive-1001
deploy alice@beta
result 'a folder in /tmp that is somebody else'"'s" agent/1/0
is 'is not used' "$(place)" /var/tmp/hive-1001
like 'which is said' "$(field error)" '/tmp/hive-1001: somebody else.s'
lab_on alice@beta mkdir -m 700 /tmp/run
lab_on root@beta sh -c 'mkdir -p /run/user/1001 && chown 1001:1001 /run/user/1001 && chmod 700 /run/user/1001'
deploy alice@beta -R
is 'removed there' "$(field removed)" 1
is 'with its folder' "$(lab_on beta ls /var/tmp)" ''
deploy alice@beta
is 'the runtime folder comes first' "$(place)" /run/user/1001/hive
lab_on beta mount -o remount,noexec /tmp
lab_on beta chmod 755 /var/tmp
lab_on beta rm -r /tmp/hive-0
deploy beta
result 'no place at all' shell/0/0
like 'all of them are named' "$(field error)" '/root/.cache/hive: .*noexec.*; /tmp/hive-0: .*noexec'
like 'with something to do' "$(field hint)" 'XDG_CACHE_HOME'
is 'and nothing was left' "$(there beta | grep -v /run/user/1001/)" ''

lab_host gamma home_size=1m
deploy gamma -a
result 'a disk that is full' agent/1/0
is 'another place' "$(place)" /tmp/hive-0
like 'says so' "$(field error)" '/root/.cache/hive: no room'
like 'the agent runs' "$(field agent)" '"type": ?"hello"'
lab_host delta home_size=1m without=df
deploy delta
result 'one that is seen to be full by writing' agent/1/0
like 'says so' "$(field error)" '/root/.cache/hive: no room'
is 'and leaves nothing' "$(there delta | grep '^/root')" ''
lab_on delta sh -c 'rm -r /tmp/hive-0; mount -o remount,size=100k /tmp; chmod 755 /var/tmp'
deploy delta
result 'full everywhere' shell/0/0
is 'is no room' "$(field error_kind)" no_space
check 'and leaves nothing' no_partial delta

# --- other machines ---

lab_host epsilon arch="$other" without=hive
deploy epsilon
result 'another architecture' shell/0/0
like 'says which' "$(field error)" "^it is $other, and this hive is for $machine\$"
is 'and nothing is written there' "$(there epsilon)" ''
mkdir "$T/others"
deploy epsilon -o "$T/others"
is 'and what to do' "$(field hint)" "put a hive of this version for $other here: $T/others/hive-$other"
cp "$HIVE" "$T/others/hive-$other"
deploy epsilon -o "$T/others"
result 'a hive for the wrong one' shell/0/0
like 'is seen' "$(field hint)" "hive-$other is for $machine"
# The kernel here is what it is, and doesn't run it.
case $other in aarch64) e_machine='\267' ;; *) e_machine='\076' ;; esac
# shellcheck disable=SC2059
printf "$e_machine" | dd of="$T/others/hive-$other" bs=1 seek=18 conv=notrunc 2>/dev/null
deploy epsilon -o "$T/others"
result 'one that does not run' shell/0/0
like 'says how' "$(field error)" 'it does not run: '
is 'and does not stay' "$(there epsilon)" ''
lab_host zeta arch="$other" with="$HIVE"
[ "$(basename "$(readlink -f "$HIVE")")" = hive ] || lab_on zeta mv "/usr/local/bin/$(basename "$HIVE")" /usr/local/bin/hive
deploy zeta -a
result 'where one is installed' agent/0/1
is 'it is used' "$(field path)" /usr/local/bin/hive
like 'it runs' "$(field agent)" '"type": ?"hello"'
deploy zeta -V 0.0.0
result 'but not another version' shell/0/0

# --- busybox ---

lab_host eta server=dropbear userland=busybox users=alice
deploy eta -a
result 'nothing but busybox and dropbear' agent/1/0
is 'at home' "$(place)" /root/.cache/hive
like 'the agent runs' "$(field agent)" '"type": ?"hello"'
deploy alice@eta
result 'for a user too' agent/1/0
deploy alice@eta
result 'and is found again' agent/0/0
lab_on eta truncate -s 1000000 "$(field path)" 2>/dev/null || lab_on eta sh -c "echo >'$(field path)'"
deploy alice@eta
result 'what was cut is replaced' agent/1/0
deploy alice@eta -R
is 'and removed' "$(field removed)" 1
lab_host theta server=dropbear userland=busybox home=noexec
deploy theta
is 'noexec with busybox' "$(field kind)/$(place)" agent//tmp/hive-0

lab_host iota without=sha256sum,find,df,touch
deploy iota
result 'with few tools' agent/1/0
deploy iota
result 'it is found again' agent/0/0
lab_on iota truncate -s 1000 "$(field path)"
deploy iota
result 'and replaced' agent/1/0

for link in $links; do hive link --stop "$link" >/dev/null 2>&1; done
done_testing
