# SPDX-License-Identifier: BSD-2-Clause
# The node side of a link, hive agent --stdio, spoken to by hand.
. "$(dirname "$0")/lib.sh"
head=00112233445566778899aabbccddeeff
welcome='{"type":"welcome","v":1,"head":"'$head'","fence":1'

like 'it is not listed' "$(hive help | grep -c agent)" '^0$'
exits 'without --stdio' 2 hive agent
like 'says what is missing' "$err" '--stdio'
exits 'an unexpected word' 2 hive agent --stdio host1

# without a head
exits 'end of input is the end' 0 hive agent --stdio </dev/null
is 'it says hello' "$(printf '%s' "$out" | jq -r '"\(.type) \(.v) \(.threads > 0) \(.memory_total_bytes > 0)"')" 'hello 1 true true'
is 'with its version' "$(printf '%s' "$out" | jq -r .version)" "$(hive version | sed -n '1s/^hive \([^ ]*\).*/\1/p')"
is 'and nothing on stderr' "$err" ''
exits 'nonsense is answered' 0 sh -c 'printf "what?\n{\"type\":\"dance\"}\n" | hive agent --stdio'
is 'with errors' "$(printf '%s\n' "$out" | jq -r .type | tr '\n' ' ')" 'hello error error '

printf '{"type":"ping","id":3}\n' >ask
exits 'files will do for input and output' 0 sh -c 'hive agent --stdio <ask >answer'
is 'all of it is answered' "$(jq -r .type answer | tr '\n' ' ')" 'hello pong '

# a whole conversation
printf '%s}\n' "$welcome" >script
cat >>script <<S
{"type":"run","job":1,"attempt":1,"fence":1,"argv":["sh","-c","echo \$HIVE_ATTEMPT_PREFIX; exit 3"],"env":["PATH=/usr/bin:/bin"],"workdir":"/"}
{"type":"ping","id":9}
S
mkfifo in
hive agent --stdio <in >out 2>err &
agent=$!
exec 7>in
cat script >&7
check 'a job runs' wait_for 10 grep -q '"ended"' out
is 'its end' "$(jq -r 'select(.type == "ended") | "\(.job).\(.attempt) \(.outcome) \(.code)"' out)" '1.1 exited 3'
echo '{"type":"read","id":1,"job":1,"attempt":1}' >&7
check 'its output can be read' wait_for 10 grep -q '"data"' out
state=$T/state/agent/$head/$(uname -n)
is 'as it was written' "$(jq -r 'select(.type == "data") | .data' out | base64 -d)" "$state/attempts/0/1.1"
check 'the state folder is private' sh -c '[ "$(stat -c %a "$1")" = 700 ]' - "$state"
is 'pong' "$(jq -r 'select(.type == "pong") | .id' out)" 9
echo '{"type":"ack","job":1,"attempt":1}' >&7
echo '{"type":"forget","job":1,"attempt":1}' >&7
check 'what is forgotten is gone' wait_for 10 sh -c '! ls "$1"/attempts/0/1.1.* 2>/dev/null' - "$state"

# the connection goes, the job stays
echo '{"type":"run","job":2,"attempt":1,"fence":1,"argv":["sleep","1000"],"env":["PATH=/usr/bin:/bin"],"workdir":"/"}' >&7
check 'a job that lasts' wait_for 10 test -e "$state/attempts/0/2.1.out"
exec 7>&-
check 'without a connection it lets go of its output' wait_for 10 sh -c '[ "$(readlink /proc/'$agent'/fd/1)" = /dev/null ]'
check 'but stays' kill -0 "$agent"

# a head that comes back
mkfifo in2
hive agent --stdio <in2 >out2 2>err2 &
agent2=$!
exec 7>in2
printf '%s,"attempts":[{"job":2,"attempt":1}]}\n' "$welcome" >&7
check 'the next one takes over' wait_for 10 grep -q '"agreed"' out2
wait "$agent"
is 'the one before ends' $? 0
echo '{"type":"kill","job":2,"attempt":1}' >&7
check 'and has the job' wait_for 10 grep -q '"cancelled"' out2
exec 7>&-
wait "$agent2"
is 'it ends' $? 0
is 'nothing was said' "$(cat err err2 | grep -v 'no connection')" ''

# folders
exits 'folders can be given' 0 sh -c 'printf "%s}\n" "$1" | hive agent --stdio --state "$2/s" --runtime "$2/r"' - "$welcome" "$T"
like 'and are used' "$out" '"agreed"'
check 'both' test -d "$T/s/agent/$head" -a -d "$T/r/agent/$head"
mkdir -m 755 open
touch open/file
exits 'a folder that others can read is refused' 4 sh -c 'printf "%s}\n" "$1" | hive agent --stdio --state "$2/open"' - "$welcome" "$T"
like 'the head is told' "$out" '"error".*others may look'
echo 5 >"$state/fence"
exits 'a stale fence' 1 sh -c 'printf "%s}\n" "$1" | hive agent --stdio' - "$welcome"
like 'is refused' "$out" 'stale fence 1'

check 'nothing is left running' wait_for 10 no_leftovers || leftovers | sed 's/^/# /'
done_testing
