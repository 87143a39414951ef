/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BearSSL (and libsodium's Ed25519) as the crypto backend of libssh2 1.11.1.
 *
 * libssh2 knows no such backend and none of its files is changed. Each of them is compiled with
 *     -DLIBSSH2_MBEDTLS -include hive_bearssl.h
 * and this header takes the include guard of libssh2's mbedtls.h, so that what libssh2 then believes
 * to be mbedTLS is defined here. hive_bearssl*.c replace libssh2's crypto.c. What each name must do
 * is described in libssh2's docs/HACKING-CRYPTO; README.md here lists the traps.
 *
 * Only libssh2's files and hive_bearssl*.c include this header.
 */
#ifndef HIVE_BEARSSL_H
#define HIVE_BEARSSL_H

#ifdef LIBSSH2_MBEDTLS_H
#error "hive_bearssl.h must come first: compile with -include hive_bearssl.h"
#endif
#define LIBSSH2_MBEDTLS_H

#include <bearssl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What configure would have found; all of it is in musl and in glibc since 2.25. */
#define HAVE_ARPA_INET_H 1
#define HAVE_EXPLICIT_BZERO 1
#define HAVE_GETTIMEOFDAY 1
#define HAVE_INTTYPES_H 1
#define HAVE_NETINET_IN_H 1
#define HAVE_O_NONBLOCK 1
#define HAVE_POLL 1
#define HAVE_SNPRINTF 1
#define HAVE_STRTOLL 1
#define HAVE_SYS_IOCTL_H 1
#define HAVE_SYS_SELECT_H 1
#define HAVE_SYS_SOCKET_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_UIO_H 1
#define HAVE_SYS_UN_H 1
#define HAVE_UNISTD_H 1

/*
 * libssh2 compares MACs and hashed host names with memcmp, always for equality only. Its time must
 * not depend on where the two differ, so equality is all that this one tells: 0 or 1, never an order.
 */
static inline int hive_bearssl_differ(const void *a, const void *b, size_t len)
{
    const volatile unsigned char *x = (const volatile unsigned char *)a;
    const volatile unsigned char *y = (const volatile unsigned char *)b;
    unsigned diff = 0;

    for (size_t i = 0; i < len; i++)
        diff |= (unsigned)(x[i] ^ y[i]);
    return diff != 0;
}
#undef memcmp
#define memcmp(a, b, len) hive_bearssl_differ((a), (b), (len))

/* The enum of engines is libssh2's and has no better name. */
#define LIBSSH2_CRYPTO_ENGINE libssh2_mbedtls

/* What libssh2 compiles in: nothing that hive does not offer, but see RSA_SHA1 below. */
#define LIBSSH2_MD5 0
#define LIBSSH2_MD5_PEM 0
#define LIBSSH2_HMAC_RIPEMD 0
#define LIBSSH2_HMAC_SHA256 1
#define LIBSSH2_HMAC_SHA512 1
#define LIBSSH2_AES_CBC 0
#define LIBSSH2_AES_CTR 1
#define LIBSSH2_AES_GCM 1
#define LIBSSH2_BLOWFISH 0
#define LIBSSH2_RC4 0
#define LIBSSH2_CAST 0
#define LIBSSH2_3DES 0
#define LIBSSH2_RSA 1
#define LIBSSH2_RSA_SHA1 1 /* names the *key* type of every RSA key; its signatures are refused */
#define LIBSSH2_RSA_SHA2 1
#define LIBSSH2_DSA 0
#define LIBSSH2_ECDSA 1
#define LIBSSH2_ED25519 1

#define SHA_DIGEST_LENGTH 20
#define SHA256_DIGEST_LENGTH 32
#define SHA384_DIGEST_LENGTH 48
#define SHA512_DIGEST_LENGTH 64
#define EC_MAX_POINT_LEN 133

/* No state: nothing to set up or to tear down. */
#define libssh2_crypto_init() ((void)0)
#define libssh2_crypto_exit() ((void)0)
#define libssh2_prepare_iovec(vec, len) ((void)0)

/* Fills buf from getrandom(2). Returns 0, or -1 when the kernel gives none. */
int hive_bearssl_random(void *buf, size_t len);
#define _libssh2_random(buf, len) hive_bearssl_random((buf), (len))

/*
 * Hashes. init and update cannot fail; final also clears the context, which may have hashed a
 * shared secret. All return 1. As libssh2 wants it, update and final take the context by value.
 */
#define libssh2_sha1_ctx br_sha1_context
#define libssh2_sha1_init(ctx) (br_sha1_init(ctx), 1)
#define libssh2_sha1_update(ctx, data, len) (br_sha1_update(&(ctx), (data), (len)), 1)
#define libssh2_sha1_final(ctx, out) hive_bearssl_sha1_final(&(ctx), (out))

#define libssh2_sha256_ctx br_sha256_context
#define libssh2_sha256_init(ctx) (br_sha256_init(ctx), 1)
#define libssh2_sha256_update(ctx, data, len) (br_sha256_update(&(ctx), (data), (len)), 1)
#define libssh2_sha256_final(ctx, out) hive_bearssl_sha256_final(&(ctx), (out))

#define libssh2_sha384_ctx br_sha384_context
#define libssh2_sha384_init(ctx) (br_sha384_init(ctx), 1)
#define libssh2_sha384_update(ctx, data, len) (br_sha384_update(&(ctx), (data), (len)), 1)
#define libssh2_sha384_final(ctx, out) hive_bearssl_sha384_final(&(ctx), (out))

#define libssh2_sha512_ctx br_sha512_context
#define libssh2_sha512_init(ctx) (br_sha512_init(ctx), 1)
#define libssh2_sha512_update(ctx, data, len) (br_sha512_update(&(ctx), (data), (len)), 1)
#define libssh2_sha512_final(ctx, out) hive_bearssl_sha512_final(&(ctx), (out))

int hive_bearssl_sha1_final(br_sha1_context *ctx, void *out);
int hive_bearssl_sha256_final(br_sha256_context *ctx, void *out);
int hive_bearssl_sha384_final(br_sha384_context *ctx, void *out);
int hive_bearssl_sha512_final(br_sha512_context *ctx, void *out);

struct hive_bearssl_hmac {
    br_hmac_key_context key;
    br_hmac_context ctx;
};
#define libssh2_hmac_ctx struct hive_bearssl_hmac

/* Ciphers. HIVE_BEARSSL_REFUSED is libssh2's placeholder for chacha20, which uses code of its own. */
enum hive_bearssl_cipher_id {
    HIVE_BEARSSL_REFUSED,
    HIVE_BEARSSL_AES128_CTR,
    HIVE_BEARSSL_AES192_CTR,
    HIVE_BEARSSL_AES256_CTR,
    HIVE_BEARSSL_AES128_GCM,
    HIVE_BEARSSL_AES256_GCM
};

/* One direction's cipher. gcm points into keys: never copy or move it. */
struct hive_bearssl_cipher {
    br_aes_gen_ctr_keys keys;
    br_gcm_context gcm;
    unsigned char iv[16]; /* CTR: the next counter block. GCM: the next packet's nonce (12 bytes) */
};

#define _libssh2_cipher_ctx struct hive_bearssl_cipher
#define _libssh2_cipher_type(algo) enum hive_bearssl_cipher_id algo
#define _libssh2_cipher_aes128ctr HIVE_BEARSSL_AES128_CTR
#define _libssh2_cipher_aes192ctr HIVE_BEARSSL_AES192_CTR
#define _libssh2_cipher_aes256ctr HIVE_BEARSSL_AES256_CTR
#define _libssh2_cipher_aes128gcm HIVE_BEARSSL_AES128_GCM
#define _libssh2_cipher_aes256gcm HIVE_BEARSSL_AES256_GCM
#define _libssh2_cipher_chacha20 HIVE_BEARSSL_REFUSED

/* Clears the key. */
void hive_bearssl_cipher_dtor(struct hive_bearssl_cipher *ctx);
#define _libssh2_cipher_dtor(ctx) hive_bearssl_cipher_dtor(ctx)

/*
 * Numbers: big-endian bytes without leading zeros, up to BearSSL's 4096 bits. Functions accept NULL,
 * which libssh2 passes on when it could not allocate: they fail, or say 0. int: 0 is success.
 */
#define HIVE_BEARSSL_BN_MAX 512

struct hive_bearssl_bn {
    size_t len;
    unsigned char d[HIVE_BEARSSL_BN_MAX];
};

#define _libssh2_bn struct hive_bearssl_bn
#define _libssh2_bn_ctx int /* not used */
#define _libssh2_bn_ctx_new() NULL
#define _libssh2_bn_ctx_free(ctx) ((void)(ctx))
#define _libssh2_bn_init() hive_bearssl_bn_new()
#define _libssh2_bn_init_from_bin() hive_bearssl_bn_new()
#define _libssh2_bn_free(bn) hive_bearssl_bn_free(bn)
#define _libssh2_bn_set_word(bn, word) hive_bearssl_bn_set_word((bn), (word))
#define _libssh2_bn_from_bin(bn, len, bin) hive_bearssl_bn_from_bin((bn), (len), (bin))
#define _libssh2_bn_to_bin(bn, bin) hive_bearssl_bn_to_bin((bn), (bin))
#define _libssh2_bn_bytes(bn) hive_bearssl_bn_bytes(bn)
#define _libssh2_bn_bits(bn) hive_bearssl_bn_bits(bn)

struct hive_bearssl_bn *hive_bearssl_bn_new(void);
void hive_bearssl_bn_free(struct hive_bearssl_bn *bn); /* clears it */
int hive_bearssl_bn_set_word(struct hive_bearssl_bn *bn, unsigned char word);
int hive_bearssl_bn_from_bin(struct hive_bearssl_bn *bn, size_t len, const unsigned char *bin);
int hive_bearssl_bn_to_bin(const struct hive_bearssl_bn *bn, unsigned char *bin);
size_t hive_bearssl_bn_bytes(const struct hive_bearssl_bn *bn);
size_t hive_bearssl_bn_bits(const struct hive_bearssl_bn *bn);

/* Diffie-Hellman in the groups that a server may choose: 2048 to 4096 bits. */
#define LIBSSH2_DH_GEX_MINGROUP 2048
#define LIBSSH2_DH_GEX_OPTGROUP 4096
#define LIBSSH2_DH_GEX_MAXGROUP 4096
#define LIBSSH2_DH_MAX_MODULUS_BITS 4096

/* Twice the strength of the strongest cipher (256 bits) is enough of an exponent (RFC 4419, 6.2). */
#define HIVE_BEARSSL_DH_EXPONENT 64

struct hive_bearssl_dh {
    unsigned char x[HIVE_BEARSSL_DH_EXPONENT];
};

#define _libssh2_dh_ctx struct hive_bearssl_dh
#define libssh2_dh_init(dh) hive_bearssl_dh_clear(dh)
#define libssh2_dh_dtor(dh) hive_bearssl_dh_clear(dh)
#define libssh2_dh_key_pair(dh, public, g, p, group_order, ctx)                                    \
    hive_bearssl_dh_key_pair((dh), (public), (g), (p))
#define libssh2_dh_secret(dh, secret, f, p, ctx) hive_bearssl_dh_secret((dh), (secret), (f), (p))

void hive_bearssl_dh_clear(struct hive_bearssl_dh *dh);

/* Makes a new exponent and public = g^x mod p. Returns -1 if p or g is not acceptable. */
int hive_bearssl_dh_key_pair(struct hive_bearssl_dh *dh, struct hive_bearssl_bn *public,
                             const struct hive_bearssl_bn *g, const struct hive_bearssl_bn *p);

/*
 * secret = f^x mod p. libssh2 ignores the result, so that with an f that is not acceptable the
 * secret is made random: the host's signature then cannot match and the exchange fails there.
 */
int hive_bearssl_dh_secret(struct hive_bearssl_dh *dh, struct hive_bearssl_bn *secret,
                           const struct hive_bearssl_bn *f, const struct hive_bearssl_bn *p);

/* Public keys. Private ones are never loaded here (README.md): hive signs in a callback. */
struct hive_bearssl_rsa {
    size_t n_len, e_len;
    unsigned char n[HIVE_BEARSSL_BN_MAX];
    unsigned char e[8];
};
#define libssh2_rsa_ctx struct hive_bearssl_rsa
void hive_bearssl_rsa_free(struct hive_bearssl_rsa *rsa);
#define _libssh2_rsa_free(rsa) hive_bearssl_rsa_free(rsa)

typedef enum {
    LIBSSH2_EC_CURVE_NISTP256 = BR_EC_secp256r1,
    LIBSSH2_EC_CURVE_NISTP384 = BR_EC_secp384r1,
    LIBSSH2_EC_CURVE_NISTP521 = BR_EC_secp521r1
} libssh2_curve_type;

/* A host's ECDSA key (d_len is 0), or our half of an ECDH exchange. */
struct hive_bearssl_ec {
    libssh2_curve_type curve;
    size_t q_len, d_len;
    unsigned char q[EC_MAX_POINT_LEN];
    unsigned char d[66];
};
#define libssh2_ecdsa_ctx struct hive_bearssl_ec
#define _libssh2_ec_key struct hive_bearssl_ec
void hive_bearssl_ec_free(struct hive_bearssl_ec *key); /* clears it */
#define _libssh2_ecdsa_free(key) hive_bearssl_ec_free(key)

struct hive_bearssl_ed25519 {
    unsigned char pub[32];
};
#define libssh2_ed25519_ctx struct hive_bearssl_ed25519
void hive_bearssl_ed25519_free(struct hive_bearssl_ed25519 *key);
#define _libssh2_ed25519_free(key) hive_bearssl_ed25519_free(key)

#endif
