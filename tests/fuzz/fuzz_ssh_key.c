/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key files. The first byte says what the rest is: a private key file as text, the binary inside of
 * one format (so that the fuzzer needn't learn base64), or a `.pub` file. What is accepted must be
 * whole: it can sign, its public part can be read back, and the passphrase of the corpus is "test1".
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/ssh_key_priv.h"
#include "net/ssh_sign.h"

#include <stdint.h>

#define CHEAP_ROUNDS 4 /* bcrypt; the KDF is not what is tried here */
#define CHEAP_ITERATIONS 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void try_pub(struct ssh_span text)
{
    struct ssh_pubkey pub, again;

    if (ssh_pubkey_parse_text((const char *)text.data, text.len, "f", &pub, NULL) != 0)
        return;
    struct ssh_span blob = { pub.blob, pub.blob_len }, none = { NULL, 0 };
    must(pub.name && pub.comment && (pub.type == SSH_KEY_OTHER) == (pub.why_not != NULL));
    must(ssh_pubkey_parse(blob, none, &again, NULL) == 0 && again.type == pub.type);
    ssh_pubkey_fini(&again);
    ssh_pubkey_fini(&pub);
}

static void try_sign(const struct ssh_key *key)
{
    struct buf sig = BUF_INIT;
    struct ssh_span pub, inner;
    struct ssh_pubkey parsed;
    enum ssh_sign_alg alg;

    must(ssh_key_public(key, &pub));
    must(ssh_pubkey_parse(pub, (struct ssh_span){ NULL, 0 }, &parsed, NULL) == 0);
    must(parsed.type == ssh_key_type(key) && parsed.type != SSH_KEY_OTHER);
    ssh_pubkey_fini(&parsed);
    must(ssh_sign_pick(ssh_key_type(key), NULL, &alg, NULL) == 0);
    must(ssh_sign(key, alg, "x", 1, &sig, NULL) == 0);
    struct ssh_span blob = { (const unsigned char *)buf_data(&sig), buf_len(&sig) };
    must(ssh_sign_split(blob, alg, &inner, NULL) == 0);
    buf_fini(&sig);
}

static void try_key(struct ssh_key *key)
{
    const struct ssh_key_sealed *sealed = key->sealed;

    if (sealed) {
        must(sealed->len > 0 && sealed->cipher && sealed->rounds > 0);
        must(sealed->rounds <=
             (sealed->kdf == SSH_KDF_BCRYPT ? SSH_KEY_BCRYPT_MAX : SSH_KEY_PBKDF2_MAX));
        if (sealed->rounds <= (sealed->kdf == SSH_KDF_BCRYPT ? CHEAP_ROUNDS : CHEAP_ITERATIONS))
            ssh_key_unlock_with(key, "test1", 5, NULL);
    }
    if (!ssh_key_locked(key))
        try_sign(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > SSH_KEY_FILE_MAX)
        return 0;
    struct ssh_span rest = { data + 1, size - 1 };
    struct ssh_key *key = NULL;
    int rc = 0;

    switch (data[0]) {
    case 'p':
        try_pub(rest);
        return 0;
    case 'o':
        key = mem_alloc(sizeof *key);
        rc = ssh_key_read_openssh(key, rest, NULL);
        break;
    case 'r':
        key = mem_alloc(sizeof *key);
        rc = ssh_key_read_pkcs1(key, rest, NULL);
        break;
    case 'e':
        key = mem_alloc(sizeof *key);
        rc = ssh_key_read_sec1(key, rest, NULL);
        break;
    case '8':
        key = mem_alloc(sizeof *key);
        rc = ssh_key_read_pkcs8(key, rest, NULL);
        break;
    case '2':
        key = mem_alloc(sizeof *key);
        rc = ssh_key_read_pbes2(key, rest, NULL);
        break;
    default:
        key = ssh_key_parse((const char *)rest.data, rest.len, "f", NULL);
        break;
    }
    if (key && rc == 0) {
        if (!key->name)
            key->name = mem_strdup("f");
        try_key(key);
    }
    ssh_key_destroy(key);
    return 0;
}
