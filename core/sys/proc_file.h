/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to core/sys: small files of /proc and the control groups. */
#ifndef HIVE_SYS_PROC_FILE_H
#define HIVE_SYS_PROC_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a small file relative to `dirfd` (AT_FDCWD) into `out`, NUL-terminated, cut at size-1.
 * Returns the length or -1 with errno. */
ssize_t proc_file_read(int dirfd, const char *path, char *out, size_t size);

/* Writes `text` in one write(2) as control files want it. 0 or errno. */
int proc_file_write(int dirfd, const char *path, const char *text);

/* The number at the start of the file, "max" gives INT64_MAX. False when there is none. */
bool proc_file_number(int dirfd, const char *path, int64_t *out);

/* The number behind `name` and a blank at the start of a line ("oom_kill 3"). False when absent. */
bool proc_file_field(int dirfd, const char *path, const char *name, int64_t *out);
bool proc_text_field(const char *text, const char *name, int64_t *out);

/* Fields of /proc/PID/stat that we need; the name in it may hold anything, ")" and newlines too. */
struct proc_stat {
    char state;
    pid_t ppid;
    uint64_t start;
};
bool proc_stat_parse(const char *text, struct proc_stat *st);

#endif
