/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files ssh_key*.c and ssh_sign.c share. */
#ifndef HIVE_NET_SSH_KEY_PRIV_H
#define HIVE_NET_SSH_KEY_PRIV_H

#include "net/ssh_key.h"

struct stat;

#define SSH_RSA_MIN_BITS 2048
#define SSH_RSA_MAX_BITS 4096 /* as far as BearSSL goes */
#define SSH_RSA_MAX (SSH_RSA_MAX_BITS / 8)
#define SSH_RSA_FACTOR_MAX (SSH_RSA_MAX / 2 + 4)
#define SSH_RSA_E_MAX 8
#define SSH_EC_MAX 66 /* bytes of a number modulo the order of nistp521 */
#define SSH_EC_POINT_MAX (1 + 2 * SSH_EC_MAX)
#define SSH_KDF_SALT_MAX 64

/* Big-endian, shortest form. */
struct ssh_rsa_factor {
    unsigned char d[SSH_RSA_FACTOR_MAX];
    size_t len;
};

struct ssh_rsa {
    unsigned char n[SSH_RSA_MAX], e[SSH_RSA_E_MAX];
    size_t n_len, e_len;
    unsigned n_bits;
    struct ssh_rsa_factor p, q, dp, dq, qi;
};

struct ssh_key {
    char *name;
    enum ssh_key_type type;
    unsigned char *pub; /* blob, or NULL */
    size_t pub_len;
    struct ssh_key_sealed *sealed; /* NULL when the secret below is there */
    union {
        unsigned char ed25519[64]; /* seed and public key, as libsodium wants it */
        unsigned char ec[SSH_EC_MAX];
        struct ssh_rsa rsa;
    } secret;
};

/* What a decrypted file holds. */
enum ssh_key_format {
    SSH_FORMAT_OPENSSH, /* the private section of openssh-key-v1 */
    SSH_FORMAT_PKCS1,
    SSH_FORMAT_SEC1,
    SSH_FORMAT_PKCS8
};

enum ssh_key_kdf { SSH_KDF_BCRYPT, SSH_KDF_MD5, SSH_KDF_PBKDF2 };

struct ssh_key_cipher {
    const char *name;     /* OpenSSH's */
    const char *dek_name; /* in a DEK-Info line, or NULL */
    enum { SSH_CIPHER_CBC, SSH_CIPHER_CTR, SSH_CIPHER_GCM } mode;
    unsigned char key_len, iv_len, tag_len;
};

struct ssh_key_sealed {
    enum ssh_key_format format;
    enum ssh_key_kdf kdf;
    const struct ssh_key_cipher *cipher;
    unsigned rounds;
    unsigned prf_bits; /* PBKDF2: SHA-1 is 160, SHA-2 256, 384 or 512 */
    unsigned char salt[SSH_KDF_SALT_MAX], iv[16];
    size_t salt_len;
    unsigned char *data; /* encrypted, with the tag if the cipher has one */
    size_t len;
};

/* ssh_key_crypt.c */

const struct ssh_key_cipher *ssh_key_cipher_find(struct ssh_span name);     /* NULL: not known */
const struct ssh_key_cipher *ssh_key_cipher_find_dek(struct ssh_span name); /* NULL: not known */
/* Decrypts into out, of sealed->len bytes; *out_len is less when padding or a tag went. ERR_UNAUTH
 * where tag or padding tell that the passphrase is wrong. */
int ssh_key_unseal(const struct ssh_key_sealed *sealed, const char *pass, size_t pass_len,
                   unsigned char *out, size_t *out_len, struct err *err);
void ssh_key_sealed_free(struct ssh_key_sealed *sealed);

/* ssh_key_make.c: from numbers to a checked key. Each fills a key that has no secret yet; one whose
 * `pub` is set already must agree with it. */

int ssh_key_make_ed25519(struct ssh_key *key, struct ssh_span seed, struct ssh_span pub,
                         struct err *err);
/* q may be empty. d is padded or not. */
int ssh_key_make_ec(struct ssh_key *key, enum ssh_key_type type, struct ssh_span d,
                    struct ssh_span q, struct err *err);
/* dp and dq may be empty: they are computed. */
struct ssh_rsa_parts {
    struct ssh_span n, e, d, p, q, dp, dq, qi;
};
int ssh_key_make_rsa(struct ssh_key *key, const struct ssh_rsa_parts *parts, struct err *err);
/* Says what to do about an RSA modulus that is not for us: ERR_UNPROCESS; 0 when it is. */
int ssh_key_rsa_size(unsigned bits, struct err *err);
unsigned ssh_bits(struct ssh_span number); /* of a number in shortest form */
/* BearSSL's number of the curve, and the bytes of a coordinate; 0 for other types. */
int ssh_key_curve(enum ssh_key_type type, size_t *bytes);

/* ssh_key_rsa.c: copies the numbers and checks that they belong together. */
int ssh_key_rsa_fill(struct ssh_rsa *rsa, const struct ssh_rsa_parts *parts, struct err *err);
/* PKCS#1 v1.5 over a hash of 256 or 512 bits (SHA-2) into sig[0..n_len), checked before it is
 * returned: a wrong one would give the factors away. -1: the key is not sane. */
int ssh_rsa_sign(const struct ssh_rsa *rsa, unsigned hash_bits, const unsigned char *hash,
                 unsigned char *sig);

/* ssh_key_openssh.c, ssh_key_pem.c: fill an empty key; it may be locked afterwards. */

int ssh_key_read_openssh(struct ssh_key *key, struct ssh_span file, struct err *err);
int ssh_key_read_openssh_private(struct ssh_key *key, struct ssh_span section, struct err *err);
int ssh_key_read_pkcs1(struct ssh_key *key, struct ssh_span der, struct err *err);
int ssh_key_read_sec1(struct ssh_key *key, struct ssh_span der, struct err *err);
int ssh_key_read_pkcs8(struct ssh_key *key, struct ssh_span der, struct err *err);
int ssh_key_read_pbes2(struct ssh_key *key, struct ssh_span der, struct err *err);
/* The same for what was decrypted: ERR_UNAUTH when it doesn't look like that format at all. */
int ssh_key_read_plain(struct ssh_key *key, enum ssh_key_format format, struct ssh_span plain,
                       struct err *err);

/* ssh_key.c: opens a regular file of at most SSH_KEY_FILE_MAX bytes. */
int ssh_key_open_regular(const char *path, struct stat *st, struct err *err);

/* ssh_key_pub.c */

/* ERR_UNPROCESS with words for a well-known type that isn't for us, else 0. */
int ssh_key_refuse_type(struct ssh_span name, struct err *err);
/* The next line without white space around it; false at the end. */
bool ssh_next_line(struct ssh_span *text, struct ssh_span *line);

#endif
