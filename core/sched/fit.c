/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "sched/fit.h"

#include "sched/resources.h"

/* The tree lies in an array as in a heap: 1 is the root, 2i and 2i+1 are below i, the places are
 * the last `leaves` elements. */

const struct sched_resources fit_closed = { -1, -1, -1 };

void fit_fini(struct fit *f)
{
    free(f->max);
    *f = (struct fit){ 0 };
}

void fit_reset(struct fit *f, size_t count)
{
    size_t leaves = 1;

    while (leaves < count)
        leaves *= 2;
    if (leaves != f->leaves) {
        fit_fini(f);
        f->leaves = leaves;
        f->max = mem_alloc_array(2 * leaves, sizeof(*f->max));
    }
    for (size_t i = 0; i < 2 * leaves; i++)
        f->max[i] = fit_closed;
}

void fit_set(struct fit *f, size_t place, const struct sched_resources *value)
{
    size_t i = f->leaves + place;

    f->max[i] = *value;
    for (i /= 2; i > 0; i /= 2) {
        struct sched_resources m = res_max(&f->max[2 * i], &f->max[2 * i + 1]);
        if (res_equal(&m, &f->max[i]))
            return;
        f->max[i] = m;
    }
}

const struct sched_resources *fit_get(const struct fit *f, size_t place)
{
    return &f->max[f->leaves + place];
}

/* Searches below i, which spans `span` places from `at` on. */
static size_t search(const struct fit *f, const struct sched_resources *need, size_t from, size_t i,
                     size_t at, size_t span)
{
    if (at + span <= from || !res_fits(need, &f->max[i]))
        return FIT_NONE;
    if (span == 1)
        return at;
    size_t found = search(f, need, from, 2 * i, at, span / 2);
    if (found == FIT_NONE)
        found = search(f, need, from, 2 * i + 1, at + span / 2, span / 2);
    return found;
}

size_t fit_first(const struct fit *f, const struct sched_resources *need, size_t from)
{
    return f->leaves ? search(f, need, from, 1, 0, f->leaves) : FIT_NONE;
}

bool fit_sound(const struct fit *f)
{
    for (size_t i = 1; i < f->leaves; i++) {
        struct sched_resources m = res_max(&f->max[2 * i], &f->max[2 * i + 1]);
        if (!res_equal(&m, &f->max[i]))
            return false;
    }
    return true;
}
