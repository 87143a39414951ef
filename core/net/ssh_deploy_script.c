/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is run on the host: programs for a POSIX shell with the usual tools; busybox will do. Each is
 * one line without quotes ('), backslashes and exclamation marks, so that any login shell passes it
 * on unchanged between two quotes, and short enough for those with small buffers.
 */
#include "base/mem.h"

#include "base/err.h"
#include "base/str.h"
#include "net/ssh_deploy_priv.h"

#include <inttypes.h>

#define ROOM_KIB 256 /* that are to be left over */

/* clang-format off */
#define BEGIN \
    "exec 2>/dev/null; LC_ALL=C; PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; " \
    "export LC_ALL PATH; umask 077; " \
    "say() { printf %s \"$*\"; echo; }; say \"@hive-deploy 1\"; "

/* good FILE: it has the size $n and, if there is something to find out with, the digest $s. */
#define GOOD \
    "good() { [ \"$(($(wc -c <\"$1\")))\" = \"$n\" ] || return 1; q=$(sha256sum <\"$1\"); " \
    "[ -z \"$q\" ] || [ \"${q%% *}\" = \"$s\" ]; }; "

/* try: runs $f; sets m to what it says. */
#define TRY \
    "try() { m=$(\"$f\" version 2>&1 </dev/null); j=$?; say code $j; " \
    "say said \"$(say \"$m\" | head -n 1)\"; " \
    "case $j$m in \"0hive \"*) ;; *) return 1 ;; esac; }; "

/*
 * each: calls `at NUMBER FOLDER` for each place there is, FOLDER being what has bin/ in it. `make` is
 * set where a place may be made. /tmp has the sticky bit, or others could exchange what is ours.
 */
#define PLACES \
    "own() { set -- $(ls -ldn \"$1\"); case $1 in drwx------|drwx------.) [ \"$3\" = \"$u\" ] ;; " \
    "*) return 1 ;; esac; }; " \
    "tmp() { [ -k \"$2\" ] || return 0; case $x$z in *$1*|*y*) return 0 ;; esac; " \
    "d=$2/hive-$u; if [ -n \"$make\" ]; then mkdir -m 700 \"$d\"; elif [ -d \"$d\" ]; then :; " \
    "else return 0; fi; if own \"$d\"; then at $1 \"$d\"; " \
    "else say place $1 \"$d/bin/$s\"; say state foreign; fi; }; " \
    "each() { c=$XDG_CACHE_HOME; case $c in /*) ;; *) c=; case $HOME in /*) " \
    "if [ -d \"$HOME\" ]; then c=$HOME/.cache; fi ;; esac ;; esac; " \
    "if [ -n \"$c\" ]; then at 1 \"$c/hive\"; fi; " \
    "r=$XDG_RUNTIME_DIR; case $r in /*) ;; *) r=/run/user/$u ;; esac; " \
    "if own \"$r\"; then at 2 \"$r/hive\"; fi; tmp 3 /tmp; tmp 4 /var/tmp; }; u=$(id -u); "

/* SHA256 SIZE KIB SKIP ARCH...: z is set once a place will do. */
static const char probe_script[] =
    BEGIN GOOD TRY PLACES
    "s=$1 n=$2 k=$3 x=$4 z= make=y; shift 4; a=$(uname -m); o=$(uname -s); "
    "say os \"$o\"; say arch \"$a\"; say uid \"$u\"; say home \"$HOME\"; "
    "if [ -r /proc/stat ]; then say proc yes; fi; "
    "no() { say state $1; rmdir \"$d\" \"${d%/*}\" \"${d%/bin/*}\"; }; "
    /* The file is there, and is it? */
    "there() { [ -f \"$f\" ] && good \"$f\" && [ -x \"$f\" ] || return 1; touch \"$d\"; "
    "if try; then say state have; z=y; return 0; fi; "
    "[ -n \"$q\" ] && { say state fails; return 0; }; }; "
    "at() { case $x$z in *$1*|*y*) return 0 ;; esac; d=$2/bin/$s; f=$d/hive; "
    "say place $1 \"$d\"; if there; then return 0; fi; "
    "m=$(mkdir -p \"$d\" 2>&1) || { say text \"$m\"; no denied; return; }; "
    "i=$d/.try.$$; m=$( { echo exit 0 >\"$i\"; } 2>&1) || { say text \"$m\"; rm -f \"$i\"; no denied; "
    "return; }; "
    "chmod 700 \"$i\"; \"$i\" </dev/null >/dev/null; j=$?; rm -f \"$i\"; "
    "case $j in 0) ;; *) no noexec; return ;; esac; "
    "j=$(df -Pk \"$d\" | { read -r j; read -r j j j m j; say \"$m\"; }); "
    "if [ \"$j\" -lt \"$k\" ]; then no full; return; fi; "
    "say state free; z=y; }; "
    "case \" $* \" in *\" ${a:-none} \"*) if [ \"$o\" = Linux ]; then each; fi ;; esac; say \"@end\"";

/* FOLDER SIZE SHA256 ID: z is set once the file is there. */
static const char put_script[] =
    BEGIN GOOD TRY
    "d=$1 n=$2 s=$3 f=$1/hive t=$1/.new.$4.$$ z=; "
    "clean() { rm -f \"$t\"; if [ -z \"$z\" ]; then rmdir \"$d\" \"${d%/*}\" \"${d%/bin/*}\"; fi; }; "
    "trap clean EXIT; trap \"exit 1\" HUP INT TERM PIPE; "
    "say place 0 \"$d\"; mkdir -p \"$d\"; rm -f \"$d/.new.$4.\"*; "
    "m=$( { cat >\"$t\"; } 2>&1); "
    "if [ \"$(($(wc -c <\"$t\")))\" = \"$n\" ]; then "
    "if good \"$t\"; then "
    "if m=$( { chmod 700 \"$t\" && mv -f \"$t\" \"$f\"; } 2>&1); then "
    "if try; then say state have; z=y; else say state fails; rm -f \"$f\"; fi; "
    "else say text \"$m\"; say state denied; fi; "
    "else say state differs; fi; "
    "else say text \"$m\"; say state short; fi; "
    /* Copies that nobody asked for in 30 days, unless one runs */
    "if [ -n \"$z\" ]; then for o in \"${d%/*}\"/*; do "
    "case ${#o} in ${#d}) ;; *) continue ;; esac; "
    "if [ \"$o\" = \"$d\" ] || [ -z \"$(find \"$o\" -prune -mtime +30)\" ]; then continue; fi; "
    "for i in /proc/[0-9]*/exe; do if [ \"$i\" -ef \"$o/hive\" ]; then continue 2; fi; done; "
    "rm -f \"$o/hive\" \"$o\"/.new.* \"$o\"/.try.*; if rmdir \"$o\"; then say removed \"$o\"; fi; done; "
    "find \"${d%/*}\" -type f -name \".new.*\" -mtime +1 -exec rm -f {} +; fi; "
    "clean; say \"@end\"";

/* VERSION. Another program of this name (Apache's) is a script, and is not run. */
static const char own_script[] =
    BEGIN TRY
    "for f in \"$(command -v hive)\" \"$HOME/.local/bin/hive\" /usr/local/bin/hive; do "
    "case $f in /*) ;; *) continue ;; esac; [ -x \"$f\" ] || continue; "
    "case $(dd if=\"$f\" bs=4 count=1) in *ELF) ;; *) continue ;; esac; "
    "if try; then case $m in \"hive $1 \"*) say place 9 \"${f%/*}\"; say state have; break ;; esac; fi; "
    "done; say \"@end\"";

/* SHA256, or nothing for all */
static const char remove_script[] =
    BEGIN PLACES
    "s=$1 x= z= make=; "
    "at() { for o in \"$2/bin/\"*; do j=${o##*/}; [ ${#j} -eq 64 ] || continue; "
    "[ -z \"$s\" ] || [ \"$j\" = \"$s\" ] || continue; rm -f \"$o\"/.new.* \"$o\"/.try.*; "
    "if [ -e \"$o/hive\" ]; then if m=$(rm -f \"$o/hive\" 2>&1); then say removed \"$o\"; "
    "else say stuck \"$m\"; fi; fi; rmdir \"$o\"; done; rmdir \"$2/bin\" \"$2\"; }; "
    "each; if [ -n \"$HIVE_STATE_DIR\" ]; then o=$HIVE_STATE_DIR; elif [ \"$u\" = 0 ]; then "
    "o=/var/lib/hive; else o=${XDG_STATE_HOME:-$HOME/.local/state}/hive; fi; "
    "if [ -d \"$o/agent\" ]; then say left \"$o/agent\"; fi; say \"@end\"";
/* clang-format on */

bool deploy_quotable(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || strchr("'\\!\x7F", *s))
            return false;
    }
    return true;
}

void deploy_ask_probe(const struct deploy_file *file, const char *skip, struct buf *out)
{
    buf_printf(out, "exec sh -c '%s' hive %s %" PRId64 " %" PRId64 " '%s' %s", probe_script,
               file->sha256, file->size, file->size / 1024 + ROOM_KIB, skip,
               deploy_arch_words(file->arch));
}

int deploy_ask_put(const struct deploy_file *file, const char *folder, const char *id,
                   struct buf *out, struct err *err)
{
    if (!*folder || !deploy_quotable(folder))
        return err_set(err, ERR_INVALID, "a folder there has a name that can't be passed on");
    buf_printf(out, "exec sh -c '%s' hive '%s' %" PRId64 " %s %s", put_script, folder, file->size,
               file->sha256, id);
    return 0;
}

void deploy_ask_own(const char *version, struct buf *out)
{
    buf_printf(out, "exec sh -c '%s' hive '%s'", own_script,
               deploy_quotable(version) ? version : "");
}

void deploy_ask_remove(const char *sha256, struct buf *out)
{
    buf_printf(out, "exec sh -c '%s' hive '%s'", remove_script, sha256 ? sha256 : "");
}

static bool is_plain(const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+";

    return *s && s[strspn(s, plain)] == '\0';
}

int ssh_deploy_command(const char *path, const char *args, struct buf *out, struct err *err)
{
    if (path[0] != '/' || !deploy_quotable(path)) {
        char *safe = str_safe(path);

        err_set(err, ERR_INVALID, "%s can't be run by any login shell", safe);
        free(safe);
        return -1;
    }
    /* csh and others end at blanks in a name that is not quoted, and quoting costs nothing. */
    buf_printf(out, is_plain(path) ? "exec %s" : "exec '%s'", path);
    if (*args)
        buf_printf(out, " %s", args);
    return 0;
}
