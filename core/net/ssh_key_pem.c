/* SPDX-License-Identifier: BSD-2-Clause */
/* The ASN.1 formats: PKCS#1 (RFC 8017, A.1.2), SEC 1 (RFC 5915), PKCS#8 (RFC 5958), PBES2
 * (RFC 8018). */
#include "base/mem.h"

#include "net/ssh_key_der.h"
#include "net/ssh_key_priv.h"

#include "base/err.h"

#define OID(s)                                                                                     \
    {                                                                                              \
        (const unsigned char *)(s), sizeof(s) - 1                                                  \
    }

static const struct ssh_span oid_rsa = OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01");
static const struct ssh_span oid_ec = OID("\x2a\x86\x48\xce\x3d\x02\x01");
static const struct ssh_span oid_ed25519 = OID("\x2b\x65\x70");
static const struct ssh_span oid_pbes2 = OID("\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d");
static const struct ssh_span oid_pbkdf2 = OID("\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c");

static const struct {
    struct ssh_span oid;
    enum ssh_key_type type;
} curves[] = {
    { OID("\x2a\x86\x48\xce\x3d\x03\x01\x07"), SSH_KEY_ECDSA_256 },
    { OID("\x2b\x81\x04\x00\x22"), SSH_KEY_ECDSA_384 },
    { OID("\x2b\x81\x04\x00\x23"), SSH_KEY_ECDSA_521 },
};

static const struct {
    struct ssh_span oid;
    unsigned bits;
} prfs[] = {
    { OID("\x2a\x86\x48\x86\xf7\x0d\x02\x07"), 160 },
    { OID("\x2a\x86\x48\x86\xf7\x0d\x02\x09"), 256 },
    { OID("\x2a\x86\x48\x86\xf7\x0d\x02\x0a"), 384 },
    { OID("\x2a\x86\x48\x86\xf7\x0d\x02\x0b"), 512 },
};

static const struct {
    struct ssh_span oid;
    const char *cipher;
} pbes2_ciphers[] = {
    { OID("\x60\x86\x48\x01\x65\x03\x04\x01\x02"), "aes128-cbc" },
    { OID("\x60\x86\x48\x01\x65\x03\x04\x01\x16"), "aes192-cbc" },
    { OID("\x60\x86\x48\x01\x65\x03\x04\x01\x2a"), "aes256-cbc" },
};

static int damaged(struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "damaged: not %s", what);
}

/* The whole of `der` as one SEQUENCE. */
static bool outer(struct ssh_span der, struct ssh_span *content)
{
    return der_take(&der, DER_SEQUENCE, content) && der.len == 0;
}

int ssh_key_read_pkcs1(struct ssh_key *key, struct ssh_span der, struct err *err)
{
    struct ssh_rsa_parts k;
    struct ssh_span s;
    uint32_t version;

    if (!outer(der, &s) || !der_take_small(&s, 0, &version) || !der_take_number(&s, &k.n) ||
        !der_take_number(&s, &k.e) || !der_take_number(&s, &k.d) || !der_take_number(&s, &k.p) ||
        !der_take_number(&s, &k.q) || !der_take_number(&s, &k.dp) || !der_take_number(&s, &k.dq) ||
        !der_take_number(&s, &k.qi) || s.len != 0)
        return damaged(err, "an RSA key of two primes (PKCS#1)");
    return ssh_key_make_rsa(key, &k, err);
}

static int curve_type(struct ssh_span oid, enum ssh_key_type *type, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        if (ssh_span_eq(oid, curves[i].oid)) {
            *type = curves[i].type;
            return 0;
        }
    }
    err_set(err, ERR_UNPROCESS, "an EC key of a curve that SSH doesn't have");
    return err_hint(err, "make a new one: ssh-keygen -t ed25519");
}

/* ECPrivateKey; `type` comes from around it, or is SSH_KEY_OTHER. */
static int read_ec(struct ssh_key *key, struct ssh_span der, enum ssh_key_type type,
                   struct err *err)
{
    struct ssh_span s, d, q = { NULL, 0 }, box, oid;
    uint32_t version;

    if (!outer(der, &s) || !der_take_small(&s, 1, &version) || version != 1 ||
        !der_take(&s, DER_OCTET_STRING, &d) || d.len == 0)
        return damaged(err, "an EC key (SEC 1)");
    if (der_take(&s, DER_CONTEXT_0, &box)) {
        enum ssh_key_type inner;

        if (!der_take(&box, DER_OID, &oid) || box.len != 0) {
            err_set(err, ERR_UNPROCESS, "an EC key with its curve spelled out instead of named");
            return err_hint(err, "make a new one: ssh-keygen -t ed25519");
        }
        if (curve_type(oid, &inner, err) != 0)
            return -1;
        if (type != SSH_KEY_OTHER && type != inner)
            return damaged(err, "of one curve");
        type = inner;
    }
    if (der_take(&s, DER_CONTEXT_1, &box) &&
        (!der_take_bits(&box, &q) || box.len != 0 || q.len == 0))
        return damaged(err, "an EC key with a public part that makes sense");
    if (s.len != 0 || type == SSH_KEY_OTHER)
        return damaged(err, "an EC key with a curve");
    return ssh_key_make_ec(key, type, d, q, err);
}

int ssh_key_read_sec1(struct ssh_key *key, struct ssh_span der, struct err *err)
{
    return read_ec(key, der, SSH_KEY_OTHER, err);
}

/* The inner part of PKCS#8; `public` is empty where the file has none. */
static int read_pkcs8_key(struct ssh_key *key, struct ssh_span alg, struct ssh_span inner,
                          struct ssh_span public, struct err *err)
{
    struct ssh_span oid, param, seed;
    enum ssh_key_type type;

    if (!der_take(&alg, DER_OID, &oid))
        return damaged(err, "a PKCS#8 key with an algorithm");
    if (ssh_span_eq(oid, oid_rsa))
        return ssh_key_read_pkcs1(key, inner, err);
    if (ssh_span_eq(oid, oid_ec)) {
        if (!der_take(&alg, DER_OID, &param) || alg.len != 0)
            return damaged(err, "an EC key with a named curve");
        return curve_type(param, &type, err) != 0 ? -1 : read_ec(key, inner, type, err);
    }
    if (ssh_span_eq(oid, oid_ed25519)) {
        if (alg.len != 0 || !der_take(&inner, DER_OCTET_STRING, &seed) || inner.len != 0)
            return damaged(err, "an Ed25519 key (RFC 8410)");
        return ssh_key_make_ed25519(key, seed, public, err);
    }
    err_set(err, ERR_UNPROCESS, "a key of a type that the builtin SSH doesn't have");
    return err_hint(err, "make a new one: ssh-keygen -t ed25519");
}

int ssh_key_read_pkcs8(struct ssh_key *key, struct ssh_span der, struct err *err)
{
    struct ssh_span s, alg, inner, attributes, public = { NULL, 0 };
    uint32_t version;

    if (!outer(der, &s) || !der_take_small(&s, 1, &version) || !der_take(&s, DER_SEQUENCE, &alg) ||
        !der_take(&s, DER_OCTET_STRING, &inner))
        return damaged(err, "a PKCS#8 key");
    der_take(&s, DER_CONTEXT_0, &attributes);
    if (version == 1 && der_take(&s, DER_CONTEXT_1_PRIMITIVE, &public)) {
        if (public.len < 2 || public.data[0] != 0)
            return damaged(err, "a PKCS#8 key with a public part that makes sense");
        public.data++;
        public.len--;
    }
    if (s.len != 0)
        return damaged(err, "a PKCS#8 key to its end");
    return read_pkcs8_key(key, alg, inner, public, err);
}

static int unknown_encryption(struct err *err, const char *what)
{
    err_set(err, ERR_UNPROCESS, "encrypted in a way that the builtin SSH can't read (%s)", what);
    return err_hint(err, "rewrite it in OpenSSH's format: ssh-keygen -p -f FILE");
}

static int read_pbkdf2(struct ssh_key_sealed *sealed, struct ssh_span kdf, struct err *err)
{
    struct ssh_span oid, p, salt, prf;
    uint32_t rounds, key_len;

    if (!der_take(&kdf, DER_OID, &oid))
        return damaged(err, "an encrypted PKCS#8 key");
    if (!ssh_span_eq(oid, oid_pbkdf2))
        return unknown_encryption(err, "not PBKDF2");
    if (!der_take(&kdf, DER_SEQUENCE, &p) || kdf.len != 0 ||
        !der_take(&p, DER_OCTET_STRING, &salt) || salt.len > sizeof sealed->salt ||
        !der_take_small(&p, UINT32_MAX, &rounds) || rounds == 0)
        return damaged(err, "PBKDF2 parameters");
    if (rounds > SSH_KEY_PBKDF2_MAX) {
        err_set(err, ERR_UNPROCESS, "encrypted with %lu KDF iterations; at most %d are accepted",
                (unsigned long)rounds, SSH_KEY_PBKDF2_MAX);
        return err_hint(err, "rewrite it in OpenSSH's format: ssh-keygen -p -f FILE");
    }
    if (der_peek(p) == DER_INTEGER &&
        (!der_take_small(&p, 64, &key_len) || key_len != sealed->cipher->key_len))
        return damaged(err, "PBKDF2 parameters");
    sealed->prf_bits = 160; /* the default */
    if (der_take(&p, DER_SEQUENCE, &prf)) {
        sealed->prf_bits = 0;
        if (!der_take(&prf, DER_OID, &oid))
            return damaged(err, "PBKDF2 parameters");
        for (size_t i = 0; i < ARRAY_LEN(prfs); i++) {
            if (ssh_span_eq(oid, prfs[i].oid))
                sealed->prf_bits = prfs[i].bits;
        }
        if (sealed->prf_bits == 0)
            return unknown_encryption(err, "an unusual PRF");
    }
    if (p.len != 0)
        return damaged(err, "PBKDF2 parameters");
    if (salt.len > 0)
        memcpy(sealed->salt, salt.data, salt.len);
    sealed->salt_len = salt.len;
    sealed->rounds = rounds;
    return 0;
}

static int read_pbes2_cipher(struct ssh_key_sealed *sealed, struct ssh_span cipher, struct err *err)
{
    struct ssh_span oid, iv;

    if (!der_take(&cipher, DER_OID, &oid))
        return damaged(err, "an encrypted PKCS#8 key");
    for (size_t i = 0; i < ARRAY_LEN(pbes2_ciphers); i++) {
        const char *name = pbes2_ciphers[i].cipher;

        if (ssh_span_eq(oid, pbes2_ciphers[i].oid))
            sealed->cipher =
                ssh_key_cipher_find((struct ssh_span){ (const unsigned char *)name, strlen(name) });
    }
    if (!sealed->cipher)
        return unknown_encryption(err, "not AES-CBC");
    if (!der_take(&cipher, DER_OCTET_STRING, &iv) || iv.len != sizeof sealed->iv || cipher.len != 0)
        return damaged(err, "AES-CBC parameters");
    memcpy(sealed->iv, iv.data, iv.len);
    return 0;
}

int ssh_key_read_pbes2(struct ssh_key *key, struct ssh_span der, struct err *err)
{
    struct ssh_span s, alg, oid, params, kdf, cipher, data;
    struct ssh_key_sealed *sealed;

    if (!outer(der, &s) || !der_take(&s, DER_SEQUENCE, &alg) || !der_take(&alg, DER_OID, &oid) ||
        !der_take(&s, DER_OCTET_STRING, &data) || s.len != 0)
        return damaged(err, "an encrypted PKCS#8 key");
    if (!ssh_span_eq(oid, oid_pbes2))
        return unknown_encryption(err, "not PBES2");
    if (!der_take(&alg, DER_SEQUENCE, &params) || alg.len != 0 ||
        !der_take(&params, DER_SEQUENCE, &kdf) || !der_take(&params, DER_SEQUENCE, &cipher) ||
        params.len != 0)
        return damaged(err, "an encrypted PKCS#8 key");
    sealed = key->sealed = mem_alloc(sizeof *sealed);
    sealed->format = SSH_FORMAT_PKCS8;
    sealed->kdf = SSH_KDF_PBKDF2;
    if (read_pbes2_cipher(sealed, cipher, err) != 0 || read_pbkdf2(sealed, kdf, err) != 0)
        return -1;
    if (data.len == 0 || data.len % 16 != 0)
        return damaged(err, "whole AES blocks");
    sealed->data = mem_dup(data.data, data.len);
    sealed->len = data.len;
    return 0;
}

int ssh_key_read_plain(struct ssh_key *key, enum ssh_key_format format, struct ssh_span plain,
                       struct err *err)
{
    struct ssh_cursor c = ssh_cursor(plain.data, plain.len);
    struct ssh_span s;

    if (format == SSH_FORMAT_OPENSSH) {
        uint32_t check = ssh_get_u32(&c);

        if (ssh_get_u32(&c) != check || c.bad)
            return err_set(err, ERR_UNAUTH, "wrong passphrase");
        return ssh_key_read_openssh_private(key, plain, err);
    }
    if (!outer(plain, &s))
        return err_set(err, ERR_UNAUTH, "wrong passphrase");
    switch (format) {
    case SSH_FORMAT_PKCS1:
        return ssh_key_read_pkcs1(key, plain, err);
    case SSH_FORMAT_SEC1:
        return ssh_key_read_sec1(key, plain, err);
    default:
        return ssh_key_read_pkcs8(key, plain, err);
    }
}
