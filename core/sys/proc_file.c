/* SPDX-License-Identifier: BSD-2-Clause */
#include "sys/proc_file.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

ssize_t proc_file_read(int dirfd, const char *path, char *out, size_t size)
{
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    out[0] = '\0';
    if (fd < 0)
        return -1;
    while (len + 1 < size) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int saved = errno;
            close(fd);
            errno = saved;
            out[0] = '\0';
            return -1;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    out[len] = '\0';
    return (ssize_t)len;
}

int proc_file_write(int dirfd, const char *path, const char *text)
{
    int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
    int sys = 0;
    ssize_t n;

    if (fd < 0)
        return errno;
    do
        n = write(fd, text, strlen(text));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        sys = errno;
    if (close(fd) != 0 && sys == 0)
        sys = errno;
    return sys;
}

static bool parse_number(const char *s, int64_t *out)
{
    char *end;
    long long v;

    if (strncmp(s, "max", 3) == 0) {
        *out = INT64_MAX;
        return true;
    }
    if (!isdigit((unsigned char)*s) && *s != '-')
        return false;
    errno = 0;
    v = strtoll(s, &end, 10);
    if (end == s)
        return false;
    *out = v; /* over the range: strtoll has clamped it, which is right for "no limit" */
    return true;
}

bool proc_file_number(int dirfd, const char *path, int64_t *out)
{
    char text[64];

    return proc_file_read(dirfd, path, text, sizeof text) > 0 && parse_number(text, out);
}

bool proc_text_field(const char *text, const char *name, int64_t *out)
{
    size_t len = strlen(name);

    for (const char *line = text; line && *line;) {
        if (strncmp(line, name, len) == 0 && (line[len] == ' ' || line[len] == '\t'))
            return parse_number(line + len + strspn(line + len, " \t"), out);
        line = strchr(line, '\n');
        if (line)
            line++;
    }
    return false;
}

bool proc_file_field(int dirfd, const char *path, const char *name, int64_t *out)
{
    char text[4096];

    return proc_file_read(dirfd, path, text, sizeof text) > 0 && proc_text_field(text, name, out);
}

bool proc_stat_parse(const char *text, struct proc_stat *st)
{
    const char *p = strrchr(text, ')');
    char *end;

    if (!p || p[1] != ' ' || !p[2] || p[3] != ' ')
        return false;
    st->state = p[2];
    p += 4;
    st->ppid = (pid_t)strtol(p, &end, 10);
    if (end == p)
        return false;
    /* From field 4 (ppid) to field 22 (starttime). */
    for (int field = 4; field < 22; field++) {
        p = strchr(p, ' ');
        if (!p)
            return false;
        p++;
    }
    st->start = strtoull(p, &end, 10);
    return end != p;
}
