/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/shim_proto.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

/* A string's length field that stands for NULL. */
#define NO_STRING UINT32_MAX

static void put_int(struct buf *b, uint64_t v, size_t bytes)
{
    char out[8];

    for (size_t i = 0; i < bytes; i++)
        out[i] = (char)(v >> (8 * i));
    buf_append(b, out, bytes);
}

/* With the NUL, so that the decoder's pointers into the packet are C strings. */
static void put_str(struct buf *b, const char *s)
{
    size_t len = s ? strlen(s) : 0;

    if (!s) {
        put_int(b, NO_STRING, 4);
        return;
    }
    /* Longer than any packet: cut here, refused for its size by the caller. */
    if (len > SHIM_PACKET_MAX)
        len = SHIM_PACKET_MAX;
    put_int(b, len, 4);
    buf_append(b, s, len);
    buf_append_char(b, '\0');
}

static void put_list(struct buf *b, const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    put_int(b, n, 4);
    for (size_t i = 0; i < n && buf_len(b) <= SHIM_PACKET_MAX; i++)
        put_str(b, list[i]);
}

static void put_key(struct buf *b, const struct attempt_key *key)
{
    put_int(b, (uint64_t)key->job, 8);
    put_int(b, (uint32_t)key->number, 4);
    put_int(b, key->fence, 8);
}

static void put_run(struct buf *b, const struct node_run *r)
{
    put_list(b, r->argv);
    put_list(b, r->env);
    put_str(b, r->workdir);
    put_str(b, r->stdout_path);
    put_str(b, r->stderr_path);
    put_int(b, r->append, 1);
    put_str(b, r->script);
    put_int(b, (uint64_t)r->timeout_ns, 8);
    put_int(b, (uint64_t)r->grace_ns, 8);
    put_int(b, (uint64_t)r->memory_bytes, 8);
}

static void put_end(struct buf *b, const struct attempt_end *e)
{
    put_int(b, (uint32_t)e->outcome, 4);
    put_int(b, (uint32_t)e->code, 4);
    put_int(b, (uint32_t)e->signal, 4);
    put_int(b, (uint64_t)e->started_ns, 8);
    put_int(b, (uint64_t)e->finished_ns, 8);
    put_int(b, (uint64_t)e->duration_ns, 8);
    put_int(b, (uint64_t)e->user_ns, 8);
    put_int(b, (uint64_t)e->system_ns, 8);
    put_int(b, (uint64_t)e->max_rss, 8);
    put_str(b, e->message);
}

int shim_msg_encode(const struct shim_msg *m, struct buf *b, struct err *err)
{
    buf_clear(b);
    put_int(b, SHIM_PROTO_VERSION, 1);
    put_int(b, (unsigned)m->type, 1);
    if (m->type != SHIM_QUIT)
        put_key(b, &m->key);
    switch (m->type) {
    case SHIM_HELLO:
        put_int(b, (uint32_t)m->pid, 4);
        put_int(b, m->start, 8);
        break;
    case SHIM_ENDED:
        put_end(b, &m->end);
        break;
    case SHIM_RUN:
        put_run(b, &m->run);
        break;
    case SHIM_KILL:
        put_int(b, (uint64_t)m->grace_ns, 8);
        break;
    case SHIM_SIGNAL:
        put_int(b, (uint32_t)m->signo, 4);
        break;
    case SHIM_REFUSED:
    case SHIM_QUIT:
    case SHIM_DROP:
    case SHIM_DROPPED:
    case SHIM_MSG_TYPES:
        break;
    }
    if (buf_len(b) > SHIM_PACKET_MAX)
        return err_set(err, ERR_TOO_LARGE,
                       "command, environment and script of the job are over %d KiB together",
                       SHIM_PACKET_MAX / 1024);
    return 0;
}

/* A cursor that cannot run over; once something was wrong it stays wrong. At the end of the packet
 * every field reads as 0, NULL or empty: the sender is older and doesn't know it. */
struct cursor {
    const char *p;
    size_t left;
    bool bad;
};

static uint64_t get_int(struct cursor *c, size_t bytes)
{
    uint64_t v = 0;

    if (c->left == 0 || c->bad)
        return 0;
    if (c->left < bytes) {
        c->bad = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)(unsigned char)c->p[i] << (8 * i);
    c->p += bytes;
    c->left -= bytes;
    return v;
}

static const char *get_str(struct cursor *c)
{
    const char *s;
    uint64_t len;

    if (c->left == 0)
        return NULL;
    len = get_int(c, 4);
    if (c->bad || len == NO_STRING)
        return NULL;
    if (len >= c->left || c->p[len] != '\0' || memchr(c->p, '\0', (size_t)len)) {
        c->bad = true;
        return NULL;
    }
    s = c->p;
    c->p += len + 1;
    c->left -= (size_t)len + 1;
    return s;
}

static int64_t get_i64(struct cursor *c, int64_t min)
{
    int64_t v = (int64_t)get_int(c, 8);

    if (v < min)
        c->bad = true;
    return v;
}

static void get_key(struct cursor *c, struct attempt_key *key, bool may_be_idle)
{
    key->job = (int64_t)get_int(c, 8);
    key->number = (int32_t)get_int(c, 4);
    key->fence = get_int(c, 8);
    if (!attempt_key_valid(key) && !(may_be_idle && key->job == 0))
        c->bad = true;
}

/* The count of a list, which each of at least 5 bytes an item bounds by what is left. */
static size_t get_count(struct cursor *c, size_t limit)
{
    uint64_t n = get_int(c, 4);

    if (n > limit || n > c->left / 5) {
        c->bad = true;
        return 0;
    }
    return (size_t)n;
}

/* argv and env one behind the other in m->ptrs, each with its NULL. */
static void get_lists(struct cursor *c, struct shim_msg *m)
{
    /* Some room above what jobs may have, for what hive itself adds to the environment. */
    size_t args = get_count(c, LIMIT_JOB_ARGS + 64), n = 0, envs;

    m->ptrs = mem_alloc_array(args + 1, sizeof *m->ptrs);
    for (size_t i = 0; i < args; i++)
        m->ptrs[n++] = get_str(c);
    envs = get_count(c, SHIM_PACKET_MAX);
    m->ptrs = mem_resize(m->ptrs, args + envs + 2, sizeof *m->ptrs);
    m->ptrs[n++] = NULL;
    for (size_t i = 0; i < envs; i++)
        m->ptrs[n++] = get_str(c);
    m->ptrs[n] = NULL;
    for (size_t i = 0; i < args + envs + 1; i++)
        if (!m->ptrs[i] && i != args)
            c->bad = true;
    if (args == 0)
        c->bad = true;
    m->run.argv = m->ptrs;
    m->run.env = m->ptrs + args + 1;
}

static void get_run(struct cursor *c, struct shim_msg *m)
{
    struct node_run *r = &m->run;

    r->key = m->key;
    get_lists(c, m);
    r->workdir = get_str(c);
    r->stdout_path = get_str(c);
    r->stderr_path = get_str(c);
    r->append = get_int(c, 1) != 0;
    r->script = get_str(c);
    r->timeout_ns = get_i64(c, 0);
    r->grace_ns = get_i64(c, 0);
    r->memory_bytes = get_i64(c, 0);
    if (!r->workdir)
        c->bad = true;
}

static void get_end(struct cursor *c, struct shim_msg *m)
{
    struct attempt_end *e = &m->end;
    uint64_t outcome = get_int(c, 4);
    const char *message;

    e->key = m->key;
    e->outcome = (enum attempt_outcome)outcome;
    e->code = (int32_t)get_int(c, 4);
    e->signal = (int32_t)get_int(c, 4);
    e->started_ns = get_i64(c, 0);
    e->finished_ns = get_i64(c, 0);
    e->duration_ns = get_i64(c, 0);
    e->user_ns = get_i64(c, 0);
    e->system_ns = get_i64(c, 0);
    e->max_rss = get_i64(c, 0);
    message = get_str(c);
    str_copy(e->message, sizeof e->message, message ? message : "");
    if (outcome >= ATTEMPT_OUTCOME_COUNT || e->code < -1 || e->code > 255 || e->signal < 0 ||
        e->signal > 127)
        c->bad = true;
}

static void get_body(struct cursor *c, struct shim_msg *m)
{
    switch (m->type) {
    case SHIM_HELLO:
        m->pid = (pid_t)get_int(c, 4);
        m->start = get_int(c, 8);
        if (m->pid <= 0)
            c->bad = true;
        break;
    case SHIM_ENDED:
        get_end(c, m);
        break;
    case SHIM_RUN:
        get_run(c, m);
        break;
    case SHIM_KILL:
        m->grace_ns = get_i64(c, 0);
        break;
    case SHIM_SIGNAL:
        m->signo = (int32_t)get_int(c, 4);
        if (m->signo < 1 || m->signo > 64)
            c->bad = true;
        break;
    case SHIM_REFUSED:
    case SHIM_QUIT:
    case SHIM_DROP:
    case SHIM_DROPPED:
    case SHIM_MSG_TYPES:
        break;
    }
}

int shim_msg_decode(const char *data, size_t len, struct shim_msg *m, struct err *err)
{
    struct cursor c = { data, len, false };
    uint64_t version, type;

    memset(m, 0, sizeof *m);
    if (len < 2 || len > SHIM_PACKET_MAX)
        return err_set(err, ERR_CORRUPT, "shim message of %zu bytes", len);
    version = get_int(&c, 1);
    type = get_int(&c, 1);
    if (version != SHIM_PROTO_VERSION || type < SHIM_HELLO || type >= SHIM_MSG_TYPES)
        return err_set(err, ERR_CORRUPT, "shim message of unknown version %u or type %u",
                       (unsigned)version, (unsigned)type);
    m->type = (enum shim_msg_type)type;
    if (m->type != SHIM_QUIT)
        get_key(&c, &m->key, m->type == SHIM_HELLO);
    get_body(&c, m);
    if (c.bad) {
        shim_msg_fini(m);
        return err_set(err, ERR_CORRUPT, "malformed shim message of type %u", (unsigned)type);
    }
    return 0;
}

void shim_msg_fini(struct shim_msg *m)
{
    MEM_FREE(m->ptrs);
}
