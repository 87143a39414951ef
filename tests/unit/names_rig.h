/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests of names and users: an event loop with a clock that can be set forward, and a getent
 * that is a script, notes each call in the file "calls" and does what the name says. */
#ifndef HIVE_TESTS_NAMES_RIG_H
#define HIVE_TESTS_NAMES_RIG_H

#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "ev/ev.h"
#include "sys/getent.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

struct rig {
    struct clock clock;
    int64_t later_ns; /* how far the clock is ahead */
    struct ev_loop *loop;
    struct getent *getent;
    char *program, *calls;
    const char *dir;
};

/* $d is the test's folder. "gate" holds those who wait. Both forms of being called end up here. */
static const char rig_script[] =
    "echo \"$*\" >>\"$d/calls\"\n"
    "none=2\n"
    "[ \"$2\" != --internal ] || { shift; none=67; }\n"
    "running() { : >\"$d/running/$$\"; }\n"
    "case $2 in\n"
    "good.example) printf '10.0.0.2      STREAM good.example\\n10.0.0.2 DGRAM\\nfd00::1 "
    "STREAM\\n'\n"
    "    printf '10.0.0.1 STREAM\\nfd00::1 DGRAM\\n10.0.0.2 RAW\\n' ;;\n"
    "four.example) echo '10.0.0.4 STREAM' ;;\n"
    "none*) exit $none ;;\n"
    "quiet.example) exit 75 ;;\n"
    "slow.example) running; sleep 1000 & sleep 1000 ;;\n"
    "silent.example) exec >/dev/null; sleep 1000 ;;\n"
    "family.example) sleep 1000 & exit 0 ;;\n"
    "garbage.example) printf 'Usage: getent\\n\\001\\000\\377 x\\n10.0.0 STREAM\\n' ;;\n"
    "empty.example) ;;\n"
    "huge.example) while echo '10.0.0.1 STREAM huge.example'; do :; done ;;\n"
    "fails.example) exit 3 ;;\n"
    "dies.example) kill -9 $$ ;;\n"
    "mixed.example) printf 'what\\n10.0.0.7\\tSTREAM\\n10.0.0.300 STREAM\\nfe80::7%%1 STREAM\\n'\n"
    "    printf 'fe80::8%%nosuchdevice STREAM\\n1.2.3.4x STREAM\\n\\n10.0.0.7' ;;\n"
    "many.example) i=0; while [ $i -lt 100 ]; do i=$((i + 1)); echo \"10.1.0.$i STREAM\"; done ;;\n"
    "inside.example) { env; for n in 0 1 2; do p=$(readlink /proc/$$/fd/$n); case $n in\n"
    "        0) echo stdin $p ;; 2) echo stderr $p ;; esac; done\n"
    "    grep '^SigIgn' /proc/$$/status; } >\"$d/inside\"; echo 10.0.0.1 ;;\n"
    "gate-*) running; while [ ! -e \"$d/gate\" ]; do sleep 0.02; done; echo 10.0.0.3 ;;\n"
    "unknown-database.example) [ $none = 67 ] || exit 1; echo 10.0.0.9 ;;\n"
    "alice) echo 'alice:x:1500:1501:Alice:/home/alice:/bin/bash' ;;\n"
    "1500) echo 'alice:x:1500:1501:Alice:/home/alice:/bin/bash' ;;\n"
    "1600) echo 'alice:x:1500:1501:Alice:/home/alice:/bin/bash' ;;\n"
    "bad) echo 'bad:x:nobody:0::relative:' ;;\n"
    "'CORP\\bob smith') printf '%s\\n' 'CORP\\bob smith:*:1700:1700:::' ;;\n"
    "*) exit $none ;;\n"
    "esac\n";

static inline int64_t rig_mono(void *arg)
{
    return clock_mono_ns(&clock_system) + ((struct rig *)arg)->later_ns;
}

static inline int64_t rig_wall(void *arg)
{
    (void)arg;
    return clock_wall_ns(&clock_system);
}

static inline void rig_write(struct rig *rig, const char *name, const char *text, mode_t mode)
{
    char *path = fs_join(rig->dir, name);
    struct err err = ERR_INIT;

    CHECK_OK(fs_write_file(path, text, strlen(text), mode, false, &err), &err);
    free(path);
}

/* `options` as for getent_create(), but that without a `program` it is the script, and without a
 * `helper` there is none. */
static inline struct rig *rig_create(const struct getent_options *options)
{
    struct getent_options o = { 0 };
    struct rig *rig = mem_alloc(sizeof *rig);
    struct err err = ERR_INIT;

    if (options)
        o = *options;
    rig->clock = (struct clock){ rig_mono, rig_wall, rig };
    rig->dir = unit_tmpdir();
    rig->program = fs_join(rig->dir, "getent");
    char *running = fs_join(rig->dir, "running");
    CHECK_OK(fs_mkdir_p(running, 0700, &err), &err);
    free(running);
    char *script = mem_printf("#!/bin/sh\nd=%s\n%s", rig->dir, rig_script);
    rig_write(rig, "getent", script, 0755);
    free(script);
    rig_write(rig, "calls", "", 0600);
    rig_write(rig, "passwd", "root:x:0:0:root:/root:/bin/sh\n", 0600);
    char *passwd = fs_join(rig->dir, "passwd");
    o.passwd = passwd;
    if (!o.program)
        o.program = rig->program;
    if (!o.helper)
        o.helper = "";
    rig->loop = ev_loop_create(&rig->clock, &err);
    CHECK(rig->loop);
    rig->getent = getent_create(rig->loop, &o);
    free(passwd);
    return rig;
}

static inline void rig_destroy(struct rig *rig)
{
    getent_destroy(rig->getent);
    ev_loop_destroy(rig->loop);
    free(rig->calls);
    free(rig->program);
    free(rig);
}

/* Turns the loop until it is so. */
static inline void rig_until(struct rig *rig, bool (*so)(void *arg), void *arg)
{
    int64_t end = clock_mono_ns(&clock_system) + 40 * NS_PER_S;
    struct err err = ERR_INIT;

    while (!so(arg)) {
        if (clock_mono_ns(&clock_system) > end)
            unit_fail(__FILE__, __LINE__, "it does not become so");
        CHECK_OK(ev_turn(rig->loop, 10 * NS_PER_MS, &err), &err);
    }
}

static inline void rig_turns(struct rig *rig, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_INT(ev_turn(rig->loop, NS_PER_MS, NULL), 0);
}

/* malloc'd. */
static inline char *rig_file(struct rig *rig, const char *name)
{
    char *path = fs_join(rig->dir, name);
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file(path, 1 << 20, &b, &err), &err);
    free(path);
    return buf_take(&b, NULL);
}

/* A line for each call, "DATABASE KEY". */
static inline const char *rig_calls(struct rig *rig)
{
    free(rig->calls);
    rig->calls = rig_file(rig, "calls");
    return rig->calls;
}

static inline int rig_calls_count(struct rig *rig)
{
    int n = 0;

    for (const char *p = rig_calls(rig); *p; p++)
        n += *p == '\n';
    return n;
}

static inline int rig_count(struct rig *rig, const char *folder)
{
    char *path = fs_join(rig->dir, folder);
    DIR *d = opendir(path);
    int n = 0;

    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    free(path);
    return n;
}

static inline bool rig_one_runs(void *arg)
{
    return rig_count(arg, "running") >= 1;
}

/* Those that did are ended and reaped. */
static inline bool rig_none_lives(void *arg)
{
    struct rig *rig = arg;
    char *path = fs_join(rig->dir, "running");
    DIR *d = opendir(path);
    bool lives = false;

    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] != '.')
            lives = lives || kill((pid_t)strtol(e->d_name, NULL, 10), 0) == 0;
    }
    closedir(d);
    free(path);
    return !lives;
}

static inline bool rig_sixteen_run(void *arg)
{
    return rig_count(arg, "running") >= GETENT_PROCESSES_MAX;
}

static inline void rig_touch(struct rig *rig, const char *name)
{
    rig_write(rig, name, "", 0600);
}

#endif
