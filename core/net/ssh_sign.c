/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_key_priv.h"
#include "net/ssh_sign.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <bearssl_ec.h>
#include <bearssl_hash.h>
#include <sodium/crypto_sign_ed25519.h>

#define USERAUTH_REQUEST 50 /* RFC 4252, 6 */

static const struct {
    const char *name;
    enum ssh_key_type type;
    unsigned hash_bits; /* Ed25519 hashes by itself */
} algs[SSH_SIGN_ALG_COUNT] = {
    [SSH_SIGN_NONE] = { "", SSH_KEY_OTHER, 0 },
    [SSH_SIGN_ED25519] = { "ssh-ed25519", SSH_KEY_ED25519, 0 },
    [SSH_SIGN_ECDSA_256] = { "ecdsa-sha2-nistp256", SSH_KEY_ECDSA_256, 256 },
    [SSH_SIGN_ECDSA_384] = { "ecdsa-sha2-nistp384", SSH_KEY_ECDSA_384, 384 },
    [SSH_SIGN_ECDSA_521] = { "ecdsa-sha2-nistp521", SSH_KEY_ECDSA_521, 512 },
    [SSH_SIGN_RSA_SHA256] = { "rsa-sha2-256", SSH_KEY_RSA, 256 },
    [SSH_SIGN_RSA_SHA512] = { "rsa-sha2-512", SSH_KEY_RSA, 512 },
};

const char *ssh_sign_alg_name(enum ssh_sign_alg alg)
{
    return (unsigned)alg < SSH_SIGN_ALG_COUNT ? algs[alg].name : "";
}

enum ssh_key_type ssh_sign_alg_key(enum ssh_sign_alg alg)
{
    return (unsigned)alg < SSH_SIGN_ALG_COUNT ? algs[alg].type : SSH_KEY_OTHER;
}

int ssh_sign_alg_parse(struct ssh_span name, enum ssh_sign_alg *alg, struct err *err)
{
    for (unsigned a = SSH_SIGN_NONE + 1; a < SSH_SIGN_ALG_COUNT; a++) {
        if (ssh_span_is(name, algs[a].name)) {
            *alg = (enum ssh_sign_alg)a;
            return 0;
        }
    }
    if (ssh_span_is(name, "ssh-rsa")) {
        err_set(err, ERR_UNPROCESS,
                "the server wants an RSA signature with SHA-1, which is unsafe");
        return err_hint(err, "use an Ed25519 key there: ssh-keygen -t ed25519");
    }
    return err_set(err, ERR_UNPROCESS, "an unknown kind of signature is asked for");
}

/* Is `name` one of the comma separated ones? */
static bool listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        if (strncmp(p, name, len) == 0 && (p[len] == ',' || p[len] == 0))
            return true;
    }
    return false;
}

int ssh_sign_pick(enum ssh_key_type type, const char *server_sig_algs, enum ssh_sign_alg *alg,
                  struct err *err)
{
    if (type == SSH_KEY_RSA) {
        if (!server_sig_algs ||
            (!listed(server_sig_algs, "rsa-sha2-512") && listed(server_sig_algs, "rsa-sha2-256"))) {
            *alg = SSH_SIGN_RSA_SHA256;
            return 0;
        }
        if (listed(server_sig_algs, "rsa-sha2-512")) {
            *alg = SSH_SIGN_RSA_SHA512;
            return 0;
        }
        err_set(err, ERR_UNPROCESS, "the server takes no RSA signatures with SHA-2");
        return err_hint(err, "use an Ed25519 key there: ssh-keygen -t ed25519");
    }
    for (unsigned a = SSH_SIGN_NONE + 1; a < SSH_SIGN_ALG_COUNT; a++) {
        if (algs[a].type == type) {
            *alg = (enum ssh_sign_alg)a;
            return 0;
        }
    }
    return err_set(err, ERR_UNPROCESS, "the builtin SSH can't sign with a key of this type");
}

int ssh_sign_userauth_alg(const void *data, size_t len, enum ssh_sign_alg *alg, struct err *err)
{
    struct ssh_cursor c = ssh_cursor(data, len);
    struct ssh_span session = ssh_get_string(&c);
    uint8_t message = ssh_get_u8(&c);
    struct ssh_span user = ssh_get_string(&c), service = ssh_get_string(&c);
    struct ssh_span method = ssh_get_string(&c);
    uint8_t with_signature = ssh_get_u8(&c);
    struct ssh_span name = ssh_get_string(&c), blob = ssh_get_string(&c);

    if (!ssh_cursor_done(&c) || session.len == 0 || message != USERAUTH_REQUEST || user.len == 0 ||
        !ssh_span_is(service, "ssh-connection") || !ssh_span_is(method, "publickey") ||
        with_signature != 1 || blob.len == 0)
        return err_set(err, ERR_INVALID, "what is to be signed is not a login");
    return ssh_sign_alg_parse(name, alg, err);
}

/* Returns the class, for ECDSA. */
static const br_hash_class *hash(unsigned bits, const void *data, size_t len, unsigned char out[64])
{
    const br_hash_class *class = bits == 256   ? &br_sha256_vtable
                                 : bits == 384 ? &br_sha384_vtable
                                               : &br_sha512_vtable;
    br_hash_compat_context ctx;

    class->init(&ctx.vtable);
    class->update(&ctx.vtable, data, len);
    class->out(&ctx.vtable, out);
    return class;
}

static int sign_ed25519(const struct ssh_key *key, const void *data, size_t len, struct buf *out,
                        struct err *err)
{
    unsigned char sig[crypto_sign_ed25519_BYTES];

    if (crypto_sign_ed25519_detached(sig, NULL, data, len, key->secret.ed25519) != 0)
        return err_set(err, ERR_INTERNAL, "cannot sign with the Ed25519 key");
    ssh_put_string(out, sig, sizeof sig);
    return 0;
}

static int sign_ecdsa(const struct ssh_key *key, unsigned hash_bits, const void *data, size_t len,
                      struct buf *out, struct err *err)
{
    unsigned char digest[64], sig[2 * SSH_EC_MAX], d[SSH_EC_MAX];
    struct buf inner = BUF_INIT;
    size_t bytes;
    int curve = ssh_key_curve(key->type, &bytes);

    memcpy(d, key->secret.ec, bytes); /* BearSSL's struct has no const */
    br_ec_private_key sk = { .curve = curve, .x = d, .xlen = bytes };
    const br_hash_class *class = hash(hash_bits, data, len, digest);
    size_t sig_len = br_ecdsa_sign_raw_get_default()(br_ec_get_default(), class, digest, &sk, sig);
    explicit_bzero(d, sizeof d);
    if (sig_len != 2 * bytes)
        return err_set(err, ERR_INTERNAL, "cannot sign with the ECDSA key");
    ssh_put_mpint(&inner, sig, bytes);
    ssh_put_mpint(&inner, sig + bytes, bytes);
    ssh_put_string(out, buf_data(&inner), buf_len(&inner));
    buf_fini(&inner);
    return 0;
}

static int sign_rsa(const struct ssh_key *key, unsigned hash_bits, const void *data, size_t len,
                    struct buf *out, struct err *err)
{
    unsigned char digest[64], sig[SSH_RSA_MAX];

    hash(hash_bits, data, len, digest);
    if (ssh_rsa_sign(&key->secret.rsa, hash_bits, digest, sig) != 0)
        return err_set(err, ERR_INTERNAL, "cannot sign with the RSA key");
    ssh_put_string(out, sig, key->secret.rsa.n_len);
    return 0;
}

int ssh_sign(const struct ssh_key *key, enum ssh_sign_alg alg, const void *data, size_t len,
             struct buf *out, struct err *err)
{
    struct buf blob = BUF_INIT;
    int rc;

    if (ssh_key_locked(key))
        return err_set(err, ERR_CONFLICT, "%s is locked by a passphrase", ssh_key_name(key));
    if (alg == SSH_SIGN_NONE || ssh_sign_alg_key(alg) != key->type)
        return err_set(err, ERR_INVALID, "%s can't make %s signatures", ssh_key_name(key),
                       ssh_sign_alg_name(alg));
    ssh_put_text(&blob, algs[alg].name);
    if (key->type == SSH_KEY_ED25519)
        rc = sign_ed25519(key, data, len, &blob, err);
    else if (key->type == SSH_KEY_RSA)
        rc = sign_rsa(key, algs[alg].hash_bits, data, len, &blob, err);
    else
        rc = sign_ecdsa(key, algs[alg].hash_bits, data, len, &blob, err);
    ssh_wipe_stack();
    if (rc == 0)
        buf_append(out, buf_data(&blob), buf_len(&blob));
    buf_fini(&blob);
    return rc;
}

static bool ecdsa_form_ok(struct ssh_span sig, enum ssh_key_type type)
{
    struct ssh_cursor c = ssh_cursor(sig.data, sig.len);
    struct ssh_span r = ssh_get_mpint(&c), s = ssh_get_mpint(&c);
    size_t bytes;

    ssh_key_curve(type, &bytes);
    return ssh_cursor_done(&c) && r.len <= bytes && s.len <= bytes;
}

int ssh_sign_split(struct ssh_span blob, enum ssh_sign_alg alg, struct ssh_span *inner,
                   struct err *err)
{
    struct ssh_cursor c = ssh_cursor(blob.data, blob.len);
    struct ssh_span name = ssh_get_string(&c), sig = ssh_get_string(&c);
    bool good;

    if (!ssh_cursor_done(&c))
        return err_set(err, ERR_INVALID, "a malformed signature");
    if (alg == SSH_SIGN_NONE || !ssh_span_is(name, ssh_sign_alg_name(alg)))
        return err_set(err, ERR_INVALID, "a signature of another kind than %s",
                       ssh_sign_alg_name(alg));
    if (alg == SSH_SIGN_ED25519)
        good = sig.len == crypto_sign_ed25519_BYTES;
    else if (ssh_sign_alg_key(alg) == SSH_KEY_RSA)
        good = sig.len > 0 && sig.len <= SSH_RSA_MAX;
    else
        good = ecdsa_form_ok(sig, ssh_sign_alg_key(alg));
    if (!good)
        return err_set(err, ERR_INVALID, "a malformed %s signature", ssh_sign_alg_name(alg));
    *inner = sig;
    return 0;
}
