/* SPDX-License-Identifier: BSD-2-Clause */
/* OpenSSH's own file format: PROTOCOL.key of its source. */
#include "base/mem.h"

#include "net/ssh_key_priv.h"

#include "base/err.h"
#include "base/str.h"

#define MAGIC "openssh-key-v1" /* with its NUL */
#define BLOCK 16u

static int damaged(struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "damaged: %s", what);
}

/* The public key in clear at the front: its type decides whether the rest is worth a look. */
static int take_public(struct ssh_key *key, struct ssh_span blob, struct err *err)
{
    struct ssh_pubkey pub;

    if (ssh_pubkey_parse(blob, (struct ssh_span){ NULL, 0 }, &pub, err) != 0)
        return err_prefix(err, "damaged");
    if (pub.type == SSH_KEY_OTHER) {
        if (ssh_key_refuse_type((struct ssh_span){ (unsigned char *)pub.name, strlen(pub.name) },
                                err) == 0) {
            err_set(err, ERR_UNPROCESS, "%s", pub.why_not);
            err_hint(err, "use the system's ssh, or make a new key: ssh-keygen -t ed25519");
        }
        ssh_pubkey_fini(&pub);
        return -1;
    }
    key->type = pub.type;
    key->pub = pub.blob;
    key->pub_len = pub.blob_len;
    pub.blob = NULL;
    ssh_pubkey_fini(&pub);
    return 0;
}

static int read_kdf(struct ssh_key_sealed *sealed, struct ssh_span options, struct err *err)
{
    struct ssh_cursor c = ssh_cursor(options.data, options.len);
    struct ssh_span salt = ssh_get_string(&c);
    uint32_t rounds = ssh_get_u32(&c);

    if (!ssh_cursor_done(&c) || salt.len == 0 || salt.len > sizeof sealed->salt || rounds == 0)
        return damaged(err, "its KDF options make no sense");
    if (rounds > SSH_KEY_BCRYPT_MAX) {
        err_set(err, ERR_UNPROCESS, "encrypted with %lu KDF rounds; at most %d are accepted",
                (unsigned long)rounds, SSH_KEY_BCRYPT_MAX);
        return err_hint(err, "set fewer: ssh-keygen -p -a 100 -f FILE");
    }
    memcpy(sealed->salt, salt.data, salt.len);
    sealed->salt_len = salt.len;
    sealed->rounds = rounds;
    return 0;
}

static int seal(struct ssh_key *key, struct ssh_span cipher, struct ssh_span kdf,
                struct ssh_span options, struct ssh_span data, struct ssh_span tag, struct err *err)
{
    struct ssh_key_sealed *sealed = mem_alloc(sizeof *sealed);

    key->sealed = sealed;
    sealed->format = SSH_FORMAT_OPENSSH;
    sealed->kdf = SSH_KDF_BCRYPT;
    sealed->cipher = ssh_key_cipher_find(cipher);
    if (!sealed->cipher) {
        char *name = mem_strndup((const char *)cipher.data, cipher.len < 64 ? cipher.len : 64);
        char *shown = str_safe(name);

        err_set(err, ERR_UNPROCESS, "encrypted with %s, which the builtin SSH can't read", shown);
        free(name);
        free(shown);
        return err_hint(err, "encrypt it again: ssh-keygen -p -Z aes256-ctr -f FILE");
    }
    if (!ssh_span_is(kdf, "bcrypt"))
        return damaged(err, "an unknown KDF");
    if (data.len == 0 || data.len % BLOCK != 0 || tag.len != sealed->cipher->tag_len)
        return damaged(err, "its encrypted part has a wrong size");
    sealed->len = data.len + tag.len;
    sealed->data = mem_alloc(sealed->len);
    memcpy(sealed->data, data.data, data.len);
    if (tag.len > 0)
        memcpy(sealed->data + data.len, tag.data, tag.len);
    return read_kdf(sealed, options, err);
}

int ssh_key_read_openssh(struct ssh_key *key, struct ssh_span file, struct err *err)
{
    struct ssh_cursor c = ssh_cursor(file.data, file.len);
    struct ssh_span magic = ssh_get_bytes(&c, sizeof MAGIC);
    struct ssh_span cipher = ssh_get_string(&c), kdf = ssh_get_string(&c);
    struct ssh_span options = ssh_get_string(&c);
    uint32_t count = ssh_get_u32(&c);
    struct ssh_span pub = ssh_get_string(&c), section = ssh_get_string(&c);
    struct ssh_span tag = { c.p, c.left };

    if (c.bad || memcmp(magic.data, MAGIC, sizeof MAGIC) != 0)
        return damaged(err, "it ends too early or isn't an OpenSSH key at all");
    if (count != 1)
        return damaged(err, "it should have exactly one key");
    if (take_public(key, pub, err) != 0)
        return -1;
    if (!ssh_span_is(cipher, "none"))
        return seal(key, cipher, kdf, options, section, tag, err);
    if (!ssh_span_is(kdf, "none") || options.len != 0 || tag.len != 0)
        return damaged(err, "it isn't encrypted but has what only encrypted keys have");
    return ssh_key_read_openssh_private(key, section, err);
}

static int read_ed25519(struct ssh_key *key, struct ssh_cursor *c, struct err *err)
{
    struct ssh_span pub = ssh_get_string(c), secret = ssh_get_string(c);

    if (c->bad || pub.len != 32 || secret.len != 64 ||
        !ssh_span_eq(pub, (struct ssh_span){ secret.data + 32, 32 }))
        return damaged(err, "not an Ed25519 key inside");
    return ssh_key_make_ed25519(key, (struct ssh_span){ secret.data, 32 }, pub, err);
}

static int read_ecdsa(struct ssh_key *key, enum ssh_key_type type, struct ssh_cursor *c,
                      struct err *err)
{
    struct ssh_span curve = ssh_get_string(c), q = ssh_get_string(c), d = ssh_get_mpint(c);

    if (c->bad || q.len == 0 ||
        !ssh_span_is(curve, ssh_key_type_name(type) + strlen("ecdsa-sha2-")))
        return damaged(err, "not an ECDSA key inside");
    return ssh_key_make_ec(key, type, d, q, err);
}

static int read_rsa(struct ssh_key *key, struct ssh_cursor *c, struct err *err)
{
    struct ssh_rsa_parts parts = { 0 };

    parts.n = ssh_get_mpint(c);
    parts.e = ssh_get_mpint(c);
    parts.d = ssh_get_mpint(c);
    parts.qi = ssh_get_mpint(c);
    parts.p = ssh_get_mpint(c);
    parts.q = ssh_get_mpint(c);
    if (c->bad)
        return damaged(err, "not an RSA key inside");
    return ssh_key_make_rsa(key, &parts, err);
}

int ssh_key_read_openssh_private(struct ssh_key *key, struct ssh_span section, struct err *err)
{
    struct ssh_cursor c = ssh_cursor(section.data, section.len);
    uint32_t check1 = ssh_get_u32(&c), check2 = ssh_get_u32(&c);
    enum ssh_key_type type = ssh_key_type_from_name(ssh_get_string(&c));
    int rc;

    if (c.bad || check1 != check2 || section.len % 8 != 0 || type != key->type)
        return damaged(err, "its private part doesn't begin as one");
    switch (type) {
    case SSH_KEY_ED25519:
        rc = read_ed25519(key, &c, err);
        break;
    case SSH_KEY_RSA:
        rc = read_rsa(key, &c, err);
        break;
    case SSH_KEY_ECDSA_256:
    case SSH_KEY_ECDSA_384:
    case SSH_KEY_ECDSA_521:
        rc = read_ecdsa(key, type, &c, err);
        break;
    default:
        rc = damaged(err, "an unknown type of key inside");
        break;
    }
    if (rc != 0)
        return -1;
    ssh_get_string(&c); /* comment */
    struct ssh_span padding = ssh_get_bytes(&c, c.left);
    for (size_t i = 0; i < padding.len; i++) {
        if (i >= BLOCK || padding.data[i] != i + 1)
            return damaged(err, "its padding is wrong");
    }
    return c.bad ? damaged(err, "its private part ends too early") : 0;
}
