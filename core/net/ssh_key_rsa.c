/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RSA private keys. BearSSL computes with p, q and the CRT values alone and takes any; so what it
 * is given is checked here: n is p times q, d and the CRT values agree, and a signature by them is
 * verified with n and e.
 */
#include "base/mem.h"

#include "net/ssh_key_priv.h"

#include "base/err.h"

#include <bearssl_rsa.h>
#include <stdint.h>

/* Numbers of a factor's size: little-endian limbs, one bit to spare for doubling. */
#define LIMBS (SSH_RSA_FACTOR_MAX / 4 + 1)

static void number_load(uint32_t *x, size_t limbs, struct ssh_span bytes)
{
    memset(x, 0, limbs * sizeof *x);
    for (size_t i = 0; i < bytes.len; i++)
        x[i / 4] |= (uint32_t)bytes.data[bytes.len - 1 - i] << (i % 4 * 8);
}

/* p * q == n, in time that depends on their lengths only */
static bool product_is(struct ssh_span p, struct ssh_span q, struct ssh_span n)
{
    uint32_t a[LIMBS], b[LIMBS], product[2 * LIMBS] = { 0 }, want[2 * LIMBS], differ = 0;

    number_load(a, LIMBS, p);
    number_load(b, LIMBS, q);
    number_load(want, 2 * LIMBS, n);
    for (size_t i = 0; i < LIMBS; i++) {
        uint64_t carry = 0;

        for (size_t j = 0; j < LIMBS; j++) {
            carry += (uint64_t)a[i] * b[j] + product[i + j];
            product[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        product[i + LIMBS] = (uint32_t)carry;
    }
    for (size_t i = 0; i < 2 * LIMBS; i++)
        differ |= product[i] ^ want[i];
    explicit_bzero(a, sizeof a);
    explicit_bzero(b, sizeof b);
    return differ == 0;
}

/* r = 2r + bit, less m where that is not below m; r < m before and after. */
static void step(uint32_t *r, const uint32_t *m, unsigned bit)
{
    uint32_t less[LIMBS], carry = bit;
    uint64_t borrow = 0;

    for (size_t i = 0; i < LIMBS; i++) {
        uint32_t high = r[i] >> 31;

        r[i] = r[i] << 1 | carry;
        carry = high;
        borrow = (uint64_t)r[i] - m[i] - borrow;
        less[i] = (uint32_t)borrow;
        borrow = borrow >> 63;
    }
    uint32_t keep = (uint32_t)0 - (uint32_t)borrow;
    for (size_t i = 0; i < LIMBS; i++)
        r[i] = (r[i] & keep) | (less[i] & ~keep);
    explicit_bzero(less, sizeof less);
}

/* out = d mod (p - 1), for an odd p; bit by bit, in time that depends on the lengths only. */
static void reduce(struct ssh_rsa_factor *out, struct ssh_span d, const struct ssh_rsa_factor *p)
{
    uint32_t r[LIMBS] = { 0 }, m[LIMBS];
    unsigned char bytes[SSH_RSA_FACTOR_MAX];
    size_t skip = 0;

    number_load(m, LIMBS, (struct ssh_span){ p->d, p->len });
    m[0] &= ~(uint32_t)1;
    for (size_t i = 0; i < d.len * 8; i++)
        step(r, m, d.data[i / 8] >> (7 - i % 8) & 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[sizeof bytes - 1 - i] = (unsigned char)(r[i / 4] >> (i % 4 * 8));
    while (skip < sizeof bytes && bytes[skip] == 0)
        skip++;
    out->len = sizeof bytes - skip;
    memcpy(out->d, bytes + skip, out->len);
    explicit_bzero(r, sizeof r);
    explicit_bzero(m, sizeof m);
    explicit_bzero(bytes, sizeof bytes);
}

static bool factor_set(struct ssh_rsa_factor *f, struct ssh_span s)
{
    if (s.len == 0 || s.len > sizeof f->d)
        return false;
    memcpy(f->d, s.data, s.len);
    f->len = s.len;
    return true;
}

static bool factor_is(const struct ssh_rsa_factor *f, struct ssh_span s)
{
    return s.len == 0 || ssh_span_eq((struct ssh_span){ f->d, f->len }, s);
}

/* Sizes with which nothing can overflow, and without which it is no key of any use. */
static bool sizes_ok(const struct ssh_rsa_parts *k)
{
    unsigned half = ssh_bits(k->n) / 2, p = ssh_bits(k->p), q = ssh_bits(k->q);

    return k->n.data[k->n.len - 1] & 1 && k->p.data[k->p.len - 1] & 1 &&
           k->q.data[k->q.len - 1] & 1 && p >= half - 16 && p <= half + 16 && q >= half - 16 &&
           q <= half + 16 && ssh_bits(k->d) <= ssh_bits(k->n) && ssh_bits(k->qi) <= p &&
           k->e.len <= SSH_RSA_E_MAX && k->e.data[k->e.len - 1] & 1 && ssh_bits(k->e) >= 2;
}

int ssh_rsa_sign(const struct ssh_rsa *rsa, unsigned hash_bits, const unsigned char *hash,
                 unsigned char *sig)
{
    struct ssh_rsa k = *rsa; /* BearSSL's structs have no const */
    size_t hash_len = hash_bits / 8;
    const unsigned char *oid = hash_bits == 512 ? BR_HASH_OID_SHA512 : BR_HASH_OID_SHA256;
    unsigned char signed_hash[64];
    br_rsa_private_key sk = {
        .n_bitlen = k.n_bits,
        .p = k.p.d,
        .plen = k.p.len,
        .q = k.q.d,
        .qlen = k.q.len,
        .dp = k.dp.d,
        .dplen = k.dp.len,
        .dq = k.dq.d,
        .dqlen = k.dq.len,
        .iq = k.qi.d,
        .iqlen = k.qi.len,
    };
    br_rsa_public_key pk = { .n = k.n, .nlen = k.n_len, .e = k.e, .elen = k.e_len };
    bool good = br_rsa_pkcs1_sign_get_default()(oid, hash, hash_len, &sk, sig) &&
                br_rsa_pkcs1_vrfy_get_default()(sig, k.n_len, oid, hash_len, &pk, signed_hash) &&
                memcmp(hash, signed_hash, hash_len) == 0;

    explicit_bzero(&k, sizeof k);
    ssh_wipe_stack();
    if (!good)
        explicit_bzero(sig, rsa->n_len);
    return good ? 0 : -1;
}

int ssh_key_rsa_fill(struct ssh_rsa *rsa, const struct ssh_rsa_parts *k, struct err *err)
{
    static const unsigned char hash[32] = "trial of a key just read";
    unsigned char sig[SSH_RSA_MAX];

    if (!sizes_ok(k) || !factor_set(&rsa->p, k->p) || !factor_set(&rsa->q, k->q) ||
        !factor_set(&rsa->qi, k->qi))
        return err_set(err, ERR_INVALID, "damaged: its RSA numbers have wrong sizes");
    if (!product_is(k->p, k->q, k->n))
        return err_set(err, ERR_INVALID, "damaged: its RSA primes don't give its modulus");
    memcpy(rsa->n, k->n.data, k->n.len);
    rsa->n_len = k->n.len;
    rsa->n_bits = ssh_bits(k->n);
    memcpy(rsa->e, k->e.data, k->e.len);
    rsa->e_len = k->e.len;
    reduce(&rsa->dp, k->d, &rsa->p);
    reduce(&rsa->dq, k->d, &rsa->q);
    if (rsa->dp.len == 0 || rsa->dq.len == 0 || !factor_is(&rsa->dp, k->dp) ||
        !factor_is(&rsa->dq, k->dq))
        return err_set(err, ERR_INVALID, "damaged: its RSA exponents don't fit each other");
    if (ssh_rsa_sign(rsa, 256, hash, sig) != 0)
        return err_set(err, ERR_INVALID,
                       "damaged: its private part doesn't belong to its public part");
    return 0;
}
