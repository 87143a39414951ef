#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Makes the file tree of a lab host: runs in the host's namespaces before $1/root becomes its /. tests/lab/lib.sh has put
# into $1 what outlives a restart: up/ (all that differs from this machine), home/, with/ (programs), bin/ and sbin/ (a
# userland of busybox alone), opt/ (a file per option, a value per line).
set -eu
umask 022
dir=$1
root=$dir/root

option() { [ -f "$dir/opt/$1" ] && cat "$dir/opt/$1"; }

mount -t overlay lab -o "lowerdir=/,upperdir=$dir/up,workdir=$dir/work" "$root"
# Where /usr is a file system of its own, the overlay doesn't have it.
for part in /usr /var /opt; do
    mountpoint -q "$part" || continue
    mkdir -p "$dir/part$part/up" "$dir/part$part/work"
    mount -t overlay lab -o "lowerdir=$part,upperdir=$dir/part$part/up,workdir=$dir/part$part/work" "$root$part"
done
mount --bind "$dir/home/root" "$root/root"
mount --bind "$dir/home/users" "$root/home"
mount -t tmpfs -o mode=1777 lab "$root/tmp"
mount -t tmpfs -o mode=755 lab "$root/run"
mkdir -p "$root/run/sshd" "$root/run/lab"
mount -t proc -o nosuid,nodev,noexec lab "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec lab "$root/sys" || mount --rbind /sys "$root/sys"

mount -t tmpfs -o mode=755,nosuid lab "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
chmod 1777 "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 lab "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

cat /proc/sys/kernel/random/uuid >"$root/run/lab/boot_id"
mount --bind "$root/run/lab/boot_id" "$root/proc/sys/kernel/random/boot_id"

folders=
for folder in /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin /bin /sbin /usr/games; do
    if [ -d "$root$folder" ] && [ ! -L "$root$folder" ]; then folders="$folders $folder"; fi
done
if [ -d "$dir/bin" ]; then
    for folder in $folders; do
        case $folder in
        /bin | /usr/bin) mount --bind "$dir/bin" "$root$folder" ;;
        /sbin | /usr/sbin) mount --bind "$dir/sbin" "$root$folder" ;;
        *) mount -t tmpfs -o mode=755 lab "$root$folder" ;;
        esac
    done
fi
if [ -d "$dir/with" ]; then cp "$dir/with/"* "$root/usr/local/bin/"; fi
for program in $(option without); do
    for folder in $folders /usr/lib/openssh; do
        rm -f "$root$folder/$program"
    done
done
if arch=$(option arch) && [ ! -e "$root/usr/lib/lab-uname" ]; then
    real=$(uname -m)
    # busybox goes by its name, hence the folder
    if [ -d "$dir/bin" ]; then
        command='busybox uname'
    else
        command=/usr/lib/lab-uname
        cp "$root/usr/bin/uname" "$root$command"
    fi
    rm -f "$root/usr/bin/uname" "$root/usr/bin/arch"
    printf '#!/bin/sh\n%s "$@" | sed "s/%s/%s/g"\n' "$command" "$real" "$arch" >"$root/usr/bin/uname"
    printf '#!/bin/sh\necho %s\n' "$arch" >"$root/usr/bin/arch"
    chmod 755 "$root/usr/bin/uname" "$root/usr/bin/arch"
fi
