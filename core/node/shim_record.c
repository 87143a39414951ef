/* SPDX-License-Identifier: BSD-2-Clause */
/* How a shim makes the end of an attempt known: on disk, and to the daemon. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "node/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define REWRITE_NS (500 * NS_PER_MS)

/* Not fsync'd: a machine that loses power has lost the job as well, and the daemon makes what it
 * hears durable. 0 or errno. */
static int write_record(struct shim *s, const struct attempt_end *end)
{
    struct buf *path = &s->path;
    char *tmp;
    int fd, sys = 0;

    buf_clear(&s->out);
    attempt_end_encode(end, &s->out);
    buf_clear(path);
    attempt_dir(&end->key, path);
    buf_append_str(path, "/exit.tmp");
    tmp = mem_strdup(buf_data(path));
    buf_truncate(path, buf_len(path) - strlen(".tmp"));

    fd = openat(s->state_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        sys = errno;
    } else {
        if (fs_write_all(fd, buf_data(&s->out), buf_len(&s->out)) != 0)
            sys = errno;
        if (close(fd) != 0 && sys == 0)
            sys = errno;
        if (sys == 0 && renameat(s->state_fd, tmp, s->state_fd, buf_data(path)) != 0)
            sys = errno;
    }
    free(tmp);
    /* Without its folder nobody asks for the record any more: the attempt was removed. */
    return sys == ENOENT ? 0 : sys;
}

static void send_end(struct shim *s, const struct attempt_end *end)
{
    struct shim_msg m = { .type = SHIM_ENDED, .key = end->key, .end = *end };

    shim_send(s, &m);
}

static void drop_unwritten(struct shim *s, size_t i)
{
    s->unwritten_count--;
    memmove(&s->unwritten[i], &s->unwritten[i + 1],
            (s->unwritten_count - i) * sizeof s->unwritten[0]);
}

void shim_report_end(struct shim *s, const struct attempt_end *end, bool record)
{
    if (record && write_record(s, end) != 0) {
        if (s->unwritten_count == SHIM_UNWRITTEN_MAX)
            drop_unwritten(s, 0);
        s->unwritten[s->unwritten_count++] = *end;
        s->rewrite_at_ns = clock_mono_ns(&clock_system) + REWRITE_NS;
    }
    if (s->sock >= 0)
        send_end(s, end);
}

void shim_rewrite(struct shim *s, int64_t now_ns)
{
    for (size_t i = 0; i < s->unwritten_count;) {
        if (write_record(s, &s->unwritten[i]) == 0)
            drop_unwritten(s, i);
        else
            i++;
    }
    s->rewrite_at_ns = s->unwritten_count > 0 ? now_ns + REWRITE_NS : 0;
}
