/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two functions that the Ed25519 part of libsodium needs from the rest of it. Its own core.c and randombytes.c would
 * bring in every algorithm it has.
 */
#include <sodium/core.h>
#include <sodium/randombytes.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/* Called on wrong use, such as a message too long to be hashed. */
void sodium_misuse(void)
{
    abort();
}

/* No other source than the kernel's; a program must not go on with a key that could be guessed. */
void randombytes_buf(void *const buf, const size_t size)
{
    unsigned char *p = buf;
    size_t left = size;

    while (left > 0) {
        ssize_t n = getrandom(p, left, 0);

        if (n < 0 && errno != EINTR)
            abort();
        if (n > 0) {
            p += n;
            left -= (size_t)n;
        }
    }
}
