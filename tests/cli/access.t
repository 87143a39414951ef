# SPDX-License-Identifier: BSD-2-Clause
# Who is let in: this user and root; no page of another site; nobody else on the machine.
. "$(dirname "$0")/lib.sh"
umask 000
start_daemon --threads 2 || exit 1
api=$url/api/v1
port=${url##*:}
code() { command curl -m 10 -s -o body -w '%{http_code}' "$@"; }

# files
is 'the socket is for its owner only' "$(stat -c %a run/hive.sock run/shim.sock | tr '\n' ' ')" '600 600 '
is 'so are the folders' "$(stat -c %a run state | tr '\n' ' ')" '700 700 '
hive submit -q --wait 'echo secret' >/dev/null
check 'nothing in them is open to others' sh -c '[ -z "$(find state run ! -type l ! -path "state/attempts/*" -perm /077)" ]'

# pages of other sites
for method in GET POST PUT DELETE OPTIONS HEAD; do
    is "$method with a foreign Origin" "$(code -X $method -I -H 'Origin: http://evil.example' "$api/health")" 403
    is "$method with a foreign Host" "$(code -X $method -I -H 'Host: evil.example' "$api/health")" 403
done
submit="-X POST $api/jobs/submit -H Content-Type:application/json -d {\"command\":\"touch,owned\"}"
for origin in null http://evil.example "http://127.0.0.1.evil.example:$port" "http://evil.example/127.0.0.1:$port" "http://127.0.0.1:1" "https://127.0.0.1:$port.evil" \
    "file://" "http://localhost" "$url.evil"; do
    is "submit with Origin $origin" "$(code $submit -H "Origin: $origin")" 403
done
for host in evil.example 127.0.0.1.evil.example "127.0.0.1:$port@evil.example" 10.0.0.1 0.0.0.0 '[::ffff:10.0.0.1]' '' 'localhost.evil.example' '127.1'; do
    is "submit with Host '$host'" "$(code $submit -H "Host: $host" | sed 's/400/403/')" 403
done
is 'Sec-Fetch-Site: cross-site' "$(code $submit -H 'Sec-Fetch-Site: cross-site')" 403
is 'a form' "$(code -X POST "$api/jobs/submit" -d 'command=touch,owned')" 415
is 'no answer allows other origins' "$(curl -si -H "Origin: $url" "$api/health" | grep -ci '^access-control')" 0
is 'nothing of this was run' "$(curl -s "$api/jobs" | jq '.jobs|length')" 1
for host in "localhost:$port" "127.0.0.1:$port" "127.0.0.2:$port" "[::1]:$port" "LOCALHOST:$port"; do
    is "Host $host is ours" "$(code -H "Host: $host" "$api/health")" 200
done
is 'our own Origin' "$(code -H "Origin: $url" "$api/health")" 200

# only loopback is served
for listen in 0.0.0.0:0 '[::]:0' 10.0.0.1:0 ':8080' 8080 127.0.0.1 127.0.0.1:99999 127.0.0.1:x localhost:x ''; do
    run timeout 10 env HIVE_STATE_DIR="$T/s2" HIVE_RUNTIME_DIR="$T/r2" hive daemon --listen "$listen"
    check "--listen '$listen' is refused" [ "$status" -eq 1 -o "$status" -eq 2 ]
    like "--listen '$listen' says why" "$err" 'hive'
done

# another user
if is_root && command -v setpriv >/dev/null; then
    hive_for_all
    other='setpriv --reuid 65534 --regid 65534 --clear-groups'
    as_other() { $other curl -m 10 -s -o "$T/other.body" -w '%{http_code}' "$@"; }
    : >other.body
    chmod 666 other.body
    is 'another user over TCP' "$(as_other "$api/health")" 401
    like 'is told why' "$(cat other.body)" 'user'
    is 'another user over TCP, submit' "$(as_other -X POST "$api/jobs/submit" -H 'Content-Type: application/json' -d '{"command":"true"}')" 401
    is 'another user over TCP, logs' "$(as_other "$api/jobs/1/logs")" 401
    is 'another user over TCP, events' "$(as_other "$api/events")" 401
    is 'another user at the socket' "$(as_other --unix-socket "$T/run/hive.sock" http://localhost/api/v1/health)" 000
    chmod 755 run
    chmod 777 run/hive.sock
    like 'another user at the socket, were it open' "$(as_other --unix-socket "$T/run/hive.sock" http://localhost/api/v1/health)" '^(401|403)$'
    run $other env HIVE_RUNTIME_DIR="$T/run" HIVE_STATE_DIR="$T/state" PATH="$PATH" HOME=/tmp "$hive_for_all" status
    is 'hive of another user: not allowed' "$status" 4
    is 'no job came of it' "$(curl -s "$api/jobs" | jq '.jobs|length')" 1
    # a daemon of a user serves root, but not a third user
    mkdir -p "$T/theirs"
    chown 65534 "$T/theirs"
    $other env HIVE_STATE_DIR="$T/theirs/state" HIVE_RUNTIME_DIR="$T/theirs/run" HIVE_CONFIG=/dev/null HOME="$T/theirs" "$hive_for_all" daemon --listen 127.0.0.1:0 2>"$T/theirs.log" &
    theirs=$!
    if wait_for 10 grep -q 'API at' "$T/theirs.log"; then
        their_url=$(sed -n 's/.*API at \(http:[^ ]*\).*/\1/p' "$T/theirs.log")
        is 'root may use the daemon of a user' "$(code "$their_url/api/v1/health")" 200
        is 'its user may' "$(as_other "$their_url/api/v1/health")" 200
        is 'a third may not' "$(setpriv --reuid 12345 --clear-groups curl -m 10 -s -o /dev/null -w '%{http_code}' "$their_url/api/v1/health")" 401
        is 'its jobs run as its user' "$($other env HIVE_RUNTIME_DIR="$T/theirs/run" HIVE_STATE_DIR="$T/theirs/state" HIVE_CONFIG=/dev/null HOME="$T/theirs" "$hive_for_all" submit --follow --workdir / 'id -u' 2>/dev/null)" 65534
    else
        ok 1 'a daemon of another user starts'
        sed 's/^/# /' "$T/theirs.log"
    fi
    kill "$theirs" 2>/dev/null
    wait "$theirs" 2>/dev/null
else
    skip 13 'needs root and setpriv'
fi

# nothing of the daemon reaches a job
is 'no descriptors are inherited' "$(hive submit --follow 'ls /proc/self/fd | wc -l' 2>/dev/null)" 4
is 'nor its environment' "$(hive submit --follow 'env | grep -c "HIVE_STATE_DIR\|HIVE_RUNTIME_DIR\|HIVE_CONFIG"' 2>/dev/null)" 0
is 'no signal is blocked or ignored' "$(hive submit --follow 'grep -E "^Sig(Blk|Ign)" /proc/self/status' 2>/dev/null | tr -d '\t' | tr '\n' ' ')" 'SigBlk:0000000000000000 SigIgn:0000000000000000 '

done_testing
