# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# The lab itself: what tests between hosts rely on. That nothing of it stays is in gone.t.

. "$(dirname "$0")/lib.sh"
root_mounts=$(cat /proc/self/mountinfo)

lab_begin
echo 'KexAlgorithms curve25519-sha256' >"$HOME/.ssh/config" # the default costs twice the time
now_ms() { echo $(($(date +%s%N) / 1000000)); }
# took NAME MIN-MS MAX-MS COMMAND...: the command succeeds, in a time between these
took() {
    took_name=$1 took_min=$2 took_max=$3
    shift 3
    took_start=$(now_ms)
    "$@" >"$T/took.out" 2>&1
    took_status=$?
    took_ms=$(($(now_ms) - took_start))
    [ $took_status -eq 0 ] && [ $took_ms -ge "$took_min" ] && [ $took_ms -le "$took_max" ]
    ok $? "$took_name" || {
        echo "# status $took_status after $took_ms ms, wanted $took_min to $took_max"
        sed 's/^/#   /' "$T/took.out"
    }
}
at_least() { awk -v got="$1" -v want="$2" 'BEGIN { exit !(got + 0 >= want) }'; }
below() { awk -v got="$1" -v want="$2" 'BEGIN { exit !(got != "" && got + 0 < want) }'; }

# --- hosts, names, users ---

printf '#!/bin/sh\necho tool of the test\n' >"$T/lab-tool" && chmod 755 "$T/lab-tool"
lab_host alpha users=alice,bob:/bin/bash with="$T/lab-tool" without=perl,scp
lab_host beta port=2222 'sshd=Match User root' 'sshd=ForceCommand echo forced' users=alice
lab_host gamma home_size=2m home=noexec arch=aarch64

is 'the client has a name' "$(lab_client hostname)" client
for host in alpha gamma; do
    is "ssh to $host" "$(lab_ssh $host 'hostname; id -un; pwd')" "$(printf '%s\n' $host root /root)"
done
is 'a port of its own, and lines of sshd_config' "$(lab_ssh beta hostname)" forced
is 'which are for whom they say' "$(lab_ssh alice@beta hostname)" beta
is 'without SSH' "$(lab_on beta hostname)" beta
is 'users' "$(lab_ssh bob@alpha 'id -un; pwd; echo $SHELL')" "$(printf '%s\n' bob /home/bob /bin/bash)"
is 'users without SSH' "$(lab_on alice@alpha sh -c 'id -un; id -Gn; pwd; echo $HOME')" \
    "$(printf '%s\n' alice alice /home/alice /home/alice)"
exits 'hosts have other users' 255 lab_ssh bob@beta true
exits 'exit statuses come back' 7 lab_on alpha sh -c 'exit 7'
exits 'and signals' 143 lab_on alpha sh -c 'kill $$'
is 'arguments arrive as they are' "$(lab_on alpha printf '%s|' 'a b' '' '*')" 'a b||*|'
is 'hosts know each other' "$(lab_on alpha getent hosts gamma | awk '{ print $1 }')" "$(lab_addr gamma)"
check 'and reach each other' lab_on alpha bash -c "exec 3<>/dev/tcp/gamma/22"
is 'files are seen from the client' "$(cat "$(lab_path alpha /etc/hostname)")" alpha
lab_on alpha sh -c 'echo mine >/usr/lib/lab-mine; echo mine >/root/mine'
exits 'but are a host'"'s own" 1 lab_on gamma test -e /usr/lib/lab-mine
exits 'and not this machine'"'s" 1 test -e /usr/lib/lab-mine
[ "$(lab_on alpha cat /etc/machine-id)" != "$(lab_on gamma cat /etc/machine-id)" ]
ok $? 'machine ids differ'
lab_on alpha sh -c 'for i in 1 2 3; do (sleep 0.01 & exec true) & done; wait'
reaped() { [ "$(lab_on alpha ps -e -o stat= | grep -c Z)" = 0 ]; }
check 'orphans are reaped' wait_for 5 reaped

is 'a program of the test' "$(lab_ssh alpha lab-tool)" 'tool of the test'
exits 'a program that is not installed' 127 lab_on alpha perl -v
is 'another architecture' "$(lab_on gamma uname -m)" aarch64
like 'also here' "$(lab_on gamma uname -a)" 'Linux gamma .* aarch64'
lab_on gamma sh -c 'cp /bin/true /root/true'
exits 'no programs in the home' 126 lab_on gamma /root/true
exits 'a small disk' 1 lab_on gamma dd if=/dev/zero of=/root/big bs=1M count=3
like 'is full' "$err" 'No space left'

# --- invented files ---

lab_file alpha /proc/meminfo 'MemTotal:       12345 kB'
is 'an invented /proc/meminfo' "$(lab_ssh alpha cat /proc/meminfo)" 'MemTotal:       12345 kB'
lab_file alpha /proc/meminfo 'MemTotal:       54321 kB'
is 'and another one' "$(lab_on alpha cat /proc/meminfo)" 'MemTotal:       54321 kB'
like 'the others have the real one' "$(lab_on gamma cat /proc/meminfo)" SwapTotal

# --- names that only glibc resolves ---

cat >"$T/resolve.c" <<'END'
#include <netdb.h>
int main(int argc, char **argv)
{
    struct addrinfo *a;
    return argc == 2 && getaddrinfo(argv[1], 0, 0, &a) == 0 ? 0 : 1;
}
END
lab_name nickname "$(lab_addr alpha)"
is 'getent resolves it' "$(getent ahostsv4 nickname | awk 'NR == 1 { print $1 }')" "$(lab_addr alpha)"
is 'ssh too' "$(ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new nickname hostname 2>&1 | tail -n 1)" alpha
musl=$top/build/vendor/musl/musl/bin/musl-gcc
if [ -x "$musl" ]; then
    check 'a static program is built' "$musl" -static -o "$T/resolve" "$T/resolve.c"
    check 'it resolves others' "$T/resolve" alpha
    exits 'but not this one' 1 timeout 20 "$T/resolve" nickname
else
    skip 3 'no musl-gcc in build/vendor: make static'
fi

# --- cables ---

check 'an answer' lab_rtt alpha
lab_slow alpha 80
rtt=$(lab_rtt alpha)
at_least "$rtt" 80 && below "$rtt" 300
ok $? "80 ms more (was $rtt)"
lab_slow alpha 0 8mbit
took '500 kB through 8 Mbit/s: half a second' 400 3000 lab_ssh alpha 'head -c 500000 /dev/zero'
lab_slow alpha 20 loss=100
exits 'all frames lost' 1 lab_rtt alpha 100
lab_slow alpha 0
rtt=$(lab_rtt alpha)
below "$rtt" 60
ok $? "fast again (was $rtt)"

received() { lab_on "$1" cat /sys/class/net/eth0/statistics/rx_packets; }
lab_cut gamma in
before=$(received gamma)
exits 'cut on the way in' 1 lab_rtt gamma 100
is 'nothing arrives' "$(received gamma)" "$before"
lab_cut gamma out
exits 'cut on the way out' 1 lab_rtt gamma 100
[ "$(received gamma)" -gt "$before" ]
ok $? 'but the host hears us'
lab_cut gamma
exits 'cut both ways' 1 lab_rtt gamma 100
exits 'ssh says so' 255 timeout 20 ssh -o BatchMode=yes -o ConnectTimeout=1 gamma true
like 'in these words' "$err" 'timed out'
lab_mend gamma
is 'mended' "$(lab_ssh gamma hostname)" gamma

mkfifo "$T/held"
lab_ssh gamma 'echo here; cat; echo end' >"$T/held.out" <"$T/held" &
held=$!
exec 7>"$T/held"
check 'a session' wait_for 10 grep -q here "$T/held.out"
lab_cut gamma
echo 'through the cut' >&7
exits 'is cut' 1 lab_rtt gamma 300
check 'it stays open' kill -0 $held
lab_mend gamma
exec 7>&-
wait $held
is 'and goes on' "$? $(tr '\n' ' ' <"$T/held.out")" '0 here through the cut end '

lab_link_down beta
exits 'a pulled cable' 1 lab_rtt beta 100
is 'is noticed there' "$(lab_on beta cat /sys/class/net/eth0/carrier)" 0
lab_link_up beta
check 'plugged in again' wait_for 10 lab_rtt beta

# --- hosts that stop ---

lab_freeze alpha
exits 'a frozen host' 255 timeout 20 ssh -o BatchMode=yes -o ConnectTimeout=1 alpha true
check 'its kernel answers' lab_rtt alpha
lab_thaw alpha
is 'thawed' "$(lab_ssh alpha hostname)" alpha

boot_id=$(lab_on alpha cat /proc/sys/kernel/random/boot_id)
ssh -o BatchMode=yes alpha 'echo here; sleep 1000' >"$T/held.out" 2>&1 &
held=$!
check 'a session' wait_for 10 grep -q here "$T/held.out"
init=$(lab_pid alpha)
lab_crash alpha
exits 'a crash: no process' 1 kill -0 "$init"
exits 'no answer' 1 lab_rtt alpha 100
check 'the client was not told' kill -0 $held
lab_restart alpha
is 'after the restart it has its disk' "$(lab_on alpha cat /root/mine)" mine
is 'and can be reached' "$(lab_ssh alpha hostname)" alpha
[ "$(lab_on alpha cat /proc/sys/kernel/random/boot_id)" != "$boot_id" ]
ok $? 'another boot_id'
below "$(lab_on alpha cut -d. -f1 /proc/uptime)" 60
ok $? 'a short uptime'
like 'and real memory' "$(lab_on alpha cat /proc/meminfo)" SwapTotal
kill $held
wait $held 2>/dev/null

lab_ssh gamma 'echo here; cat' >"$T/held.out" <"$T/held" &
held=$!
exec 7>"$T/held"
check 'a session' wait_for 10 grep -q here "$T/held.out"
lab_sshd_restart gamma
is 'a new SSH server' "$(lab_ssh gamma hostname)" gamma
echo on >&7
check 'the session stays' wait_for 10 grep -q on "$T/held.out"
exec 7>&-
wait $held

lab_new_host_key gamma
exits 'a new host key' 255 lab_ssh gamma true
like 'is refused' "$err" 'Host key verification failed'
lab_trust gamma
is 'until it is known' "$(lab_ssh gamma hostname)" gamma

# --- signals to what runs on a host ---

lab_bg alpha sh -c 'trap "exit 9" TERM; echo $$ >/run/it; while :; do sleep 0.02; done'
check 'a program' wait_for 10 test -s "$(lab_path alpha /run/it)"
kill -TERM $lab_bg
wait $lab_bg
is 'SIGTERM reaches it' $? 9
lab_bg alpha sh -c 'echo $$ >/run/that; exec sleep 1000'
check 'another' wait_for 10 test -s "$(lab_path alpha /run/that)"
kill -KILL $lab_bg
wait $lab_bg 2>/dev/null
gone() { ! lab_on alpha kill -0 "$(cat "$(lab_path alpha /run/that)")"; }
check 'SIGKILL too' wait_for 10 gone

# --- other servers, other userlands ---

if command -v dropbear >/dev/null && command -v dropbearconvert >/dev/null; then
    lab_host delta server=dropbear port=2022 users=alice
    is 'dropbear' "$(lab_ssh alice@delta 'hostname; id -un')" "$(printf '%s\n' delta alice)"
    lab_new_host_key delta
    exits 'its new host key' 255 lab_ssh delta true
    lab_trust delta
    is 'its host keys' "$(for type in ssh-ed25519 ecdsa-sha2-nistp256 rsa-sha2-256; do
        ssh -o BatchMode=yes -o HostKeyAlgorithms=$type -p 2022 delta hostname
    done)" "$(printf '%s\n' delta delta delta)"
else
    skip 3 'dropbear is missing (apt-get install dropbear-bin)'
fi
if command -v busybox >/dev/null; then
    lab_host epsilon userland=busybox arch=armv7l
    like 'busybox alone' "$(lab_ssh epsilon 'ls --help 2>&1')" BusyBox
    exits 'nothing else' 127 lab_on epsilon perl -v
    is 'of another architecture' "$(lab_on epsilon uname -m)" armv7l
    lab_restart epsilon
    is 'also after a restart' "$(lab_ssh epsilon 'hostname; uname -m')" "$(printf '%s\n' epsilon armv7l)"
else
    skip 4 'busybox is missing (apt-get install busybox)'
fi
lab_host zeta server=none
exits 'no SSH server' 255 lab_ssh zeta true

# --- the end ---

lab_end
is 'lab_end removes the devices' "$(ip -o link | awk -F': ' '{ print $2 }')" lo
is 'mounts' "$(cat /proc/self/mountinfo)" "$root_mounts"
is 'processes' "$(ps -e -o comm= | grep -vE '^(host|sh|ps|grep|timeout)$')" ''
is 'files' "$(ls -d "$LAB" 2>/dev/null)" ''
lab_begin
lab_host alpha
is 'and another lab can begin' "$(lab_ssh alpha hostname)" alpha

done_testing
