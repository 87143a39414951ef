/* SPDX-License-Identifier: BSD-2-Clause */
/* From the numbers in a file, whatever its format, to a key whose parts belong together. */
#include "base/mem.h"

#include "net/ssh_key_priv.h"

#include "base/buf.h"
#include "base/err.h"

#include <bearssl_ec.h>
#include <sodium/crypto_sign_ed25519.h>

unsigned ssh_bits(struct ssh_span number)
{
    unsigned bits = number.len > 0 ? ((unsigned)number.len - 1) * 8 : 0;

    for (unsigned top = number.len > 0 ? number.data[0] : 0; top != 0; top >>= 1)
        bits++;
    return bits;
}

int ssh_key_curve(enum ssh_key_type type, size_t *bytes)
{
    switch (type) {
    case SSH_KEY_ECDSA_256:
        *bytes = 32;
        return BR_EC_secp256r1;
    case SSH_KEY_ECDSA_384:
        *bytes = 48;
        return BR_EC_secp384r1;
    case SSH_KEY_ECDSA_521:
        *bytes = 66;
        return BR_EC_secp521r1;
    default:
        *bytes = 0;
        return 0;
    }
}

/* Takes the blob for the key's own, or compares it with the one that the file began with. */
static int set_public(struct ssh_key *key, enum ssh_key_type type, struct buf *blob,
                      struct err *err)
{
    struct ssh_span computed = { (const unsigned char *)buf_data(blob), buf_len(blob) };
    struct ssh_span known = { key->pub, key->pub_len };

    if (key->pub && !ssh_span_eq(computed, known)) {
        buf_fini(blob);
        return err_set(err, ERR_INVALID,
                       "damaged: its private part doesn't belong to its public part");
    }
    if (!key->pub)
        key->pub = (unsigned char *)buf_take(blob, &key->pub_len);
    key->type = type;
    buf_fini(blob);
    return 0;
}

int ssh_key_make_ed25519(struct ssh_key *key, struct ssh_span seed, struct ssh_span pub,
                         struct err *err)
{
    unsigned char computed[crypto_sign_ed25519_PUBLICKEYBYTES];
    struct buf blob = BUF_INIT;

    if (seed.len != crypto_sign_ed25519_SEEDBYTES)
        return err_set(err, ERR_INVALID, "damaged: an Ed25519 key of %zu bytes instead of %d",
                       seed.len, (int)crypto_sign_ed25519_SEEDBYTES);
    crypto_sign_ed25519_seed_keypair(computed, key->secret.ed25519, seed.data);
    ssh_wipe_stack();
    if (pub.len != 0 && !ssh_span_eq(pub, (struct ssh_span){ computed, sizeof computed }))
        return err_set(err, ERR_INVALID,
                       "damaged: its private part doesn't belong to its public part");
    ssh_put_text(&blob, ssh_key_type_name(SSH_KEY_ED25519));
    ssh_put_string(&blob, computed, sizeof computed);
    return set_public(key, SSH_KEY_ED25519, &blob, err);
}

/* 0 < d < order; bytes long both. In constant time. */
static bool scalar_ok(const unsigned char *d, const unsigned char *order, size_t bytes)
{
    unsigned any = 0, borrow = 0;

    for (size_t i = bytes; i-- > 0;) {
        any |= d[i];
        borrow = (unsigned)(d[i] - order[i] - borrow) >> 31;
    }
    return (any != 0) & borrow;
}

int ssh_key_make_ec(struct ssh_key *key, enum ssh_key_type type, struct ssh_span d,
                    struct ssh_span q, struct err *err)
{
    const br_ec_impl *ec = br_ec_get_default();
    size_t bytes, order_len;
    int curve = ssh_key_curve(type, &bytes);
    const unsigned char *order = ec->order(curve, &order_len);
    unsigned char point[BR_EC_KBUF_PUB_MAX_SIZE];
    struct buf blob = BUF_INIT;

    for (; d.len > bytes && d.data[0] == 0; d.len--)
        d.data++;
    if (d.len > bytes || order_len != bytes)
        return err_set(err, ERR_INVALID, "damaged: its private number is too long");
    memset(key->secret.ec, 0, bytes - d.len);
    memcpy(key->secret.ec + bytes - d.len, d.data, d.len);
    if (!scalar_ok(key->secret.ec, order, bytes))
        return err_set(err, ERR_INVALID, "damaged: its private number is out of range");
    br_ec_private_key sk = { .curve = curve, .x = key->secret.ec, .xlen = bytes };
    size_t len = br_ec_compute_pub(ec, NULL, point, &sk);
    ssh_wipe_stack();
    if (len != 1 + 2 * bytes)
        return err_set(err, ERR_INTERNAL, "cannot compute the public part of the key");
    if (q.len != 0 && !ssh_span_eq(q, (struct ssh_span){ point, len }))
        return err_set(err, ERR_INVALID,
                       "damaged: its private part doesn't belong to its public part");
    const char *name = ssh_key_type_name(type);
    ssh_put_text(&blob, name);
    ssh_put_text(&blob, name + strlen("ecdsa-sha2-"));
    ssh_put_string(&blob, point, len);
    return set_public(key, type, &blob, err);
}

int ssh_key_rsa_size(unsigned bits, struct err *err)
{
    if (bits < SSH_RSA_MIN_BITS) {
        err_set(err, ERR_UNPROCESS, "an RSA key of %u bits is too weak (at least %d)", bits,
                SSH_RSA_MIN_BITS);
        return err_hint(err, "make a new one: ssh-keygen -t ed25519");
    }
    if (bits > SSH_RSA_MAX_BITS) {
        err_set(err, ERR_UNPROCESS, "an RSA key of %u bits is too large for the builtin SSH (%d)",
                bits, SSH_RSA_MAX_BITS);
        return err_hint(err, "use the system's ssh, or an Ed25519 key");
    }
    return 0;
}

int ssh_key_make_rsa(struct ssh_key *key, const struct ssh_rsa_parts *parts, struct err *err)
{
    struct buf blob = BUF_INIT;

    if (ssh_key_rsa_size(ssh_bits(parts->n), err) != 0)
        return -1;
    if (ssh_key_rsa_fill(&key->secret.rsa, parts, err) != 0)
        return -1;
    ssh_put_text(&blob, ssh_key_type_name(SSH_KEY_RSA));
    ssh_put_mpint(&blob, parts->e.data, parts->e.len);
    ssh_put_mpint(&blob, parts->n.data, parts->n.len);
    return set_public(key, SSH_KEY_RSA, &blob, err);
}
