/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The KDF of OpenSSH's private key files, which libssh2 has inside and does not export. Like
 * hive_bearssl_pool.h for those who use libssh2.
 */
#ifndef HIVE_BCRYPT_H
#define HIVE_BCRYPT_H

#include <stddef.h>

/*
 * bcrypt_pbkdf (OpenBSD). Writes key_len bytes (at most 1024); each round takes about as long as a
 * bcrypt hash of cost 6. Returns 0, or -1 where an argument is zero or too large, or there is no
 * memory.
 */
int hive_bcrypt_pbkdf(const char *pass, size_t pass_len, const unsigned char *salt, size_t salt_len,
                      unsigned char *key, size_t key_len, unsigned rounds);

#endif
