# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# `hive hosts check` and `hive hosts trust` against real servers; ssh has to agree about what stands in known_hosts.

. "$(dirname "$0")/lib.sh"
lab_begin
lab_host alpha users=alice,shy:/usr/sbin/nologin
lab_host beta port=2222
lab_host gamma
lab_host delta 'sshd=HostKeyAlgorithms ssh-ed25519'
known=$HOME/.ssh/known_hosts
lab_known=$T/lab.known
cp "$known" "$lab_known"

# hosts WORD...: without a terminal; sets $out, $err, $status; two minutes are for ever here
hosts() { run timeout 120 setsid -w hive hosts "$@" </dev/null; }
# state NAME: of a line of check
state() { printf '%s\n' "$out" | awk -v name="$1" '$1 == name { print $2 }'; }
fingerprint() { ssh-keygen -lf "$(lab_path "$1" /etc/ssh/ssh_host_ed25519_key.pub)" | cut -d ' ' -f 2; }
# has NAME TEXT WORDS: literally
has() {
    case $2 in
    *"$3"*) ok 0 "$1" ;;
    *) ok 1 "$1" || printf '%s\n' "$2" | sed 's/^/#  got: /' && echo "# want: $3" ;;
    esac
}
strict_ssh() { ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o ConnectTimeout=20 "$@" 'echo in' 2>&1; }
# on_tty ANSWER WORD...: on a terminal of its own, where ANSWER is typed
on_tty() {
    tty_answer=$1
    shift
    out=$(printf '%s\n' "$tty_answer" | timeout 120 script -qec "hive hosts $*" /dev/null)
    status=$?
}

# --- check ---

hosts check alpha
is 'check of a good host' "$status/$(state alpha)/$err" 0/ok/
like 'its line' "$out" '^alpha +ok +OpenSSH_[0-9.p]+ +curve25519-sha256 aes[0-9a-z-]+ +[0-9.]+m?s$'
hosts check alice@alpha ssh://alice@alpha:22/ "$(lab_addr alpha):22"
is 'user@host, a URL, an address with a port' "$status/$(printf '%s\n' "$out" | grep -c ' ok ')" 0/3
hosts check --json alice@alpha
is 'JSON' "$(printf '%s\n' "$out" | jq -r '.api, (.hosts[0] | .name, .status, .user, .host, .port, .address, .host_key, .error,
    .host_key_fingerprint, .methods.key_exchange, .needs_system_ssh, (.milliseconds > 0), (.keys | length))' | tr '\n' ' ')" \
    "1 alice@alpha ok alice alpha 22 $(lab_addr alpha) known null $(fingerprint alpha) curve25519-sha256 false true 1 "
hosts check beta
is 'a port where nobody listens' "$status/$(state beta)" 1/connect
has 'and what to do' "$err" 'is an SSH server running there, and on this port?'
hosts check beta:2222
is 'a port other than 22' "$status/$(state beta:2222)" 0/ok
hosts check shy@alpha
is 'a user who may not run commands' "$status/$(state shy@alpha)" 1/command
like 'and what the shell says' "$err" 'ended with status 1 there: .*not available'
hosts check nobody-knows-this
is 'a name that nobody knows' "$status/$(state nobody-knows-this)" 1/lookup
has 'and what to do' "$err" 'set HostName for it in ~/.ssh/config'
hosts check alpha: -- '' 'alpha;true' x@
is 'words that are no hosts' "$status/$(printf '%s\n' "$out" | grep -c ' config ')" 1/4
hosts check "$(printf 'evil\033[31m')"
is 'a name with an escape' "$status" 1
is 'does nothing to the terminal' "$(printf '%s' "$out$err" | tr -dc '\033')" ''

# --- ssh_config ---

cat >"$HOME/.ssh/config" <<END
Host short
    HostName alpha
    User alice
Host far
    HostName gamma
    ProxyJump alpha
Host nowhere
    HostName gamma
    Port 2
    ProxyJump alpha
Host behind
    HostName gamma
    ProxyJump gate
Host gate
    HostName alpha
    Port 3
Host proxied
    ProxyCommand nc %h %p
Host hashed
    HostName gamma
    HostKeyAlias hashed.alias
    HashKnownHosts yes
Host many
    HostName alpha
    IdentityFile $T/locked
    IdentitiesOnly yes
Host *
    HashKnownHosts no
END
hosts check short
is 'a host of ~/.ssh/config' "$status/$(state short)" 0/ok
hosts check --json proxied
is 'what only the system ssh can do' \
    "$status $(printf '%s\n' "$out" | jq -r '.hosts[] | "\(.status) \(.needs_system_ssh)"' | tr '\n' ' ')" '1 config true '
hosts check proxied
has 'is said' "$err" "check it with the system's ssh: ssh proxied exec true"

# --- through other hosts ---

hosts check --json far
is 'a host behind another' "$status/$(printf '%s\n' "$out" | jq -r '.hosts[0]|.status+" "+.address')" '0/ok through alpha'
hosts check nowhere
is 'a port there where nobody listens' "$status/$(state nowhere)" 1/connect
like 'and why' "$err" 'through alpha: '
hosts check --timeout 5s behind
is 'a host behind one that is not reached' "$status/$(state behind)" 1/connect
like 'and which' "$err" 'through gate: .*refused'
for host in alpha gate; do hive link --stop $host; done

# --- logging in ---

authorized=$(lab_path alpha /home/alice/.ssh/authorized_keys)
cp "$authorized" "$T/authorized"
lab_key other ed25519
cat "$lab_key.pub" >"$authorized"
hosts check alice@alpha
is 'a key that is not accepted' "$status/$(state alice@alpha)" 1/login
has 'the keys that were tried' "$err" "$HOME/.ssh/id_ed25519: not accepted there"
has 'and what to do' "$err" 'ssh-copy-id alice@alpha'
ssh-keygen -q -t ed25519 -N secret -f "$T/locked"
cat "$T/locked.pub" >"$authorized"
hosts check alice@many
is 'a key with a passphrase' "$status/$(state alice@many)" 1/login
has 'is left out, with the reason' "$err" "$T/locked: needs its passphrase (run: ssh-add $T/locked)"
hosts check --ask alice@many
is '--ask without a terminal' "$status/$out" 2/
on_tty secret check --ask alice@many
is '--ask on a terminal' "$status" 0
has 'asks' "$out" "Passphrase of $T/locked (for many): "
is 'and does not show the answer' "$(printf '%s\n' "$out" | sed 1d | grep -c secret)" 0
cp "$T/authorized" "$authorized"
eval "$(ssh-agent)" >/dev/null
mv "$HOME/.ssh/id_ed25519" "$T/agents.key"
ssh-add -q "$T/agents.key"
hosts check alice@alpha
is 'a key that the agent has' "$status/$(state alice@alpha)" 0/ok
kill -STOP "$SSH_AGENT_PID"
hosts check --timeout 4s alice@alpha
is 'an agent that hangs' "$status/$(state alice@alpha)" 1/login
has 'is named' "$err" 'the agent: '
kill -CONT "$SSH_AGENT_PID"
kill "$SSH_AGENT_PID"
unset SSH_AUTH_SOCK SSH_AGENT_PID
mv "$T/agents.key" "$HOME/.ssh/id_ed25519"

# --- trust: an unknown key ---

: >"$known"
hosts check alpha
is 'check: an unknown key' "$status/$(state alpha)" 1/host-key
has 'says what to do' "$err" 'hive hosts trust alpha'
hosts trust alpha
is 'trust without a terminal and without --yes' "$status/$out" 2/
has 'shows the key' "$err" "shown: ssh-ed25519 $(fingerprint alpha)"
has 'where it is' "$err" "alpha ($(lab_addr alpha), port 22)"
has 'and says what to do' "$err" 'hive hosts trust --yes alpha'
is 'nothing is written' "$(cat "$known")" ''
on_tty n trust alpha
is 'no on a terminal' "$status/$(cat "$known")" 1/
has 'the question' "$out" 'Trust it? [y/N] '
on_tty y trust alpha
is 'yes on a terminal' "$status/$(cut -d ' ' -f 1,2 "$known")" '0/alpha ssh-ed25519'
hosts check alpha
is 'check is fine then' "$status/$(state alpha)" 0/ok
is 'and ssh itself' "$(strict_ssh alpha)" in
hosts trust alpha
is 'trusted already' "$status/$(wc -l <"$known")" 0/1
has 'it says so' "$err" "is trusted already: $known:1"
hosts trust --yes beta:2222 gamma
is 'several with --yes, one on another port' "$status" 0
is 'ssh accepts that one' "$(strict_ssh -p 2222 beta)" in
is 'and the other' "$(strict_ssh gamma)" in
has 'the port stands in the line' "$(cat "$known")" "[beta]:2222 ssh-ed25519 "
hosts trust --yes root@gamma
is 'with a user' "$status/$(grep -c gamma "$known")" 0/1
hosts trust --yes --json hashed
is 'hashed, by its alias' "$status $(printf '%s\n' "$out" | jq -r '.hosts[0] | .name, .status, .written_to' | tr '\n' ' ')" \
    "0 hashed trusted $known "
like 'the line' "$(tail -n 1 "$known")" '^\|1\|[^ ]+ ssh-ed25519 '
check 'ssh-keygen finds it' ssh-keygen -F hashed.alias -f "$known"
is 'ssh accepts it' "$(strict_ssh hashed)" in
grep -v '^alpha ' "$known" >"$T/known.less"
grep '^alpha.* ecdsa-sha2-nistp256 ' "$lab_known" >"$known"
hosts trust alpha
is 'a host known by a key of another type only: that one is asked for' "$status" 0
cat "$T/known.less" >>"$known"

cp "$known" "$T/before"
grep '^delta.* ssh-rsa ' "$lab_known" >>"$known"
hosts trust --yes delta
is 'one that has no key of that type any more' "$status/$(grep -c '^delta' "$known")" 0/2
has 'is shown as such' "$err" 'shows a key of another type than the one that is known'
{
    cat "$T/before"
    echo "@cert-authority delta $(cut -d ' ' -f 1,2 "$(lab_path alpha /etc/ssh/ssh_host_ed25519_key.pub)")"
} >"$known"
hosts check delta
is 'a host known by certificates only' "$status" 1
has 'is none for hive' "$err" '@cert-authority'
hosts trust --yes delta
is 'until its own key is trusted' "$status/$(grep -c '^delta' "$known")" 0/1
hosts check delta
is 'then check is fine' "$status/$(state delta)" 0/ok
cp "$T/before" "$known"

# --- trust: a changed key ---

grep '^gamma ' "$known" >"$T/gamma"
old=$(fingerprint gamma)
lab_new_host_key gamma
cp "$known" "$T/before"
hosts check gamma
is 'check: a changed key' "$status/$(state gamma)" 1/host-key
hosts trust --yes gamma
is 'trust without --replace refuses' "$status" 1
has 'shows the old key' "$err" "known: ssh-ed25519 $old, $known:$(grep -n '^gamma ' "$known" | cut -d : -f 1)"
has 'and the new' "$err" "shown: ssh-ed25519 $(fingerprint gamma)"
has 'warns' "$err" 'somebody has put a machine of their own between you and the host'
has 'and says what to do' "$err" 'hive hosts trust --replace gamma'
check 'nothing is changed' cmp "$known" "$T/before"
hosts trust --replace gamma
is 'with --replace it asks: no terminal' "$status" 2
check 'nothing is changed then' cmp "$known" "$T/before"
on_tty n trust --replace gamma
is 'no on a terminal' "$status" 1
check 'still nothing is changed' cmp "$known" "$T/before"
hosts trust --yes --replace --json gamma
is 'with --replace --yes' "$status $(printf '%s\n' "$out" | jq -r '.hosts[0] | .status, .host_key_before, .host_key, .known_key_fingerprint,
    .host_key_fingerprint' | tr '\n' ' ')" "0 trusted changed known $old $(fingerprint gamma) "
is 'the old line is gone, the others stay' "$(grep -cxFf "$T/gamma" "$known")/$(wc -l <"$known")" "0/$(wc -l <"$T/before")"
hosts check gamma
is 'check is fine then' "$status/$(state gamma)" 0/ok
is 'and ssh itself' "$(strict_ssh gamma)" in
cp "$known" "$T/before"
echo "@revoked * $(cut -d ' ' -f 1,2 "$(lab_path gamma /etc/ssh/ssh_host_ed25519_key.pub)")" >>"$known"
hosts trust --yes --replace gamma
is 'a revoked key' "$status" 1
has 'is never trusted' "$err" 'shows a revoked host key'
cp "$T/before" "$known"

rm "$known"
mkdir "$known"
hosts trust --yes gamma
is 'a known_hosts that is a folder' "$status" 1
has 'is named' "$err" "gamma: can't read $known: Is a directory"
rmdir "$known"

# --- several, some of them down ---

cp "$lab_known" "$known"
lab_trust gamma
lab_cut gamma
began=$(date +%s)
hosts check --timeout 10s alpha gamma beta:2222 nobody-knows-this alice@alpha
took=$(($(date +%s) - began))
is 'several at once' "$status $(state alpha) $(state gamma) $(state beta:2222) $(state nobody-knows-this) $(state alice@alpha)" \
    '1 ok connect ok lookup ok'
has 'the cut cable' "$err" 'no answer'
[ "$took" -lt 60 ]
ok $? 'ends in time' || echo "# $took s"
lab_mend gamma
lab_freeze gamma
hosts check --timeout 2s gamma
is 'a machine that hangs' "$status" 1
like 'is told' "$err" 'says nothing|not done within|no answer'
lab_thaw gamma
# shellcheck disable=SC2046
hosts check --timeout 60s $(yes alpha | head -n 20)
is 'more than are done at once' "$status/$(printf '%s\n' "$out" | grep -c '^alpha  *ok ')" 0/20

# --- usage ---

for words in '' frob check trust 'check --yes alpha' 'check --replace alpha' 'trust --ask alpha' 'check --timeout 0 alpha'; do
    # shellcheck disable=SC2086
    hosts $words
    is "hive hosts $words: usage" "$status/$out" 2/
done
done_testing
