# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# Where an application would open: `hive launch --dry-run`, the API below it, and Beowulf's socket. One machine only;
# tests/lab/allocate.t has several.
. "$(dirname "$0")/lib.sh"
J='Content-Type: application/json'

# what needs no daemon
exits 'without a daemon' 3 hive launch --dry-run gimp
exits 'without --dry-run' 2 hive launch gimp
like 'says what there is' "$err" 'launch is not in this version of hive'
like 'and what to do' "$err" '--dry-run shows where it would open'
exits 'without an application' 2 hive launch --dry-run

start_daemon --threads 2 || exit 1
api=$url/api/v1
me=$(hive status nodes --json | jq -r '.nodes[0].name')
place() { curl -s -m 10 -H "$J" -d "$1" "$api/allocations"; }

# --- the command ---

exits 'this machine takes it' 0 hive launch --dry-run firefox-esr https://example.org
like 'in words' "$out" "^firefox would open on $me: "
like 'and as a table' "$out" '^HOST +SCORE +MEMORY +CPU .* WHY$'
like 'with a row' "$out" "^$me +-?[0-9]+ +[0-9]+ +[0-9]+ "
exits 'as JSON' 0 hive launch --dry-run --json -- firefox --json
is 'one value' "$(printf '%s' "$out" | jq -s 'length')" 1
is 'nothing was placed' "$(printf '%s' "$out" | jq -c '[.api,.allocation.id,.allocation.node,.allocation.app,.hosts[0].name,.hosts[0].out]')" "[1,null,\"$me\",\"firefox\",\"$me\",null]"
is 'the score is the sum of its terms' "$(printf '%s' "$out" | jq '.hosts[0]|.score==([.terms[]]|add)')" true
exits 'on this machine, by name' 0 hive launch --dry-run --host "$me" gimp
exits 'on another one' 1 hive launch --dry-run --host frob gimp
like 'that is not known' "$err" "there is no host 'frob'"
like 'what to do' "$err" 'hive hosts'
for columns in 40 60 80; do
    is "no line is wider than $columns" "$(COLUMNS=$columns hive launch --dry-run gimp | sed 1,2d | awk -v w=$columns 'length > w')" ''
done
check 'a full disk is noticed' sh -c '! hive launch --dry-run gimp >/dev/full 2>&1'
exits 'an escape in the name' 0 hive launch --dry-run "$(printf 'gi\033[31mmp')"
check 'does not reach the terminal' sh -c '! printf %s "$1" | grep -q "$(printf "\033")"' - "$out"

# --- the API ---

id=$(place '{"command":"gimp x.png"}' | jq -r .allocation.id)
like 'a place has a number' "$id" '^[1-9][0-9]*$'
is 'it has no address: it is here' "$(place '{"argv":["gimp"]}' | jq '.allocation.address')" null
is 'a report' "$(curl -s -m 10 -H "$J" -d '{"pid":1234,"memory_bytes":3000000000,"cpu_percent":50}' "$api/allocations/$id/report" | jq -c .)" '{"api":1}'
hive launch --dry-run --json gimp >last.json
is 'it ran last here' "$(jq '.hosts[0].terms.last > 0 or .hosts[0].overloaded' last.json)" true
is 'it ended' "$(curl -s -m 10 -H "$J" -d '{"ended":true}' "$api/allocations/$id/report" | jq -c .)" '{"api":1}'
is 'and is known no more' "$(curl -s -m 10 -o /dev/null -w '%{http_code}' -H "$J" -d '{}' "$api/allocations/$id/report")" 404
id=$(place '{"command":"foot"}' | jq -r .allocation.id)
is 'one that did not start' "$(curl -s -m 10 -X DELETE -o /dev/null -w '%{http_code}' "$api/allocations/$id")" 200
is 'a second time' "$(curl -s -m 10 -X DELETE -o /dev/null -w '%{http_code}' "$api/allocations/$id")" 404
for bad in '' '[]' '{}' '{"command":""}' '{"command":" "}' '{"command":7}' '{"argv":[]}' '{"argv":[7]}' '{"command":"x","argv":["x"]}' '{"command":"x","frob":1}' \
    '{"command":"x","memory":"5"}' '{"command":"x","dry_run":"yes"}'; do
    is "refused: $bad" "$(place "$bad" | jq -r '.error.kind')" invalid
done
is 'more memory than anybody has' "$(place '{"command":"x","memory":"900T"}' | jq -r '.error.kind')" unprocessable
like 'says so' "$(place '{"command":"x","memory":"900T"}' | jq -r '.error.message')" "no host can take x: $me: "

# --- what is kept ---

place '{"command":"blender"}' >b.json
curl -s -m 10 -H "$J" -d '{"pid":7}' "$api/allocations/$(jq -r .allocation.id b.json)/report" >/dev/null
stop_daemon TERM
is 'a daemon that ends writes it down' "$(jq -c '[.apps[]|select(.name=="blender")|.host]' "$T/state/apps.json")" "[\"$me\"]"
is 'for its user alone' "$(stat -c %a "$T/state/apps.json")" 600
hive config launch.sticky "gimp=$me, oops"
start_daemon --threads 2 || exit 1
api=$url/api/v1
like 'a bad part of a setting is told' "$(cat "$T/daemon.log")" "launch.sticky: 'oops': .*expected APP=HOST"
is 'the next one knows it' "$(hive launch --dry-run --json blender | jq '.hosts[0]|.terms.last>0 or .overloaded')" true
is 'and what is set' "$(hive launch --dry-run --json gimp | jq '.hosts[0]|.terms.sticky>0 or .overloaded')" true
check 'Beowulf has no socket unless asked for' [ ! -e "$HOME/.beowulf" ]
stop_daemon TERM

# --- Beowulf's socket ---

# ask TEXT [half]: sends it as it is; prints what comes until the end, or a line when the client keeps its side open
ask() {
    perl -MIO::Socket::UNIX -e '
        alarm 10;
        my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no socket: $!\n";
        print $s $ARGV[1]; $s->flush;
        $s->shutdown(1) if $ARGV[2];
        my $line = <$s>; print $line;' "$HOME/.beowulf/run/daemon" "$@"
}
hive config launch.beowulf yes
mkdir -p "$HOME/.beowulf/run"
perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die' "$HOME/.beowulf/run/daemon"
check 'a socket that somebody left' [ -S "$HOME/.beowulf/run/daemon" ]
start_daemon --threads 2 || exit 1
is 'is replaced by one of ours' "$(stat -c %a "$HOME/.beowulf/run/daemon")" 600
is 'a report' "$(ask '{"cmd":"report","app":"firefox","pid":12345,"host":"host1.local"}')" '{"status":"ok"}'
is 'as a line' "$(ask '{"cmd":"report","app":"firefox"}
')" '{"status":"ok"}'
is 'half-closed' "$(ask '{"cmd":"report","app":"firefox"}' half)" '{"status":"ok"}'
is 'there is no host that SSH gets to' "$(ask '{"cmd":"allocate","app":"firefox"}' | jq -r '.error|test("^no host can take firefox: none is known .*hive hosts add")')" true
is 'no JSON' "$(ask 'frob' half | jq -r 'keys|join(",")')" error
run timeout 10 hive daemon --listen none
is 'a second daemon does not take it' "$status" 1
check 'it is still there' ask '{"cmd":"report","app":"x"}'
stop_daemon TERM
check 'and gone with the daemon' [ ! -e "$HOME/.beowulf/run/daemon" ]

# --- beowulfd ---

hive config launch.beowulf no
ln -s "$HIVE" "$T/bin/beowulfd"
printf '# ours\nnobody@127.0.0.1:1\nbad line\n' >"$HOME/.beowulf/hosts"
printf 'polling_interval = 5\nsticky.firefox = nobody@127.0.0.1:1\n' >"$HOME/.beowulf/beowulfdrc"
exits 'beowulfd --help' 0 beowulfd --help
exits 'an argument too many' 2 beowulfd x
exits 'a port that is none' 2 beowulfd --http-port 99999
exits 'an address of the network' 2 timeout 10 beowulfd --http-host 0.0.0.0
like 'says why not' "$err" 'TLS'
beowulfd --http-port 0 2>"$T/beowulfd.log" &
daemon_pid=$!
check 'it answers' wait_for 20 ask '{"cmd":"report","app":"x"}'
check 'its dashboard has an address' wait_for 10 grep -q 'API at http://127' "$T/beowulfd.log"
like 'its log is as it was' "$(cat "$T/beowulfd.log")" '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} - beowulfd - INFO - Loaded 1 hosts$'
like 'the socket' "$(cat "$T/beowulfd.log")" "beowulfd - INFO - Socket server listening on $HOME/.beowulf/run/daemon\$"
like 'a bad line is told' "$(cat "$T/beowulfd.log")" '\.beowulf/hosts:3: '
is 'its hosts are nodes' "$(hive hosts list --json | jq -r '.nodes[].name')" 'nobody@127.0.0.1:1'
like 'one that is down is no choice' "$(ask '{"cmd":"allocate","app":"firefox"}')" '^\{"error":"no host can take firefox: nobody@127.0.0.1:1: '
stop_daemon TERM
is 'it ends' "$daemon_status" 0
beowulfd --disable-http 2>"$T/beowulfd.log" &
daemon_pid=$!
check 'it starts again' wait_for 20 ask '{"cmd":"report","app":"x"}'
is 'nothing is there twice' "$(hive hosts list --json | jq -r '.nodes|length')" 1
check 'without HTTP' sh -c '! grep -q "API at" "$1"' - "$T/beowulfd.log"
hive hosts remove 'nobody@127.0.0.1:1'
mv "$T/beowulfd.log" "$T/daemon.log"
done_testing
