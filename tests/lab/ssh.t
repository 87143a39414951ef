# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# The builtin SSH client (core/net/ssh_client) against OpenSSH's sshd and dropbear: every method that hive uses, forced
# by the server; what it refuses, and in which words; logging in; channels under load; peers that die or say nothing.

. "$(dirname "$0")/lib.sh"
run=$lab_tools/sshrun
lab_begin
lab_host alpha users=alice

# run_ssh OPTION... HOST COMMAND...: sets $out, $err, $status; 30 seconds are for ever here
run_ssh() {
    timeout 30 "$run" "$@" >"$T/run.out" 2>"$T/run.err" </dev/null
    status=$?
    out=$(cat "$T/run.out")
    err=$(cat "$T/run.err")
}
# server SSHD-OPTION...: another sshd on alpha, on $port. It listens when this returns.
port=2200
server() {
    port=$((port + 1))
    server_args=
    lab_on alpha /usr/sbin/sshd -p $port -E "/var/log/sshd-$port.log" -o "PidFile=/run/sshd-$port.pid" "$@"
    wait_for 20 test -s "$(lab_path alpha "/run/sshd-$port.pid")" # written when it listens; it forks before
}
# agreed NAME METHOD: a command ran, and METHOD was agreed on
agreed() {
    run_ssh -v -P $port alpha 'echo it works'
    [ "$out/$status" = 'it works/0' ] && printf '%s\n' "$err" | grep -q "^methods: .*$2"
    ok $? "$1" || printf '%s\n' "$out" "$err" "status $status" | sed 's/^/#   /'
}
# refused NAME PATTERN...: no connection, and the message has all of these
refused() {
    refused_name=$1
    shift
    refused_why=
    [ "$status" = 255 ] || refused_why="status $status"
    for refused_pattern; do
        printf '%s\n' "$err" | grep -q -- "$refused_pattern" || refused_why="$refused_why; no '$refused_pattern'"
    done
    [ -z "$refused_why" ]
    ok $? "$refused_name" || printf '%s\n' "$refused_why" "$out" "$err" | sed 's/^/#   /'
}
# took_below SECONDS NAME: since $since
took_below() {
    took=$(($(date +%s%N) / 1000000 - since))
    [ $took -lt $(($1 * 1000)) ]
    ok $? "$2" || echo "# took $took ms"
}
now() { since=$(($(date +%s%N) / 1000000)); }

# --- every method, forced by the server ---

for kex in curve25519-sha256 curve25519-sha256@libssh.org ecdh-sha2-nistp256 ecdh-sha2-nistp384 \
    diffie-hellman-group16-sha512 diffie-hellman-group14-sha256; do
    server -o "KexAlgorithms=$kex"
    agreed "key exchange $kex" " *$kex "
done
for cipher in aes256-gcm@openssh.com aes128-gcm@openssh.com aes256-ctr aes128-ctr; do
    server -o "Ciphers=$cipher"
    agreed "cipher $cipher" " $cipher "
done
for mac in hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com hmac-sha2-256 hmac-sha2-512; do
    server -o Ciphers=aes256-ctr -o "MACs=$mac"
    agreed "MAC $mac" " $mac\$"
done
for bits in 384 521; do
    lab_on alpha ssh-keygen -q -t ecdsa -b $bits -N '' -f /etc/ssh/key$bits
    echo "alpha $(cut -d ' ' -f 1,2 "$(lab_path alpha /etc/ssh/key$bits.pub)")" >>"$HOME/.ssh/known_hosts"
done
for type in ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 rsa-sha2-512 rsa-sha2-256; do
    case $type in
    *384 | *521) server -o "HostKeyAlgorithms=$type" -h "/etc/ssh/key${type#*nistp}" ;;
    *) server -o "HostKeyAlgorithms=$type" ;;
    esac
    agreed "host key $type" " $type "
done

# --- what hive doesn't use ---

for words in 'KexAlgorithms=diffie-hellman-group1-sha1' 'KexAlgorithms=diffie-hellman-group14-sha1' \
    'Ciphers=chacha20-poly1305@openssh.com' 'Ciphers=aes128-cbc' 'MACs=hmac-sha1' 'HostKeyAlgorithms=ssh-rsa'; do
    server -o "$words" -o Ciphers=aes256-ctr
    run_ssh -P $port alpha true
    refused "$words is refused" 'unprocessable: alpha offers no .* that hive uses, only: '"${words#*=}" 'hint: ' \
        "needs the system's ssh"
done

# --- host keys ---

cp "$HOME/.ssh/known_hosts" "$T/known"
grep -v '^alpha' "$T/known" >"$HOME/.ssh/known_hosts"
run_ssh alpha true
refused 'an unknown host key' 'denied: the host key of alpha is not known: it shows ssh-ed25519 SHA256:' \
    'hive hosts trust alpha'
like 'with its fingerprint' "$err" \
    "$(lab_on alpha ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d ' ' -f 2 | sed 's/[+.]/./g')"
lab_key other ed25519
echo "alpha $(cut -d ' ' -f 1,2 "$lab_key.pub")" >"$HOME/.ssh/known_hosts"
run_ssh alpha true
refused 'a changed host key' 'has changed: it shows ssh-ed25519 SHA256:' 'known_hosts:1 knows another' \
    'hive hosts trust --replace alpha'
server -o HostKeyAlgorithms=rsa-sha2-512
sed "s/^alpha/[alpha]:$port/" "$HOME/.ssh/known_hosts" >"$T/known.port"
cp "$T/known.port" "$HOME/.ssh/known_hosts"
run_ssh -P $port alpha true
refused 'a host key of another type' 'it shows ssh-rsa SHA256:.*known_hosts:1 knows one of another type'
{
    cat "$T/known"
    echo "@revoked * $(cut -d ' ' -f 1,2 "$(lab_path alpha /etc/ssh/ssh_host_ed25519_key.pub)")"
} >"$HOME/.ssh/known_hosts"
server -o HostKeyAlgorithms=ssh-ed25519
run_ssh -P $port alpha true
refused 'a revoked host key' 'denied: alpha shows a revoked host key .*known_hosts:'
echo "@cert-authority alpha $(cut -d ' ' -f 1,2 "$lab_key.pub")" >"$HOME/.ssh/known_hosts"
run_ssh alpha true
refused 'a host known by certificates only' '@cert-authority' "needs the system's ssh"
grep '^alpha.* ecdsa-sha2-nistp256 ' "$T/known" >"$HOME/.ssh/known_hosts"
run_ssh -v alpha 'echo fine'
is 'the type of key that is known is asked for' "$out" fine
like 'though the server has others' "$err" 'methods: .* ecdsa-sha2-nistp256 '
cp "$T/known" "$HOME/.ssh/known_hosts"

# --- logging in ---

# user_key NAME TYPE BITS: kept, because they take longer than all the rest; sets $user_key
user_key() {
    user_key=$lab_keys/user.$1/key
    [ -s "$user_key" ] || {
        rm -rf "$lab_keys/.user.$$" && mkdir -p "$lab_keys/.user.$$"
        ssh-keygen -q -t "$2" -b "$3" -N '' -C "$1" -f "$lab_keys/.user.$$/key"
        mv -T "$lab_keys/.user.$$" "${user_key%/key}" 2>/dev/null
    }
    cp "$user_key" "$T/$1" && cp "$user_key.pub" "$T/$1.pub" && chmod 600 "$T/$1"
    user_key=$T/$1
}
authorized=$(lab_path alpha /home/alice/.ssh/authorized_keys)
config() { printf '%s\n' "$@" >"$T/config"; }
cp "$authorized" "$T/authorized"
for words in 'ed25519 ed25519 256' 'ecdsa256 ecdsa 256' 'ecdsa384 ecdsa 384' 'ecdsa521 ecdsa 521' 'rsa2048 rsa 2048' \
    'rsa3072 rsa 3072' 'rsa4096 rsa 4096'; do
    # shellcheck disable=SC2086
    user_key $words
    cat "$user_key.pub" >"$authorized"
    config "IdentityFile $user_key"
    run_ssh -F "$T/config" alice@alpha 'id -un'
    is "user key ${words%% *}" "$out/$status" alice/0
done
user_key rsa2048 rsa 2048
config "IdentityFile $user_key"
cat "$user_key.pub" >"$authorized"
server -o PubkeyAcceptedAlgorithms=ssh-rsa
run_ssh -P $port -F "$T/config" alice@alpha true
refused 'RSA with SHA-1 only' 'unauthorized: .*rsa2048: not accepted there'
user_key ed25519 ed25519 256
config "IdentityFile $user_key"
run_ssh -F "$T/config" alice@alpha true
refused 'a wrong key' 'unauthorized: alice@alpha: no key is accepted: .*ed25519: not accepted there' 'hint: .*ssh-copy-id'
run_ssh -F "$T/config" nobody@alpha true
refused 'a wrong user' 'unauthorized: nobody@alpha'
config 'IdentityFile none'
run_ssh -F "$T/config" alice@alpha true
refused 'no key at all' 'there is no key to log in with'

ssh-keygen -q -t ed25519 -N 'open sesame' -f "$T/locked"
cat "$T/locked.pub" >"$authorized"
config "IdentityFile $T/locked"
run_ssh -F "$T/config" alice@alpha true
refused 'an encrypted key and no passphrase' 'locked: needs its passphrase (run: ssh-add'
run_ssh -F "$T/config" -p 'open sesame' alice@alpha 'id -un'
is 'with its passphrase' "$out/$status" alice/0
run_ssh -F "$T/config" -p 'wrong' alice@alpha true
refused 'with a wrong one' 'locked: '

eval "$(ssh-agent)" >/dev/null
agent=$SSH_AGENT_PID
(umask 077 && printf '#!/bin/sh\necho open sesame\n' >"$T/askpass" && chmod 700 "$T/askpass")
SSH_ASKPASS=$T/askpass SSH_ASKPASS_REQUIRE=force ssh-add -q "$T/locked" 2>/dev/null
run_ssh -v -F "$T/config" alice@alpha 'id -un'
is 'an encrypted key that the agent has' "$out/$status" alice/0
like 'says so' "$err" "the agent's key .*: accepted"
mv "$T/locked" "$T/locked.away"
run_ssh -F "$T/config" alice@alpha 'id -un'
is 'only the public key as a file, the agent has the other half' "$out/$status" alice/0
mv "$T/locked.away" "$T/locked"
config "IdentityFile $T/ed25519"
run_ssh -v -F "$T/config" alice@alpha 'id -un'
is 'a key that only the agent has' "$out/$status" alice/0
config "IdentityFile $T/ed25519" 'IdentitiesOnly yes'
run_ssh -F "$T/config" alice@alpha true
refused 'which IdentitiesOnly leaves out' 'not accepted there'
case $err in *"agent's"*) ok 1 'and does not try' ;; *) ok 0 'and does not try' ;; esac
for name in ecdsa256 ecdsa384 ecdsa521 rsa2048; do ssh-add -q "$T/$name" 2>/dev/null; done
ssh-add -q -d "$T/locked.pub" 2>/dev/null
server -o MaxAuthTries=2
run_ssh -P $port -F /dev/null alice@alpha true
refused 'more keys than the server likes' 'Too many authentication failures' 'IdentitiesOnly'
kill "$agent"
unset SSH_AUTH_SOCK SSH_AGENT_PID
SSH_AUTH_SOCK=$T/nobody run_ssh -F /dev/null alice@alpha true
refused 'an agent that is gone' 'the agent: '
cp "$T/authorized" "$authorized"

{
    printf '\0\0\0\032sk-ssh-ed25519@openssh.com\0\0\0\040'
    head -c 32 /dev/zero
    printf '\0\0\0\004ssh:'
} | base64 -w 0 | sed 's/^/sk-ssh-ed25519@openssh.com /' >"$T/sk.pub"
config "IdentityFile $T/sk"
run_ssh -F "$T/config" alice@alpha true
refused 'a security key' "$T/sk: .*security key" "needs the system's ssh"
ssh-keygen -q -s "$T/ed25519" -I test -n alice "$T/ecdsa256.pub" 2>/dev/null
config "IdentityFile $T/ecdsa256"
run_ssh -F "$T/config" alice@alpha true
refused 'a certificate' "$T/ecdsa256-cert.pub: certificates need" "needs the system's ssh"
config 'HostName fd77::11' 'HostKeyAlias alpha' 'AddressFamily inet6' 'BindAddress fd77::1'
run_ssh -F "$T/config" alice@elsewhere 'echo $SSH_CONNECTION'
like 'IPv6, from an address, by another name' "$out" '^fd77::1 [0-9]* fd77::11 22$'
config 'BindAddress 10.99.0.1'
run_ssh -F "$T/config" alice@alpha true
refused 'an address that is not ours' "can't connect from BindAddress 10.99.0.1"
server -o PubkeyAuthentication=no -o PasswordAuthentication=yes
run_ssh -P $port alice@alpha true
refused 'a server that wants passwords' 'takes no keys, only: password' "needs the system's ssh"
server -o PasswordAuthentication=yes -o AuthenticationMethods=publickey,password
run_ssh -P $port alice@alpha true
refused 'a server that wants a password, too' 'wants more than a key' "needs the system's ssh"
config 'ProxyCommand nc %h %p'
run_ssh -F "$T/config" alpha true
refused 'ProxyCommand' "only the system's ssh" "needs the system's ssh"
config 'Ciphers chacha20-poly1305@openssh.com'
run_ssh -F "$T/config" alpha true
refused 'ciphers that ssh_config wants and hive lacks' 'wants no cipher that hive has' "needs the system's ssh"
config 'Ciphers aes128-ctr' 'MACs -*etm*' 'KexAlgorithms ^ecdh-sha2-nistp384' 'HostKeyAlgorithms ecdsa-sha2-*'
run_ssh -v -F "$T/config" alpha true
like 'methods by ssh_config' "$err" '^methods: ecdh-sha2-nistp384 ecdsa-sha2-nistp256 aes128-ctr hmac-sha2-256$'

# --- commands ---

run_ssh alice@alpha 'echo out; echo err >&2; exit 3'
is 'stdout' "$out" out
is 'stderr and the status' "$err/$status" "$(printf 'err\n0: exited 3')/3"
i=0
set --
while [ $i -lt 256 ]; do
    set -- "$@" "exit $i"
    i=$((i + 1))
done
run_ssh -s alpha "$@"
is 'exit codes from 0 to 255, one connection' "$(printf '%s\n' "$err" | md5sum)" \
    "$(i=0; while [ $i -lt 256 ]; do echo "$i: exited $i"; i=$((i + 1)); done | md5sum)"
run_ssh alpha 'kill -KILL $$'
is 'a signal' "$err/$status" '0: signalled KILL/254'
run_ssh -k TERM alice@alpha 'echo up; exec sleep 100'
is 'a signal from us' "$err" '0: signalled TERM'
run_ssh alpha 'read a </dev/null; sleep 0.2; echo one' 'echo two; exit 1' 'echo three >&2; exit 2'
is 'several at once' "$(printf '%s\n' "$err" | sort)" \
    "$(printf '%s\n' '0: exited 0' '1: exited 1' '2: exited 2' three)"
is 'without waiting for each other' "$out" "$(printf 'two\none')"
run_ssh alpha 'exec >&-; exec 2>&-; exit 5'
is 'a command that closes its output' "$err" '0: exited 5'
timeout 20 "$run" -i alpha 'wc -c; echo end' </dev/null >"$T/run.out" 2>/dev/null
is 'the end of input' "$(cat "$T/run.out")" "$(printf '0\nend')"
run_ssh alpha 'exec head -c 300000 /dev/zero | tr "\0" e >&2'
is 'much on stderr' "$(tr -cd e <"$T/run.err" | wc -c)" 300002
run_ssh -b alpha 'head -c 5000000 /dev/zero'
like 'who does not consume, stops it' "$err" '^held: 2097152$'
is 'and loses nothing' "$(wc -c <"$T/run.out")" 5000000
run_ssh -s -c alpha 'yes' 'echo after'
like 'a channel closed while it talks' "$err" '1: exited 0'
server -o MaxSessions=1
run_ssh -P $port alpha 'sleep 0.5; echo first' 'echo second'
is 'one more than MaxSessions' "$out" first
like 'is refused in words' "$err" 'lost: unavailable: alpha refuses to open a channel.*'
like 'with a hint' "$err" 'hint: MaxSessions'
run_ssh -d 127.0.0.1:22 alpha x
like 'a connection from the host on' "$out" '^SSH-2.0-OpenSSH'
run_ssh -d 127.0.0.1:1 alpha x
like 'that nobody takes' "$err" 'lost: unavailable: alpha refuses to connect: '

head -c 50000000 /dev/urandom >"$T/big"
server -o 'RekeyLimit=1M'
timeout 120 "$run" -i -P $port alpha cat <"$T/big" >"$T/big.back" 2>"$T/run.err"
check '50 MB there and back, new keys each megabyte' cmp "$T/big" "$T/big.back"
is 'and its status' "$(cat "$T/run.err")" '0: exited 0'
server -o 'RekeyLimit=1M' -o Ciphers=aes128-ctr -o LogLevel=DEBUG1
timeout 120 "$run" -i -P $port alpha cat 'head -c 5000000 /dev/zero >&2' <"$T/big" >"$T/big.back" 2>"$T/run.err"
check 'the same with aes128-ctr and beside another channel' cmp "$T/big" "$T/big.back"
is 'of which nothing is lost' "$(tr -cd '\0' <"$T/run.err" | wc -c)" 5000000
rekeyed() { [ "$(lab_on alpha grep -c 'SSH2_MSG_NEWKEYS received' "/var/log/sshd-$port.log")" -gt "$1" ]; }
check 'keys were exchanged anew all along' rekeyed 40

# --- dropbear ---

lab_host drop server=dropbear
dport=3300
for type in ed25519 ecdsa rsa; do
    dport=$((dport + 1))
    lab_on drop dropbear -r /etc/dropbear/$type -p $dport -P "/run/d$dport.pid" -E 2>/dev/null
    run_ssh -v -P $dport drop 'echo fine; exit 4'
    is "dropbear with a host key $type" "$out/$status" fine/4
done
user_key rsa2048 rsa 2048
cat "$user_key.pub" >"$(lab_path drop /root/.ssh/authorized_keys)"
config "IdentityFile $user_key"
run_ssh -F "$T/config" drop 'kill -9 $$'
is 'an RSA key there, and a signal' "$err" '0: signalled KILL'
head -c 10000000 "$T/big" >"$T/less"
timeout 60 "$run" -F "$T/config" -i drop cat <"$T/less" >"$T/big.back" 2>/dev/null
check '10 MB there and back' cmp "$T/less" "$T/big.back"
run_ssh -F "$T/config" -s drop 'exit 1' 'exit 2' 'echo x'
is 'one after another' "$err" "$(printf '0: exited 1\n1: exited 2\n2: exited 0')"

# --- peers that are none ---

# listener TEXT COUNT: takes connections on 127.0.0.1:$port, says TEXT so many times, and then nothing
listener() {
    port=$((port + 1))
    perl -MIO::Socket::INET -e '$SIG{PIPE} = "IGNORE"; my ($p, $ready, $text, $n) = @ARGV; my @c;
        my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => $p, ReuseAddr => 1) or die;
        open my $f, ">", $ready; close $f;
        while (my $c = $s->accept) { push @c, $c; $c->autoflush(1); $text =~ s/\\r/\r/g; $text =~ s/\\n/\n/g;
            print $c $text for 1 .. $n; }' $port "$T/listens.$port" "$1" "$2" &
    listeners="${listeners-} $!"
    wait_for 5 test -e "$T/listens.$port"
}
listener '' 0
now
run_ssh -t 0.5 -P $port 127.0.0.1 true
refused 'a server that says nothing' 'timeout: 127.0.0.1 accepts the connection and says nothing'
took_below 3 'in time'
listener 'hello, hello, hello, hello\n' 40000
now
run_ssh -P $port 127.0.0.1 true
refused 'one that talks a megabyte' 'too_large: 127.0.0.1 is no SSH server: it sent 6'
took_below 3 'in time'
listener 'HTTP/1.1 400 Bad Request\r\n' 1
run_ssh -t 0.5 -P $port 127.0.0.1 true
refused 'one of another protocol' "timeout: 127.0.0.1 doesn't speak SSH; it says: HTTP/1.1 400 Bad Request"
listener 'SSH-1.5-old\r\n' 1
run_ssh -P $port 127.0.0.1 true
refused 'an old version' 'corrupt: .*SSH-1.5-old'
listener 'SSH-2.0-half\r\n' 1
run_ssh -t 0.5 -P $port 127.0.0.1 true
refused 'one that stops after its version' 'timeout: 127.0.0.1: connected, but there is no complete key exchange'
for pid in $listeners; do kill "$pid"; done
run_ssh -P 1 127.0.0.1 true
refused 'a port where nobody listens' "unavailable: can't connect to 127.0.0.1: 127.0.0.1 port 1: Connection refused"
run_ssh -t 5 no-such-host true
refused 'a name that nobody knows' "can't connect to no-such-host: .*nobody here knows the name"

# --- peers that die ---

# long COMMAND: runs it in the background; returns when it has said something
long() {
    rm -f "$T/long.out"
    "$run" -a 0.3 alpha "$@" >"$T/long.out" 2>"$T/long.err" </dev/null &
    long_pid=$!
    wait_for 10 test -s "$T/long.out"
}
# died NAME PATTERN: it ends by itself, soon
died() {
    wait_for 5 lab_gone "$long_pid"
    ok $? "$1: is found out"
    lab_gone "$long_pid" || kill "$long_pid"
    wait "$long_pid"
    status=$?
    err=$(cat "$T/long.err")
    refused "$1: is told" "$2" 'lost: '
}
long 'echo $PPID; exec sleep 100'
lab_on alpha kill -9 "$(cat "$T/long.out")"
died 'a server that is killed' 'error: unavailable: '
long 'echo up; exec sleep 100'
lab_cut alpha
died 'a cable that is cut' "error: timeout: alpha doesn't answer: nothing heard for "
now
run_ssh -t 1 alpha true
refused 'and no new connection' "timeout: can't connect to alpha: .*: no answer"
took_below 4 'in time'
lab_mend alpha
long 'echo up; exec sleep 100'
lab_freeze alpha
died 'a machine that hangs' "error: timeout: alpha doesn't answer"
lab_thaw alpha
long 'echo up; sleep 3; echo still; exit 6'
wait "$long_pid"
is 'a silent command is no dead host' "$?/$(tail -n 1 "$T/long.out")" 6/still
rm -f "$T/ready"
server -o 'RekeyLimit=default 1' -o LogLevel=DEBUG1
"$run" -w -a 0.3 -P $port -e "$T/ready" alpha true >/dev/null 2>"$T/long.err" &
long_pid=$!
wait_for 10 test -e "$T/ready"
check 'new keys each second, and no command' wait_for 15 rekeyed 3
check 'the connection stays' kill -0 "$long_pid"
pings() { [ "$(lab_on alpha grep -c 'ctype keepalive@hive' "/var/log/sshd-$port.log")" -gt 4 ]; }
check 'and asks whether the host is there' wait_for 15 pings
lab_crash alpha
wait_for 5 lab_gone "$long_pid"
ok $? 'until the host dies'
lab_gone "$long_pid" || kill "$long_pid"
done_testing
