/* SPDX-License-Identifier: BSD-2-Clause */
/* libssh2 on BearSSL: randomness, hashes, HMAC, AES, and Diffie-Hellman. Keys: hive_bearssl_pk.c */
#include "libssh2_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

int hive_bearssl_random(void *buf, size_t len)
{
    unsigned char *p = buf;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Hashes */

int hive_bearssl_sha1_final(br_sha1_context *ctx, void *out)
{
    br_sha1_out(ctx, out);
    explicit_bzero(ctx, sizeof *ctx);
    return 1;
}

int hive_bearssl_sha256_final(br_sha256_context *ctx, void *out)
{
    br_sha256_out(ctx, out);
    explicit_bzero(ctx, sizeof *ctx);
    return 1;
}

int hive_bearssl_sha384_final(br_sha384_context *ctx, void *out)
{
    br_sha384_out(ctx, out);
    explicit_bzero(ctx, sizeof *ctx);
    return 1;
}

int hive_bearssl_sha512_final(br_sha512_context *ctx, void *out)
{
    br_sha512_out(ctx, out);
    explicit_bzero(ctx, sizeof *ctx);
    return 1;
}

/* HMAC: 1 is success */

static int hmac_init(libssh2_hmac_ctx *ctx, const br_hash_class *hash, const void *key, size_t len)
{
    br_hmac_key_init(&ctx->key, hash, key, len);
    br_hmac_init(&ctx->ctx, &ctx->key, 0);
    return 1;
}

int _libssh2_hmac_ctx_init(libssh2_hmac_ctx *ctx)
{
    memset(ctx, 0, sizeof *ctx);
    return 1;
}

int _libssh2_hmac_sha1_init(libssh2_hmac_ctx *ctx, void *key, size_t keylen)
{
    return hmac_init(ctx, &br_sha1_vtable, key, keylen);
}

int _libssh2_hmac_sha256_init(libssh2_hmac_ctx *ctx, void *key, size_t keylen)
{
    return hmac_init(ctx, &br_sha256_vtable, key, keylen);
}

int _libssh2_hmac_sha512_init(libssh2_hmac_ctx *ctx, void *key, size_t keylen)
{
    return hmac_init(ctx, &br_sha512_vtable, key, keylen);
}

int _libssh2_hmac_update(libssh2_hmac_ctx *ctx, const void *data, size_t datalen)
{
    br_hmac_update(&ctx->ctx, data, datalen);
    return 1;
}

int _libssh2_hmac_final(libssh2_hmac_ctx *ctx, void *data)
{
    br_hmac_out(&ctx->ctx, data);
    return 1;
}

void _libssh2_hmac_cleanup(libssh2_hmac_ctx *ctx)
{
    explicit_bzero(ctx, sizeof *ctx);
}

/* Ciphers */

#define GCM_AAD_LEN 4 /* the packet length, in clear */
#define GCM_NONCE_LEN 12
#define GCM_TAG_LEN 16
#define AES_BLOCK 16

struct cipher_desc {
    unsigned char key_len;
    unsigned char gcm;
};

static const struct cipher_desc cipher_descs[] = {
    [HIVE_BEARSSL_REFUSED] = { 0, 0 },     [HIVE_BEARSSL_AES128_CTR] = { 16, 0 },
    [HIVE_BEARSSL_AES192_CTR] = { 24, 0 }, [HIVE_BEARSSL_AES256_CTR] = { 32, 0 },
    [HIVE_BEARSSL_AES128_GCM] = { 16, 1 }, [HIVE_BEARSSL_AES256_GCM] = { 32, 1 },
};

/* The processor's AES where it has one, otherwise constant-time code; never the table-based ones. */
static const br_block_ctr_class *aes_ctr_class(void)
{
    const br_block_ctr_class *aes = br_aes_x86ni_ctr_get_vtable();

    if (aes == NULL)
        aes = br_aes_pwr8_ctr_get_vtable();
    if (aes == NULL)
        aes = sizeof(void *) >= 8 ? &br_aes_ct64_ctr_vtable : &br_aes_ct_ctr_vtable;
    return aes;
}

static br_ghash ghash_function(void)
{
    br_ghash ghash = br_ghash_pclmul_get();

    if (ghash == NULL)
        ghash = br_ghash_pwr8_get();
    if (ghash == NULL)
        ghash = sizeof(void *) >= 8 ? &br_ghash_ctmul64 : &br_ghash_ctmul;
    return ghash;
}

int _libssh2_cipher_init(_libssh2_cipher_ctx *h, _libssh2_cipher_type(algo), unsigned char *iv,
                         unsigned char *secret, int encrypt)
{
    const struct cipher_desc *desc = &cipher_descs[algo];

    (void)encrypt; /* told again for each block */
    memset(h, 0, sizeof *h);
    if (desc->key_len == 0)
        return -1;
    aes_ctr_class()->init(&h->keys.vtable, secret, desc->key_len);
    if (desc->gcm)
        br_gcm_init(&h->gcm, &h->keys.vtable, ghash_function());
    memcpy(h->iv, iv, desc->gcm ? GCM_NONCE_LEN : AES_BLOCK);
    return 0;
}

void hive_bearssl_cipher_dtor(struct hive_bearssl_cipher *ctx)
{
    explicit_bzero(ctx, sizeof *ctx);
}

/* Adds n to the big-endian counter ctr[0..len-1], carrying all the way up. */
static void counter_add(unsigned char *ctr, size_t len, uint32_t n)
{
    uint64_t carry = n;

    while (len-- > 0 && carry != 0) {
        carry += ctr[len];
        ctr[len] = (unsigned char)carry;
        carry >>= 8;
    }
}

/*
 * BearSSL counts in the last 32 bits only, SSH in all 128 (RFC 4344): so stop where the low word
 * wraps and carry by hand.
 */
static int ctr_crypt(struct hive_bearssl_cipher *c, unsigned char *data, size_t len)
{
    if (len % AES_BLOCK != 0)
        return -1;
    while (len > 0) {
        uint32_t low = (uint32_t)c->iv[12] << 24 | (uint32_t)c->iv[13] << 16 |
                       (uint32_t)c->iv[14] << 8 | c->iv[15];
        uint64_t until_wrap = (UINT64_C(1) << 32) - low;
        uint64_t blocks = len / AES_BLOCK < until_wrap ? len / AES_BLOCK : until_wrap;
        size_t chunk = (size_t)blocks * AES_BLOCK;

        if (blocks > UINT32_MAX)
            return -1; /* 64 GiB in one call: not from libssh2 */
        c->keys.vtable->run(&c->keys.vtable, c->iv, low, data, chunk);
        counter_add(c->iv, AES_BLOCK, (uint32_t)blocks);
        data += chunk;
        len -= chunk;
    }
    return 0;
}

/*
 * A packet comes in pieces: the first begins with the 4 bytes of additional data, the last ends
 * with (encrypting: has room for) the tag. Each packet has the next nonce (RFC 5647, 7.1): the
 * 8 bytes after the fixed 4 are counted up.
 */
static int gcm_crypt(struct hive_bearssl_cipher *c, int encrypt, unsigned char *data, size_t len,
                     int firstlast)
{
    size_t aad = IS_FIRST(firstlast) ? GCM_AAD_LEN : 0;
    size_t tag = IS_LAST(firstlast) ? GCM_TAG_LEN : 0;

    if (len < aad + tag)
        return -1;
    len -= aad + tag;
    if (aad != 0) {
        br_gcm_reset(&c->gcm, c->iv, GCM_NONCE_LEN);
        counter_add(c->iv + 4, GCM_NONCE_LEN - 4, 1);
        br_gcm_aad_inject(&c->gcm, data, aad);
        br_gcm_flip(&c->gcm);
        data += aad;
    }
    br_gcm_run(&c->gcm, encrypt, data, len);
    if (tag == 0)
        return 0;
    if (encrypt) {
        br_gcm_get_tag(&c->gcm, data + len);
        return 0;
    }
    return br_gcm_check_tag(&c->gcm, data + len) ? 0 : -1;
}

int _libssh2_cipher_crypt(_libssh2_cipher_ctx *ctx, _libssh2_cipher_type(algo), int encrypt,
                          unsigned char *block, size_t blocksize, int firstlast)
{
    if (cipher_descs[algo].gcm)
        return gcm_crypt(ctx, encrypt, block, blocksize, firstlast);
    return ctr_crypt(ctx, block, blocksize);
}

/* Numbers */

struct hive_bearssl_bn *hive_bearssl_bn_new(void)
{
    return calloc(1, sizeof(struct hive_bearssl_bn));
}

void hive_bearssl_bn_free(struct hive_bearssl_bn *bn)
{
    if (bn == NULL)
        return;
    explicit_bzero(bn, sizeof *bn);
    free(bn);
}

int hive_bearssl_bn_from_bin(struct hive_bearssl_bn *bn, size_t len, const unsigned char *bin)
{
    while (len > 0 && *bin == 0) {
        bin++;
        len--;
    }
    if (bn == NULL || len > sizeof bn->d)
        return -1;
    memcpy(bn->d, bin, len);
    bn->len = len;
    return 0;
}

int hive_bearssl_bn_set_word(struct hive_bearssl_bn *bn, unsigned char word)
{
    return hive_bearssl_bn_from_bin(bn, 1, &word);
}

int hive_bearssl_bn_to_bin(const struct hive_bearssl_bn *bn, unsigned char *bin)
{
    if (bn == NULL)
        return -1;
    memcpy(bin, bn->d, bn->len);
    return 0;
}

size_t hive_bearssl_bn_bytes(const struct hive_bearssl_bn *bn)
{
    return bn == NULL ? 0 : bn->len;
}

size_t hive_bearssl_bn_bits(const struct hive_bearssl_bn *bn)
{
    size_t bits;

    if (bn == NULL || bn->len == 0)
        return 0;
    bits = (bn->len - 1) * 8;
    for (unsigned top = bn->d[0]; top != 0; top >>= 1)
        bits++;
    return bits;
}

/* Below 0, 0 or above 0, as a is less than, equal to or greater than b. For public values. */
static int bn_compare(const struct hive_bearssl_bn *a, const struct hive_bearssl_bn *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    for (size_t i = 0; i < a->len; i++) {
        if (a->d[i] != b->d[i])
            return a->d[i] < b->d[i] ? -1 : 1;
    }
    return 0;
}

/* out = base^x mod m, for an odd m and base < m; BearSSL's RSA is just that, in constant time. */
static int bn_modexp(struct hive_bearssl_bn *out, const struct hive_bearssl_bn *base,
                     struct hive_bearssl_dh *dh, const struct hive_bearssl_bn *m)
{
    unsigned char modulus[HIVE_BEARSSL_BN_MAX], y[HIVE_BEARSSL_BN_MAX];
    br_rsa_public_key pk = { .n = modulus, .nlen = m->len, .e = dh->x, .elen = sizeof dh->x };
    int rc = -1;

    if (base->len > m->len)
        return -1;
    memcpy(modulus, m->d, m->len);
    memset(y, 0, m->len - base->len);
    memcpy(y + m->len - base->len, base->d, base->len);
    if (br_rsa_public_get_default()(y, m->len, &pk))
        rc = hive_bearssl_bn_from_bin(out, m->len, y);
    explicit_bzero(y, sizeof y);
    return rc;
}

/* Diffie-Hellman */

void hive_bearssl_dh_clear(struct hive_bearssl_dh *dh)
{
    explicit_bzero(dh, sizeof *dh);
}

static int dh_group_ok(const struct hive_bearssl_bn *p)
{
    size_t bits = hive_bearssl_bn_bits(p);

    return bits >= LIBSSH2_DH_GEX_MINGROUP && bits <= LIBSSH2_DH_MAX_MODULUS_BITS &&
           (p->d[p->len - 1] & 1) != 0;
}

/* 1 < y < p - 1: the others are in subgroups that give the secret away. */
static int dh_element_ok(const struct hive_bearssl_bn *y, const struct hive_bearssl_bn *p)
{
    struct hive_bearssl_bn p_minus_1 = *p;

    p_minus_1.d[p->len - 1] &= 0xfe;
    return hive_bearssl_bn_bits(y) > 1 && bn_compare(y, &p_minus_1) < 0;
}

int hive_bearssl_dh_key_pair(struct hive_bearssl_dh *dh, struct hive_bearssl_bn *public,
                             const struct hive_bearssl_bn *g, const struct hive_bearssl_bn *p)
{
    if (public == NULL || !dh_group_ok(p) || !dh_element_ok(g, p))
        return -1;
    if (hive_bearssl_random(dh->x, sizeof dh->x) != 0)
        return -1;
    dh->x[0] |= 0x80;
    return bn_modexp(public, g, dh, p);
}

int hive_bearssl_dh_secret(struct hive_bearssl_dh *dh, struct hive_bearssl_bn *secret,
                           const struct hive_bearssl_bn *f, const struct hive_bearssl_bn *p)
{
    if (secret == NULL)
        return -1;
    if (dh_group_ok(p) && dh_element_ok(f, p) && bn_modexp(secret, f, dh, p) == 0 &&
        hive_bearssl_bn_bits(secret) > 1)
        return 0;
    if (hive_bearssl_random(secret->d, sizeof secret->d) != 0)
        abort(); /* a guessable secret would be worse; getrandom worked a moment ago */
    secret->d[0] |= 0x80;
    secret->len = sizeof secret->d;
    return -1;
}
