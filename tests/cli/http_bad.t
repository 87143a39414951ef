# SPDX-License-Identifier: BSD-2-Clause
# Raw bytes at the HTTP port: smuggling, floods, half requests. Each is answered with an error or closed; none is
# taken for two requests, and none stops the daemon.
. "$(dirname "$0")/lib.sh"
command -v perl >/dev/null || { skip 1 'no perl'; done_testing; }
start_daemon --threads 2 || exit 1
addr=${url#http://}
raw=$top/tests/cli/raw.pl
J='Content-Type: application/json'

# send FORMAT: bytes as printf writes them; $out: the answer, $lines: its status codes
send() {
    # shellcheck disable=SC2059
    printf "$1" | perl "$raw" "$addr" 3 >raw.out 2>raw.err
    raw_status=$?
    codes=$(sed -n 's/^HTTP\/1\.[01] \([0-9]*\).*/\1/p' raw.out | tr '\n' ' ')
    codes=${codes% }
}

# one NAME CODE FORMAT: exactly one answer with this code, then the connection is closed
one() {
    send "$3"
    is "$1" "$codes $raw_status" "$2 0"
}

one 'a good request' 200 "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\nConnection: close\r\n\r\n"
send "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\n\r\nGET /api/v1/version HTTP/1.1\r\nHost: $addr\r\nConnection: close\r\n\r\n"
is 'two requests in a row' "$codes" '200 200'

# smuggling: the second request must never be answered
second="GET /api/v1/version HTTP/1.1\r\nHost: $addr\r\n\r\n"
post="POST /api/v1/jobs/submit HTTP/1.1\r\nHost: $addr\r\n$J\r\n"
one 'Content-Length and Transfer-Encoding' 400 "${post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$second"
one 'Transfer-Encoding and Content-Length' 400 "${post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n$second"
one 'two Content-Lengths that differ' 400 "${post}Content-Length: 2\r\nContent-Length: 30\r\n\r\n{}$second"
one 'two Content-Lengths in one line' 400 "${post}Content-Length: 2, 30\r\n\r\n{}$second"
one 'two Transfer-Encodings' 501 "${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n$second"
for value in -1 +2 0x2 2x '' '2 2' 99999999999999999999 2.0 1e1; do
    send "${post}Content-Length: $value\r\n\r\n{}$second"
    like "Content-Length: '$value'" "$codes" '^(400|413)$'
done
for value in xchunked 'chunked, identity' 'identity' 'gzip' 'chunked chunked' 'chunked;q=1'; do
    send "${post}Transfer-Encoding: $value\r\n\r\n0\r\n\r\n$second"
    like "Transfer-Encoding: $value" "$codes" '^(400|501)$'
done
one 'a folded header' 400 "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\nX-A: b\r\n c\r\n\r\n$second"
one 'a folded first header' 400 "GET /api/v1/health HTTP/1.1\r\n Host: $addr\r\n\r\n$second"
one 'a blank before the colon' 400 "${post}Content-Length : 2\r\n\r\n{}$second"
one 'a bare CR in a header' 400 "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\nX-A: b\rX-B: c\r\n\r\n$second"
one 'a bare CR as line end' 400 "GET /api/v1/health HTTP/1.1\rHost: $addr\r\r$second"
one 'a NUL in a header' 400 "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\nX-A: b\000c\r\n\r\n$second"
one 'a header without a colon' 400 "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\nfrob\r\n\r\n$second"
one 'a header without a name' 400 "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\n: x\r\n\r\n$second"
one 'two Hosts' 400 "GET /api/v1/health HTTP/1.1\r\nHost: $addr\r\nHost: evil.example\r\n\r\n$second"
one 'no Host' 400 "GET /api/v1/health HTTP/1.1\r\n\r\n$second"
for line in 'GET' 'GET /' 'GET  / HTTP/1.1' 'GET / HTTP/1.1 x' 'GET / HTTP/9.9' 'GET / HTTP/2.0' 'G(T / HTTP/1.1' 'GET relative HTTP/1.1' 'GET /a b HTTP/1.1' '\001\002\003'; do
    send "$line\r\nHost: $addr\r\n\r\n$second"
    like "request line '$line'" "$codes" '^(400|404|405|505)$'
    check "  and the connection is closed" [ "$raw_status" -eq 0 ]
done
# broken chunks
for body in 'x\r\n{}\r\n0\r\n\r\n' '-2\r\n{}\r\n0\r\n\r\n' '2 \r\n{}\r\n0\r\n\r\n' '2\r\n{}xx\r\n0\r\n\r\n' '2\n{}\n0\n\n' 'ffffffffffffffff\r\n{}' '10000000000000002\r\n{}' '0x2\r\n{}\r\n0\r\n\r\n' '\r\n\r\n' \
    '2\r\n{}\r\n0\r\nContent-Length : 5\r\n\r\n'; do
    send "${post}Transfer-Encoding: chunked\r\n\r\n$body$second"
    like "chunk '$body'" "$codes" '^(400|413)$'
done
send "${post}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;a=b\r\n{\"c\r\n11\r\nommand\":\"true\",\"n\r\n9\r\name\":\"x\"}\r\n0\r\n\r\n"
is 'good chunks are a body' "$codes" 200

# floods and limits
send "GET /$(head -c 9000 /dev/zero | tr '\0' a) HTTP/1.1\r\nHost: $addr\r\n\r\n$second"
is 'a long request line' "$codes" 414
send "GET / HTTP/1.1\r\nHost: $addr\r\nX: $(head -c 9000 /dev/zero | tr '\0' a)\r\n\r\n$second"
is 'a long header' "$codes" 431
send "GET / HTTP/1.1\r\nHost: $addr\r\n$(for n in $(seq 100); do printf 'X-%d: y\\r\\n' "$n"; done)\r\n$second"
is 'many headers' "$codes" 431
perl -e 'print "GET / HTTP/1.1\r\n", "X: y\r\n" x 1000000' >flood
perl "$raw" "$addr" 10 <flood >raw.out 2>/dev/null
like 'an endless header' "$(head -n 1 raw.out)" ' 431 '
perl -e 'print "A" x 10000000' | perl "$raw" "$addr" 10 >raw.out 2>/dev/null
like 'one endless line' "$(head -n 1 raw.out)" ' (400|414) '
send "${post}Content-Length: 100000000\r\n\r\n"
is 'a body that is announced too long is refused before it is sent' "$codes" 413
send "${post}Content-Length: 18\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n{\"command\":\"true\"}"
like 'Expect: 100-continue' "$codes" '(100 )?200$'
head -c 100000 /dev/urandom >noise
for n in 1 2 3; do
    head -c 100000 /dev/urandom | perl "$raw" "$addr" 3 >raw.out 2>/dev/null
    check "noise $n is closed" [ $? -eq 0 ]
done

# what doesn't end: many half requests must not keep others out
for n in $(seq 50); do
    printf 'GET /api/v1/he' | perl "$raw" "$addr" 4 >/dev/null 2>&1 &
    half="${half-} $!"
done
is 'half requests keep nobody out' "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$url/api/v1/health")" 200
check 'nor the socket' timeout 5 hive status
for pid in $half; do kill "$pid" 2>/dev/null; done
# clients that go away in the middle of an answer
hive submit -q --wait 'head -c 5000000 /dev/zero' >id
for n in $(seq 20); do curl -s -m 5 "$url/api/v1/jobs/$(cat id)/logs" | head -c 10 >/dev/null; done
check 'the daemon lives' kill -0 "$daemon_pid"
is 'jobs submitted by all this' "$(hive status jobs --json | jq '[.jobs[]|select(.command=="true")]|length')" 2
check 'jobs run' hive submit --wait true
is 'no descriptor is left open' "$(wait_for 5 sh -c '[ "$(ls /proc/'"$daemon_pid"'/fd | wc -l)" -lt 40 ]'; echo $?)" 0

done_testing
