/* SPDX-License-Identifier: BSD-2-Clause */
/* The exit record as text, and finding it among others. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "node/attempt.h"

#include <inttypes.h>

#define VERSION_LINE "hive-exit 1"

static const char *const outcome_names[] = { "exited", "signaled", "timeout", "cancelled",
                                             "oom",    "not_run",  "lost" };

_Static_assert(ARRAY_LEN(outcome_names) == ATTEMPT_OUTCOME_COUNT, "a name for each outcome");

const char *attempt_outcome_name(enum attempt_outcome o)
{
    return (unsigned)o < ATTEMPT_OUTCOME_COUNT ? outcome_names[o] : "unknown";
}

/* The numbers of a record; fence, outcome and message are not among them. */
static const struct field {
    const char *name;
    size_t offset;
    bool wide; /* int64_t, else int32_t */
    int64_t min, max;
} fields[] = {
#define NARROW(name, member, min, max)                                                             \
    {                                                                                              \
        name, offsetof(struct attempt_end, member), false, min, max                                \
    }
#define WIDE(name, member, min, max)                                                               \
    {                                                                                              \
        name, offsetof(struct attempt_end, member), true, min, max                                 \
    }
    WIDE("job", key.job, 1, ATTEMPT_JOB_MAX),
    NARROW("attempt", key.number, 1, ATTEMPT_NUMBER_MAX),
    NARROW("code", code, -1, 255),
    NARROW("signal", signal, 0, 127),
    WIDE("started", started_ns, 0, INT64_MAX),
    WIDE("finished", finished_ns, 0, INT64_MAX),
    WIDE("duration", duration_ns, 0, INT64_MAX),
    WIDE("user", user_ns, 0, INT64_MAX),
    WIDE("system", system_ns, 0, INT64_MAX),
    WIDE("max_rss", max_rss, 0, INT64_MAX),
#undef NARROW
#undef WIDE
};

enum { SEEN_FENCE = ARRAY_LEN(fields), SEEN_OUTCOME, SEEN_MESSAGE, SEEN_END };
#define SEEN_ALL ((1u << (SEEN_END + 1)) - 1)

void attempt_end_encode(const struct attempt_end *end, struct buf *b)
{
    buf_append_str(b, VERSION_LINE "\n");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *at = (const char *)end + fields[i].offset;
        int32_t narrow;
        int64_t wide;

        memcpy(&narrow, at, sizeof narrow);
        if (fields[i].wide)
            memcpy(&wide, at, sizeof wide);
        else
            wide = narrow;
        /* A clock before 1970 must not make a record that can't be read. */
        wide = wide < fields[i].min ? fields[i].min : wide > fields[i].max ? fields[i].max : wide;
        buf_printf(b, "%s=%" PRId64 "\n", fields[i].name, wide);
    }
    buf_printf(b, "fence=%" PRIu64 "\noutcome=%s\nmessage=", end->key.fence,
               attempt_outcome_name(end->outcome));
    str_append_safe(b, end->message, strnlen(end->message, sizeof end->message));
    buf_append_str(b, "\nend\n");
}

static bool parse_fence(const char *s, uint64_t *out)
{
    uint64_t v = 0;

    if (!*s)
        return false;
    for (; *s; s++) {
        unsigned digit = (unsigned)*s - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* The bit of the line's field, -1 when it isn't known, -2 when its value is bad. */
static int parse_field(const char *name, const char *value, struct attempt_end *end)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        char *at = (char *)end + f->offset;
        int64_t v;

        if (!str_eq(name, f->name))
            continue;
        if (str_to_int(value, f->min, f->max, name, &v, NULL) != 0)
            return -2;
        int32_t narrow = (int32_t)v;
        if (f->wide)
            memcpy(at, &v, sizeof v);
        else
            memcpy(at, &narrow, sizeof narrow);
        return (int)i;
    }
    if (str_eq(name, "fence"))
        return parse_fence(value, &end->key.fence) ? SEEN_FENCE : -2;
    if (str_eq(name, "message")) {
        str_copy(end->message, sizeof end->message, value);
        return SEEN_MESSAGE;
    }
    if (str_eq(name, "outcome")) {
        for (unsigned o = 0; o < ATTEMPT_OUTCOME_COUNT; o++) {
            if (str_eq(value, outcome_names[o])) {
                end->outcome = (enum attempt_outcome)o;
                return SEEN_OUTCOME;
            }
        }
        return -2;
    }
    return -1;
}

/* One line, NUL-terminated. Sets its bit in *seen. */
static int parse_line(char *line, unsigned *seen, struct attempt_end *end, struct err *err)
{
    char *eq = strchr(line, '=');
    int bit;

    if (!eq) {
        bit = str_eq(line, "end") ? SEEN_END : -1;
    } else {
        *eq = '\0';
        bit = parse_field(line, eq + 1, end);
    }
    if (bit == -2)
        return err_set(err, ERR_CORRUPT, "exit record: bad value of %.32s", line);
    if (bit >= 0 && (*seen & (1u << bit)))
        return err_set(err, ERR_CORRUPT, "exit record: %.32s is there twice", line);
    if (bit >= 0)
        *seen |= 1u << bit;
    return 0;
}

static int parse_lines(char *text, struct attempt_end *end, struct err *err)
{
    unsigned seen = 0;
    char *nl = strchr(text, '\n');

    if (!nl)
        return err_set(err, ERR_CORRUPT, "exit record: empty or cut");
    *nl = '\0';
    if (!str_eq(text, VERSION_LINE))
        return err_set(err, ERR_CORRUPT, "exit record: does not begin with \"%s\"", VERSION_LINE);
    for (char *line = nl + 1; *line && !(seen & (1u << SEEN_END)); line = nl + 1) {
        nl = strchr(line, '\n');
        if (!nl)
            return err_set(err, ERR_CORRUPT, "exit record: cut");
        *nl = '\0';
        if (parse_line(line, &seen, end, err) != 0)
            return -1;
    }
    if (seen != SEEN_ALL)
        return err_set(err, ERR_CORRUPT, "exit record: fields are missing");
    return 0;
}

int attempt_end_decode(const char *data, size_t len, const struct attempt_key *expect,
                       struct attempt_end *end, struct err *err)
{
    struct attempt_end e;
    char *text;
    int rc;

    if (len > ATTEMPT_RECORD_MAX || memchr(data, '\0', len))
        return err_set(err, ERR_CORRUPT, "exit record: too long, or holds a NUL");
    memset(&e, 0, sizeof e);
    text = mem_strndup(data, len);
    rc = parse_lines(text, &e, err);
    free(text);
    if (rc != 0)
        return -1;
    if (expect && (e.key.job != expect->job || e.key.number != expect->number ||
                   (expect->fence != 0 && e.key.fence != expect->fence)))
        return err_set(err, ERR_CORRUPT, "exit record: of another attempt");
    *end = e;
    return 0;
}

bool attempt_end_find(const char *data, size_t len, const struct attempt_key *key,
                      struct attempt_end *end)
{
    static const char first[] = VERSION_LINE "\n", last[] = "end\n";
    const struct attempt_key any_fence = { key->job, key->number, 0 };
    const char *stop = data + len, *begin = NULL, *next;
    bool found = false;

    for (const char *line = data; line < stop; line = next) {
        const char *nl = memchr(line, '\n', (size_t)(stop - line));
        if (!nl)
            break;
        next = nl + 1;
        size_t n = (size_t)(next - line);
        /* Also within one that has not ended: that was cut. */
        if (n == sizeof first - 1 && memcmp(line, first, n) == 0)
            begin = line;
        if (!begin || n != sizeof last - 1 || memcmp(line, last, n) != 0)
            continue;
        found |= attempt_end_decode(begin, (size_t)(next - begin), &any_fence, end, NULL) == 0;
        begin = NULL;
    }
    return found;
}
