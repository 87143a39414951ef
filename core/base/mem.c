/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

/* write(2), not stdio: stdio may itself want memory. */
static _Noreturn void die(const char *why)
{
    ssize_t ignored = write(STDERR_FILENO, why, strlen(why));

    (void)ignored;
    abort();
}

static void *checked(void *p)
{
    if (!p)
        die("hive: out of memory\n");
    return p;
}

void *mem_alloc(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *mem_alloc_array(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        die("hive: size overflow in an allocation\n");
    return mem_alloc(bytes);
}

void *mem_resize(void *p, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        die("hive: size overflow in an allocation\n");
    return checked(realloc(p, bytes ? bytes : 1));
}

char *mem_strdup(const char *s)
{
    return s ? mem_strndup(s, strlen(s)) : NULL;
}

char *mem_strndup(const char *s, size_t len)
{
    if (len == SIZE_MAX)
        die("hive: size overflow in an allocation\n");
    char *copy = checked(malloc(len + 1));

    if (len)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

void *mem_dup(const void *p, size_t len)
{
    void *copy = checked(malloc(len ? len : 1));

    if (len)
        memcpy(copy, p, len);
    return copy;
}

char *mem_printf(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;

    va_start(ap, fmt);
    int len = vasprintf(&out, fmt, ap);
    va_end(ap);
    if (len < 0)
        die("hive: out of memory\n");
    return out;
}
