/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries in classes, classes in groups, groups in order. */
#include "base/mem.h"

#include "sched/sched_priv.h"

struct sched_entry *queue_entry(const struct list *link)
{
    return CONTAINER_OF(link, struct sched_entry, link);
}

struct sched_entry *queue_front(const struct sched_class *c)
{
    return list_empty(&c->ready) ? NULL : queue_entry(c->ready.next);
}

bool queue_at_limit(const struct sched_entry *e)
{
    return e->max_running > 0 && e->running >= e->max_running;
}

bool queue_first_in_line(const struct sched_entry *e)
{
    return e->cls->blocked_ns != NO_TIME && queue_front(e->cls) == e;
}

/* ---- groups ---- */

static uint64_t group_key(const struct sched_class *c)
{
    /* +2: never 0, also for nobody (-1) at priority 0 */
    return ((uint64_t)(uint32_t)c->shape.priority << 32) | (uint32_t)(c->shape.user + 2);
}

static struct sched_group *group_get(struct sched *s, const struct sched_class *c)
{
    struct sched_group *g = map_get(&s->group_index, group_key(c));
    if (g)
        return g;
    g = mem_alloc(sizeof(*g));
    g->priority = c->shape.priority;
    g->user = c->shape.user;
    if (s->n_groups == s->cap_groups) {
        s->cap_groups = s->cap_groups ? 2 * s->cap_groups : 8;
        s->groups = mem_resize(s->groups, s->cap_groups, sizeof(struct sched_group *));
    }
    s->groups[s->n_groups++] = g;
    map_put(&s->group_index, group_key(c), g);
    return g;
}

static void group_drop(struct sched *s, struct sched_group *g, const struct sched_class *last)
{
    size_t i = 0;

    while (s->groups[i] != g)
        i++;
    memmove(&s->groups[i], &s->groups[i + 1], (s->n_groups - i - 1) * sizeof(*s->groups));
    s->n_groups--;
    map_remove(&s->group_index, group_key(last));
    free(g->classes);
    free(g);
}

/* Where a class with this front stands, or would. */
static size_t group_find(const struct sched_group *g, int64_t front_id)
{
    size_t lo = 0, hi = g->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (g->classes[mid]->front_id < front_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void group_remove(struct sched *s, struct sched_class *c)
{
    struct sched_group *g = c->group;
    size_t i = group_find(g, c->front_id);

    while (g->classes[i] != c)
        i++;
    memmove(&g->classes[i], &g->classes[i + 1], (g->n - i - 1) * sizeof(struct sched_class *));
    g->n--;
    c->group = NULL;
    if (g->n == 0)
        group_drop(s, g, c);
}

static void group_insert(struct sched *s, struct sched_class *c, int64_t front_id)
{
    struct sched_group *g = group_get(s, c);

    if (g->n == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 4;
        g->classes = mem_resize(g->classes, g->cap, sizeof(struct sched_class *));
    }
    size_t i = group_find(g, front_id);
    memmove(&g->classes[i + 1], &g->classes[i], (g->n - i) * sizeof(struct sched_class *));
    g->classes[i] = c;
    g->n++;
    c->group = g;
    c->front_id = front_id;
}

static bool class_empty(const struct sched_class *c)
{
    return c->n_ready + c->n_limited == 0;
}

/* Puts the class where it belongs after its lists changed. */
static void class_place(struct sched *s, struct sched_class *c)
{
    if (class_empty(c)) {
        if (c->group) {
            group_remove(s, c);
            s->n_classes--;
        }
        return;
    }
    const struct list *list = list_empty(&c->ready) ? &c->limited : &c->ready;
    int64_t front_id = queue_entry(list->next)->id;
    if (!c->group)
        s->n_classes++;
    else if (c->front_id == front_id)
        return;
    else
        group_remove(s, c);
    group_insert(s, c, front_id);
}

/* ---- classes ---- */

static struct sched_shape normal_shape(const struct sched_shape *shape)
{
    return (struct sched_shape){
        .need.threads = max_i64(shape->need.threads, 0),
        .need.memory = max_i64(shape->need.memory, 0),
        .need.gpus = max_i64(shape->need.gpus, 0),
        .timeout_ns = max_i64(shape->timeout_ns, 0),
        .user = shape->user < 0 ? -1 : shape->user,
        .priority = shape->priority,
        .node = shape->node < 0 ? -1 : shape->node,
    };
}

static bool shape_equal(const struct sched_shape *a, const struct sched_shape *b)
{
    return res_equal(&a->need, &b->need) && a->timeout_ns == b->timeout_ns && a->user == b->user &&
           a->priority == b->priority && a->node == b->node;
}

static uint64_t shape_hash(const struct sched_shape *shape)
{
    const int64_t fields[] = { shape->need.threads, shape->need.memory, shape->need.gpus,
                               shape->timeout_ns,   shape->user,        shape->priority,
                               shape->node };
    return map_hash(fields, sizeof(fields)) | 1; /* 0 is no key */
}

static struct sched_class *class_get(struct sched *s, const struct sched_shape *wanted)
{
    struct sched_shape shape = normal_shape(wanted);
    uint64_t hash = shape_hash(&shape);
    struct sched_class *first = map_get(&s->classes, hash);

    for (struct sched_class *c = first; c; c = c->next_same_hash)
        if (shape_equal(&c->shape, &shape))
            return c;
    struct sched_class *c = mem_alloc(sizeof(*c));
    c->shape = shape;
    c->hash = hash;
    c->next_same_hash = first;
    c->blocked_ns = NO_TIME;
    list_init(&c->ready);
    list_init(&c->limited);
    list_init(&c->waiting);
    map_put(&s->classes, hash, c);
    return c;
}

void queue_class_unref(struct sched *s, struct sched_class *c)
{
    if (!class_empty(c) || c->live > 0)
        return;
    queue_end_waiting(s, c);
    struct sched_class *first = map_get(&s->classes, c->hash);
    if (first == c) {
        if (c->next_same_hash)
            map_put(&s->classes, c->hash, c->next_same_hash);
        else
            map_remove(&s->classes, c->hash);
    } else {
        while (first->next_same_hash != c)
            first = first->next_same_hash;
        first->next_same_hash = c->next_same_hash;
    }
    free(c);
}

/* ---- entries ---- */

/* Walks from both ends at once, so that the nearer one decides what it costs. */
static void insert_by_id(struct list *head, struct sched_entry *e)
{
    struct list *front = head->next, *back = head->prev;

    for (;;) {
        if (back == head || queue_entry(back)->id < e->id) {
            list_insert_before(back->next, &e->link);
            return;
        }
        if (queue_entry(front)->id > e->id) {
            list_insert_before(front, &e->link);
            return;
        }
        front = front->next;
        back = back->prev;
    }
}

static void link_entry(struct sched_class *c, struct sched_entry *e)
{
    if (queue_at_limit(e)) {
        insert_by_id(&c->limited, e);
        c->n_limited++;
    } else {
        insert_by_id(&c->ready, e);
        c->n_ready++;
    }
}

static void unlink_entry(struct sched_class *c, struct sched_entry *e)
{
    list_remove(&e->link);
    if (queue_at_limit(e))
        c->n_limited--;
    else
        c->n_ready--;
}

void queue_insert(struct sched *s, struct sched_class *c, struct sched_entry *e)
{
    /* One more behind others of its shape changes nothing for a scheduler that is stuck. */
    if (c->n_ready == 0)
        s->quiet = false;
    e->cls = c;
    link_entry(c, e);
    s->least = res_min(&s->least, &c->shape.need);
    s->n_queued++;
    class_place(s, c);
}

void sched_enqueue(struct sched *s, struct sched_entry *e, const struct sched_shape *shape)
{
    if (e->remaining > 0 && !e->cls)
        queue_insert(s, class_get(s, shape), e);
}

/* Takes an entry out; c stays, even when it is empty. */
static void remove_entry(struct sched *s, struct sched_class *c, struct sched_entry *e)
{
    unlink_entry(c, e);
    e->cls = NULL;
    s->n_queued--;
    class_place(s, c);
}

void sched_dequeue(struct sched *s, struct sched_entry *e)
{
    struct sched_class *c = e->cls;
    if (!c)
        return;
    if (c->blocked_ns != NO_TIME && queue_front(c) == e)
        queue_end_waiting(s, c);
    remove_entry(s, c, e);
    queue_class_unref(s, c);
}

/* Sets the number of live starts; an entry that reaches or leaves its limit changes lists. */
static void set_running(struct sched *s, struct sched_entry *e, int32_t running)
{
    struct sched_class *c = e->cls;
    bool was = queue_at_limit(e);
    int32_t before = e->running;

    e->running = running;
    if (!c || queue_at_limit(e) == was)
        return;
    e->running = before;
    unlink_entry(c, e);
    e->running = running;
    link_entry(c, e);
    s->least = res_min(&s->least, &c->shape.need);
    class_place(s, c);
    if (c->n_ready == 0)
        queue_end_waiting(s, c);
    s->quiet = false;
}

void queue_take_start(struct sched *s, struct sched_entry *e)
{
    if (e->cls)
        queue_end_waiting(s, e->cls);
    e->remaining--;
    if (e->remaining <= 0 && e->cls)
        remove_entry(s, e->cls, e);
    set_running(s, e, e->running + 1);
}

void queue_take_reserved(struct sched *s, struct sched_entry *e)
{
    set_running(s, e, e->running + 1);
}

void queue_give_start(struct sched *s, struct sched_entry *e, struct sched_class *back)
{
    set_running(s, e, e->running - 1);
    if (!back)
        return;
    e->remaining++;
    if (!e->cls)
        queue_insert(s, back, e);
}

/* ---- first in line ---- */

void queue_set_waiting(struct sched *s, struct sched_class *c, int64_t now_ns)
{
    if (c->blocked_ns != NO_TIME)
        return;
    c->blocked_ns = now_ns;
    struct list *pos = s->waiting.next;
    while (pos != &s->waiting &&
           CONTAINER_OF(pos, struct sched_class, waiting)->shape.priority >= c->shape.priority)
        pos = pos->next;
    list_insert_before(pos, &c->waiting);
}

void queue_end_waiting(struct sched *s, struct sched_class *c)
{
    if (c->blocked_ns == NO_TIME)
        return;
    c->blocked_ns = NO_TIME;
    list_remove(&c->waiting);
    if (s->guard.head == c)
        guard_set_head(s, NULL);
    s->quiet = false;
}

/* ---- order ---- */

static int compare_groups(const void *a, const void *b)
{
    const struct sched_group *x = *(struct sched_group *const *)a;
    const struct sched_group *y = *(struct sched_group *const *)b;

    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    if (x->key < y->key || x->key > y->key)
        return x->key < y->key ? -1 : 1;
    int64_t i = x->classes[0]->front_id, j = y->classes[0]->front_id;
    return i < j ? -1 : i > j;
}

/* They are nearly in order from the time before: insertion, but not for ever. */
static void sort_groups(struct sched_group **g, size_t n)
{
    size_t moves = 0;

    for (size_t i = 1; i < n; i++) {
        struct sched_group *x = g[i];
        size_t j = i;
        for (; j > 0 && compare_groups(&x, &g[j - 1]) < 0; j--, moves++)
            g[j] = g[j - 1];
        g[j] = x;
        if (moves > 16 * n) {
            qsort(g, n, sizeof(struct sched_group *), compare_groups);
            return;
        }
    }
}

void queue_walk_begin(const struct sched *s, int64_t now_ns, struct queue_walk *w)
{
    /* The ranking is a cache, not part of what s says. */
    struct sched *m = (struct sched *)s;

    for (size_t i = 0; i < m->n_groups; i++)
        m->groups[i]->key = share_key_cached(m, m->groups[i]->user, now_ns);
    sort_groups(m->groups, m->n_groups);
    *w = (struct queue_walk){ .waiting = s->waiting.next };
}

struct sched_class *queue_walk_next(const struct sched *s, struct queue_walk *w)
{
    for (;;) {
        const struct sched_group *g = w->group < s->n_groups ? s->groups[w->group] : NULL;
        if (w->waiting != &s->waiting) {
            struct sched_class *c = CONTAINER_OF(w->waiting, struct sched_class, waiting);
            if (!g || c->shape.priority >= g->priority) {
                w->waiting = w->waiting->next;
                return c;
            }
        }
        if (!g)
            return NULL;
        if (w->pos == g->n) {
            w->group++;
            w->pos = 0;
            continue;
        }
        struct sched_class *c = g->classes[w->pos++];
        if (c->n_ready > 0 && c->blocked_ns == NO_TIME)
            return c;
    }
}

size_t sched_queued(const struct sched *s)
{
    return s->n_queued;
}

size_t sched_classes(const struct sched *s)
{
    return s->n_classes;
}
