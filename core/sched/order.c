/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue as a list, for people: a merge of the classes' lists. */
#include "base/mem.h"

#include "sched/sched_priv.h"

/* A place in one of the lists of a class. */
struct cursor {
    struct list *at, *end;
};

static int64_t id_at(const struct cursor *c)
{
    return queue_entry(c->at)->id;
}

static void sift_down(struct cursor *heap, size_t n, size_t i)
{
    for (;;) {
        size_t least = i, l = 2 * i + 1;
        for (size_t k = l; k < l + 2 && k < n; k++)
            if (id_at(&heap[k]) < id_at(&heap[least]))
                least = k;
        if (least == i)
            return;
        struct cursor c = heap[i];
        heap[i] = heap[least];
        heap[least] = c;
        i = least;
    }
}

/* Appends the entries of a group by age, without those that are first in line. */
static size_t merge_group(const struct sched_group *g, struct sched_entry **out, size_t max)
{
    struct cursor *heap = mem_alloc_array(2 * g->n, sizeof(*heap));
    size_t n = 0, done = 0;

    for (size_t i = 0; i < g->n; i++) {
        struct sched_class *c = g->classes[i];
        if (!list_empty(&c->ready))
            heap[n++] = (struct cursor){ c->ready.next, &c->ready };
        if (!list_empty(&c->limited))
            heap[n++] = (struct cursor){ c->limited.next, &c->limited };
    }
    for (size_t i = n; i-- > 0;)
        sift_down(heap, n, i);
    while (n > 0 && done < max) {
        struct sched_entry *e = queue_entry(heap[0].at);
        if (!queue_first_in_line(e))
            out[done++] = e;
        heap[0].at = heap[0].at->next;
        if (heap[0].at == heap[0].end)
            heap[0] = heap[--n];
        sift_down(heap, n, 0);
    }
    free(heap);
    return done;
}

size_t sched_order(const struct sched *s, int64_t now_ns, struct sched_entry **out, size_t max)
{
    struct queue_walk walk;
    const struct list *waiting = s->waiting.next;
    size_t n = 0;

    queue_walk_begin(s, now_ns, &walk);
    for (size_t i = 0; i < s->n_groups && n < max; i++) {
        const struct sched_group *g = s->groups[i];
        for (; waiting != &s->waiting && n < max; waiting = waiting->next) {
            struct sched_class *c = CONTAINER_OF(waiting, struct sched_class, waiting);
            if (c->shape.priority < g->priority)
                break;
            out[n++] = queue_front(c);
        }
        n += merge_group(g, out + n, max - n);
    }
    return n;
}
