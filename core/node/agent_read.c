/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output of attempts for the head: several files at once, a piece of each in turn, as fast as the
 * connection takes them. Who follows a file that doesn't grow looks again 5 times a second.
 */
#include "base/mem.h"

#include "node/agent_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGAIN_NS (200 * NS_PER_MS)

static void read_drop(struct agent *a, struct agent_read *r)
{
    list_remove(&r->link);
    a->read_count--;
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    free(r);
}

static struct agent_read *find_in(const struct list *reads, int64_t id)
{
    LIST_FOR_EACH(it, reads) {
        struct agent_read *r = CONTAINER_OF(it, struct agent_read, link);
        if (r->id == id)
            return r;
    }
    return NULL;
}

static struct agent_read *find(const struct agent *a, int64_t id)
{
    struct agent_read *r = find_in(&a->reads_ready, id);

    return r ? r : find_in(&a->reads_waiting, id);
}

void reads_begin(struct agent *a, const struct link_msg *m)
{
    struct err err = ERR_INIT;
    struct agent_read *r;

    if (find(a, m->id))
        err_set(&err, ERR_CONFLICT, "id %" PRId64 " is in use", m->id);
    else if (a->read_count >= LINK_READS_MAX)
        err_set(&err, ERR_UNAVAILABLE, "%d files are being read already", LINK_READS_MAX);
    else if (m->path && m->path[0] != '/')
        err_set(&err, ERR_INVALID, "path must be absolute");
    if (err.kind) {
        link_error(a, m, &err);
        return;
    }
    r = mem_alloc(sizeof *r);
    r->id = m->id;
    r->key = m->key;
    r->is_stderr = m->is_stderr;
    r->follow = m->follow;
    r->offset = m->offset;
    r->left = m->limit > 0 ? m->limit : INT64_MAX;
    r->path = mem_strdup(m->path);
    r->fd = -1;
    list_append(&a->reads_ready, &r->link);
    a->read_count++;
}

void reads_stop(struct agent *a, int64_t id)
{
    struct agent_read *r = find(a, id);

    if (r)
        read_drop(a, r);
}

void reads_look(struct agent *a)
{
    LIST_FOR_EACH_SAFE(it, &a->reads_waiting) {
        list_remove(it);
        list_append(&a->reads_ready, it);
    }
}

static void again_due(struct ev_timer *t)
{
    reads_look(CONTAINER_OF(t, struct agent, read_again));
}

/* 0; ENOENT and the like: not there (yet); EINVAL: nothing that can be read by pieces. */
static int open_file(struct agent *a, struct agent_read *r)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    struct buf b = BUF_INIT;
    struct stat st;
    int fd;

    if (r->fd >= 0)
        return 0;
    if (r->path) {
        fd = open(r->path, flags);
    } else {
        attempt_prefix(&r->key, &b);
        buf_append_str(&b, r->is_stderr ? ".err" : ".out");
        fd = openat(a->state_fd, buf_data(&b), flags | O_NOFOLLOW);
        buf_fini(&b);
    }
    if (fd < 0)
        return errno;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return EINVAL;
    }
    r->fd = fd;
    return 0;
}

void reads_look_before(const struct node_run *run, struct agent_before before[2])
{
    const char *paths[2] = { run->stdout_path, run->stderr_path };
    struct stat st;

    memset(before, 0, 2 * sizeof *before);
    for (int i = 0; i < 2; i++) {
        if (paths[i] && !run->append && stat(paths[i], &st) == 0 && st.st_size > 0)
            before[i] = (struct agent_before){ true, st.st_dev, st.st_ino, st.st_size, st.st_ctim };
    }
}

/* It was not opened for this attempt yet, which would have emptied it. */
static bool is_as_before(const struct agent_before *b, int fd)
{
    struct stat st;

    return b->there && fstat(fd, &st) == 0 && st.st_dev == b->dev && st.st_ino == b->ino &&
           st.st_size == b->size && st.st_ctim.tv_sec == b->changed.tv_sec &&
           st.st_ctim.tv_nsec == b->changed.tv_nsec;
}

static void send_error(struct agent *a, struct agent_read *r, int sys)
{
    struct link_msg m = { .type = LINK_DATA, .id = r->id, .offset = r->offset, .eof = true };

    m.message = sys == EINVAL ? "it is no regular file" : strerror(sys);
    link_send(a, &m);
    read_drop(a, r);
}

static void wait_more(struct agent *a, struct agent_read *r)
{
    list_remove(&r->link);
    list_append(&a->reads_waiting, &r->link);
    if (!ev_timer_armed(&a->read_again)) {
        a->read_again.fn = again_due;
        ev_timer_set_after(a->loop, &a->read_again, AGAIN_NS);
    }
}

/* The next piece of one file. */
static void read_step(struct agent *a, struct agent_read *r)
{
    struct agent_attempt *t = serve_find(a, &r->key);
    /* The state first, the file after it: what was written before the end is seen. */
    bool grows = r->follow && t && !t->over;
    int sys = open_file(a, r);
    struct link_msg m = { .type = LINK_DATA, .id = r->id, .offset = r->offset };
    struct stat st;
    size_t want = r->left < LINK_DATA_MAX ? (size_t)r->left : LINK_DATA_MAX;
    ssize_t n;

    if (sys == 0 && r->path && t && is_as_before(&t->before[r->is_stderr], r->fd)) {
        close(r->fd);
        r->fd = -1;
        sys = ENOENT;
    }
    if (sys != 0 && (sys != ENOENT || !grows)) {
        send_error(a, r, sys);
        return;
    }
    n = sys == 0 ? pread(r->fd, a->piece, want, r->offset) : 0;
    if (n < 0 || (sys == 0 && fstat(r->fd, &st) != 0)) {
        send_error(a, r, errno);
        return;
    }
    m.size = sys == 0 ? st.st_size : 0;
    m.data = a->piece;
    m.data_len = (size_t)n;
    r->offset += n;
    r->left -= n;
    m.eof = r->left == 0 || (!grows && (n == 0 || r->offset >= m.size));
    if (n > 0 || m.eof)
        link_send(a, &m);
    if (m.eof) {
        read_drop(a, r);
    } else if (n == 0) {
        wait_more(a, r);
    } else { /* to the end of the line */
        list_remove(&r->link);
        list_append(&a->reads_ready, &r->link);
    }
}

void reads_pump(struct agent *a)
{
    if (list_empty(&a->reads_ready))
        return;
    if (!a->piece)
        a->piece = mem_alloc(LINK_DATA_MAX);
    while (link_has_room(a) && !list_empty(&a->reads_ready))
        read_step(a, CONTAINER_OF(a->reads_ready.next, struct agent_read, link));
    if (a->read_count == 0)
        MEM_FREE(a->piece);
}

void reads_end(struct agent *a)
{
    ev_timer_clear(&a->read_again);
    reads_look(a);
    LIST_FOR_EACH_SAFE(it, &a->reads_ready) {
        read_drop(a, CONTAINER_OF(it, struct agent_read, link));
    }
    MEM_FREE(a->piece);
}
