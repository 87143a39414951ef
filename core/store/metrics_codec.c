/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stored measurements, as bits, the highest of a byte first:
 *
 *     8  FORMAT, + 1 for a summary
 *     1  for each slot: something is known
 *     -  a summary: count of each of these slots, as steps
 *     8  number of series; then for each of them
 *        8  its number in series.def
 *        4  bits of mantissa
 *        1  known in all of these slots; if not, 1 for each of them
 *        -  means, as steps
 *        -  a summary: mean - min, then max - mean
 *
 * Series of which nothing is known are left out. Values are rounded to a few bits and become whole
 * numbers in their order (code_of), so that the difference of two is small where their ratio is near
 * to 1. Steps are such differences, zigzag, each against the one before. A list of numbers is stored
 * in exponential Golomb codes of the order k that makes it shortest, after 5 bits that say k; where
 * all are 0, or all but the first of steps, they say ALL_ZERO, and nothing follows but that first.
 * Rounding what was rounded changes nothing: a row may be read and written again any number of times.
 */
#include "store/metrics_codec.h"
#include "base/buf.h"
#include "base/mem.h"

#include <math.h>

#define FORMAT 2
#define ALL_ZERO 31
#define K_MAX 20
#define K_FIRST 12 /* for the first of a list of steps */

static const int series_bits[STORE_SERIES_COUNT] = {
#define SERIES(name, text, bits) (bits),
#include "store/series.def"
};
_Static_assert(STORE_SERIES_COUNT <= 64, "series are bits in masks");

/* --- values as whole numbers --- */

/*
 * A float of 6 bits of exponent, from 2^-6 to 2^57, even steps below, as a number. Floats have even
 * steps below 2^-126, so that moving the value there leaves all the work to the multiplication.
 */
static int32_t code_of(float v, int bits)
{
    float small = fabsf(v) * 0x1p-120f;
    uint32_t u, top = (UINT32_C(64) << bits) - 1;

    memcpy(&u, &small, sizeof u);
    u = (u + (UINT32_C(1) << (22 - bits))) >> (23 - bits);
    if (u > top)
        u = top;
    return v < 0 ? -(int32_t)u : (int32_t)u;
}

static float value_of(int32_t code, int bits)
{
    uint32_t u = (uint32_t)(code < 0 ? -code : code) << (23 - bits);
    float v;

    memcpy(&v, &u, sizeof v);
    v *= 0x1p120f;
    return code < 0 ? -v : v;
}

static uint32_t zigzag(int32_t v)
{
    return v < 0 ? ~((uint32_t)v << 1) : (uint32_t)v << 1;
}

static int32_t unzigzag(uint32_t v)
{
    return (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
}

static int length_of(uint32_t v) /* in bits; v > 0 */
{
    return 32 - __builtin_clz(v);
}

/* --- writing --- */

struct writer {
    struct buf *out;
    uint64_t bits; /* those not in `out` yet: the lowest n */
    int n;
};

static void put(struct writer *w, uint32_t value, int n)
{
    w->bits = w->bits << n | value;
    for (w->n += n; w->n >= 8; w->n -= 8)
        buf_append_char(w->out, (char)(w->bits >> (w->n - 8)));
}

static void put_golomb(struct writer *w, uint32_t value, int k)
{
    uint32_t v = value + (UINT32_C(1) << k);
    int len = length_of(v);

    put(w, 0, len - k - 1);
    put(w, v, len);
}

static int64_t golomb_cost(const uint32_t *v, int n, int k)
{
    int64_t cost = 0;

    for (int i = 0; i < n; i++)
        cost += 2 * length_of(v[i] + (UINT32_C(1) << k)) - k - 1;
    return cost;
}

static void put_list(struct writer *w, const uint32_t *v, int n)
{
    uint64_t sum = 0;

    for (int i = 0; i < n; i++)
        sum += v[i];
    if (sum == 0) {
        put(w, ALL_ZERO, 5);
        return;
    }
    /* The best order is near the length of the mean, below it when a few make up most of it. */
    int top = length_of((uint32_t)(sum / (uint64_t)n) + 1), best = top > K_MAX ? K_MAX : top;
    int64_t least = golomb_cost(v, n, best);
    for (int k = best - 1; k >= 0 && k >= top - 6; k--) {
        int64_t cost = golomb_cost(v, n, k);
        if (cost < least) {
            least = cost;
            best = k;
        }
    }
    put(w, (uint32_t)best, 5);
    for (int i = 0; i < n; i++)
        put_golomb(w, v[i], best);
}

static void put_steps(struct writer *w, const int32_t *code, int n)
{
    uint32_t step[METRIC_SLOTS_MAX];

    put_golomb(w, zigzag(code[0]), K_FIRST);
    for (int i = 1; i < n; i++)
        step[i - 1] = zigzag(code[i] - code[i - 1]);
    if (n > 1)
        put_list(w, step, n - 1);
}

static void put_ranges(struct writer *w, const struct metric_range *r, int series, int bits,
                       const int32_t *code, const int *slot, int n)
{
    uint32_t low[METRIC_SLOTS_MAX], high[METRIC_SLOTS_MAX];

    for (int i = 0; i < n; i++) {
        int32_t min = code_of(r->min[series][slot[i]], bits);
        int32_t max = code_of(r->max[series][slot[i]], bits);
        low[i] = min < code[i] ? (uint32_t)(code[i] - min) : 0;
        high[i] = max > code[i] ? (uint32_t)(max - code[i]) : 0;
    }
    put_list(w, low, n);
    put_list(w, high, n);
}

/* `slot` are those in which anything is known. */
static void put_series(struct writer *w, const struct metric_chunk *c, const struct metric_range *r,
                       int series, const int *slot, int n)
{
    int bits = series_bits[series], known[METRIC_SLOTS_MAX], n_known = 0;
    int32_t code[METRIC_SLOTS_MAX];

    for (int i = 0; i < n; i++) {
        float v = c->mean[series][slot[i]];
        if (!isfinite(v))
            continue;
        code[n_known] = code_of(v, bits);
        known[n_known++] = slot[i];
    }
    put(w, (uint32_t)series, 8);
    put(w, (uint32_t)bits, 4);
    put(w, n_known == n, 1);
    for (int i = 0; i < n && n_known < n; i++)
        put(w, isfinite(c->mean[series][slot[i]]) ? 1 : 0, 1);
    put_steps(w, code, n_known);
    if (r)
        put_ranges(w, r, series, bits, code, known, n_known);
}

static bool any_known(const struct metric_chunk *c, int series, const int *slot, int n)
{
    for (int i = 0; i < n; i++) {
        if (isfinite(c->mean[series][slot[i]]))
            return true;
    }
    return false;
}

void metric_encode(const struct metric_chunk *c, const struct metric_range *r, struct buf *out)
{
    struct writer w = { .out = out };
    int slot[METRIC_SLOTS_MAX], n = 0, series[STORE_SERIES_COUNT], n_series = 0;
    int32_t count[METRIC_SLOTS_MAX];

    put(&w, FORMAT + (r ? 1 : 0), 8);
    for (int i = 0; i < c->slots; i++) {
        put(&w, c->count[i] > 0, 1);
        if (c->count[i] == 0)
            continue;
        count[n] = c->count[i];
        slot[n++] = i;
    }
    if (r && n > 0)
        put_steps(&w, count, n);
    for (int i = 0; i < STORE_SERIES_COUNT; i++) {
        if (any_known(c, i, slot, n))
            series[n_series++] = i;
    }
    put(&w, (uint32_t)n_series, 8);
    for (int i = 0; i < n_series; i++)
        put_series(&w, c, r, series[i], slot, n);
    if (w.n > 0)
        put(&w, 0, 8 - w.n);
}

/* --- reading --- */

struct reader {
    const unsigned char *data;
    size_t at, end; /* in bits */
    bool bad;
};

static uint32_t get(struct reader *r, int n)
{
    uint32_t v = 0;

    if (r->bad || (size_t)n > r->end - r->at) {
        r->bad = true;
        return 0;
    }
    for (int i = 0; i < n; i++, r->at++)
        v = v << 1 | (r->data[r->at / 8] >> (7 - r->at % 8) & 1U);
    return v;
}

static uint32_t get_golomb(struct reader *r, int k)
{
    int zeros = 0;

    while (!r->bad && get(r, 1) == 0) {
        if (++zeros + k > 30)
            r->bad = true;
    }
    if (r->bad)
        return 0;
    uint32_t v = UINT32_C(1) << (k + zeros) | get(r, k + zeros);
    return v - (UINT32_C(1) << k);
}

static void get_list(struct reader *r, uint32_t *v, int n)
{
    int k = (int)get(r, 5);

    if (k != ALL_ZERO && k > K_MAX)
        r->bad = true;
    for (int i = 0; i < n; i++)
        v[i] = k == ALL_ZERO || r->bad ? 0 : get_golomb(r, k);
}

/* Numbers from -top to top. */
static void get_steps(struct reader *r, int32_t *code, int n, int32_t top)
{
    uint32_t step[METRIC_SLOTS_MAX] = { 0 };
    int64_t now = unzigzag(get_golomb(r, K_FIRST));

    if (n > 1)
        get_list(r, step, n - 1);
    for (int i = 0; i < n; i++) {
        if (i > 0)
            now += unzigzag(step[i - 1]);
        if (now < -top || now > top)
            r->bad = true;
        code[i] = r->bad ? 0 : (int32_t)now;
        now = code[i];
    }
}

static void get_ranges(struct reader *r, struct metric_range *range, int series, int bits,
                       const int32_t *code, const int *slot, int n)
{
    uint32_t low[METRIC_SLOTS_MAX], high[METRIC_SLOTS_MAX];
    int64_t top = (INT64_C(64) << bits) - 1;

    get_list(r, low, n);
    get_list(r, high, n);
    for (int i = 0; i < n; i++) {
        int64_t min = (int64_t)code[i] - low[i], max = (int64_t)code[i] + high[i];
        if (min < -top || max > top)
            r->bad = true;
        if (r->bad || series >= STORE_SERIES_COUNT)
            continue;
        range->min[series][slot[i]] = value_of((int32_t)min, bits);
        range->max[series][slot[i]] = value_of((int32_t)max, bits);
    }
}

static void get_series(struct reader *r, struct metric_chunk *c, struct metric_range *range,
                       const int *slot, int n)
{
    int32_t code[METRIC_SLOTS_MAX];
    int known[METRIC_SLOTS_MAX], n_known = 0;
    int series = (int)get(r, 8), bits = (int)get(r, 4);
    bool all = get(r, 1) == 1;

    for (int i = 0; i < n; i++) {
        if (all || get(r, 1) == 1)
            known[n_known++] = slot[i];
    }
    if (n_known == 0 || bits > 12)
        r->bad = true;
    if (r->bad)
        return;
    get_steps(r, code, n_known, (INT32_C(64) << bits) - 1);
    for (int i = 0; i < n_known && series < STORE_SERIES_COUNT; i++)
        c->mean[series][known[i]] = value_of(code[i], bits);
    if (range)
        get_ranges(r, range, series, bits, code, known, n_known);
}

void metric_clear(struct metric_chunk *c, struct metric_range *range)
{
    memset(c->count, 0, sizeof c->count);
    for (int i = 0; i < STORE_SERIES_COUNT; i++) {
        for (int j = 0; j < c->slots; j++) {
            c->mean[i][j] = NAN;
            if (range)
                range->min[i][j] = range->max[i][j] = NAN;
        }
    }
}

bool metric_decode(const void *data, size_t len, struct metric_chunk *c, struct metric_range *range)
{
    struct reader r = { .data = data, .end = 8 * len };
    int slot[METRIC_SLOTS_MAX], n = 0;
    int32_t count[METRIC_SLOTS_MAX] = { 0 };

    metric_clear(c, range);
    if (get(&r, 8) != FORMAT + (range ? 1U : 0U))
        return false;
    for (int i = 0; i < c->slots; i++) {
        c->count[i] = (uint16_t)get(&r, 1);
        if (c->count[i])
            slot[n++] = i;
    }
    if (range && n > 0)
        get_steps(&r, count, n, UINT16_MAX);
    for (int i = 0; range && i < n; i++) {
        if (count[i] < 1)
            r.bad = true;
        else
            c->count[slot[i]] = (uint16_t)count[i];
    }
    int n_series = (int)get(&r, 8);
    for (int i = 0; i < n_series && !r.bad; i++)
        get_series(&r, c, range, slot, n);
    return !r.bad && r.end - r.at < 8;
}
