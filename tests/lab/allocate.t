# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# Where an application opens, with several hosts: one that is idle, one whose memory is full, one that waits for its
# disk, one whose processors are busy. As Beowulf's clients see it, and hive's own.

. "$(dirname "$0")/lib.sh"
lab_begin
for host in idle full waits busy; do lab_host $host users=ann; done

# --- what they are doing: files in place of the kernel's, as all share one kernel ---

# stats TICK USER IOWAIT: /proc/stat after so many ticks of a machine that spends these parts of 100 on each
stats() {
    awk -v t="$1" -v u="$2" -v w="$3" -v n="$(nproc)" 'BEGIN {
        for (i = -1; i < n; i++)
            printf "cpu%s %012d 0 0 %012d %012d 0 0 0 0 0\n", i < 0 ? "" : i, t * u, t * (100 - u - w), t * w
        print "ctxt 1\nbtime 1700000000\nprocesses 1\nprocs_running 1\nprocs_blocked 0" }'
}
# what HOST FILE TEXT: sets $what to the file's path as the client sees it
what() {
    lab_file "$@"
    what=$(lab_path "$1" "/run/lab/file.$lab_files")
}
memory() { # AVAILABLE-GIB
    printf 'MemTotal: 33554432 kB\nMemFree: %d kB\nMemAvailable: %d kB\nBuffers: 0 kB\nCached: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n' \
        $(($1 * 1048576)) $(($1 * 1048576))
}
for host in idle waits busy; do lab_file $host /proc/meminfo "$(memory 30)"; done
lab_file full /proc/meminfo "$(memory 1)"
for host in idle full waits busy; do
    lab_file $host /proc/loadavg '0.10 0.10 0.10 1/100 1000'
    what $host /proc/stat "$(stats 1 0 0)"
    echo "$what" >$host.stat
done
# Their time goes on: in place, so that nobody reads half of it.
touch going
(
    tick=1
    while [ -e going ]; do
        tick=$((tick + 1))
        stats $tick 1 0 | dd of="$(cat idle.stat)" conv=notrunc status=none
        stats $tick 1 0 | dd of="$(cat full.stat)" conv=notrunc status=none
        stats $tick 1 40 | dd of="$(cat waits.stat)" conv=notrunc status=none
        stats $tick 97 0 | dd of="$(cat busy.stat)" conv=notrunc status=none
        sleep 0.3
    done 2>/dev/null
) &
clock_pid=$!

# --- as beowulfd, with its files ---

printf 'ServerAliveInterval 1\nServerAliveCountMax 3\n' >"$HOME/.ssh/config"
mkdir -p "$HOME/.beowulf"
printf '# our hosts\nfull\nwaits\nbusy\nann@idle:22\n' >"$HOME/.beowulf/hosts"
printf 'sticky.gimp = full\nsticky.blender = busy\nsticky.foot = idle\n' >"$HOME/.beowulf/beowulfdrc"
ln -s "$HIVE" "$T/bin/beowulfd"
beowulfd --http-port 0 2>"$T/daemon.log" &
daemon_pid=$!
# ask TEXT: what Beowulf's daemon answers
ask() {
    perl -MIO::Socket::UNIX -e '
        alarm 10;
        my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no socket: $!\n";
        print $s $ARGV[1]; $s->flush; print scalar <$s>;' "$HOME/.beowulf/run/daemon" "$@"
}
allocate() { ask "{\"cmd\":\"allocate\",\"app\":\"$1\"}"; }
host_of() { allocate "$1" | jq -r .host; }
plan() { hive launch --dry-run --json "$@"; }
# of NAME FIELD [APP]: of the plan's host
of() { plan "${3-firefox}" | jq -r ".hosts[]|select(.name==\"$1\")|$2"; }
# All four are up, and their rates known.
measured() { [ "$(hive status nodes --json | jq '[.nodes[]|select(.kind=="ssh" and .status=="up" and .cpu_percent!=null and .iowait_percent!=null)]|length')" = 4 ]; }
rates() { hive status nodes --json | jq -e '[.nodes[]|{(.name):.}]|add|.waits.iowait_percent>30 and .busy.cpu_percent>90 and .["ann@idle:22"].cpu_percent<5'; }

check 'all hosts of the file are up, and measured' wait_for 60 measured
check 'as they are' wait_for 60 rates
is 'the idle one is taken' "$(host_of firefox)" 'ann@idle:22'
like 'with words' "$(allocate xterm)" '^\{"host":"ann@idle:22","reason":".+"\}$'
check 'the others stand far behind it' sh -c '[ "$1" -gt "$(($2+100))" ] && [ "$1" -gt "$(($3+100))" ] && [ "$1" -gt "$(($4+100))" ]' - \
    "$(of ann@idle:22 .score)" "$(of full .score)" "$(of waits .score)" "$(of busy .score)"
like 'for its memory' "$(of full .reason)" 'memory'
like 'for its disk' "$(of waits .reason)" 'iowait'
like 'for its processors' "$(of busy .reason)" 'CPU'
is 'set, but overloaded' "$(host_of blender)" 'ann@idle:22'
is 'set, by another name' "$(host_of foot)" 'ann@idle:22'
is 'one host alone' "$(plan --host waits firefox | jq -r .allocation.node)" waits
is 'a report' "$(ask '{"cmd":"report","app":"mutt","pid":77,"host":"waits"}')" '{"status":"ok"}'

# --- a row of launches ---

for n in 1 2 3 4 5 6 7 8; do host_of calc; done | sort >row
check 'many at once do not all go to one host' [ "$(uniq row | wc -l)" -ge 2 ]

# --- a host goes ---

lab_crash idle
check 'a host that is gone is out' wait_for 60 eval '[ "$(of ann@idle:22 .out)" = down ]'
check 'another one takes it' eval '[ "$(host_of vim)" != "ann@idle:22" ]'

rm going
wait "$clock_pid"
stop_daemon TERM
is 'the daemon ends' "$daemon_status" 0
is 'its log has no defects' "$(grep -E 'Sanitizer|runtime error|assert' "$T/daemon.log")" ''
# The link processes outlive it, as they should, and end with the lab.
done_testing
