/* SPDX-License-Identifier: BSD-2-Clause */
/* libssh2 on BearSSL: host keys (RSA, ECDSA, Ed25519) and elliptic curve key exchange. */
#include "libssh2_priv.h"

#include <sodium/crypto_sign_ed25519.h>
#include <stdlib.h>

#define RSA_MIN_BITS 2048
#define RSA_MAX_BITS 4096

/* RSA */

static size_t strip_zeros(const unsigned char **data, size_t len)
{
    while (len > 0 && **data == 0) {
        (*data)++;
        len--;
    }
    return len;
}

/* Takes n and e only: libssh2 itself calls it for host keys alone. */
int _libssh2_rsa_new(libssh2_rsa_ctx **rsa, const unsigned char *edata, unsigned long elen,
                     const unsigned char *ndata, unsigned long nlen, const unsigned char *ddata,
                     unsigned long dlen, const unsigned char *pdata, unsigned long plen,
                     const unsigned char *qdata, unsigned long qlen, const unsigned char *e1data,
                     unsigned long e1len, const unsigned char *e2data, unsigned long e2len,
                     const unsigned char *coeffdata, unsigned long coefflen)
{
    size_t e_len = strip_zeros(&edata, elen), n_len = strip_zeros(&ndata, nlen);
    struct hive_bearssl_rsa *key;

    (void)ddata, (void)dlen, (void)pdata, (void)plen, (void)qdata, (void)qlen;
    (void)e1data, (void)e1len, (void)e2data, (void)e2len, (void)coeffdata, (void)coefflen;

    *rsa = NULL;
    if (n_len < RSA_MIN_BITS / 8 || n_len > RSA_MAX_BITS / 8 || (ndata[n_len - 1] & 1) == 0)
        return -1;
    /* An odd e of at least 3; a long one would only cost time. */
    if (e_len == 0 || e_len > sizeof key->e || (edata[e_len - 1] & 1) == 0 ||
        (e_len == 1 && edata[0] < 3))
        return -1;
    key = calloc(1, sizeof *key);
    if (key == NULL)
        return -1;
    memcpy(key->n, ndata, n_len);
    key->n_len = n_len;
    memcpy(key->e, edata, e_len);
    key->e_len = e_len;
    *rsa = key;
    return 0;
}

void hive_bearssl_rsa_free(struct hive_bearssl_rsa *rsa)
{
    free(rsa);
}

int _libssh2_rsa_sha2_verify(libssh2_rsa_ctx *rsa, size_t hash_len, const unsigned char *sig,
                             size_t sig_len, const unsigned char *m, size_t m_len)
{
    unsigned char padded[HIVE_BEARSSL_BN_MAX], hash[64], signed_hash[64];
    br_rsa_public_key pk = { .n = rsa->n, .nlen = rsa->n_len, .e = rsa->e, .elen = rsa->e_len };
    const unsigned char *oid;

    if (hash_len == SHA256_DIGEST_LENGTH) {
        br_sha256_context ctx;

        br_sha256_init(&ctx);
        br_sha256_update(&ctx, m, m_len);
        br_sha256_out(&ctx, hash);
        oid = BR_HASH_OID_SHA256;
    } else if (hash_len == SHA512_DIGEST_LENGTH) {
        br_sha512_context ctx;

        br_sha512_init(&ctx);
        br_sha512_update(&ctx, m, m_len);
        br_sha512_out(&ctx, hash);
        oid = BR_HASH_OID_SHA512;
    } else {
        return -1;
    }

    /* Some servers drop leading zeros of the signature; BearSSL wants the length of the modulus. */
    if (sig_len > rsa->n_len)
        return -1;
    memset(padded, 0, rsa->n_len - sig_len);
    memcpy(padded + rsa->n_len - sig_len, sig, sig_len);
    if (!br_rsa_pkcs1_vrfy_get_default()(padded, rsa->n_len, oid, hash_len, &pk, signed_hash))
        return -1;
    return hive_bearssl_differ(hash, signed_hash, hash_len) ? -1 : 0;
}

/* SHA-1 signatures (the method "ssh-rsa") are never good, whatever the caller offered. */
int _libssh2_rsa_sha1_verify(libssh2_rsa_ctx *rsa, const unsigned char *sig, size_t sig_len,
                             const unsigned char *m, size_t m_len)
{
    (void)rsa, (void)sig, (void)sig_len, (void)m, (void)m_len;
    return -1;
}

/* ECDSA and ECDH */

static size_t curve_bytes(libssh2_curve_type curve)
{
    switch (curve) {
    case LIBSSH2_EC_CURVE_NISTP256:
        return 32;
    case LIBSSH2_EC_CURVE_NISTP384:
        return 48;
    case LIBSSH2_EC_CURVE_NISTP521:
        return 66;
    }
    return 0;
}

/* An uncompressed point of that curve, by its form. That it is on the curve BearSSL checks in use. */
static int point_form_ok(const unsigned char *q, size_t len, libssh2_curve_type curve)
{
    size_t bytes = curve_bytes(curve);

    return bytes != 0 && len == 1 + 2 * bytes && q[0] == 0x04;
}

void hive_bearssl_ec_free(struct hive_bearssl_ec *key)
{
    if (key == NULL)
        return;
    explicit_bzero(key, sizeof *key);
    free(key);
}

libssh2_curve_type _libssh2_ecdsa_get_curve_type(libssh2_ecdsa_ctx *ec_ctx)
{
    return ec_ctx->curve;
}

int _libssh2_ecdsa_curve_name_with_octal_new(libssh2_ecdsa_ctx **ecdsactx, const unsigned char *k,
                                             size_t k_len, libssh2_curve_type type)
{
    struct hive_bearssl_ec *key;

    *ecdsactx = NULL;
    if (!point_form_ok(k, k_len, type))
        return -1;
    key = calloc(1, sizeof *key);
    if (key == NULL)
        return -1;
    key->curve = type;
    memcpy(key->q, k, k_len);
    key->q_len = k_len;
    *ecdsactx = key;
    return 0;
}

/* Writes the mpint (data, len) as exactly size bytes. Refuses negative, zero and longer ones. */
static int mpint_to_fixed(unsigned char *out, size_t size, const unsigned char *data, size_t len)
{
    if (len == 0 || (data[0] & 0x80) != 0)
        return -1;
    len = strip_zeros(&data, len);
    if (len == 0 || len > size)
        return -1;
    memset(out, 0, size - len);
    memcpy(out + size - len, data, len);
    return 0;
}

static size_t curve_hash(libssh2_curve_type curve, const unsigned char *m, size_t m_len,
                         unsigned char hash[64])
{
    if (curve == LIBSSH2_EC_CURVE_NISTP256) {
        br_sha256_context ctx;

        br_sha256_init(&ctx);
        br_sha256_update(&ctx, m, m_len);
        br_sha256_out(&ctx, hash);
        return SHA256_DIGEST_LENGTH;
    }
    if (curve == LIBSSH2_EC_CURVE_NISTP384) {
        br_sha384_context ctx;

        br_sha384_init(&ctx);
        br_sha384_update(&ctx, m, m_len);
        br_sha384_out(&ctx, hash);
        return SHA384_DIGEST_LENGTH;
    }
    br_sha512_context ctx;

    br_sha512_init(&ctx);
    br_sha512_update(&ctx, m, m_len);
    br_sha512_out(&ctx, hash);
    return SHA512_DIGEST_LENGTH;
}

int _libssh2_ecdsa_verify(libssh2_ecdsa_ctx *ctx, const unsigned char *r, size_t r_len,
                          const unsigned char *s, size_t s_len, const unsigned char *m,
                          size_t m_len)
{
    unsigned char hash[64], sig[2 * 66];
    size_t bytes = curve_bytes(ctx->curve), hash_len;
    br_ec_public_key pk = { .curve = (int)ctx->curve, .q = ctx->q, .qlen = ctx->q_len };

    if (mpint_to_fixed(sig, bytes, r, r_len) != 0 ||
        mpint_to_fixed(sig + bytes, bytes, s, s_len) != 0)
        return -1;
    hash_len = curve_hash(ctx->curve, m, m_len, hash);
    if (!br_ecdsa_vrfy_raw_get_default()(br_ec_get_default(), hash, hash_len, &pk, sig, 2 * bytes))
        return -1;
    return 0;
}

/* BearSSL asks a generator object for random bytes, which has no way to fail but a flag. */
struct kernel_prng {
    const br_prng_class *vtable;
    int failed;
};

static void kernel_prng_init(const br_prng_class **ctx, const void *params, const void *seed,
                             size_t len)
{
    (void)ctx, (void)params, (void)seed, (void)len;
}

static void kernel_prng_generate(const br_prng_class **ctx, void *out, size_t len)
{
    struct kernel_prng *prng = (struct kernel_prng *)(void *)ctx;

    if (hive_bearssl_random(out, len) != 0) {
        prng->failed = 1;
        memset(out, 1, len); /* ends the search for a number in range; it is then thrown away */
    }
}

static void kernel_prng_update(const br_prng_class **ctx, const void *seed, size_t len)
{
    (void)ctx, (void)seed, (void)len;
}

static const br_prng_class kernel_prng_class = {
    .context_size = sizeof(struct kernel_prng),
    .init = kernel_prng_init,
    .generate = kernel_prng_generate,
    .update = kernel_prng_update,
};

int _libssh2_ecdsa_create_key(LIBSSH2_SESSION *session, _libssh2_ec_key **out_private_key,
                              unsigned char **out_public_key_octal,
                              size_t *out_public_key_octal_len, libssh2_curve_type curve_type)
{
    const br_ec_impl *ec = br_ec_get_default();
    struct kernel_prng prng = { .vtable = &kernel_prng_class, .failed = 0 };
    struct hive_bearssl_ec *key = calloc(1, sizeof *key);
    br_ec_private_key sk;

    *out_private_key = NULL;
    if (key == NULL)
        return -1;
    key->curve = curve_type;
    key->d_len = br_ec_keygen(&prng.vtable, ec, &sk, key->d, (int)curve_type);
    if (key->d_len == 0 || prng.failed)
        goto fail;
    key->q_len = br_ec_compute_pub(ec, NULL, key->q, &sk);
    if (key->q_len == 0)
        goto fail;
    if (out_public_key_octal != NULL) {
        *out_public_key_octal = LIBSSH2_ALLOC(session, key->q_len);
        if (*out_public_key_octal == NULL)
            goto fail;
        memcpy(*out_public_key_octal, key->q, key->q_len);
        *out_public_key_octal_len = key->q_len;
    }
    *out_private_key = key;
    return 0;

fail:
    hive_bearssl_ec_free(key);
    return -1;
}

int _libssh2_ecdh_gen_k(_libssh2_bn **k, _libssh2_ec_key *private_key,
                        const unsigned char *server_public_key, size_t server_public_key_len)
{
    const br_ec_impl *ec = br_ec_get_default();
    unsigned char point[EC_MAX_POINT_LEN];
    size_t x_off, x_len;
    int rc = -1;

    if (*k == NULL || private_key->d_len == 0 ||
        !point_form_ok(server_public_key, server_public_key_len, private_key->curve))
        return -1;
    memcpy(point, server_public_key, server_public_key_len);
    if (ec->mul(point, server_public_key_len, private_key->d, private_key->d_len,
                (int)private_key->curve)) {
        x_off = ec->xoff((int)private_key->curve, &x_len);
        rc = hive_bearssl_bn_from_bin(*k, x_len, point + x_off);
    }
    explicit_bzero(point, sizeof point);
    return rc;
}

/* X25519 */

int _libssh2_curve25519_new(LIBSSH2_SESSION *session, uint8_t **out_public_key,
                            uint8_t **out_private_key)
{
    uint8_t *d = LIBSSH2_ALLOC(session, LIBSSH2_ED25519_KEY_LEN);
    uint8_t *q = LIBSSH2_ALLOC(session, LIBSSH2_ED25519_KEY_LEN);

    if (d == NULL || q == NULL || hive_bearssl_random(d, LIBSSH2_ED25519_KEY_LEN) != 0 ||
        br_ec_get_default()->mulgen(q, d, LIBSSH2_ED25519_KEY_LEN, BR_EC_curve25519) !=
            LIBSSH2_ED25519_KEY_LEN) {
        if (d != NULL) {
            explicit_bzero(d, LIBSSH2_ED25519_KEY_LEN);
            LIBSSH2_FREE(session, d);
        }
        if (q != NULL)
            LIBSSH2_FREE(session, q);
        return -1;
    }
    *out_private_key = d;
    *out_public_key = q;
    return 0;
}

int _libssh2_curve25519_gen_k(_libssh2_bn **k, uint8_t private_key[LIBSSH2_ED25519_KEY_LEN],
                              uint8_t server_public_key[LIBSSH2_ED25519_KEY_LEN])
{
    static const unsigned char zero[LIBSSH2_ED25519_KEY_LEN];
    unsigned char point[LIBSSH2_ED25519_KEY_LEN];
    int rc = -1;

    if (*k == NULL)
        return -1;
    memcpy(point, server_public_key, sizeof point);
    /* RFC 8731: an all-zero result comes from a point of small order and must end the exchange. */
    if (br_ec_get_default()->mul(point, sizeof point, private_key, LIBSSH2_ED25519_KEY_LEN,
                                 BR_EC_curve25519) &&
        hive_bearssl_differ(point, zero, sizeof point))
        rc = hive_bearssl_bn_from_bin(*k, sizeof point, point);
    explicit_bzero(point, sizeof point);
    return rc;
}

/* Ed25519 */

int _libssh2_ed25519_new_public(libssh2_ed25519_ctx **ed_ctx, LIBSSH2_SESSION *session,
                                const unsigned char *raw_pub_key, const size_t key_len)
{
    struct hive_bearssl_ed25519 *key;

    (void)session;
    *ed_ctx = NULL;
    if (key_len != sizeof key->pub)
        return -1;
    key = calloc(1, sizeof *key);
    if (key == NULL)
        return -1;
    memcpy(key->pub, raw_pub_key, sizeof key->pub);
    *ed_ctx = key;
    return 0;
}

void hive_bearssl_ed25519_free(struct hive_bearssl_ed25519 *key)
{
    free(key);
}

int _libssh2_ed25519_verify(libssh2_ed25519_ctx *ctx, const uint8_t *s, size_t s_len,
                            const uint8_t *m, size_t m_len)
{
    if (s_len != LIBSSH2_ED25519_SIG_LEN)
        return -1;
    return crypto_sign_ed25519_verify_detached(s, m, m_len, ctx->pub) == 0 ? 0 : -1;
}
