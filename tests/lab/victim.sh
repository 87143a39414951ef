# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh
#
# A lab with a bit of everything, for gone.t: writes its shell's folder to the pipe $1 when all is up, and ends when it is
# told so on the pipe $2.

. "$(dirname "$0")/lib.sh"
lab_begin
lab_host alpha home_size=2m
lab_host beta server=none
lab_slow alpha 1
lab_cut beta
lab_file beta /proc/meminfo nothing
lab_ssh alpha 'nohup setsid sleep 1000 >/dev/null 2>&1 </dev/null &'
lab_bg beta sleep 1000
setsid sleep 1000 &
echo "$T" >"$1"
read -r word <"$2"
ok 0 "$word"
done_testing
