# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# `hive doctor` of this machine. Hosts are in tests/lab/doctor.t.

. "$(dirname "$0")/lib.sh"

# doctor WORD...: sets $out, $err, $status; $json is what --json says
doctor() {
    run timeout 60 hive doctor --json "$@"
    json=$out
}
# field CHECK FIELD [WHERE]: of the first such check
field() { printf '%s\n' "$json" | jq -r --arg check "$1" --arg where "${3:-this machine}" "[.checks[] | select(.check == \$check and .where == \$where)][0].$2"; }
tool() { # NAME OUTPUT STATUS
    printf '#!/bin/sh\necho "%s"\nexit %d\n' "$2" "$3" >"$T/bin/$1"
    chmod 755 "$T/bin/$1"
}
content() { (cd "$T/state" && find . -type f -exec sha256sum {} + | sort); }

# --- without a daemon ---

exits 'without a daemon there is no problem' 0 hive doctor
like 'a line for each check' "$out" '^  note +daemon +no hive daemon is running'
like 'with its fix' "$out" '^ +fix: hive daemon$'
like 'and their count' "$out" '^no problems, [0-9]+ notes?$'
doctor
is 'JSON' "$status/$(printf '%s\n' "$json" | jq -r '.api, ([.checks[].where] | unique | join(",")),
    ([.checks[].status] | unique - ["note", "ok", "problem"] | length), ([.checks[] | select(.message == "")] | length)' | tr '\n' ' ')" \
    '0/1 this machine 0 0 '
is 'the daemon' "$(field daemon status)/$(field daemon fix)" 'note/hive daemon'
is 'the kernel' "$(field loopback status)" ok
is 'the state folder' "$(field state status)/$(field state message)" "ok/$T/state is not there yet"
check 'which is not made' sh -c '! [ -e "$1" ] && ! [ -e "$2" ]' - "$T/state" "$T/run"
doctor --deep
is 'a queue that is not there' "$status/$(field queue message)" '0/there is none yet'

: >"$T/file"
run env HIVE_STATE_DIR="$T/file" hive doctor --json
json=$out
is 'a state folder that is none' "$status/$(field state status)" 1/problem
like 'and what to do' "$(field state fix)" 'set HIVE_STATE_DIR'

# --- what is installed ---

tool waypipe 'waypipe 0.9.1' 0
doctor
is 'waypipe' "$(field waypipe status)/$(field waypipe message)" 'ok/waypipe 0.9.1'
tool waypipe 'waypipe 0.7.2' 0
doctor
is 'an old waypipe' "$(field waypipe status)" note
tool waypipe 'no words' 0
doctor
is 'one that says no version' "$(field waypipe status)/$(field waypipe fix)" 'note/waypipe --version'
tool nvidia-smi 'NVIDIA H200, 550.54' 0
doctor
is 'a GPU' "$(field gpu status)/$(field gpu message)" 'ok/1: NVIDIA H200, 550.54'
rm "$T/bin/waypipe" "$T/bin/nvidia-smi"
mkdir "$T/few"
for program in sh id uname df cat grep head date; do ln -s "$(command -v $program)" "$T/few/$program"; done
ln -s "$HIVE" "$T/few/hive"
run env PATH="$T/few" hive doctor --json
json=$out
is 'without ssh' "$(field ssh status)" note
run env -u WAYLAND_DISPLAY DISPLAY=:9 hive doctor --json
json=$out
is 'X11 alone' "$(field desktop status)" note
run env WAYLAND_DISPLAY="$(printf 'way\033[31m')" hive doctor
is 'a variable with an escape does nothing to the terminal' "$(printf '%s' "$out$err" | tr -dc '\033')" ''

# --- with a daemon ---

start_daemon --threads 2 || exit 1
doctor
is 'a daemon' "$status/$(field daemon status)/$(field daemon message)" "0/ok/it runs: hive $(hive --version | awk '{ print $NF }')"
is 'its address' "$(field http status)/$(field http message)" "ok/$url answers"
like 'whether it enforces memory' "$(field memory status)" '^(ok|note)$'
is 'the same as status says' "$(field memory status)" "$(hive status nodes --json | jq -r 'if .nodes[0].note then "note" else "ok" end')"
doctor --deep
is 'its queue is not looked at' "$(field queue status)" note
id=$(hive submit -q -- true)
hive wait "$id"
stop_daemon
start_daemon --listen none || exit 1
doctor
is 'a daemon with a socket alone' "$(field http message)" 'off; the socket only'
stop_daemon KILL

# --- the queue ---

before=$(content)
doctor --deep
is 'the queue is read' "$status/$(field queue status)" 0/ok
is 'and nothing is changed' "$(content)" "$before"
is 'nor left behind' "$(TMPDIR=$T/tmp && mkdir "$TMPDIR" && export TMPDIR && hive doctor --deep >/dev/null && ls -A "$TMPDIR")" ''
printf 'rubbish' | dd of="$T/state/hive.db" bs=1 conv=notrunc 2>/dev/null
before=$(content)
doctor --deep
is 'a queue that is damaged' "$status/$(field queue status)" 1/problem
like 'and what to do' "$(field queue fix)" 'hive.db'
is 'is left as it is' "$(content)" "$before"
rm -r "$T/state"

# --- hosts ---

doctor nosuchhost.invalid
is 'a host that nobody knows' "$status/$(field name status nosuchhost.invalid)" 1/problem
like 'and what to do' "$(field name fix nosuchhost.invalid)" 'set HostName for it'
doctor 'al pha' -- -oProxyCommand=x
is 'words that are no hosts' "$status/$(field config status 'al pha')/$(field config status -oProxyCommand=x)" 1/problem/problem
exits 'no time at all' 2 hive doctor --timeout 0s

done_testing
