/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output of jobs: read from the file in pieces as fast as the client takes them, so that a flood costs the daemon
 * one buffer. A follower looks again 10 times a second while its file doesn't grow, and ends when the last attempt has.
 */
#include "head/api_priv.h"

#include "base/fs.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (64 * 1024)
#define POLL_NS INT64_C(100000000)
#define TURN_PIECES 4 /* pieces of one stream in a row, then others have their turn */

struct api_follow {
    struct list link;
    struct api *api;
    struct http_request *req;
    int64_t id;
    int32_t attempt; /* 0: the last one, and the next when it is retried */
    int32_t current; /* the one that is open */
    bool is_stderr, follow, blocked;
    int fd;
    int64_t offset, tail;
    struct ev_timer timer;
};

static void follow_drop(struct api_follow *f)
{
    list_remove(&f->link);
    ev_timer_clear(&f->timer);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
}

static void follow_end(struct api_follow *f)
{
    struct http_request *req = f->req;
    follow_drop(f);
    http_stream_end(req);
}

/* Offset of the last `lines` lines: reads backwards in pieces. */
static int64_t tail_offset(int fd, int64_t lines)
{
    struct stat st;
    char piece[8192];
    if (fstat(fd, &st) != 0 || lines == 0)
        return lines == 0 && st.st_size ? st.st_size : 0;
    int64_t at = st.st_size;
    bool last = true;
    while (at > 0) {
        size_t n = at < (int64_t)sizeof(piece) ? (size_t)at : sizeof(piece);
        ssize_t got = pread(fd, piece, n, at - (int64_t)n);
        if (got != (ssize_t)n)
            return 0;
        for (size_t i = n; i-- > 0; last = false)
            if (piece[i] == '\n' && !last && --lines == 0)
                return at - (int64_t)n + (int64_t)i + 1;
        at -= (int64_t)n;
    }
    return 0;
}

/* Opens the file of the attempt to be shown, if it is there yet. */
static void follow_open(struct api_follow *f, const struct head_output *o)
{
    if (!o->known || (f->fd >= 0 && f->current == o->attempt))
        return;
    int fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0)
        return;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return;
    }
    struct stat old;
    if (f->fd >= 0 && fstat(f->fd, &old) == 0) {
        close(f->fd);
        if (old.st_dev != st.st_dev || old.st_ino != st.st_ino)
            f->offset =
                0; /* another file; a path the job names itself is the same for all attempts */
    }
    f->fd = fd;
    f->current = o->attempt;
    if (f->tail >= 0)
        f->offset = tail_offset(fd, f->tail);
    f->tail = -1;
}

/* Sends what is there. True when it came to the end of the file. */
static bool follow_pump(struct api_follow *f)
{
    char *piece = mem_alloc(PIECE);
    bool end = false;
    for (int i = 0; i < TURN_PIECES && !f->blocked && !end; i++) {
        ssize_t n = f->fd < 0 ? 0 : pread(f->fd, piece, PIECE, f->offset);
        if (n <= 0) {
            end = true;
            break;
        }
        f->offset += n;
        f->blocked = !http_stream_write(f->req, piece, (size_t)n);
    }
    free(piece);
    return end;
}

static void follow_step(struct api_follow *f)
{
    struct head_output o;
    struct err err = ERR_INIT;

    if (f->blocked)
        return;
    /* the state first, the file after it: what is written before the end is seen */
    if (head_output(f->api->head, f->id, f->attempt, f->is_stderr, &o, &err) != 1) {
        follow_end(f);
        return;
    }
    if (f->fd < 0)
        follow_open(f, &o);
    bool end = follow_pump(f);
    bool other = f->attempt == 0 && o.known && f->current != o.attempt;
    bool over = !f->follow || (f->attempt ? o.attempt_over : o.final);
    if (end && other && !f->blocked) {
        follow_open(f, &o);
        end = f->current != o.attempt; /* it has no file (any more), or there is more to read */
    }
    if (end && over) {
        free(o.path);
        follow_end(f);
        return;
    }
    free(o.path);
    if (!f->blocked)
        ev_timer_set_after(f->api->loop, &f->timer, end ? POLL_NS : 0);
}

static void on_follow_timer(struct ev_timer *t)
{
    follow_step(CONTAINER_OF(t, struct api_follow, timer));
}

static void on_drained(struct http_request *req, void *data)
{
    struct api_follow *f = data;
    (void)req;
    f->blocked = false;
    ev_timer_set_after(f->api->loop, &f->timer, 0);
}

static void on_follow_gone(struct http_request *req, void *data)
{
    (void)req;
    follow_drop(data);
}

void api_logs_changed(struct api *a, int64_t job)
{
    LIST_FOR_EACH(it, &a->followers) {
        struct api_follow *f = CONTAINER_OF(it, struct api_follow, link);
        if (f->id == job && !f->blocked)
            ev_timer_set_after(a->loop, &f->timer, 0);
    }
}

static int read_stream(struct api_call *c, bool *is_stderr, struct err *err)
{
    char *stream = api_query_str(c, "stream");
    *is_stderr = str_eq(stream, "stderr");
    bool ok = !stream || *is_stderr || str_eq(stream, "stdout");
    free(stream);
    return ok ? 0 : err_set(err, ERR_INVALID, "stream: expected stdout or stderr");
}

static int check_output(struct api_call *c, int64_t id, int64_t attempt, bool is_stderr,
                        bool follow, struct err *err)
{
    struct head_output o;
    struct stat st;
    int rc = head_output(c->head, id, (int32_t)attempt, is_stderr, &o, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no such job any more");
    if (!o.known && (!follow || o.final)) {
        rc = attempt
                 ? err_set(err, ERR_NOT_FOUND, "there is no attempt %d of this job", (int)attempt)
                 : err_set(err, ERR_CONFLICT, "this job has not run, so there is no output");
    } else if (o.known && !follow && o.attempt_over && access(o.path, R_OK) != 0) {
        rc = err_set(err, ERR_NOT_FOUND, "cannot read its output %s: %s", o.path, strerror(errno));
    } else if (o.known && stat(o.path, &st) == 0 && !S_ISREG(st.st_mode)) {
        rc = err_set(err, ERR_CONFLICT, "its output went to %s, which is not a file", o.path);
    } else {
        rc = 0;
    }
    free(o.path);
    return rc;
}

void api_logs(struct api_call *c)
{
    struct err err = ERR_INIT;
    int64_t tail = -1, offset = 0, attempt = 0;
    bool is_stderr = false, follow = api_query_flag(c, "follow");
    int64_t id = api_job_id(c);

    if (!id || api_query_int(c, "tail", 0, INT64_C(1000000000), &tail) < 0 ||
        api_query_int(c, "offset", 0, INT64_MAX, &offset) < 0 ||
        api_query_int(c, "attempt", 1, INT32_MAX, &attempt) < 0)
        return;
    if (read_stream(c, &is_stderr, &err) != 0 ||
        check_output(c, id, attempt, is_stderr, follow, &err) != 0) {
        api_reply_error(c->req, &err);
        return;
    }
    struct api_follow *f = mem_alloc(sizeof(*f));
    f->api = c->api;
    f->req = c->req;
    f->id = id;
    f->attempt = (int32_t)attempt;
    f->is_stderr = is_stderr;
    f->follow = follow;
    f->fd = -1;
    f->offset = offset;
    f->tail = tail;
    f->timer.fn = on_follow_timer;
    list_append(&c->api->followers, &f->link);
    http_request_set_data(c->req, f, on_follow_gone);
    http_stream_begin(c->req, 200, "application/octet-stream", on_drained);
    follow_step(f);
}
