/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of fields, and writing messages. */
#include "base/mem.h"

#include "node/link_field.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "net/ssh_known_hosts.h"

#include <math.h>

static const char *const type_names[] = {
    [LINK_HELLO] = "hello",
    [LINK_AGREED] = "agreed",
    [LINK_SAMPLE] = "sample",
    [LINK_ENDED] = "ended",
    [LINK_NEVER_STARTED] = "never_started",
    [LINK_TAKEN_BACK] = "taken_back",
    [LINK_DATA] = "data",
    [LINK_PONG] = "pong",
    [LINK_ERROR] = "error",
    [LINK_WELCOME] = "welcome",
    [LINK_RUN] = "run",
    [LINK_KILL] = "kill",
    [LINK_SIGNAL] = "signal",
    [LINK_TAKE_BACK] = "take_back",
    [LINK_ACK] = "ack",
    [LINK_READ] = "read",
    [LINK_STOP_READ] = "stop_read",
    [LINK_FORGET] = "forget",
    [LINK_MEASURE] = "measure",
    [LINK_PING] = "ping",
    [LINK_DRAIN] = "drain",
};

_Static_assert(ARRAY_LEN(type_names) == LINK_TYPE_COUNT, "a name for each type");
_Static_assert(LINK_TYPE_COUNT <= 32, "a bit for each type");

#define B(type) LINK_BIT(LINK_##type)
/* Messages about one attempt. */
#define KEYED                                                                                      \
    (B(ENDED) | B(NEVER_STARTED) | B(TAKEN_BACK) | B(RUN) | B(KILL) | B(SIGNAL) | B(TAKE_BACK) |   \
     B(ACK) | B(READ) | B(FORGET))
#define AT(member) offsetof(struct link_msg, member), 0
#define LIST(member, number) offsetof(struct link_msg, member), offsetof(struct link_msg, number)
#define PATH_BYTES (LIMIT_JOB_PATH + 96)
#define HEAD_DIGITS LINK_HEAD_MIN, LINK_HEAD_MAX

/* clang-format off: one row, one line */
const struct link_field link_fields[] = {
    { "v", B(HELLO) | B(WELCOME), LINK_INT, AT(v), 1, 1000000, true },
    { "id", B(DATA) | B(READ) | B(STOP_READ), LINK_INT, AT(id), 1, INT64_MAX, true },
    { "id", B(PING) | B(PONG) | B(ERROR), LINK_INT, AT(id), 0, INT64_MAX, false },
    { "job", KEYED, LINK_INT, AT(key.job), 1, ATTEMPT_JOB_MAX, true },
    { "attempt", KEYED, LINK_INT32, AT(key.number), 1, ATTEMPT_NUMBER_MAX, true },
    { "job", B(ERROR), LINK_INT, AT(key.job), 0, ATTEMPT_JOB_MAX, false },
    { "attempt", B(ERROR), LINK_INT32, AT(key.number), 0, ATTEMPT_NUMBER_MAX, false },
    { "fence", B(WELCOME) | B(RUN), LINK_INT, AT(key.fence), 1, LINK_FENCE_MAX, true },
    { "fence", (KEYED & ~B(RUN)) | B(ERROR), LINK_INT, AT(key.fence), 0, LINK_FENCE_MAX, false },

    { "name", B(HELLO), LINK_TEXT, AT(name), 1, 255, true },
    { "version", B(HELLO), LINK_TEXT, AT(version), 0, 64, false },
    { "arch", B(HELLO), LINK_TEXT, AT(arch), 0, 64, false },
    { "os", B(HELLO), LINK_TEXT, AT(os), 0, LINK_TEXT_MAX, false },
    { "boot_id", B(HELLO), LINK_TEXT, AT(boot_id), 0, 64, false },
    { "threads", B(HELLO), LINK_INT, AT(threads), 1, LIMIT_JOB_THREADS, true },
    { "memory_total_bytes", B(HELLO), LINK_KNOWN, AT(memory_total_bytes), 0, INT64_MAX, false },
    { "memory_note", B(AGREED), LINK_TEXT, AT(memory_note), 0, LINK_TEXT_MAX, false },
    { "state_dir", B(AGREED), LINK_TEXT, AT(state_dir), 0, PATH_BYTES, false },
    { "head", B(WELCOME), LINK_TEXT, AT(head), HEAD_DIGITS, true },
    { "sample_interval_s", B(WELCOME), LINK_INT, AT(sample_interval_s), 0, LINK_INTERVAL_MAX_S,
      false },
    { "lease_s", B(WELCOME), LINK_INT, AT(lease_s), 0, LINK_LEASE_MAX_S, false },
    { "attempts", B(WELCOME) | B(AGREED), LINK_KEYS, LIST(attempts, attempt_count), 0,
      LINK_ATTEMPTS_MAX, false },
    { "unwanted", B(AGREED), LINK_KEYS, LIST(unwanted, unwanted_count), 0, LINK_ATTEMPTS_MAX,
      false },

    { "cpu_percent", B(SAMPLE), LINK_NUMBER, AT(sample.cpu_percent), 0, 0, false },
    { "iowait_percent", B(SAMPLE), LINK_NUMBER, AT(sample.iowait_percent), 0, 0, false },
    { "load", B(SAMPLE), LINK_NUMBERS3, AT(sample.load), 0, 0, false },
    { "cpu_pressure_percent", B(SAMPLE), LINK_NUMBER, AT(sample.cpu_pressure_percent), 0, 0,
      false },
    { "memory_pressure_percent", B(SAMPLE), LINK_NUMBER, AT(sample.memory_pressure_percent), 0, 0,
      false },
    { "io_pressure_percent", B(SAMPLE), LINK_NUMBER, AT(sample.io_pressure_percent), 0, 0, false },
    { "uptime_s", B(SAMPLE), LINK_NUMBER, AT(sample.uptime_s), 0, 0, false },
    { "rx_bytes_per_s", B(SAMPLE), LINK_NUMBER, AT(sample.rx_bytes_per_s), 0, 0, false },
    { "tx_bytes_per_s", B(SAMPLE), LINK_NUMBER, AT(sample.tx_bytes_per_s), 0, 0, false },
    { "disk_read_bytes_per_s", B(SAMPLE), LINK_NUMBER, AT(sample.disk_read_bytes_per_s), 0, 0,
      false },
    { "disk_write_bytes_per_s", B(SAMPLE), LINK_NUMBER, AT(sample.disk_write_bytes_per_s), 0, 0,
      false },
    { "memory_total_bytes", B(SAMPLE), LINK_KNOWN, AT(sample.memory_total_bytes), 0, INT64_MAX,
      false },
    { "memory_available_bytes", B(SAMPLE), LINK_KNOWN, AT(sample.memory_available_bytes), 0,
      INT64_MAX, false },
    { "swap_total_bytes", B(SAMPLE), LINK_KNOWN, AT(sample.swap_total_bytes), 0, INT64_MAX, false },
    { "swap_used_bytes", B(SAMPLE), LINK_KNOWN, AT(sample.swap_used_bytes), 0, INT64_MAX, false },
    { "disk_total_bytes", B(SAMPLE), LINK_KNOWN, AT(sample.disk_total_bytes), 0, INT64_MAX, false },
    { "disk_free_bytes", B(SAMPLE), LINK_KNOWN, AT(sample.disk_free_bytes), 0, INT64_MAX, false },
    { "cores_percent", B(SAMPLE), LINK_PERCENTS, LIST(sample.cores, sample.core_count), 0,
      LINK_CORES_MAX, false },
    { "users", B(SAMPLE), LINK_WORDS, AT(sample.users), 0, LINK_USERS_MAX, false },
    { "running", B(SAMPLE), LINK_INT, AT(sample.running), 0, INT64_MAX, false },
    { "attempts", B(SAMPLE), LINK_USES, LIST(sample.uses, sample.use_count), 0, LINK_ATTEMPTS_MAX,
      false },

    { "outcome", B(ENDED), LINK_OUTCOME, AT(end.outcome), 0, 0, true },
    { "code", B(ENDED), LINK_INT32, AT(end.code), -1, 255, true },
    { "signal", B(ENDED), LINK_INT32, AT(end.signal), 0, 127, true },
    { "started_ns", B(ENDED), LINK_INT, AT(end.started_ns), 0, INT64_MAX, true },
    { "finished_ns", B(ENDED), LINK_INT, AT(end.finished_ns), 0, INT64_MAX, true },
    { "duration_ns", B(ENDED), LINK_INT, AT(end.duration_ns), 0, INT64_MAX, true },
    { "user_ns", B(ENDED), LINK_INT, AT(end.user_ns), 0, INT64_MAX, true },
    { "system_ns", B(ENDED), LINK_INT, AT(end.system_ns), 0, INT64_MAX, true },
    { "max_rss", B(ENDED), LINK_INT, AT(end.max_rss), 0, INT64_MAX, true },
    { "message", B(ENDED), LINK_CHARS, AT(end.message), 0,
      sizeof(((struct attempt_end *)0)->message) - 1, false },

    { "after", B(RUN), LINK_AFTER, AT(run.after), 0, 0, false },
    { "argv", B(RUN), LINK_WORDS, AT(run.argv), 1, LIMIT_JOB_ARGS + 64, true },
    { "env", B(RUN), LINK_WORDS, AT(run.env), 0, LIMIT_JOB_ENV + 1024, true },
    { "workdir", B(RUN), LINK_TEXT, AT(run.workdir), 1, PATH_BYTES, true },
    { "stdout_path", B(RUN), LINK_TEXT, AT(run.stdout_path), 1, PATH_BYTES, false },
    { "stderr_path", B(RUN), LINK_TEXT, AT(run.stderr_path), 1, PATH_BYTES, false },
    { "append", B(RUN), LINK_BOOL, AT(run.append), 0, 0, false },
    { "script", B(RUN), LINK_TEXT, AT(run.script), 0, LIMIT_JOB_SPEC, false },
    { "timeout_ns", B(RUN), LINK_INT, AT(run.timeout_ns), 0, INT64_MAX, false },
    { "grace_ns", B(RUN), LINK_INT, AT(run.grace_ns), 0, INT64_MAX, false },
    { "memory_bytes", B(RUN), LINK_INT, AT(run.memory_bytes), 0, INT64_MAX, false },
    { "inherit_env", B(RUN), LINK_BOOL, AT(inherit_env), 0, 0, false },
    { "workdir_fallback", B(RUN), LINK_BOOL, AT(workdir_fallback), 0, 0, false },
    { "head_home", B(RUN), LINK_TEXT, AT(head_home), 1, PATH_BYTES, false },

    { "grace_ns", B(KILL), LINK_INT, AT(grace_ns), 0, INT64_MAX, false },
    { "signo", B(SIGNAL), LINK_INT32, AT(signo), 1, 64, true },
    { "interval_s", B(MEASURE), LINK_INT, AT(interval_s), 0, LINK_INTERVAL_MAX_S, true },
    { "stamp", B(PING) | B(PONG), LINK_INT, AT(stamp), 0, INT64_MAX, false },

    { "stream", B(READ), LINK_STREAM, AT(is_stderr), 0, 0, false },
    { "offset", B(READ) | B(DATA), LINK_INT, AT(offset), 0, INT64_MAX, false },
    { "limit", B(READ), LINK_INT, AT(limit), 0, INT64_MAX, false },
    { "follow", B(READ), LINK_BOOL, AT(follow), 0, 0, false },
    { "path", B(READ), LINK_TEXT, AT(path), 1, PATH_BYTES, false },
    { "size", B(DATA), LINK_INT, AT(size), 0, INT64_MAX, false },
    { "eof", B(DATA), LINK_BOOL, AT(eof), 0, 0, false },
    { "data", B(DATA), LINK_BASE64, LIST(data, data_len), 0, LINK_DATA_MAX, false },
    { "message", B(DATA), LINK_TEXT, AT(message), 0, LINK_TEXT_MAX, false },
    { "about", B(ERROR), LINK_TEXT, AT(about), 0, LINK_TEXT_MAX, false },
    { "kind", B(ERROR), LINK_TEXT, AT(kind), 0, 64, false },
    { "message", B(ERROR), LINK_TEXT, AT(message), 0, LINK_TEXT_MAX, true },
};
/* clang-format on */

const size_t link_field_count = ARRAY_LEN(link_fields);

const char *link_type_name(enum link_type type)
{
    return (unsigned)type < LINK_TYPE_COUNT ? type_names[type] : "unknown";
}

/* --- writing ---------------------------------------------------------------------------------- */

static int64_t get_i64(const void *at)
{
    int64_t v;

    memcpy(&v, at, sizeof v);
    return v;
}

static int64_t get_i32(const void *at)
{
    int32_t v;

    memcpy(&v, at, sizeof v);
    return v;
}

static const void *get_ptr(const void *at)
{
    const void *p;

    memcpy(&p, at, sizeof p);
    return p;
}

static size_t get_size(const struct link_msg *m, size_t offset)
{
    size_t v;

    memcpy(&v, (const char *)m + offset, sizeof v);
    return v;
}

static bool known(double v)
{
    return isfinite(v) && v >= 0;
}

/* At most `max` bytes, and no piece of a character at the end: what reads it refuses longer ones.
 * What is no UTF-8 would get longer on the way. */
static void put_text(struct jsonw *w, const char *name, const char *s, int64_t max)
{
    char *safe = str_is_utf8(s, strlen(s)) ? NULL : str_safe(s);
    const char *text = safe ? safe : s;
    size_t len = strlen(text), most = (size_t)max;

    if (len > most) {
        len = most;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    jsonw_strn(w, name, text, len);
    free(safe);
}

static void put_key(struct jsonw *w, const struct attempt_key *key)
{
    jsonw_int(w, "job", key->job);
    jsonw_int(w, "attempt", key->number);
    if (key->fence)
        jsonw_int(w, "fence", (int64_t)key->fence);
}

static void put_words(struct jsonw *w, const char *name, const char *const *words)
{
    if (!words)
        return;
    jsonw_arr_open(w, name);
    for (; *words && buf_len(w->b) <= LINK_LINE_MAX; words++)
        jsonw_str(w, NULL, *words);
    jsonw_arr_close(w);
}

static void put_keys(struct jsonw *w, const char *name, const struct attempt_key *keys, size_t n)
{
    jsonw_arr_open(w, name);
    for (size_t i = 0; i < n && buf_len(w->b) <= LINK_LINE_MAX; i++) {
        jsonw_obj_open(w, NULL);
        put_key(w, &keys[i]);
        jsonw_obj_close(w);
    }
    jsonw_arr_close(w);
}

static void put_percents(struct jsonw *w, const char *name, const signed char *v, size_t n)
{
    if (n == 0)
        return;
    jsonw_arr_open(w, name);
    for (size_t i = 0; i < n; i++)
        if (v[i] >= 0)
            jsonw_int(w, NULL, v[i]);
        else
            jsonw_null(w, NULL);
    jsonw_arr_close(w);
}

static void put_uses(struct jsonw *w, const char *name, const struct link_use *uses, size_t n)
{
    jsonw_arr_open(w, name);
    for (size_t i = 0; i < n; i++) {
        jsonw_obj_open(w, NULL);
        put_key(w, &uses[i].key);
        if (uses[i].cpu_ns >= 0)
            jsonw_int(w, "cpu_ns", uses[i].cpu_ns);
        if (uses[i].memory_bytes >= 0)
            jsonw_int(w, "memory_bytes", uses[i].memory_bytes);
        jsonw_obj_close(w);
    }
    jsonw_arr_close(w);
}

static void put_numbers(struct jsonw *w, const char *name, const double *v)
{
    jsonw_arr_open(w, name);
    for (int i = 0; i < 3 && known(v[i]); i++)
        jsonw_double(w, NULL, v[i]);
    jsonw_arr_close(w);
}

static void put_base64(struct jsonw *w, const char *name, const void *data, size_t len)
{
    struct buf b = BUF_INIT;

    if (len > 0)
        ssh_base64_encode(data, len, true, &b);
    jsonw_strn(w, name, buf_data(&b), buf_len(&b));
    buf_fini(&b);
}

/* Numbers and what is like them. False: it is of another kind. */
static bool put_scalar(struct jsonw *w, const struct link_field *f, const void *at)
{
    double number;

    switch (f->kind) {
    case LINK_INT:
        jsonw_int(w, f->name, get_i64(at));
        return true;
    case LINK_INT32:
        jsonw_int(w, f->name, get_i32(at));
        return true;
    case LINK_KNOWN:
        if (get_i64(at) >= 0)
            jsonw_int(w, f->name, get_i64(at));
        return true;
    case LINK_NUMBER:
        memcpy(&number, at, sizeof number);
        if (known(number))
            jsonw_double(w, f->name, number);
        return true;
    case LINK_NUMBERS3:
        put_numbers(w, f->name, at);
        return true;
    case LINK_BOOL:
        jsonw_bool(w, f->name, *(const bool *)at);
        return true;
    case LINK_STREAM:
        jsonw_str(w, f->name, *(const bool *)at ? "stderr" : "stdout");
        return true;
    case LINK_OUTCOME:
        jsonw_str(w, f->name, attempt_outcome_name(*(const enum attempt_outcome *)at));
        return true;
    default:
        return false;
    }
}

static void put_field(struct jsonw *w, const struct link_field *f, const struct link_msg *m)
{
    const void *at = (const char *)m + f->offset;

    if (put_scalar(w, f, at))
        return;
    if (f->kind == LINK_CHARS) {
        put_text(w, f->name, at, f->max);
    } else if (f->kind == LINK_AFTER) {
        const struct attempt_key *key = at;
        if (!key->job)
            return;
        jsonw_obj_open(w, f->name);
        put_key(w, key);
        jsonw_obj_close(w);
    } else if (f->kind == LINK_TEXT) {
        /* Paths and what a job is made of aren't cut: too much of it is refused. */
        if (get_ptr(at) && (f->in == B(RUN) || f->in == B(READ)))
            jsonw_str(w, f->name, get_ptr(at));
        else if (get_ptr(at))
            put_text(w, f->name, get_ptr(at), f->max);
    } else if (f->kind == LINK_WORDS) {
        put_words(w, f->name, get_ptr(at));
    } else if (f->kind == LINK_KEYS) {
        put_keys(w, f->name, get_ptr(at), get_size(m, f->count));
    } else if (f->kind == LINK_PERCENTS) {
        put_percents(w, f->name, get_ptr(at), get_size(m, f->count));
    } else if (f->kind == LINK_USES) {
        put_uses(w, f->name, get_ptr(at), get_size(m, f->count));
    } else if (f->kind == LINK_BASE64) {
        put_base64(w, f->name, get_ptr(at), get_size(m, f->count));
    }
}

int link_msg_encode(const struct link_msg *m, struct buf *b, struct err *err)
{
    struct buf text = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &text);
    jsonw_obj_open(&w, NULL);
    jsonw_str(&w, "type", link_type_name(m->type));
    for (size_t i = 0; i < link_field_count; i++)
        if (link_fields[i].in & LINK_BIT(m->type))
            put_field(&w, &link_fields[i], m);
    jsonw_obj_close(&w);
    if (buf_len(&text) > LINK_LINE_MAX) {
        buf_fini(&text);
        return err_set(err, ERR_TOO_LARGE, "a message of type %s is over %d KiB",
                       link_type_name(m->type), LINK_LINE_MAX / 1024);
    }
    buf_append(b, buf_data(&text), buf_len(&text));
    buf_fini(&text);
    return 0;
}
