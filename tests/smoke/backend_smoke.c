/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls libssh2's BearSSL backend directly, for what a conversation with a good sshd does not reach:
 * known answers where counters carry, and values that only a hostile server sends. Run by run-smoke.
 */
#include "vendor/libssh2/hive_bearssl.h"
#include "vendor/libssh2/hive_bearssl_pool.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>

/* From libssh2's internal crypto.h and libssh2_priv.h. */
#define FIRST_BLOCK 1
#define MIDDLE_BLOCK 0
#define LAST_BLOCK 2

int _libssh2_cipher_init(struct hive_bearssl_cipher *h, enum hive_bearssl_cipher_id algo,
                         unsigned char *iv, unsigned char *secret, int encrypt);
int _libssh2_cipher_crypt(struct hive_bearssl_cipher *ctx, enum hive_bearssl_cipher_id algo,
                          int encrypt, unsigned char *block, size_t blocksize, int firstlast);
int _libssh2_hmac_ctx_init(struct hive_bearssl_hmac *ctx);
int _libssh2_hmac_sha256_init(struct hive_bearssl_hmac *ctx, void *key, size_t keylen);
int _libssh2_hmac_sha512_init(struct hive_bearssl_hmac *ctx, void *key, size_t keylen);
int _libssh2_hmac_update(struct hive_bearssl_hmac *ctx, const void *data, size_t datalen);
int _libssh2_hmac_final(struct hive_bearssl_hmac *ctx, void *data);
void _libssh2_hmac_cleanup(struct hive_bearssl_hmac *ctx);
int _libssh2_rsa_new(struct hive_bearssl_rsa **rsa, const unsigned char *e, unsigned long e_len,
                     const unsigned char *n, unsigned long n_len, const unsigned char *d,
                     unsigned long d_len, const unsigned char *p, unsigned long p_len,
                     const unsigned char *q, unsigned long q_len, const unsigned char *e1,
                     unsigned long e1_len, const unsigned char *e2, unsigned long e2_len,
                     const unsigned char *c, unsigned long c_len);
int _libssh2_rsa_sha2_verify(struct hive_bearssl_rsa *rsa, size_t hash_len,
                             const unsigned char *sig, size_t sig_len, const unsigned char *m,
                             size_t m_len);
int _libssh2_ecdsa_curve_name_with_octal_new(struct hive_bearssl_ec **key, const unsigned char *k,
                                             size_t k_len, libssh2_curve_type type);
int _libssh2_ecdsa_verify(struct hive_bearssl_ec *key, const unsigned char *r, size_t r_len,
                          const unsigned char *s, size_t s_len, const unsigned char *m,
                          size_t m_len);
int _libssh2_ecdsa_create_key(LIBSSH2_SESSION *session, struct hive_bearssl_ec **key,
                              unsigned char **pub, size_t *pub_len, libssh2_curve_type curve);
int _libssh2_ecdh_gen_k(struct hive_bearssl_bn **k, struct hive_bearssl_ec *key,
                        const unsigned char *peer, size_t peer_len);
int _libssh2_curve25519_new(LIBSSH2_SESSION *session, uint8_t **pub, uint8_t **secret);
int _libssh2_curve25519_gen_k(struct hive_bearssl_bn **k, uint8_t secret[32], uint8_t peer[32]);
int _libssh2_ed25519_new_public(struct hive_bearssl_ed25519 **key, LIBSSH2_SESSION *session,
                                const unsigned char *raw, const size_t len);
int _libssh2_ed25519_verify(struct hive_bearssl_ed25519 *key, const uint8_t *s, size_t s_len,
                            const uint8_t *m, size_t m_len);

static int failures, checks;

#define CHECK(x) check((x) != 0, #x, __LINE__)

static void check(int good, const char *text, int line)
{
    checks++;
    if (!good) {
        failures++;
        printf("line %d: not true: %s\n", line, text);
    }
}

/* Returns the number of bytes. */
static size_t unhex(unsigned char *out, const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (; hex[0] != 0; hex += 2) {
        size_t high = (size_t)(strchr(digits, hex[0]) - digits);
        size_t low = (size_t)(strchr(digits, hex[1]) - digits);

        out[n++] = (unsigned char)(high << 4 | low);
    }
    return n;
}

static int is_hex(const unsigned char *data, const char *hex)
{
    unsigned char want[256];

    return memcmp(data, want, unhex(want, hex)) == 0;
}

/* --- symmetric ------------------------------------------------------------------------------- */

/* The last one carries out of the low 32 bits, which BearSSL does not do by itself. */
static const struct {
    enum hive_bearssl_cipher_id id;
    const char *key, *iv, *in, *out;
} ctr_cases[] = {
    { HIVE_BEARSSL_AES128_CTR, "2b7e151628aed2a6abf7158809cf4f3c",
      "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
      "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff" },
    { HIVE_BEARSSL_AES256_CTR, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
      "00000001fffffffffffffffffffffffe",
      "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
      "000000000000000000000000000000000000000000000000",
      "245d1319ecdbb669317a7f32d0bfcd05df409e66b0db24cdcf5f07eff23154ebea10303eac25bdd081b5"
      "2ff489cf22d4d22755d9d942f255143b46d2cf39af55" },
};

static void test_ctr(void)
{
    for (size_t i = 0; i < sizeof ctr_cases / sizeof *ctr_cases; i++) {
        /* At once and block by block. */
        for (size_t step = 16; step <= 64; step += 48) {
            unsigned char key[32], iv[16], data[64];
            struct hive_bearssl_cipher c;
            size_t len = unhex(data, ctr_cases[i].in);

            unhex(key, ctr_cases[i].key);
            unhex(iv, ctr_cases[i].iv);
            CHECK(_libssh2_cipher_init(&c, ctr_cases[i].id, iv, key, 1) == 0);
            for (size_t at = 0; at < len; at += step)
                CHECK(_libssh2_cipher_crypt(&c, ctr_cases[i].id, 1, data + at,
                                            len - at < step ? len - at : step, MIDDLE_BLOCK) == 0);
            CHECK(is_hex(data, ctr_cases[i].out));
            CHECK(_libssh2_cipher_crypt(&c, ctr_cases[i].id, 1, data, 15, LAST_BLOCK) != 0);
            hive_bearssl_cipher_dtor(&c);
        }
    }
}

/* As libssh2 cuts a packet of `len` bytes (with length field and tag): 16 each, the last up to 31. */
static int gcm_packet(struct hive_bearssl_cipher *c, int encrypt, unsigned char *packet, size_t len)
{
    size_t at = 16;

    if (_libssh2_cipher_crypt(c, HIVE_BEARSSL_AES256_GCM, encrypt, packet, 16, FIRST_BLOCK) != 0)
        return -1;
    for (; len - at >= 32; at += 16) {
        if (_libssh2_cipher_crypt(c, HIVE_BEARSSL_AES256_GCM, encrypt, packet + at, 16,
                                  MIDDLE_BLOCK) != 0)
            return -1;
    }
    return _libssh2_cipher_crypt(c, HIVE_BEARSSL_AES256_GCM, encrypt, packet + at, len - at,
                                 LAST_BLOCK);
}

#define GCM_PACKET (4 + 32 + 16)
#define GCM_ANSWER_1                                                                               \
    "5962fd046e9a1909046190f04d2430f4f32b35b6a319e5c59b49b89af1912a1b"                             \
    "d3201bc9ed82f0b1b09199fbcf46eb52"
#define GCM_ANSWER_2                                                                               \
    "b239b5e4d056183994d003afc56e3bd3c2675a497bf0a4b7bbb5dbe1991aca3d"                             \
    "3720a9d5f14712e5a4891cf8354d2cb7"

static void gcm_start(struct hive_bearssl_cipher *c, unsigned char packet[GCM_PACKET])
{
    unsigned char key[32], iv[12];

    for (unsigned i = 0; i < 32; i++)
        key[i] = (unsigned char)i;
    unhex(iv, "0a0b0c0dffffffffffffffff");
    CHECK(_libssh2_cipher_init(c, HIVE_BEARSSL_AES256_GCM, iv, key, 1) == 0);
    memset(packet, 0, GCM_PACKET);
    packet[3] = 32;
    for (unsigned i = 0; i < 32; i++)
        packet[4 + i] = (unsigned char)(100 + i);
}

/* Two packets: the nonce's counter wraps between them and must not touch its fixed part. */
static void test_gcm(void)
{
    unsigned char packet[GCM_PACKET], sealed[GCM_PACKET];
    struct hive_bearssl_cipher c;

    gcm_start(&c, packet);
    CHECK(gcm_packet(&c, 1, packet, GCM_PACKET) == 0);
    CHECK(is_hex(packet, "00000020" GCM_ANSWER_1));
    memcpy(sealed, packet, sizeof sealed);
    hive_bearssl_cipher_dtor(&c);

    gcm_start(&c, packet);
    CHECK(gcm_packet(&c, 1, packet, GCM_PACKET) == 0);
    memset(packet, 0, GCM_PACKET);
    packet[3] = 32;
    for (unsigned i = 0; i < 32; i++)
        packet[4 + i] = (unsigned char)(100 + i);
    CHECK(gcm_packet(&c, 1, packet, GCM_PACKET) == 0);
    CHECK(is_hex(packet, "00000020" GCM_ANSWER_2));
    hive_bearssl_cipher_dtor(&c);

    gcm_start(&c, packet);
    memcpy(packet, sealed, sizeof packet);
    CHECK(gcm_packet(&c, 0, packet, GCM_PACKET) == 0);
    CHECK(packet[4] == 100 && packet[35] == 131);
    hive_bearssl_cipher_dtor(&c);

    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        gcm_start(&c, packet);
        memcpy(packet, sealed, sizeof packet);
        packet[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CHECK(gcm_packet(&c, 0, packet, GCM_PACKET) != 0);
        hive_bearssl_cipher_dtor(&c);
    }
    /* Pieces too short for what they must hold. */
    gcm_start(&c, packet);
    CHECK(_libssh2_cipher_crypt(&c, HIVE_BEARSSL_AES256_GCM, 0, packet, 3, FIRST_BLOCK) != 0);
    CHECK(_libssh2_cipher_crypt(&c, HIVE_BEARSSL_AES256_GCM, 0, packet, 15, LAST_BLOCK) != 0);
    CHECK(_libssh2_cipher_init(&c, HIVE_BEARSSL_REFUSED, packet, packet, 1) != 0);
}

static void test_hmac(void)
{
    static const char text[] = "what do ya want for nothing?";
    char key[] = "Jefe";
    struct hive_bearssl_hmac h;
    unsigned char out[64];

    CHECK(_libssh2_hmac_ctx_init(&h) && _libssh2_hmac_sha256_init(&h, key, 4) &&
          _libssh2_hmac_update(&h, text, 10) &&
          _libssh2_hmac_update(&h, text + 10, sizeof text - 11) && _libssh2_hmac_final(&h, out));
    CHECK(is_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    _libssh2_hmac_cleanup(&h);
    CHECK(_libssh2_hmac_ctx_init(&h) && _libssh2_hmac_sha512_init(&h, key, 4) &&
          _libssh2_hmac_update(&h, text, sizeof text - 1) && _libssh2_hmac_final(&h, out));
    CHECK(is_hex(out, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                      "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"));
    _libssh2_hmac_cleanup(&h);
}

static void test_compare(void)
{
    CHECK(memcmp("abc", "abc", 3) == 0);
    CHECK(memcmp("abc", "abd", 3) != 0 && memcmp("bbc", "abc", 3) != 0);
    CHECK(memcmp("abc", "abd", 2) == 0 && memcmp("a", "b", 0) == 0);
}

/* --- numbers and Diffie-Hellman -------------------------------------------------------------- */

static struct hive_bearssl_bn *number(const unsigned char *bin, size_t len)
{
    struct hive_bearssl_bn *bn = hive_bearssl_bn_new();

    if (bn == NULL)
        abort();
    CHECK(hive_bearssl_bn_from_bin(bn, len, bin) == 0);
    return bn;
}

static void test_numbers(void)
{
    static unsigned char big[HIVE_BEARSSL_BN_MAX + 2];
    struct hive_bearssl_bn *bn = number((const unsigned char *)"\0\0\x01\xff", 4);
    unsigned char out[4];

    CHECK(hive_bearssl_bn_bytes(bn) == 2 && hive_bearssl_bn_bits(bn) == 9);
    CHECK(hive_bearssl_bn_to_bin(bn, out) == 0 && out[0] == 1 && out[1] == 0xff);
    CHECK(hive_bearssl_bn_set_word(bn, 2) == 0 && hive_bearssl_bn_bits(bn) == 2);
    CHECK(hive_bearssl_bn_from_bin(bn, sizeof big, big) == 0 && hive_bearssl_bn_bits(bn) == 0);
    memset(big, 0xff, sizeof big);
    big[0] = 0;
    CHECK(hive_bearssl_bn_from_bin(bn, sizeof big - 1, big) == 0 &&
          hive_bearssl_bn_bits(bn) == 4096);
    CHECK(hive_bearssl_bn_from_bin(bn, sizeof big, big) != 0);
    CHECK(hive_bearssl_bn_from_bin(NULL, 1, big) != 0 && hive_bearssl_bn_bits(NULL) == 0);
    CHECK(hive_bearssl_bn_to_bin(NULL, out) != 0);
    hive_bearssl_bn_free(bn);
    hive_bearssl_bn_free(NULL);
}

/* A bad f: fails, and leaves a secret that nobody can guess. */
static void check_bad_f(const unsigned char *f_bin, size_t f_len, const struct hive_bearssl_bn *p,
                        struct hive_bearssl_dh *dh)
{
    struct hive_bearssl_bn *f = number(f_bin, f_len), *k1 = number(f_bin, 0),
                           *k2 = number(f_bin, 0);

    CHECK(hive_bearssl_dh_secret(dh, k1, f, p) != 0);
    CHECK(hive_bearssl_dh_secret(dh, k2, f, p) != 0);
    CHECK(hive_bearssl_bn_bits(k1) == 4096 && memcmp(k1->d, k2->d, k1->len) != 0);
    hive_bearssl_bn_free(f);
    hive_bearssl_bn_free(k1);
    hive_bearssl_bn_free(k2);
}

/* Any odd modulus will do, if 2 has a large order in it: (g^x)^y = (g^y)^x. */
static void test_dh_size(size_t bytes)
{
    unsigned char p_bin[512];
    struct hive_bearssl_bn *p, *g = number((const unsigned char *)"\x02", 1);
    struct hive_bearssl_bn *a = hive_bearssl_bn_new(), *b = hive_bearssl_bn_new();
    struct hive_bearssl_bn *ka = hive_bearssl_bn_new(), *kb = hive_bearssl_bn_new();
    struct hive_bearssl_dh da, db;

    CHECK(hive_bearssl_random(p_bin, bytes) == 0);
    p_bin[0] = p_bin[bytes - 1] = 0xa5;
    p = number(p_bin, bytes);
    CHECK(hive_bearssl_dh_key_pair(&da, a, g, p) == 0 &&
          hive_bearssl_dh_key_pair(&db, b, g, p) == 0);
    CHECK(hive_bearssl_dh_secret(&da, ka, b, p) == 0 && hive_bearssl_dh_secret(&db, kb, a, p) == 0);
    CHECK(ka->len == kb->len && memcmp(ka->d, kb->d, ka->len) == 0 && ka->len > bytes - 16);
    CHECK(memcmp(da.x, db.x, sizeof da.x) != 0);

    check_bad_f(p_bin, 0, p, &da);
    check_bad_f((const unsigned char *)"\x01", 1, p, &da);
    check_bad_f(p_bin, bytes, p, &da); /* p */
    p_bin[bytes - 1] -= 1;
    check_bad_f(p_bin, bytes, p, &da); /* p - 1 */
    p_bin[bytes - 1] += 2;
    check_bad_f(p_bin, bytes, p, &da); /* p + 1 */
    p_bin[0] = 0xff;
    check_bad_f(p_bin, bytes, p, &da);

    /* Groups: even, with generator 1, 0, p - 1. */
    CHECK(hive_bearssl_bn_set_word(g, 1) == 0 && hive_bearssl_dh_key_pair(&da, a, g, p) != 0);
    CHECK(hive_bearssl_bn_set_word(g, 0) == 0 && hive_bearssl_dh_key_pair(&da, a, g, p) != 0);
    *g = *p;
    g->d[g->len - 1] -= 1;
    CHECK(hive_bearssl_dh_key_pair(&da, a, g, p) != 0);
    CHECK(hive_bearssl_bn_set_word(g, 2) == 0);
    p->d[p->len - 1] -= 1;
    CHECK(hive_bearssl_dh_key_pair(&da, a, g, p) != 0);
    hive_bearssl_dh_clear(&da);
    hive_bearssl_dh_clear(&db);
    hive_bearssl_bn_free(p);
    hive_bearssl_bn_free(g);
    hive_bearssl_bn_free(a);
    hive_bearssl_bn_free(b);
    hive_bearssl_bn_free(ka);
    hive_bearssl_bn_free(kb);
}

static void test_dh(void)
{
    unsigned char small[128];
    struct hive_bearssl_bn *p, *g = number((const unsigned char *)"\x02", 1);
    struct hive_bearssl_dh dh;

    test_dh_size(256);
    test_dh_size(512);
    memset(small, 0xa5, sizeof small);
    p = number(small, sizeof small);
    CHECK(hive_bearssl_dh_key_pair(&dh, g, g, p) != 0); /* 1024 bits */
    CHECK(hive_bearssl_dh_key_pair(&dh, NULL, g, p) != 0);
    hive_bearssl_bn_free(p);
    hive_bearssl_bn_free(g);
}

/* --- elliptic curves ------------------------------------------------------------------------- */

/* RFC 6979, A.2.5: P-256, SHA-256, "sample". The high bit of r and s is set. */
#define P256_PUB                                                                                   \
    "04"                                                                                           \
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"                             \
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
#define P256_R "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
#define P256_S "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
#define P256_N "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"

static void test_ecdsa(void)
{
    static const unsigned char m[] = "sample";
    unsigned char pub[65], r[34], s[34], n[34], zeros[40] = { 0 };
    struct hive_bearssl_ec *key;

    unhex(pub, P256_PUB);
    unhex(r, "00" P256_R);
    unhex(s, "00" P256_S);
    unhex(n, "00" P256_N);
    CHECK(_libssh2_ecdsa_curve_name_with_octal_new(&key, pub, 65, LIBSSH2_EC_CURVE_NISTP256) == 0);
    CHECK(_libssh2_ecdsa_verify(key, r, 33, s, 33, m, 6) == 0);
    CHECK(_libssh2_ecdsa_verify(key, r, 33, s, 33, m, 5) != 0);
    CHECK(_libssh2_ecdsa_verify(key, s, 33, r, 33, m, 6) != 0);
    CHECK(_libssh2_ecdsa_verify(key, r + 1, 32, s, 33, m, 6) != 0); /* negative */
    CHECK(_libssh2_ecdsa_verify(key, r, 33, s + 1, 32, m, 6) != 0);
    CHECK(_libssh2_ecdsa_verify(key, r, 0, s, 33, m, 6) != 0);
    CHECK(_libssh2_ecdsa_verify(key, zeros, 33, s, 33, m, 6) != 0);
    CHECK(_libssh2_ecdsa_verify(key, r, 33, zeros, 33, m, 6) != 0);
    CHECK(_libssh2_ecdsa_verify(key, zeros, 33, zeros, 33, m, 6) != 0);
    CHECK(_libssh2_ecdsa_verify(key, n, 33, s, 33, m, 6) != 0);
    CHECK(_libssh2_ecdsa_verify(key, r, 33, n, 33, m, 6) != 0);
    n[33] = 1;
    n[0] = 1;
    CHECK(_libssh2_ecdsa_verify(key, n, 34, s, 33, m, 6) != 0); /* too long */
    hive_bearssl_ec_free(key);

    pub[64] ^= 1; /* not on the curve: found out in use */
    CHECK(_libssh2_ecdsa_curve_name_with_octal_new(&key, pub, 65, LIBSSH2_EC_CURVE_NISTP256) == 0);
    CHECK(_libssh2_ecdsa_verify(key, r, 33, s, 33, m, 6) != 0);
    hive_bearssl_ec_free(key);
    CHECK(_libssh2_ecdsa_curve_name_with_octal_new(&key, pub, 64, LIBSSH2_EC_CURVE_NISTP256) != 0);
    CHECK(_libssh2_ecdsa_curve_name_with_octal_new(&key, pub, 65, LIBSSH2_EC_CURVE_NISTP384) != 0);
    CHECK(_libssh2_ecdsa_curve_name_with_octal_new(&key, pub, 0, LIBSSH2_EC_CURVE_NISTP256) != 0);
    pub[0] = 2;
    CHECK(_libssh2_ecdsa_curve_name_with_octal_new(&key, pub, 33, LIBSSH2_EC_CURVE_NISTP256) != 0);
    CHECK(_libssh2_ecdsa_curve_name_with_octal_new(&key, pub, 65, LIBSSH2_EC_CURVE_NISTP256) != 0);
    hive_bearssl_ec_free(NULL);
}

static void test_ecdh_curve(libssh2_curve_type curve)
{
    struct hive_bearssl_bn *ka = hive_bearssl_bn_new(), *kb = hive_bearssl_bn_new(), *none = NULL;
    struct hive_bearssl_ec *a, *b;

    CHECK(_libssh2_ecdsa_create_key(NULL, &a, NULL, NULL, curve) == 0);
    CHECK(_libssh2_ecdsa_create_key(NULL, &b, NULL, NULL, curve) == 0);
    CHECK(_libssh2_ecdh_gen_k(&ka, a, b->q, b->q_len) == 0);
    CHECK(_libssh2_ecdh_gen_k(&kb, b, a->q, a->q_len) == 0);
    CHECK(ka->len == kb->len && ka->len > 28 && memcmp(ka->d, kb->d, ka->len) == 0);
    CHECK(_libssh2_ecdh_gen_k(&none, a, b->q, b->q_len) != 0);
    CHECK(_libssh2_ecdh_gen_k(&ka, a, b->q, b->q_len - 1) != 0);
    CHECK(_libssh2_ecdh_gen_k(&ka, a, (const unsigned char *)"", 1) != 0); /* infinity */
    b->q[b->q_len - 1] ^= 1;
    CHECK(_libssh2_ecdh_gen_k(&ka, a, b->q, b->q_len) != 0); /* not on the curve */
    memset(b->q + 1, 0, b->q_len - 1);
    CHECK(_libssh2_ecdh_gen_k(&ka, a, b->q, b->q_len) != 0);
    memset(b->q + 1, 0xff, b->q_len - 1);
    CHECK(_libssh2_ecdh_gen_k(&ka, a, b->q, b->q_len) != 0);
    a->d_len = 0; /* a host's public key */
    CHECK(_libssh2_ecdh_gen_k(&kb, a, a->q, a->q_len) != 0);
    hive_bearssl_ec_free(a);
    hive_bearssl_ec_free(b);
    hive_bearssl_bn_free(ka);
    hive_bearssl_bn_free(kb);
}

/* All points of small order of Curve25519 and its twist, as they can be written. */
static const char *const small_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
};

static void test_x25519(LIBSSH2_SESSION *session)
{
    struct hive_bearssl_bn *ka = hive_bearssl_bn_new(), *kb = hive_bearssl_bn_new();
    uint8_t *qa, *qb, *da, *db, point[32];

    CHECK(_libssh2_curve25519_new(session, &qa, &da) == 0);
    CHECK(_libssh2_curve25519_new(session, &qb, &db) == 0);
    CHECK(_libssh2_curve25519_gen_k(&ka, da, qb) == 0);
    CHECK(_libssh2_curve25519_gen_k(&kb, db, qa) == 0);
    CHECK(ka->len == kb->len && ka->len > 28 && memcmp(ka->d, kb->d, ka->len) == 0);
    for (size_t i = 0; i < sizeof small_order / sizeof *small_order; i++) {
        unhex(point, small_order[i]);
        CHECK(_libssh2_curve25519_gen_k(&ka, da, point) != 0);
    }
    libssh2_free(session, qa);
    libssh2_free(session, qb);
    libssh2_free(session, da);
    libssh2_free(session, db);
    hive_bearssl_bn_free(ka);
    hive_bearssl_bn_free(kb);
}

/* RFC 8032, 7.1, test 3 */
static void test_ed25519(void)
{
    unsigned char pub[32], sig[64], m[2];
    struct hive_bearssl_ed25519 *key;

    unhex(pub, "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
    unhex(m, "af82");
    unhex(sig, "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
               "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a");
    CHECK(_libssh2_ed25519_new_public(&key, NULL, pub, 31) != 0);
    CHECK(_libssh2_ed25519_new_public(&key, NULL, pub, 32) == 0);
    CHECK(_libssh2_ed25519_verify(key, sig, 64, m, 2) == 0);
    CHECK(_libssh2_ed25519_verify(key, sig, 63, m, 2) != 0);
    CHECK(_libssh2_ed25519_verify(key, sig, 64, m, 1) != 0);
    for (size_t bit = 0; bit < 512; bit++) {
        sig[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CHECK(_libssh2_ed25519_verify(key, sig, 64, m, 2) != 0);
        sig[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    hive_bearssl_ed25519_free(key);
    hive_bearssl_ed25519_free(NULL);
}

/* --- RSA ------------------------------------------------------------------------------------- */

static int rsa_new(struct hive_bearssl_rsa **rsa, const char *e_hex, const unsigned char *n,
                   size_t n_len)
{
    unsigned char e[16];
    size_t e_len = unhex(e, e_hex);

    return _libssh2_rsa_new(rsa, e, e_len, n, n_len, NULL, 0, NULL, 0, NULL, 0, NULL, 0, NULL, 0,
                            NULL, 0);
}

/* Made with openssl: a key of 2048 bits, e = 65537, and its signatures of "sample". */
static const char rsa_n[] =
    "c58175fd02c4c1846ff3b894ef0d0db69f7bc08b921401932aa660dc8c25c83fa32042c9023aa645"
    "a0d9de5dbb3804ce42fe8eb7e6ca7720463eb763f2683ea5f70d0304e484f9b5bf15e89d3a3977d0"
    "a07f16aa96e0ab5a324020a26d4ec269d9c9d3563c1051db689b14d541234fc9d72dd2539c9effff"
    "3e912a424d400151a4d33014478ce2a9d28ef92f022fb4787837416afa9c3da3ff38489fabf2a8b0"
    "b5c0c59368fed9fc3ae7fadba9159449c008d181ba1b2cf7763f41744c651a460bd55e2ec520134b"
    "bf628d4675cda52d872e566767c90e3014e5193dffad374025ba3e4a4d3927c0cd2f66b4043e26b8"
    "2902fd27f2658c2cb599e5ffbe252f05";
static const char rsa_sha256[] =
    "b2e9bec01e62403d47927ac5a3748d8fc602d500ddebdca389a57faca547fedbe3dc18854ce7bfdd"
    "6f20a2593f97d7f1141e10e6e74e29adbf006f69aa87b2cdac8aa057a0e0c3a809ab382aad37fc52"
    "5dd391c9ca5dd5930ccd001f8b0d2ca768086d4579819759d0a784286267b1d1f79baeeca29753d9"
    "9818e89b1defe27c2820aadf5f28e9c6172977ef9c693203d0dff5bb58ef12f49cdf9ee47faf108c"
    "b4296c6ee8301028c9ede8436011d4105121e794ece9e25f4e55bc5d3f1f0941d1fc94dde72dff24"
    "d527466e1addf265dbc2bdcb8a3acbf1b236c09222373bf02f061ff53dc280df33684e62d02ad748"
    "7022a2dbf5d2028aef9a96be1a2415fa";
static const char rsa_sha512[] =
    "231d8534d1b0e55dfa6a1364420c217aeda62e66b591524205010481c6a0970c667d926027ad01a8"
    "c3a5c8ba6930f94db5492a3c95c9a320e0aeaf26b42a7690a6a0a3c4e18500516a2667985dd5fc99"
    "284b1b9443e0afc1092a243e86d287aab3c4951427b8b83dfabab3529c593b95b1d3ad83e1e1a3da"
    "4617cdec8485f196e03240cc5e4147def91674b760c361dd5eb83ff7a52e235351d0e79f50693c34"
    "70ca0a402c0ea8dbce906c55daa6b34bed73691236c2d8499842807d3ca3489d8219a4681a755cfa"
    "d57db46dda87084e7c3849c7747db28bb3f2e5be2d0760cbe711ee48a50a34534e8f5c8141f54b6b"
    "fb5574b294794d3cf13a1e70af9e0c91";

static void test_rsa_known(void)
{
    static const unsigned char m[] = "sample";
    unsigned char n[256], sig256[257] = { 0 }, sig512[256];
    struct hive_bearssl_rsa *rsa;

    unhex(n, rsa_n);
    unhex(sig256 + 1, rsa_sha256);
    unhex(sig512, rsa_sha512);
    CHECK(rsa_new(&rsa, "010001", n, sizeof n) == 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig256 + 1, 256, m, 6) == 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 64, sig512, 256, m, 6) == 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig256 + 1, 256, m, 5) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 64, sig512, 256, m, 5) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 64, sig256 + 1, 256, m, 6) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig512, 256, m, 6) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig256, 257, m, 6) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig256 + 2, 255, m, 6) != 0);
    hive_bearssl_rsa_free(rsa);
}

static void test_rsa(void)
{
    unsigned char n[514], sig[513] = { 0 };
    struct hive_bearssl_rsa *rsa;

    memset(n, 0xa5, sizeof n);
    n[0] = 0;
    CHECK(rsa_new(&rsa, "010001", n, 1 + 255) != 0);
    CHECK(rsa_new(&rsa, "010001", n, 1 + 513) != 0);
    CHECK(rsa_new(&rsa, "", n, 1 + 256) != 0);
    CHECK(rsa_new(&rsa, "00", n, 1 + 256) != 0);
    CHECK(rsa_new(&rsa, "01", n, 1 + 256) != 0);
    CHECK(rsa_new(&rsa, "010000", n, 1 + 256) != 0);
    CHECK(rsa_new(&rsa, "010000000000000001", n, 1 + 256) != 0);
    CHECK(rsa_new(&rsa, "010001", n, 0) != 0);
    n[256] = 2; /* even */
    CHECK(rsa_new(&rsa, "010001", n, 1 + 256) != 0);
    n[256] = 1;
    CHECK(rsa_new(&rsa, "010001", n, 1 + 512) == 0);
    hive_bearssl_rsa_free(rsa);
    CHECK(rsa_new(&rsa, "000003", n, 1 + 256) == 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig, 256, n, 10) != 0); /* 0 */
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig, 0, n, 10) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig, 257, n, 10) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, sig, sizeof sig, n, 10) != 0);
    CHECK(_libssh2_rsa_sha2_verify(rsa, 32, n + 1, 256, n, 10) != 0); /* n */
    CHECK(_libssh2_rsa_sha2_verify(rsa, 20, sig, 256, n, 10) != 0);
    sig[255] = 1;
    CHECK(_libssh2_rsa_sha2_verify(rsa, 64, sig, 256, n, 10) != 0); /* 1 */
    hive_bearssl_rsa_free(rsa);
    hive_bearssl_rsa_free(NULL);
}

/* Nothing of libssh2 loads a private key: neither from a file nor from memory. */
static void test_no_keys(LIBSSH2_SESSION *session)
{
    static const char pem[] = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
                              "-----END OPENSSH PRIVATE KEY-----\n";

    CHECK(libssh2_userauth_publickey_fromfile(session, "u", NULL, "/dev/null", NULL) ==
          LIBSSH2_ERROR_METHOD_NOT_SUPPORTED);
    CHECK(libssh2_userauth_publickey_frommemory(session, "u", 1, NULL, 0, pem, sizeof pem - 1,
                                                NULL) != 0);
}

/* --- memory ---------------------------------------------------------------------------------- */

static void test_pool(void)
{
    struct hive_bearssl_pool pool = { .limit = 1000 };
    void *abstract = &pool;
    char *a = hive_bearssl_alloc(600, &abstract), *b = hive_bearssl_alloc(400, &abstract), *c;

    CHECK(a != NULL && b != NULL && pool.used == 1000);
    CHECK(hive_bearssl_alloc(1, &abstract) == NULL);
    CHECK(hive_bearssl_alloc(SIZE_MAX, &abstract) == NULL);
    CHECK(hive_bearssl_alloc(SIZE_MAX - 1000, &abstract) == NULL);
    memset(b, 7, 400);
    CHECK(hive_bearssl_realloc(b, 401, &abstract) == NULL && b[399] == 7);
    hive_bearssl_free(a, &abstract);
    hive_bearssl_free(NULL, &abstract);
    c = hive_bearssl_realloc(b, 500, &abstract);
    CHECK(c != NULL && c[0] == 7 && c[399] == 7 && pool.used == 500);
    c = hive_bearssl_realloc(c, 10, &abstract);
    CHECK(c != NULL && c[9] == 7 && pool.used == 10);
    a = hive_bearssl_realloc(NULL, 0, &abstract);
    CHECK(a != NULL && pool.used == 10);
    hive_bearssl_pool_fini(&pool);
    CHECK(pool.used == 0 && pool.blocks == NULL);
}

int main(void)
{
    LIBSSH2_SESSION *session;

    if (libssh2_init(0) != 0 || (session = libssh2_session_init()) == NULL)
        return 1;
    test_ctr();
    test_gcm();
    test_hmac();
    test_compare();
    test_numbers();
    test_dh();
    test_ecdsa();
    test_ecdh_curve(LIBSSH2_EC_CURVE_NISTP256);
    test_ecdh_curve(LIBSSH2_EC_CURVE_NISTP384);
    test_ecdh_curve(LIBSSH2_EC_CURVE_NISTP521);
    test_x25519(session);
    test_ed25519();
    test_rsa();
    test_rsa_known();
    test_no_keys(session);
    test_pool();
    libssh2_session_free(session);
    libssh2_exit();
    printf("%d checks, %d failures\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
