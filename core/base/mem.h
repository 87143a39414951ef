/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory for our own small things. These never return NULL: when memory is out they write one line
 * to stderr and abort, because nothing in hive could continue sensibly. Sizes that come from a peer
 * are checked against limits.h before they get here.
 */
#ifndef HIVE_BASE_MEM_H
#define HIVE_BASE_MEM_H

#include "base/safe.h"

#include <stddef.h>

void *mem_alloc(size_t size);                         /* zeroed; size 0 gives a unique pointer */
void *mem_alloc_array(size_t count, size_t size);     /* zeroed; aborts on overflow */
void *mem_resize(void *p, size_t count, size_t size); /* like reallocarray; new part not zeroed */
char *mem_strdup(const char *s);                      /* NULL gives NULL */
char *mem_strndup(const char *s, size_t len);         /* NUL-terminated copy of len bytes */
void *mem_dup(const void *p, size_t len);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* free() that also nulls the pointer: MEM_FREE(job->name). */
#define MEM_FREE(p)                                                                                \
    do {                                                                                           \
        free(p);                                                                                   \
        (p) = NULL;                                                                                \
    } while (0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
