# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# However a test in the lab ends, nothing of it stays on this machine: no process, device, mount or file. And who can't
# have a lab is told why.

. "$(dirname "$0")/../cli/lib.sh"
here=$top/tests/lab

# --- who can't have a lab ---

mkdir "$T/checkout"
cp -R "$top/tests" "$T/checkout/"
chmod -R a+rX "$T"
victim=$T/checkout/tests/lab/victim.sh
as_nobody() {
    if is_root; then
        setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
    else
        "$@"
    fi
}
is 'without root it is skipped' "$(as_nobody env CI='' sh "$victim" 2>&1)" \
    "$(printf '%s\n' 'ok 1 # SKIP needs root: network namespaces' 1..1)"
exits 'in CI it fails' 1 as_nobody env CI=true sh "$victim"
is 'for that reason' "$out" \
    "$(printf '%s\n' 'not ok 1 - needs root: network namespaces (must not be missing in CI)' 1..1)"
if ! is_root; then
    skip 19 'needs root: network namespaces'
    done_testing
fi
exits 'nor without tools' 1 sh "$victim"
like 'it says which' "$out" 'Bail out!.*build/lab/host is missing'
mkdir -p "$T/checkout/build"
cp -R "$top/build/lab" "$T/checkout/build/"
like 'nor where it is not allowed' "$(setpriv --bounding-set=-sys_admin env CI='' HIVE="$HIVE" sh "$victim" 2>&1)" \
    '^ok 1 # SKIP not allowed here: network namespaces: Operation not permitted'

# --- what stays ---

links() { ip -o link | cut -d: -f1,2; }
# Processes below $1, as PID/START: those in the lab's pid namespaces too
tree() {
    ps -e -o pid=,ppid= | awk -v root="$1" '
        { parent[$1] = $2 }
        END { for (p in parent) { for (q = p; q && q != root; q = parent[q]); if (q == root) print p } }' |
        while read -r tree_pid; do
            echo "$tree_pid/$(sed 's/.*) //' "/proc/$tree_pid/stat" 2>/dev/null | cut -d ' ' -f 20)"
        done | grep -v '/$'
}
alive() { # PID/START...
    for alive_one; do
        [ "$(sed 's/.*) //' "/proc/${alive_one%/*}/stat" 2>/dev/null | cut -d ' ' -f 20)" != "${alive_one#*/}" ] ||
            echo "$alive_one $(tr '\0' ' ' <"/proc/${alive_one%/*}/cmdline")"
    done
}
none_alive() { [ -z "$(alive "$@")" ]; }

links_before=$(links)
mounts_before=$(cat /proc/self/mountinfo)
mkfifo "$T/up" "$T/go"
for how in end TERM KILL 'KILL the shell'; do
    setsid env CI='' sh "$here/victim.sh" "$T/up" "$T/go" >"$T/victim.out" 2>&1 &
    victim=$!
    # Opened for both, so that a victim that never comes up is no hang
    exec 5<>"$T/up" 6<>"$T/go"
    folder=$(timeout 30 head -n 1 <&5)
    processes=$(tree $victim)
    [ "$(echo "$processes" | wc -l)" -ge 10 ]
    ok $? "$how: the lab is up" || sed 's/^/#   /' "$T/victim.out"
    case $how in
    end) echo well >&6 ;;
    'KILL the shell') kill -KILL "$(ps -o pid= --ppid "$(ps -o pid= --ppid $victim | tr -d ' ')" | head -n 1)" ;;
    *) kill -"$how" $victim ;;
    esac
    wait $victim 2>/dev/null
    status=$?
    case $how,$status in
    end,0 | TERM,1 | KILL*,137) ok 0 "$how: its status" ;;
    *) ok 1 "$how: its status is $status" || sed 's/^/#   /' "$T/victim.out" ;;
    esac
    # shellcheck disable=SC2086
    check "$how: no processes" wait_for 10 none_alive $processes || alive $processes | sed 's/^/#   /'
    is "$how: no devices, mounts and files" "$(links) $(cat /proc/self/mountinfo) $(ls -d "$folder" 2>&1 | sed 's/.*: //')" \
        "$links_before $mounts_before No such file or directory"
    exec 5<&- 6<&-
done

done_testing
