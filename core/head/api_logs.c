/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output of jobs: read from the file in pieces as fast as the client takes them, so that a flood
 * costs the daemon one buffer. A follower looks again 10 times a second while its file doesn't
 * grow, goes through the attempts one after the other, and ends with the last.
 */
#include "head/api_priv.h"

#include "base/fs.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (64 * 1024)
#define POLL_NS INT64_C(100000000)
#define TURN_PIECES 4 /* pieces of one stream in a row, then others have their turn */
#define TURN_SCANS 32 /* the same, looking for the last lines */

struct api_follow {
    struct list link;
    struct api *api;
    struct http_request *req;
    int64_t id;
    int32_t attempt; /* only this one; 0: from `current` on, with the retries that follow */
    int32_t current; /* the one that is read */
    bool is_stderr, follow, blocked;
    int fd;
    dev_t dev; /* what was read last: attempts may share a file that the job names itself */
    ino_t ino;
    bool begun;
    int64_t offset;
    int64_t tail;    /* begin so many lines before the end; -1: at `offset` */
    int64_t scan_at; /* looking for them backwards, from here */
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

/* Opens the file of the attempt to be shown, if it is there yet. */
static void follow_open(struct api_follow *f, const struct head_output *o)
{
    struct stat st;

    if (!o->known || f->fd >= 0)
        return;
    int fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return;
    }
    if (f->begun && (f->dev != st.st_dev || f->ino != st.st_ino))
        f->offset = 0;
    f->begun = true;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    f->fd = fd;
    if (f->tail >= 0)
        f->offset = f->scan_at = st.st_size;
    if (f->tail == 0)
        f->tail = -1;
}

/* Goes on to look for the begin of the last lines. True when offset is where to begin. */
static bool follow_find_tail(struct api_follow *f)
{
    int64_t size = f->offset;
    char *piece;

    if (f->fd < 0 || f->tail < 0)
        return true;
    piece = mem_alloc(PIECE);
    for (int k = 0; k < TURN_SCANS && f->tail >= 0; k++) {
        int64_t n = f->scan_at < PIECE ? f->scan_at : PIECE;
        bool ok = n > 0 && pread(f->fd, piece, (size_t)n, f->scan_at - n) == n;
        f->scan_at -= n;
        for (int64_t i = n; ok && f->tail >= 0 && i-- > 0;)
            /* the newline at the very end begins no line */
            if (piece[i] == '\n' && f->scan_at + i + 1 < size && --f->tail == 0) {
                f->offset = f->scan_at + i + 1;
                f->tail = -1;
            }
        if (f->tail >= 0 && (!ok || f->scan_at == 0)) {
            f->offset = 0;
            f->tail = -1;
        }
    }
    free(piece);
    return f->tail < 0;
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

/* At the end of a file that won't grow: on to the next attempt's. False when there is none. */
static bool follow_next(struct api_follow *f, const struct head_output *o)
{
    if (f->attempt || f->current >= o->attempts)
        return false;
    f->current++;
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    return true;
}

static void follow_step(struct api_follow *f)
{
    struct head_output o;
    struct err err = ERR_INIT;

    if (f->blocked)
        return;
    /* the state first, the file after it: what is written before the end is seen */
    if (head_output(f->api->head, f->id, f->current, f->is_stderr, &o, &err) != 1) {
        follow_end(f);
        return;
    }
    follow_open(f, &o);
    bool end = follow_find_tail(f) && follow_pump(f);
    free(o.path);
    if (f->blocked)
        return;
    if (end && (!f->follow || (f->attempt && o.attempt_over))) {
        follow_end(f);
        return;
    }
    if (end && o.attempt_over && follow_next(f, &o)) {
        end = false;
    } else if (end && o.final) {
        follow_end(f);
        return;
    }
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

/* *current: the attempt to begin with. */
static int check_output(struct api_call *c, int64_t id, int64_t attempt, bool is_stderr,
                        bool follow, int32_t *current, struct err *err)
{
    struct head_output o;
    struct stat st;
    int rc = head_output(c->head, id, (int32_t)attempt, is_stderr, &o, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no such job any more");
    if (o.is_array) {
        err_set(err, ERR_CONFLICT, "job %" PRId64 " is an array: its tasks have the output", id);
        rc = err_hint(err, "name a task: hive logs %" PRId64 "_TASK", id);
    } else if (!o.known && (!follow || o.final)) {
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
    *current = o.attempt ? o.attempt : 1;
    free(o.path);
    return rc;
}

void api_logs(struct api_call *c)
{
    struct err err = ERR_INIT;
    int64_t tail = -1, offset = 0, attempt = 0;
    bool is_stderr = false, follow = api_query_flag(c, "follow");
    int32_t current = 0;
    int64_t id = api_job_id(c);

    if (!id || api_query_int(c, "tail", 0, INT64_C(1000000000), &tail) < 0 ||
        api_query_int(c, "offset", 0, INT64_MAX, &offset) < 0 ||
        api_query_int(c, "attempt", 1, INT32_MAX, &attempt) < 0)
        return;
    if (read_stream(c, &is_stderr, &err) != 0 ||
        check_output(c, id, attempt, is_stderr, follow, &current, &err) != 0) {
        api_reply_error(c->req, &err);
        return;
    }
    if (str_eq(c->msg->method, "HEAD")) {
        http_reply(c->req, 200, "application/octet-stream", NULL);
        return;
    }
    struct api_follow *f = mem_alloc(sizeof(*f));
    f->api = c->api;
    f->req = c->req;
    f->id = id;
    f->attempt = (int32_t)attempt;
    f->current = current;
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
