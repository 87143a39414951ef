/* SPDX-License-Identifier: BSD-2-Clause */
/* Intrusive doubly linked list with a sentinel: the head is a `struct list` of its own. */
#ifndef HIVE_BASE_LIST_H
#define HIVE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* Inserts item before `pos`; with the head as pos that is the end of the list. */
static inline void list_insert_before(struct list *pos, struct list *item)
{
    item->prev = pos->prev;
    item->next = pos;
    pos->prev->next = item;
    pos->prev = item;
}

static inline void list_append(struct list *head, struct list *item)
{
    list_insert_before(head, item);
}

/* Unlinks; the item is then an empty list of its own, so removing twice is harmless. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

#define LIST_FOR_EACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* Safe when `it` itself is removed in the body. */
#define LIST_FOR_EACH_SAFE(it, head)                                                               \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
