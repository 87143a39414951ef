/* SPDX-License-Identifier: BSD-2-Clause */
#include "libssh2_priv.h"

#include "hive_bcrypt.h"

/* libssh2 leaves the hashed passphrase and the last block of the key where its frames were. */
__attribute__((noinline)) static void wipe_stack(void)
{
    unsigned char used[8192];

    explicit_bzero(used, sizeof used);
}

int hive_bcrypt_pbkdf(const char *pass, size_t pass_len, const unsigned char *salt, size_t salt_len,
                      unsigned char *key, size_t key_len, unsigned rounds)
{
    int rc = _libssh2_bcrypt_pbkdf(pass, pass_len, salt, salt_len, key, key_len, rounds);

    wipe_stack();
    return rc == 0 ? 0 : -1;
}
