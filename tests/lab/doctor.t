# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# `hive doctor` of hosts with one thing wrong each: what it finds, what it says to do, and that doing so mends it.

. "$(dirname "$0")/lib.sh"
lab_begin
tool() { # FILE LINE...
    tool_file=$T/$1
    shift
    printf '%s\n' '#!/bin/sh' "$@" >"$tool_file"
    chmod 755 "$tool_file"
}
mkdir "$T/good" "$T/fast" "$T/evil"
tool good/waypipe 'echo waypipe 0.8.6'
for name in cage Xwayland; do tool good/$name 'exit 0'; done
tool good/nvidia-smi 'echo "NVIDIA H200, 550.54"; echo "NVIDIA H200, 550.54"'
tool fast/date '[ "$1" = +%s.%N ] && echo "$(($(/usr/bin/date +%s) + 100)).000000000" || exec /usr/bin/date "$@"'
tool evil/uname "printf '\\033[31mLinux\\n@hive home /x; touch /tmp/owned\\n'"
lab_host alpha users=alice,shy:/usr/sbin/nologin with="$T/good/waypipe" with="$T/good/cage" with="$T/good/Xwayland" with="$T/good/nvidia-smi"
lab_host beta port=2222 with="$T/fast/date" 'sshd=MaxSessions 1' without=waypipe
lab_host gamma home=noexec userland=busybox
lab_host delta arch=aarch64 users=alice with="$T/evil/uname"

# doctor WORD...: sets $status and $json
doctor() {
    run timeout 120 hive doctor --json "$@"
    json=$out
}
field() { # WHERE CHECK FIELD
    printf '%s\n' "$json" | jq -r --arg where "$1" --arg check "$2" "[.checks[] | select(.where == \$where and .check == \$check)][0].$3"
}
status() { field "$1" "$2" status; }
problems() { printf '%s\n' "$json" | jq -r --arg where "$1" '[.checks[] | select(.where == $where and .status == "problem") | .check] | join(" ")'; }
all_ok() { printf '%s\n' "$json" | jq -r --arg where "$1" '[.checks[] | select(.where == $where and .status != "ok") | .check] | join(" ")'; }

# --- a good host ---

doctor alpha
agent=
[ "$(status 'this machine' hive)" != ok ] || agent=' agent' # else it can't be copied
is 'a good host' "$status/$(all_ok alpha)" 0/
is 'what is looked at' "$(printf '%s\n' "$json" | jq -r '[.checks[] | select(.where == "alpha") | .check] | join(" ")' | sed 's/ logout//')" \
    "name reach handshake key login command system clock home memory$agent waypipe x11 gpu"
like 'its server' "$(field alpha handshake message)" '^OpenSSH_'
like 'its clock' "$(field alpha clock message)" '± [0-9.]+m?s'
is 'its waypipe' "$(field alpha waypipe message)" 'waypipe 0.8.6'
is 'its GPUs' "$(field alpha gpu message)" '2: NVIDIA H200, 550.54'
[ -z "$agent" ] || is 'its agent is not there yet' "$(field alpha agent message)" "hive $(hive --version | awk '{ print $NF }') is not there yet"
is 'and nothing was copied' "$(lab_on alpha sh -c 'ls -A .cache 2>/dev/null; ls -A /tmp | grep hive')" ''
run hive doctor alice@alpha
is 'in words, as another user' "$status/$(printf '%s\n' "$out" | grep -c '^  problem')/$(printf '%s\n' "$out" | grep -c '^alice@alpha$')" 0/0/1

# --- hosts with something wrong ---

doctor alpha beta beta:2222 gamma shy@alpha nowhere alice@delta
is 'seven at once' "$status" 1
is 'the good one is good still' "$(all_ok alpha)" ''
is 'a port where nobody listens' "$(problems beta)" reach
is 'a clock that is wrong' "$(problems beta:2222)" clock
like 'by how much' "$(field beta:2222 clock message)" '^it is 1m(39|40)s ahead of ours|^it is (99|100)'
is 'and the fix' "$(field beta:2222 clock fix)" 'ssh -p 2222 beta timedatectl set-ntp true'
is 'no waypipe' "$(status beta:2222 waypipe)/$(field beta:2222 waypipe fix)" 'note/ssh -p 2222 beta apt-get install waypipe'
is 'too few sessions' "$(status beta:2222 sessions)" note
is 'a home where nothing can be run' "$(status gamma home)/$(field gamma home fix)" 'note/ssh gamma mount -o remount,exec /root'
is 'with busybox alone its clock is known too' "$(status gamma clock)" ok
is 'a user who may not run commands' "$(problems shy@alpha)" command
is 'a name that nobody knows' "$(problems nowhere)" name
is 'a shell that lies: no home' "$(field alice@delta home message | grep -c 'touch')" 0
is 'no escape gets through' "$(hive doctor alice@delta | tr -dc '\033')" ''
is 'and no command of its words' "$(printf '%s\n' "$json" | jq -r '.checks[].fix' | grep -c touch)" 0

# --- keys ---

doctor -- -x 2>/dev/null
is 'no host' "$status" 1
cp "$HOME/.ssh/known_hosts" "$T/known"
sed -i '/^alpha/d' "$HOME/.ssh/known_hosts"
doctor alpha
is 'a key that is not known' "$(problems alpha)" key
like 'and the fix' "$(field alpha key fix)" 'hive hosts trust alpha'
exits 'which does it' 0 hive hosts trust -y alpha
doctor alpha
is 'and then it is well' "$status/$(problems alpha)" 0/
cp "$T/known" "$HOME/.ssh/known_hosts"
lab_new_host_key alpha
hive link --stop alpha 2>/dev/null
doctor alpha
is 'a key that has changed' "$(problems alpha)" key
like 'and the fix, too' "$(field alpha key fix)" 'hive hosts trust --replace alpha'
lab_trust alpha
mv "$HOME/.ssh/id_ed25519" "$T/key"
doctor alpha
is 'no key to log in with' "$(problems alpha)" login
like 'and its fix' "$(field alpha login fix)" 'ssh-keygen|ssh-copy-id'
mv "$T/key" "$HOME/.ssh/id_ed25519"

# --- through another host ---

cat >"$HOME/.ssh/config" <<END
Host inner
    HostName gamma
    ProxyJump alpha
Host deaf
    HostName gamma
    ProxyJump nowhere
Host proxied
    HostName gamma
    ProxyCommand ssh -o BatchMode=yes -W %h:%p alpha
END
sed -n 's/^gamma[^ ]*/inner,deaf,proxied/p' "$HOME/.ssh/known_hosts" >"$T/inner"
cat "$T/inner" >>"$HOME/.ssh/known_hosts"
doctor inner deaf proxied
is 'through a jump host' "$(problems inner)/$(status inner memory)" /ok
like 'it is named' "$(field inner reach message)" 'through alpha'
is 'which can not be reached' "$(problems deaf)" reach
like 'and why' "$(field deaf reach message)" nowhere
is 'what only the system'"'"'s ssh can do' "$(problems proxied)/$(field proxied link message)/$(status proxied memory)" "/with the system's ssh/ok"

# --- nodes ---

start_daemon --threads 2 || exit 1
if [ -n "$agent" ]; then
    run hive hosts add alpha
    is 'alpha is a node' "$status" 0
    doctor
    is 'nodes are looked at unasked' "$status/$(problems alpha)/$(field alpha node message)" '0//alpha is up'
    like 'the agent is there' "$(field alpha agent message)" '/[0-9a-f]{64}/hive: hive [0-9]'
    file=$(field alpha agent message)
    lab_on alpha sh -c "cp ${file%%: *} f && echo x >>f && mv f ${file%%: *}"
    doctor
    is 'a file that is damaged' "$(problems alpha)" agent
    eval "$(field alpha agent fix)" </dev/null
    doctor
    is 'is mended by the fix' "$(problems alpha)/$(field alpha agent message | grep -c 'not there yet')" /1
else
    run hive hosts add alpha
    is 'a hive that can not be copied makes no node' "$status" 1
    doctor
    is 'which is said' "$(problems alpha)" node
    like 'with the reason' "$(field alpha node message)" "can't be copied to other machines"
    like 'and the fix' "$(field alpha node fix)" 'run the static binary'
fi
lab_link_down alpha
doctor --timeout 3s
is 'a host that is off' "$status/$(problems alpha | cut -d ' ' -f 1)" 1/reach
lab_link_up alpha
end_daemon
is 'the daemon ends with status 0' "$daemon_status" 0

done_testing
