/* SPDX-License-Identifier: BSD-2-Clause */
#include "sys/sample_parse.h"

#include "base/clock.h"
#include "base/mem.h"

#include <ctype.h>

/* What is left of a line. */
struct cursor {
    const char *p;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct cursor *c)
{
    while (c->len > 0 && is_blank(*c->p)) {
        c->p++;
        c->len--;
    }
}

static bool take_word(struct cursor *c, const char **word, size_t *len)
{
    skip_blanks(c);
    *word = c->p;
    while (c->len > 0 && !is_blank(*c->p)) {
        c->p++;
        c->len--;
    }
    *len = (size_t)(c->p - *word);
    return *len > 0;
}

/* Digits at the front, as many as there are. */
static bool take_number(struct cursor *c, int64_t *out)
{
    int64_t v = 0;
    size_t digits = 0;

    skip_blanks(c);
    for (; c->len > 0 && isdigit((unsigned char)*c->p); c->p++, c->len--, digits++) {
        v = v < SAMPLE_NUMBER_MAX / 10 ? v * 10 + (*c->p - '0') : SAMPLE_NUMBER_MAX;
    }
    if (digits > 0)
        *out = v;
    return digits > 0;
}

/* "12.34"; not strtod(), which follows the locale. */
static bool take_decimal(struct cursor *c, double *out)
{
    double scale = 0.1, v;
    int64_t whole;

    if (!take_number(c, &whole))
        return false;
    v = (double)whole;
    if (c->len > 0 && *c->p == '.') {
        c->p++;
        c->len--;
        for (; c->len > 0 && isdigit((unsigned char)*c->p); c->p++, c->len--, scale /= 10)
            v += scale * (*c->p - '0');
    }
    *out = v;
    return true;
}

static bool take_char(struct cursor *c, char ch)
{
    if (c->len == 0 || *c->p != ch)
        return false;
    c->p++;
    c->len--;
    return true;
}

static bool take_prefix(struct cursor *c, const char *prefix)
{
    size_t n = strlen(prefix);

    if (c->len < n || memcmp(c->p, prefix, n) != 0)
        return false;
    c->p += n;
    c->len -= n;
    return true;
}

bool sample_next_line(const char **text, size_t *len, const char **line, size_t *line_len)
{
    const char *end;

    if (*len == 0)
        return false;
    end = memchr(*text, '\n', *len);
    *line = *text;
    *line_len = end ? (size_t)(end - *text) : *len;
    *text += *line_len + (end ? 1 : 0);
    *len -= *line_len + (end ? 1 : 0);
    return true;
}

static bool next_line(struct cursor *text, struct cursor *line)
{
    return sample_next_line(&text->p, &text->len, &line->p, &line->len);
}

/* Room for one more element, zeroed; NULL at the limit. */
static void *grow(void **items, size_t *count, size_t *cap, size_t size, size_t max)
{
    char *item;

    if (*count >= max)
        return NULL;
    if (*count == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        *items = mem_resize(*items, *cap, size);
    }
    item = (char *)*items + *count * size;
    memset(item, 0, size);
    (*count)++;
    return item;
}

void sample_counters_clear(struct sample_counters *c)
{
    c->time_ns = 0;
    c->boot_id[0] = '\0';
    c->has_total = false;
    c->core_count = c->disk_count = c->net_count = c->allowed_count = 0;
    memset(c->allowed, 0, sizeof c->allowed);
}

void sample_counters_fini(struct sample_counters *c)
{
    free(c->cores);
    free(c->disks);
    free(c->nets);
    *c = (struct sample_counters){ 0 };
}

/* user nice system idle iowait irq softirq steal; old kernels have fewer. Guests are in user. */
static bool take_ticks(struct cursor *line, struct sample_ticks *t)
{
    int64_t v[8] = { 0 };
    size_t n = 0;

    while (n < ARRAY_LEN(v) && take_number(line, &v[n]))
        n++;
    t->user = v[0] + v[1];
    t->kernel = v[2] + v[5] + v[6];
    t->idle = v[3];
    t->iowait = v[4];
    t->steal = v[7];
    return n >= 4;
}

static void add_core(struct sample_counters *c, int64_t id, const struct sample_ticks *t)
{
    void *items = c->cores;
    struct sample_core_counter *core;

    /* The kernel's order; what isn't in it would make finding them again slow. */
    if (id >= SAMPLE_CORES_MAX || (c->core_count > 0 && c->cores[c->core_count - 1].id >= id))
        return;
    core = grow(&items, &c->core_count, &c->core_cap, sizeof *core, SAMPLE_CORES_MAX);
    c->cores = items;
    if (core)
        *core = (struct sample_core_counter){ .id = (int)id, .ticks = *t };
}

void sample_parse_stat(const char *text, size_t len, struct sample_counters *c)
{
    struct cursor all = { text, len }, line;
    struct sample_ticks t;
    int64_t id;

    while (next_line(&all, &line)) {
        if (!take_prefix(&line, "cpu"))
            continue;
        if (line.len > 0 && is_blank(*line.p)) {
            if (take_ticks(&line, &t)) {
                c->total = t;
                c->has_total = true;
            }
        } else if (take_number(&line, &id) && take_ticks(&line, &t)) {
            add_core(c, id, &t);
        }
    }
}

static void allow(struct sample_counters *c, int64_t from, int64_t to)
{
    for (int64_t i = from; i <= to && i < SAMPLE_CORES_MAX; i++) {
        uint64_t bit = UINT64_C(1) << (i % 64);
        if (!(c->allowed[i / 64] & bit)) {
            c->allowed[i / 64] |= bit;
            c->allowed_count++;
        }
    }
}

void sample_parse_allowed(const char *text, size_t len, struct sample_counters *c)
{
    struct cursor all = { text, len }, line;
    int64_t from, to;

    while (next_line(&all, &line)) {
        if (!take_prefix(&line, "Cpus_allowed_list:"))
            continue;
        while (take_number(&line, &from)) {
            to = from;
            if (take_char(&line, '-') && !take_number(&line, &to))
                break;
            allow(c, from, to);
            if (!take_char(&line, ','))
                break;
        }
        return;
    }
}

struct meminfo {
    int64_t total, available, free, buffers, cached, shmem, reclaimable, swap_total, swap_free;
};

static const struct {
    const char *name;
    size_t offset;
} meminfo_fields[] = {
    { "MemTotal:", offsetof(struct meminfo, total) },
    { "MemAvailable:", offsetof(struct meminfo, available) },
    { "MemFree:", offsetof(struct meminfo, free) },
    { "Buffers:", offsetof(struct meminfo, buffers) },
    { "Cached:", offsetof(struct meminfo, cached) },
    { "Shmem:", offsetof(struct meminfo, shmem) },
    { "SReclaimable:", offsetof(struct meminfo, reclaimable) },
    { "SwapTotal:", offsetof(struct meminfo, swap_total) },
    { "SwapFree:", offsetof(struct meminfo, swap_free) },
};

static int64_t or_zero(int64_t v)
{
    return v > 0 ? v : 0;
}

static int64_t at_most(int64_t v, int64_t max)
{
    return v < max ? v : max;
}

static int64_t from_kib(int64_t kib)
{
    return kib < 0 ? -1 : at_most(kib, SAMPLE_NUMBER_MAX / 1024) * 1024;
}

void sample_parse_meminfo(const char *text, size_t len, struct sample_memory *m)
{
    struct meminfo i = { -1, -1, -1, -1, -1, -1, -1, -1, -1 };
    struct cursor all = { text, len }, line;
    int64_t v;

    while (next_line(&all, &line)) {
        for (size_t f = 0; f < ARRAY_LEN(meminfo_fields); f++) {
            if (!take_prefix(&line, meminfo_fields[f].name))
                continue;
            if (take_number(&line, &v))
                *(int64_t *)(void *)((char *)&i + meminfo_fields[f].offset) = v;
            break;
        }
    }
    m->total = from_kib(i.total);
    m->free = from_kib(i.free);
    m->swap_total = from_kib(i.swap_total);
    /* All are set anew: a text may have two of these, and they must not mix. */
    m->swap_used =
        i.swap_total >= 0 && i.swap_free >= 0 ? from_kib(or_zero(i.swap_total - i.swap_free)) : -1;
    m->cached =
        i.cached >= 0 ? from_kib(i.cached + or_zero(i.buffers) + or_zero(i.reclaimable)) : -1;
    /* Without MemAvailable: what is free, and of the caches what is not shared memory. */
    if (i.available < 0 && i.free >= 0 && i.cached >= 0)
        i.available = i.free + or_zero(i.cached + or_zero(i.buffers) + or_zero(i.reclaimable) -
                                       or_zero(i.shmem));
    /* In some containers it is the host's, and the total is not. */
    if (i.available >= 0 && i.total >= 0)
        i.available = at_most(i.available, i.total);
    m->available = from_kib(i.available);
}

void sample_parse_loadavg(const char *text, size_t len, struct sample *out)
{
    struct cursor c = { text, len };
    double load[3];
    int64_t runnable;

    for (size_t i = 0; i < 3; i++) {
        if (!take_decimal(&c, &load[i]))
            return;
    }
    memcpy(out->load, load, sizeof load);
    if (take_number(&c, &runnable) && take_char(&c, '/') && take_number(&c, &out->threads))
        out->runnable = (int)at_most(runnable, SAMPLE_PROCESSES_MAX);
}

void sample_parse_pressure(const char *text, size_t len, struct sample_pressure *p)
{
    struct cursor all = { text, len }, line;
    double percent;

    while (next_line(&all, &line)) {
        double *to = NULL;
        if (take_prefix(&line, "some avg10="))
            to = &p->some;
        else if (take_prefix(&line, "full avg10="))
            to = &p->full;
        if (to && take_decimal(&line, &percent) && percent <= 100)
            *to = percent;
    }
}

int64_t sample_parse_uptime_ns(const char *text, size_t len)
{
    struct cursor c = { text, len };
    double seconds;

    if (!take_decimal(&c, &seconds) || seconds >= (double)(INT64_MAX / NS_PER_S))
        return -1;
    return (int64_t)(seconds * 1e9 + 0.5);
}

void sample_parse_boot_id(const char *text, size_t len, char *out)
{
    size_t n = 0;

    while (n < len && (isalnum((unsigned char)text[n]) || text[n] == '-'))
        n++;
    if (n > 39 || (n < len && text[n] != '\n'))
        n = 0;
    if (n > 0)
        memcpy(out, text, n);
    out[n] = '\0';
}

/* Copies a name that is a name: no control characters, no way to another folder. */
static bool copy_name(char *out, size_t size, const char *name, size_t len)
{
    if (len == 0 || len >= size || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (name[i] <= ' ' || name[i] > '~')
            return false;
        out[i] = name[i] == '/' ? '!' : name[i]; /* as /sys writes "cciss/c0d0" */
    }
    out[len] = '\0';
    return true;
}

void sample_parse_diskstats(const char *text, size_t len, struct sample_counters *c)
{
    struct cursor all = { text, len }, line;

    while (next_line(&all, &line)) {
        struct sample_disk_counter d = { .name = "" }, *item;
        const char *name;
        size_t name_len, n = 0;
        int64_t v[10];
        void *items = c->disks;

        if (!take_number(&line, &v[0]) || !take_number(&line, &v[0]) ||
            !take_word(&line, &name, &name_len) ||
            !copy_name(d.name, sizeof d.name, name, name_len))
            continue;
        while (n < ARRAY_LEN(v) && take_number(&line, &v[n]))
            n++;
        if (n < ARRAY_LEN(v))
            continue; /* partitions of old kernels have four */
        d.reads = v[0];
        d.read_sectors = v[2];
        d.writes = v[4];
        d.write_sectors = v[6];
        d.busy_ms = v[9];
        item = grow(&items, &c->disk_count, &c->disk_cap, sizeof d, SAMPLE_DISKS_MAX);
        c->disks = items;
        if (!item)
            return;
        *item = d;
    }
}

void sample_parse_net(const char *text, size_t len, struct sample_counters *c)
{
    struct cursor all = { text, len }, line;

    while (next_line(&all, &line)) {
        struct sample_net_counter net = { .name = "" }, *item;
        const char *colon;
        int64_t v[10];
        size_t n = 0;
        void *items = c->nets;

        skip_blanks(&line);
        colon = memchr(line.p, ':', line.len);
        if (!colon || !copy_name(net.name, sizeof net.name, line.p, (size_t)(colon - line.p)))
            continue;
        line.len -= (size_t)(colon + 1 - line.p);
        line.p = colon + 1;
        while (n < ARRAY_LEN(v) && take_number(&line, &v[n]))
            n++;
        if (n < ARRAY_LEN(v))
            continue;
        net.rx_bytes = v[0];
        net.rx_packets = v[1];
        net.tx_bytes = v[8];
        net.tx_packets = v[9];
        item = grow(&items, &c->net_count, &c->net_cap, sizeof net, SAMPLE_INTERFACES_MAX);
        c->nets = items;
        if (!item)
            return;
        *item = net;
    }
}

/* Fields are counted as proc(5) does: the state is 3. The name before it may hold anything. */
bool sample_parse_process(const char *text, size_t len, struct sample_process *p)
{
    const char *paren = len > 0 ? memrchr(text, ')', len) : NULL, *word;
    struct cursor c;
    int64_t v[25] = { 0 };
    size_t word_len;

    if (!paren)
        return false;
    c = (struct cursor){ paren + 1, len - (size_t)(paren + 1 - text) };
    if (!take_word(&c, &word, &word_len) || word_len != 1)
        return false;
    p->state = *word;
    for (size_t field = 4; field < ARRAY_LEN(v); field++) {
        if (!take_word(&c, &word, &word_len))
            return false;
        if (!take_number(&(struct cursor){ word, word_len }, &v[field]))
            v[field] = 0; /* negative: a priority, no terminal */
    }
    p->ppid = v[4];
    p->user_ticks = v[14];
    p->system_ticks = v[15];
    p->waited_user_ticks = v[16];
    p->waited_system_ticks = v[17];
    p->threads = v[20];
    p->start = (uint64_t)v[22];
    p->rss_pages = v[24];
    return true;
}

bool sample_parse_statm(const char *text, size_t len, int64_t *resident, int64_t *shared)
{
    struct cursor c = { text, len };
    int64_t size;

    return take_number(&c, &size) && take_number(&c, resident) && take_number(&c, shared);
}

void sample_parse_count(const char *text, size_t len, int64_t *count)
{
    take_number(&(struct cursor){ text, len }, count);
}

/* Before the column with the percent sign stand: blocks, used, available. Names may have blanks. */
void sample_parse_df(const char *text, size_t len, struct sample_folder *f)
{
    struct cursor all = { text, len }, line;

    while (next_line(&all, &line)) {
        int64_t v[3] = { -1, -1, -1 }; /* the last three words, where they are numbers */
        const char *word;
        size_t n;
        while (take_word(&line, &word, &n)) {
            if (word[n - 1] == '%' && v[0] >= 0 && v[1] >= 0 && v[2] >= 0) {
                f->total = from_kib(v[0]);
                f->free = from_kib(v[2]);
                return;
            }
            v[0] = v[1];
            v[1] = v[2];
            v[2] = -1;
            struct cursor c = { word, n };
            if (!take_number(&c, &v[2]) || c.len > 0)
                v[2] = -1;
        }
    }
}
