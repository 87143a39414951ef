/* SPDX-License-Identifier: BSD-2-Clause */
/* The mirror: output of attempts on a far node is copied into our own files while it comes. */
#include "head/remote_priv.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROTATE_NS (2 * NS_PER_S) /* where more run than can be read at once */

static const char *suffix_of(const struct remote_stream *s)
{
    return s == &s->attempt->streams[1] ? ".err" : ".out";
}

/* 0, 1: there is none yet, -1 with errno. What isn't a file of ours is not written to. */
static int open_mirror(struct remote *r, struct remote_stream *s, bool make)
{
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | (make ? O_CREAT : 0);
    struct buf path = BUF_INIT;
    struct stat st;

    if (make && attempt_make_folder(r->state_fd, &s->attempt->key) != 0)
        return -1;
    attempt_prefix(&s->attempt->key, &path);
    buf_append_str(&path, suffix_of(s));
    s->fd = openat(r->state_fd, buf_data(&path), flags, 0600);
    buf_fini(&path);
    if (s->fd < 0)
        return !make && errno == ENOENT ? 1 : -1;
    if (fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        s->offset = st.st_size;
        return 0;
    }
    close(s->fd);
    s->fd = -1;
    errno = EINVAL;
    return -1;
}

static void close_mirror(struct remote_stream *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* Out of whatever list it is in. */
static void set_state(struct remote *r, struct remote_stream *s, enum stream_state state)
{
    struct list *lists[] = { NULL, s->attempt->over ? &r->urgent : &r->waiting, &r->open, NULL };

    if (s->state == STREAM_OPEN) {
        r->open_count--;
        close_mirror(s);
    }
    list_remove(&s->link);
    s->state = state;
    if (lists[state])
        list_append(lists[state], &s->link);
    if (state == STREAM_OPEN)
        r->open_count++;
}

static void stop_read(struct remote *r, const struct remote_stream *s)
{
    struct link_msg m = { .type = LINK_STOP_READ, .id = s->id };

    remote_conn_send(r, &m);
}

/* --- who is read ------------------------------------------------------------------------------ */

static void warn_stopped(struct remote *r, const struct remote_stream *s, const char *why)
{
    log_warning(r->log, "%s of job %" PRId64 " attempt %" PRId32 " on node %s is not copied on: %s",
                suffix_of(s)[1] == 'e' ? "stderr" : "stdout", s->attempt->key.job,
                s->attempt->key.number, r->name, why);
}

/* Our own fault: what isn't here must stay there. */
static void fail(struct remote *r, struct remote_stream *s, int sys)
{
    s->attempt->uncopied = true;
    warn_stopped(r, s, strerror(sys));
}

/* False: it is done already. */
static bool begin_read(struct remote *r, struct remote_stream *s)
{
    struct link_msg m = { .type = LINK_READ,
                          .key = s->attempt->key,
                          .is_stderr = s == &s->attempt->streams[1],
                          .follow = true,
                          .path = s->path };
    int rc = open_mirror(r, s, false);

    if (rc < 0)
        fail(r, s, errno);
    if (rc < 0 || s->offset > r->output_max) { /* with the line that says that there is more */
        close_mirror(s);
        set_state(r, s, STREAM_DONE);
        return false;
    }
    m.key.fence = r->fence;
    m.offset = s->offset;
    m.id = s->id = r->next_id++;
    s->opened_ns = ev_now_ns(r->loop);
    set_state(r, s, STREAM_OPEN);
    remote_conn_send(r, &m);
    return true;
}

/* The one that is read longest, of an attempt that still runs. */
static struct remote_stream *find_patient(struct remote *r)
{
    LIST_FOR_EACH(it, &r->open) {
        struct remote_stream *s = CONTAINER_OF(it, struct remote_stream, link);
        if (!s->attempt->over)
            return s;
    }
    return NULL;
}

static void put_back(struct remote *r, struct remote_stream *s)
{
    stop_read(r, s);
    set_state(r, s, STREAM_QUEUED);
}

/* In the end of the turn: whoever asks may be going over attempts, some of which may go here. */
static void want_pump(struct remote *r)
{
    r->pump_wanted = true;
    ev_again(r->loop);
}

void remote_output_pump(struct remote *r)
{
    if (!r->pump_wanted)
        return;
    r->pump_wanted = false;
    while (r->phase == PHASE_UP) {
        struct list *from = list_empty(&r->urgent) ? &r->waiting : &r->urgent;
        struct remote_stream *s, *other;

        if (list_empty(from))
            return;
        if (r->open_count >= LINK_READS_MAX) {
            other = from == &r->urgent ? find_patient(r) : NULL;
            if (!other)
                break;
            put_back(r, other);
        }
        s = CONTAINER_OF(from->next, struct remote_stream, link);
        if (!begin_read(r, s))
            remote_attempt_output_done(r, s->attempt);
    }
    if (!list_empty(&r->waiting) && !ev_timer_armed(&r->rotate))
        ev_timer_set_after(r->loop, &r->rotate, ROTATE_NS);
}

/* Those that wait get the places of as many that were read long enough. */
static void on_rotate(struct ev_timer *timer)
{
    struct remote *r = CONTAINER_OF(timer, struct remote, rotate);
    size_t wanted = 0;

    LIST_FOR_EACH(it, &r->waiting)
        wanted++;
    while (wanted-- > 0) {
        struct remote_stream *s = find_patient(r);
        if (!s || s->opened_ns + ROTATE_NS > ev_now_ns(r->loop))
            break;
        put_back(r, s);
    }
    want_pump(r);
}

/* --- what comes ------------------------------------------------------------------------------- */

static int write_at(struct remote_stream *s, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = pwrite(s->fd, data, len, s->offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : ENOSPC;
            return -1;
        }
        s->offset += n;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The last line of a mirror that is full. */
static void say_more(struct remote *r, struct remote_stream *s)
{
    struct buf b = BUF_INIT, path = BUF_INIT;
    char last = '\n';

    if (s->offset > 0 && pread(s->fd, &last, 1, s->offset - 1) == 1 && last != '\n')
        buf_append_char(&b, '\n');
    if (s->path) {
        buf_append_str(&path, s->path);
    } else {
        buf_printf(&path, "%s%s", r->facts.state_dir, *r->facts.state_dir ? "/" : "");
        attempt_prefix(&s->attempt->key, &path);
        buf_append_str(&path, suffix_of(s));
    }
    buf_printf(&b, "[hive: output is longer; the rest is on %s in %s]\n", r->name, buf_data(&path));
    if (write_at(s, buf_data(&b), buf_len(&b)) != 0)
        fail(r, s, errno);
    buf_fini(&b);
    buf_fini(&path);
}

/* False: no more of it is wanted. */
static bool take_data(struct remote *r, struct remote_stream *s, const struct link_msg *m)
{
    int64_t room = r->output_max - s->offset;
    size_t len = (int64_t)m->data_len < room ? m->data_len : (size_t)room;
    int64_t was = s->offset;

    if (m->offset != s->offset) {
        warn_stopped(r, s, "the node sent another piece than the next one");
        return false;
    }
    if (s->fd < 0 && open_mirror(r, s, true) != 0) {
        fail(r, s, errno);
        return false;
    }
    if (s->offset != was) {
        fail(r, s, EEXIST);
        return false;
    }
    if (write_at(s, m->data, len) != 0) {
        fail(r, s, errno);
        return false;
    }
    if (len < m->data_len) {
        say_more(r, s);
        return false;
    }
    return true;
}

static struct remote_stream *find_open(const struct remote *r, int64_t id)
{
    LIST_FOR_EACH(it, &r->open) {
        struct remote_stream *s = CONTAINER_OF(it, struct remote_stream, link);
        if (s->id == id)
            return s;
    }
    return NULL;
}

static void end_read(struct remote *r, struct remote_stream *s)
{
    set_state(r, s, STREAM_DONE);
    remote_attempt_output_done(r, s->attempt);
    want_pump(r);
}

/* What never came to be opened there has no file, which is no news of one that could not run. */
static void note_failure(struct remote *r, const struct remote_stream *s, const char *why)
{
    if (!str_eq(why, strerror(ENOENT)))
        warn_stopped(r, s, why);
}

void remote_output_on_data(struct remote *r, const struct link_msg *m)
{
    struct remote_stream *s = find_open(r, m->id);

    if (!s) { /* what was stopped may still come */
        if (m->id < r->first_id || m->id >= r->next_id)
            remote_conn_complain(r, "it sends output that was not asked for (%" PRId64 ")", m->id);
        return;
    }
    if (m->message) {
        note_failure(r, s, m->message);
        if (!m->eof)
            stop_read(r, s);
        end_read(r, s);
    } else if (!take_data(r, s, m)) {
        if (!m->eof)
            stop_read(r, s);
        end_read(r, s);
    } else if (m->eof) {
        end_read(r, s);
    }
}

void remote_output_on_refused(struct remote *r, const struct link_msg *m)
{
    struct remote_stream *s = find_open(r, m->id);

    if (!s)
        return;
    warn_stopped(r, s, m->message);
    end_read(r, s);
}

/* --- attempts --------------------------------------------------------------------------------- */

void remote_output_add(struct remote_attempt *t, const char *stdout_path, const char *stderr_path)
{
    const char *paths[2] = { stdout_path, stderr_path };

    for (int i = 0; i < 2; i++) {
        struct remote_stream *s = &t->streams[i];
        list_init(&s->link);
        s->attempt = t;
        s->path = mem_strdup(paths[i]);
        s->fd = -1;
    }
    if (stdout_path && stderr_path && str_eq(stdout_path, stderr_path))
        t->streams[1].state = STREAM_DONE;
}

void remote_output_begin(struct remote *r, struct remote_attempt *t)
{
    for (int i = 0; i < 2; i++)
        if (t->streams[i].state == STREAM_IDLE)
            set_state(r, &t->streams[i], STREAM_QUEUED);
    want_pump(r);
}

void remote_output_hurry(struct remote *r, struct remote_attempt *t)
{
    for (int i = 0; i < 2; i++)
        if (t->streams[i].state == STREAM_QUEUED)
            set_state(r, &t->streams[i], STREAM_QUEUED);
    want_pump(r);
}

void remote_output_give_up(struct remote *r, struct remote_attempt *t)
{
    for (int i = 0; i < 2; i++) {
        if (t->streams[i].state == STREAM_OPEN)
            stop_read(r, &t->streams[i]);
        set_state(r, &t->streams[i], STREAM_DONE);
    }
    want_pump(r);
}

bool remote_output_done(const struct remote_attempt *t)
{
    return t->streams[0].state == STREAM_DONE && t->streams[1].state == STREAM_DONE;
}

void remote_output_away(struct remote *r)
{
    struct list *lists[] = { &r->open, &r->urgent, &r->waiting };

    ev_timer_clear(&r->rotate);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        while (!list_empty(lists[i]))
            set_state(r, CONTAINER_OF(lists[i]->next, struct remote_stream, link), STREAM_IDLE);
}

void remote_output_init(struct remote *r)
{
    list_init(&r->urgent);
    list_init(&r->waiting);
    list_init(&r->open);
    r->next_id = r->first_id = 1;
    r->rotate.fn = on_rotate;
}

void remote_output_fini(struct remote_attempt *t)
{
    for (int i = 0; i < 2; i++) {
        list_remove(&t->streams[i].link);
        close_mirror(&t->streams[i]);
        free(t->streams[i].path);
    }
}
