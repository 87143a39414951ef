# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh disable=SC2154
#
# Several hosts on one machine: for tests of what happens between machines. As root; everything else as in
# tests/cli/lib.sh, which this includes. A test file:
#
#   . "$(dirname "$0")/../lab/lib.sh"
#   lab_begin
#   lab_host alpha users=alice,bob
#   lab_host beta server=dropbear port=2222 without=python3
#   is 'ssh' "$(lab_ssh alice@alpha id -un)" alice
#   lab_cut beta in
#   …
#   done_testing
#
# The test itself runs on the host "client": a network, mounts, a host name and processes of its own. It has the key for
# all hosts, and their names and host keys in /etc/hosts and ~/.ssh/known_hosts. The others are a pid namespace each, with
# this machine's programs below a file tree, users, /etc, /root, /home, boot_id and uptime of their own. Nobody can see
# the machine's real network. All of it ends with the test, however that ends: the kernel ends it with the namespaces.
#
# NAME is a host's name, up to 30 letters, digits and "-".
#
#   lab_begin | lab_end           lab_end is called at the end of the test anyway
#   lab_host NAME [OPTION…]       makes and starts a host
#       users=A,B[:SHELL]         root is always there; all have the client's key
#       port=N                    of the SSH server
#       server=sshd|dropbear|none
#       'sshd=LINE'               of sshd_config; as often as needed
#       without=PROGRAM[,…]       not installed there
#       with=FILE                 installed to /usr/local/bin; as often as needed
#       userland=busybox          no other programs, but for the SSH server; no sftp
#       home=noexec               for /root and /home
#       home_size=SIZE            of /root and /home together, as tmpfs has it: 5m
#       arch=NAME                 what uname -m says
#   lab_on [USER@]NAME COMMAND…   as USER or root, without SSH, in the user's home and a clean environment
#   lab_bg [USER@]NAME COMMAND…   the same in the background; sets $lab_bg to a pid that may be waited for and signalled
#                                 (with "lab_on … &", $! would be a shell that passes nothing on)
#   lab_client COMMAND…           on the client: the same as COMMAND…
#   lab_ssh [USER@]NAME COMMAND…  for 20 seconds at most, and asking nothing
#   lab_path NAME PATH            the same file, as the client sees it
#   lab_addr NAME, lab_port NAME, lab_pid NAME
#   lab_cut NAME [both|in|out]    frames to ("in") or from ("out") the host vanish; connections stay open
#   lab_mend NAME                 undoes lab_cut and lab_link_down
#   lab_slow NAME MS [RATE] [SETTING…]   MS more for a round trip; RATE as 10mbit or 500kbit; jitter=, loss= and others
#                                 as in tests/lab/link.c. Without a rate there is no limit; "lab_slow NAME 0" undoes it.
#   lab_link_down NAME, lab_link_up NAME   pulls and plugs the cable
#   lab_link_counters NAME        frames, once the host was cut or slow
#   lab_rtt NAME [TIMEOUT-MS]     milliseconds; fails without an answer
#   lab_freeze NAME, lab_thaw NAME   all its processes; its kernel still answers
#   lab_crash NAME                as by a power cut: nobody is told
#   lab_restart NAME              crash, and boot from the same disk; /tmp and /run are empty then
#   lab_sshd_restart NAME         open sessions stay
#   lab_new_host_key NAME         other host keys, as after an installation; the client doesn't know them
#   lab_trust NAME                now it does
#   lab_file NAME PATH TEXT       until the next boot: an invented /proc/meminfo, say
#   lab_name WORD ADDRESS         the client's glibc resolves WORD (getent, ssh); a static binary doesn't

umask 022
lab_top=$(cd "$(dirname "$0")/../.." && pwd)
lab_tools=$lab_top/build/lab
lab_keys=$lab_tools/keys
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# What keeps a lab from working here, in words
lab_missing() {
    if [ "$(id -u)" -ne 0 ]; then
        echo 'needs root: network namespaces'
        return
    fi
    for lab_command in ip:iproute2 sshd:openssh-server ssh:openssh-client nsenter:util-linux; do
        command -v "${lab_command%:*}" >/dev/null || echo "${lab_command%:*} is missing (apt-get install ${lab_command#*:})"
    done
    "$lab_tools/host" check 2>&1 >/dev/null | sed 's/^host: /not allowed here: /'
}

if [ "${LAB_INSIDE-}" != 1 ]; then
    if [ "$(id -u)" -eq 0 ] && ! { [ -x "$lab_tools/host" ] && [ -x "$lab_tools/link" ]; }; then
        echo "Bail out! $lab_tools/host is missing; build it first: make lab-build"
        exit 1
    fi
    lab_reason=$(lab_missing | head -n 1)
    if [ -z "$lab_reason" ]; then
        LAB_INSIDE=1 exec "$lab_tools/host" lab sh "$0" "$@"
    elif [ "${CI:-}" = true ]; then
        printf 'not ok 1 - %s (must not be missing in CI)\n1..1\n' "$lab_reason"
        exit 1
    fi
    printf 'ok 1 # SKIP %s\n1..1\n' "$lab_reason"
    exit 0
fi
unset LAB_INSIDE

# The test's folder is in memory and ends with the namespace. Any folder will do that hides nothing that is needed.
for TMPDIR in /mnt /media /srv /opt; do
    case $lab_top/,$PWD/,$(readlink -f "${HIVE:-/}")/,$0 in
    *"$TMPDIR/"*) ;;
    *) [ ! -d "$TMPDIR" ] || break ;;
    esac
done
export TMPDIR
mount -t tmpfs -o mode=755 lab "$TMPDIR" || exit 1
. "$lab_top/tests/cli/lib.sh"

LAB=$T/lab
lab_count=0
lab_files=0
lab_bound=

lab_die() {
    echo "Bail out! lab: $*"
    exit 1
}

lab_cleanup() {
    lab_status=$?
    lab_end
    (exit "$lab_status")
    cleanup
}
trap lab_cleanup EXIT

# lab_bind FILE: $LAB/etc/FILE takes the place of the client's /etc/FILE
lab_bind() {
    if mount --bind "$LAB/etc/$1" "/etc/$1"; then lab_bound="$lab_bound /etc/$1"; fi
}

# lab_key NAME TYPE: sets $lab_key. Keys are kept, because they take longer than all the rest.
lab_key() {
    lab_key=$lab_keys/$1.$2/key
    [ ! -s "$lab_key" ] || return 0
    mkdir -p "$lab_keys"
    lab_new=$(mktemp -d "$lab_keys/.new.XXXXXX") || return 1
    case $2 in
    rsa) ssh-keygen -q -t rsa -b 2048 -N '' -C "$1" -f "$lab_new/key" ;;
    *) ssh-keygen -q -t "$2" -N '' -C "$1" -f "$lab_new/key" ;;
    esac
    # Another test may have been faster.
    mv -T "$lab_new" "${lab_key%/key}" 2>/dev/null || rm -r "$lab_new"
}

lab_begin() {
    mkdir -p "$LAB/host" "$LAB/etc" "$HOME/.ssh"
    chmod 700 "$HOME/.ssh"
    lab_count=0
    hostname client
    ip -b - <<END || lab_die 'no bridge'
link set lo up
link add br0 address 02:00:0a:4d:00:01 type bridge forward_delay 0 mcast_snooping 0
addr add 10.77.0.1/24 dev br0
link set br0 up
END
    ip -6 addr add fd77::1/64 dev br0 nodad 2>/dev/null
    awk -F: -v OFS=: -v home="$HOME" '$3 == 0 { $6 = home } 1' /etc/passwd >"$LAB/etc/passwd"
    printf '127.0.0.1 localhost\n10.77.0.1 client\n' >"$LAB/etc/hosts"
    printf '%s: files\n' passwd group shadow >"$LAB/etc/nsswitch.conf"
    echo 'hosts: files dns' >>"$LAB/etc/nsswitch.conf"
    printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$LAB/etc/resolv.conf"
    for lab_file in passwd hosts nsswitch.conf resolv.conf; do
        lab_bind "$lab_file"
    done
    lab_key client ed25519 || lab_die 'no key'
    cp "$lab_key" "$HOME/.ssh/id_ed25519"
    cp "$lab_key.pub" "$HOME/.ssh/id_ed25519.pub"
    chmod 600 "$HOME/.ssh/id_ed25519"
    : >"$HOME/.ssh/known_hosts"
}

lab_end() {
    # All at once, and then one by one
    for lab_file in "$LAB"/host/*/pid "$LAB"/host/*/link.pid; do
        [ ! -s "$lab_file" ] || kill -9 "$(cat "$lab_file")" 2>/dev/null
    done
    for lab_dir in "$LAB"/host/*; do
        [ -d "$lab_dir" ] || continue
        lab_crash "${lab_dir##*/}"
        [ ! -f "$lab_dir/link.pid" ] || lab_kill "$(cat "$lab_dir/link.pid")"
        lab_number=$(cat "$lab_dir/number")
        ip link del "s$lab_number" 2>/dev/null
        ! mountpoint -q "$lab_dir/home" || umount "$lab_dir/home"
    done
    for lab_file in $lab_bound; do
        umount "$lab_file"
    done
    lab_bound=
    ip link del br0 2>/dev/null
    rm -rf "$LAB"
}

# --- hosts ---

lab_find() { # NAME: sets $lab_dir and $lab_number
    lab_dir=$LAB/host/$1
    [ -d "$lab_dir" ] || lab_die "no host $1"
    lab_number=$(cat "$lab_dir/number")
}

lab_pid() { cat "$LAB/host/$1/pid"; }
lab_addr() { echo "10.77.0.$((10 + $(cat "$LAB/host/$1/number")))"; }
lab_port() { cat "$LAB/host/$1/opt/port"; }
lab_path() { echo "/proc/$(lab_pid "$1")/root$2"; }

lab_gone() { ! kill -0 "$1" 2>/dev/null; }
lab_kill() { kill -9 "$1" 2>/dev/null && wait_for 10 lab_gone "$1"; }

lab_user() { # NAME UID SHELL HOME FOLDER
    lab_etc=$lab_dir/up/etc
    echo "$1:x:$2:$2:$1:$4:$3" >>"$lab_etc/passwd"
    echo "$1:x:$2:" >>"$lab_etc/group"
    echo "$1:*:19000:0:99999:7:::" >>"$lab_etc/shadow"
    mkdir -p "$5/.ssh"
    cp "$HOME/.ssh/id_ed25519.pub" "$5/.ssh/authorized_keys"
    chmod 700 "$5" "$5/.ssh"
    chmod 600 "$5/.ssh/authorized_keys"
    chown -R "$2:$2" "$5"
}

lab_users() { # LIST
    lab_etc=$lab_dir/up/etc
    echo 'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$lab_etc/passwd"
    echo 'sshd:x:100:65534::/run/sshd:/usr/sbin/nologin' >>"$lab_etc/passwd"
    printf 'tty:x:5:\nnogroup:x:65534:\n' >"$lab_etc/group"
    (umask 077 && printf '%s:*:19000:0:99999:7:::\n' nobody sshd >"$lab_etc/shadow")
    lab_user root 0 /bin/sh /root "$lab_dir/home/root"
    lab_uid=1000
    for lab_word in $(echo "$1" | tr , ' '); do
        lab_uid=$((lab_uid + 1))
        lab_shell=${lab_word#*:}
        lab_word=${lab_word%%:*}
        [ "$lab_shell" != "$lab_word" ] || lab_shell=/bin/sh
        lab_user "$lab_word" "$lab_uid" "$lab_shell" "/home/$lab_word" "$lab_dir/home/users/$lab_word"
    done
}

# The keys of $lab_dir's host into its /etc/ssh, those of generation $2
lab_host_keys() { # NAME GENERATION
    echo "$2" >"$lab_dir/generation"
    mkdir -p "$lab_dir/up/etc/ssh" "$lab_dir/up/etc/dropbear"
    for lab_type in ed25519 ecdsa rsa; do
        lab_key "$1-$2" $lab_type || lab_die 'no host key'
        lab_to=$lab_dir/up/etc/ssh/ssh_host_${lab_type}_key
        # A running host may have it in use as a file of the tree below: through its own eyes, if it runs.
        [ ! -f "$lab_dir/pid" ] || lab_to=$(lab_path "$1" "/etc/ssh/ssh_host_${lab_type}_key")
        (umask 077 && cat "$lab_key" >"$lab_to")
        cat "$lab_key.pub" >"$lab_to.pub"
    done
    if [ "$(cat "$lab_dir/opt/server")" = dropbear ]; then
        for lab_type in ed25519 ecdsa rsa; do
            lab_key "$1-$2" $lab_type
            lab_to=$lab_dir/up/etc/dropbear/$lab_type
            [ ! -f "$lab_dir/pid" ] || lab_to=$(lab_path "$1" "/etc/dropbear/$lab_type")
            dropbearconvert openssh dropbear "$lab_key" "$lab_to" 2>>"$lab_dir/boot.log" ||
                lab_die "dropbearconvert $lab_type: $(cat "$lab_dir/boot.log")"
        done
    fi
}

lab_trust() {
    lab_find "$1"
    lab_ip=$(lab_addr "$1")
    case $(lab_port "$1") in
    22) lab_word=$1,$lab_ip ;;
    *) lab_word="[$1]:$(lab_port "$1"),[$lab_ip]:$(lab_port "$1")" ;;
    esac
    grep -vF "$lab_word " "$HOME/.ssh/known_hosts" >"$LAB/known"
    for lab_type in ed25519 ecdsa rsa; do
        lab_key "$1-$(cat "$lab_dir/generation")" $lab_type
        echo "$lab_word $(cut -d ' ' -f 1,2 "$lab_key.pub")"
    done >>"$LAB/known"
    cat "$LAB/known" >"$HOME/.ssh/known_hosts"
}

lab_sshd_config() {
    cat "$lab_dir/sshd.first" 2>/dev/null
    echo "Port $(cat "$lab_dir/opt/port")"
    for lab_type in ed25519 ecdsa rsa; do
        echo "HostKey /etc/ssh/ssh_host_${lab_type}_key"
    done
    cat <<END
PidFile /run/sshd.pid
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel VERBOSE
END
    [ -d "$lab_dir/bin" ] || echo 'Subsystem sftp internal-sftp'
    cat "$lab_dir/sshd.match" 2>/dev/null
}

# A userland of busybox: hard links, and the SSH server beside them
lab_busybox() {
    mkdir -p "$lab_dir/bin" "$lab_dir/sbin"
    cp "$(command -v busybox)" "$lab_dir/bin/busybox" || lab_die 'busybox is missing (apt-get install busybox)'
    "$lab_dir/bin/busybox" --install "$lab_dir/bin"
    cp "$(command -v "$(cat "$lab_dir/opt/server")")" "$lab_dir/sbin/"
    [ -f "$lab_dir/sbin/nologin" ] || ln -s ../bin/false "$lab_dir/sbin/nologin"
}

lab_host() {
    lab_self=$1
    shift
    lab_dir=$LAB/host/$lab_self
    lab_count=$((lab_count + 1))
    mkdir -p "$lab_dir/up/etc" "$lab_dir/work" "$lab_dir/root" "$lab_dir/opt" "$lab_dir/home"
    echo $lab_count >"$lab_dir/number"
    echo 22 >"$lab_dir/opt/port"
    echo sshd >"$lab_dir/opt/server"
    lab_list='' lab_home=''
    for lab_option; do
        case $lab_option in
        users=*) lab_list=${lab_option#*=} ;;
        port=* | server=* | arch=*) echo "${lab_option#*=}" >"$lab_dir/opt/${lab_option%%=*}" ;;
        without=*) echo "${lab_option#*=}" | tr , '\n' >>"$lab_dir/opt/without" ;;
        with=*) mkdir -p "$lab_dir/with" && cp "${lab_option#*=}" "$lab_dir/with/" || lab_die "no ${lab_option#*=}" ;;
        userland=busybox) mkdir -p "$lab_dir/bin" ;;
        home=noexec) lab_home=$lab_home,noexec ;;
        home_size=*) lab_home=$lab_home,size=${lab_option#*=} ;;
        sshd=[Mm]atch\ *) echo "${lab_option#*=}" >>"$lab_dir/sshd.match" ;;
        # The first of several lines wins, and what follows a Match belongs to it.
        sshd=*) if [ -f "$lab_dir/sshd.match" ]; then
            echo "${lab_option#*=}" >>"$lab_dir/sshd.match"
        else
            echo "${lab_option#*=}" >>"$lab_dir/sshd.first"
        fi ;;
        *) lab_die "lab_host: what is '$lab_option'?" ;;
        esac
    done
    [ -z "$lab_home" ] || mount -t tmpfs -o "mode=755$lab_home" lab "$lab_dir/home" || lab_die 'no home'
    mkdir -p "$lab_dir/home/users"
    lab_users "$lab_list"
    [ ! -d "$lab_dir/bin" ] || lab_busybox
    lab_host_keys "$lab_self" 1
    lab_sshd_config >"$lab_dir/up/etc/ssh/sshd_config"
    lab_etc=$lab_dir/up/etc
    echo "$lab_self" >"$lab_etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$lab_etc/machine-id"
    printf '%s: files\n' passwd group shadow hosts >"$lab_etc/nsswitch.conf"
    : >"$lab_etc/resolv.conf"
    # Everybody knows everybody by name.
    lab_line="$(lab_addr "$lab_self") $lab_self"
    cat "$LAB/etc/hosts" >"$lab_etc/hosts"
    for lab_other in "$LAB"/host/*; do
        lab_other=${lab_other##*/}
        if [ -f "$LAB/host/$lab_other/pid" ] && ! lab_gone "$(lab_pid "$lab_other")"; then
            echo "$lab_line" >>"$(lab_path "$lab_other" /etc/hosts)"
        fi
    done
    echo "$lab_line" >>"$LAB/etc/hosts"
    echo "$lab_line" >>"$lab_etc/hosts"
    lab_trust "$lab_self"
    lab_boot "$lab_self"
}

# lab_mute DEVICE...: parts of a cable say nothing themselves
lab_mute() {
    for lab_device; do
        [ ! -f "/proc/sys/net/ipv6/conf/$lab_device/disable_ipv6" ] ||
            echo 1 >"/proc/sys/net/ipv6/conf/$lab_device/disable_ipv6"
    done
}

lab_boot() { # NAME
    lab_find "$1"
    lab_ip=$(lab_addr "$1")
    "$lab_tools/host" boot "$1" "$lab_dir/root" "$lab_dir/boot.log" sh "$lab_top/tests/lab/boot.sh" "$lab_dir" \
        >"$lab_dir/pid" || lab_die "$1 does not start: $(cat "$lab_dir/boot.log")"
    lab_master=br0
    [ ! -S "$lab_dir/link.sock" ] || lab_master=s$lab_number
    ip -b - <<END || lab_die "$1: no network"
link add v$lab_number type veth peer name eth0 address 02:00:0a:4d:01:$(printf %02x "$lab_number") netns $(lab_pid "$1")
link set v$lab_number master $lab_master
END
    lab_mute "v$lab_number"
    ip link set "v$lab_number" up
    nsenter -t "$(lab_pid "$1")" -n ip -b - <<END || lab_die "$1: no network"
link set lo up
addr add $lab_ip/24 dev eth0
link set eth0 up
route add default via 10.77.0.1
END
    nsenter -t "$(lab_pid "$1")" -n ip -6 addr add "fd77::$((10 + lab_number))/64" dev eth0 nodad 2>/dev/null
    lab_server "$1"
}

lab_server() { # NAME: starts it and waits until it listens
    case $(cat "$lab_dir/opt/server") in
    none) return 0 ;;
    dropbear) lab_on "$1" sh -c "cd /etc/dropbear && dropbear -r ed25519 -r ecdsa -r rsa -s -E -P /run/sshd.pid \
        -p $(lab_port "$1") 2>>/var/log/sshd.log" ;;
    *) lab_on "$1" /usr/sbin/sshd -E /var/log/sshd.log ;;
    esac
    wait_for 10 test -s "$(lab_path "$1" /run/sshd.pid)" ||
        lab_die "$1: no SSH server: $(cat "$(lab_path "$1" /var/log/sshd.log)")"
}

lab_who() { # [USER@]NAME: sets $lab_who and $lab_init
    lab_who=${1%@*}
    [ "$lab_who" != "$1" ] || lab_who=root
    lab_init=$(lab_pid "${1##*@}") || lab_die "$1 does not run"
}

lab_on() {
    lab_who "$1"
    shift
    "$lab_tools/host" enter "$lab_init" "$lab_who" "$@"
}

lab_bg() {
    lab_who "$1"
    shift
    "$lab_tools/host" enter "$lab_init" "$lab_who" "$@" &
    lab_bg=$!
}

lab_client() { "$@"; }

lab_ssh() {
    lab_to=$1
    shift
    timeout 20 ssh -o BatchMode=yes -o ConnectTimeout=5 -p "$(lab_port "${lab_to##*@}")" "$lab_to" "$@"
}

lab_crash() {
    lab_find "$1"
    [ -s "$lab_dir/pid" ] || return 0
    # Without a cable first, so that closing connections aren't heard of
    ip link set "v$lab_number" down 2>/dev/null
    lab_kill "$(lab_pid "$1")"
    rm "$lab_dir/pid"
    ip link del "v$lab_number" 2>/dev/null
    return 0
}

lab_restart() {
    lab_crash "$1"
    lab_boot "$1"
}

lab_sshd_gone() { ! lab_on "$1" kill -0 "$2" 2>/dev/null; }
lab_sshd_restart() {
    lab_find "$1"
    lab_pidfile=$(lab_path "$1" /run/sshd.pid)
    lab_sshd=$(cat "$lab_pidfile")
    lab_on "$1" kill "$lab_sshd"
    wait_for 10 lab_sshd_gone "$1" "$lab_sshd" || lab_die "$1: the SSH server does not end"
    rm -f "$lab_pidfile"
    lab_server "$1"
}

lab_new_host_key() {
    lab_find "$1"
    lab_host_keys "$1" $(($(cat "$lab_dir/generation") + 1))
    lab_sshd_restart "$1"
}

lab_freeze() { "$lab_tools/host" signal "$(lab_pid "$1")" stop; }
lab_thaw() { "$lab_tools/host" signal "$(lab_pid "$1")" cont; }

lab_file() {
    lab_files=$((lab_files + 1))
    printf '%s\n' "$3" >"$(lab_path "$1" "/run/lab/file.$lab_files")"
    "$lab_tools/host" bind "$(lab_pid "$1")" "/run/lab/file.$lab_files" "$2"
}

# --- network ---

# Puts a relay into the host's cable, once: v - s (a bridge) - a - relay - b - br0
lab_relay() {
    lab_find "$1"
    [ ! -S "$lab_dir/link.sock" ] || return 0
    lab_n=$lab_number
    "$lab_tools/link" relay "a$lab_n" "b$lab_n" "$lab_dir/link.sock" >"$lab_dir/link.pid" || lab_die "$1: no relay"
    ip -b - <<END || lab_die "$1: no relay"
link add s$lab_n type bridge forward_delay 0 mcast_snooping 0
link set a$lab_n master s$lab_n
link set b$lab_n master br0
END
    lab_mute "s$lab_n" "a$lab_n" "b$lab_n"
    ip -b - <<END || lab_die "$1: no relay"
link set a$lab_n up
link set b$lab_n up
link set s$lab_n up
link set v$lab_n master s$lab_n
END
}

lab_link() { # NAME SETTING...
    lab_relay "$1"
    shift
    "$lab_tools/link" set "$lab_dir/link.sock" "$@" >"$lab_dir/link.out" || lab_die "link $*"
}

lab_cut() { lab_link "$1" "drop=${2:-both}"; }

lab_mend() {
    lab_find "$1"
    [ ! -S "$lab_dir/link.sock" ] || lab_link "$1" drop=none
    lab_link_up "$1"
}

lab_slow() {
    lab_self=$1
    lab_half=$(awk -v ms="$2" 'BEGIN { print ms / 2 }')
    shift 2
    lab_rate=0
    case ${1-} in
    *mbit) lab_rate=$((${1%mbit} * 1000)) ;;
    *kbit) lab_rate=${1%kbit} ;;
    *=* | '') set -- - "$@" ;;
    *) lab_die "lab_slow: a rate is like 10mbit or 500kbit, not $1" ;;
    esac
    shift
    lab_link "$lab_self" "delay=$lab_half" "rate=$lab_rate" jitter=0 loss=0 "$@"
}

lab_link_down() { lab_find "$1" && ip link set "v$lab_number" down; }
lab_link_up() { lab_find "$1" && ip link set "v$lab_number" up; }
lab_link_counters() { lab_link "$1" && cat "$lab_dir/link.out"; }
lab_rtt() { "$lab_tools/link" rtt "$(lab_addr "$1")" "$(lab_port "$1")" "${2:-1000}"; }

# --- names ---

# glibc finds the service through its cache of libraries, the one file that must be another for that.
lab_name() {
    echo "#lab $2 $1" >>"$LAB/etc/hosts"
    [ ! -f "$LAB/etc/ld.so.cache" ] || return 0
    lab_cache=$lab_tools/nss/ld.so.cache
    if [ -z "$(find "$lab_cache" -newer /etc/ld.so.cache 2>/dev/null)" ]; then
        printf 'include /etc/ld.so.conf\n%s\n' "$lab_tools/nss" >"$LAB/ld.so.conf"
        ldconfig -X -C "$lab_cache.$$" -f "$LAB/ld.so.conf" || lab_die 'ldconfig'
        mv "$lab_cache.$$" "$lab_cache"
    fi
    cp "$lab_cache" "$LAB/etc/ld.so.cache"
    # Written in place: it is mounted
    printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files lab dns\n' >"$LAB/etc/nsswitch.conf"
    lab_bind ld.so.cache
}
