/* SPDX-License-Identifier: BSD-2-Clause */
/* Encrypted private keys: key derivation and AES. BearSSL's 32-bit constant-time code is used for
 * all, because a key file is small. */
#include "base/mem.h"

#include "net/ssh_key_priv.h"

#include "base/err.h"
#include "vendor/libssh2/hive_bcrypt.h"

#include <bearssl_aead.h>
#include <bearssl_block.h>
#include <bearssl_hash.h>
#include <bearssl_hmac.h>
#include <strings.h>

#define BLOCK 16
#define DERIVED_MAX (32 + BLOCK)

static const struct ssh_key_cipher ciphers[] = {
    { "aes256-ctr", NULL, SSH_CIPHER_CTR, 32, 16, 0 },
    { "aes192-ctr", NULL, SSH_CIPHER_CTR, 24, 16, 0 },
    { "aes128-ctr", NULL, SSH_CIPHER_CTR, 16, 16, 0 },
    { "aes256-cbc", "AES-256-CBC", SSH_CIPHER_CBC, 32, 16, 0 },
    { "aes192-cbc", "AES-192-CBC", SSH_CIPHER_CBC, 24, 16, 0 },
    { "aes128-cbc", "AES-128-CBC", SSH_CIPHER_CBC, 16, 16, 0 },
    { "aes256-gcm@openssh.com", NULL, SSH_CIPHER_GCM, 32, 12, 16 },
    { "aes128-gcm@openssh.com", NULL, SSH_CIPHER_GCM, 16, 12, 16 },
};

const struct ssh_key_cipher *ssh_key_cipher_find(struct ssh_span name)
{
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        if (ssh_span_is(name, ciphers[i].name))
            return &ciphers[i];
    }
    return NULL;
}

const struct ssh_key_cipher *ssh_key_cipher_find_dek(struct ssh_span name)
{
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        if (ciphers[i].dek_name && ssh_span_is(name, ciphers[i].dek_name))
            return &ciphers[i];
    }
    return NULL;
}

void ssh_key_sealed_free(struct ssh_key_sealed *sealed)
{
    if (!sealed)
        return;
    ssh_wipe_free(sealed->data, sealed->len);
    ssh_wipe_free(sealed, sizeof *sealed);
}

/* OpenSSL's EVP_BytesToKey with MD5 and one iteration. */
static void kdf_md5(const char *pass, size_t pass_len, const unsigned char salt[8],
                    unsigned char *out, size_t out_len)
{
    unsigned char digest[br_md5_SIZE];
    br_md5_context md5;

    for (size_t done = 0; done < out_len;) {
        br_md5_init(&md5);
        if (done > 0)
            br_md5_update(&md5, digest, sizeof digest);
        br_md5_update(&md5, pass, pass_len);
        br_md5_update(&md5, salt, 8);
        br_md5_out(&md5, digest);
        size_t n = out_len - done < sizeof digest ? out_len - done : sizeof digest;
        memcpy(out + done, digest, n);
        done += n;
    }
    explicit_bzero(digest, sizeof digest);
    explicit_bzero(&md5, sizeof md5);
}

static const br_hash_class *prf_hash(unsigned bits)
{
    switch (bits) {
    case 160:
        return &br_sha1_vtable;
    case 256:
        return &br_sha256_vtable;
    case 384:
        return &br_sha384_vtable;
    default:
        return &br_sha512_vtable;
    }
}

/* RFC 8018, 5.2 */
static void kdf_pbkdf2(const struct ssh_key_sealed *sealed, const char *pass, size_t pass_len,
                       unsigned char *out, size_t out_len)
{
    unsigned char u[64], t[64];
    br_hmac_key_context key;
    br_hmac_context hmac;

    br_hmac_key_init(&key, prf_hash(sealed->prf_bits), pass, pass_len);
    for (size_t done = 0, block = 1; done < out_len; block++) {
        unsigned char number[4] = { 0, 0, 0, (unsigned char)block };

        br_hmac_init(&hmac, &key, 0);
        br_hmac_update(&hmac, sealed->salt, sealed->salt_len);
        br_hmac_update(&hmac, number, sizeof number);
        size_t size = br_hmac_out(&hmac, u);
        memcpy(t, u, size);
        for (unsigned i = 1; i < sealed->rounds; i++) {
            br_hmac_init(&hmac, &key, 0);
            br_hmac_update(&hmac, u, size);
            br_hmac_out(&hmac, u);
            for (size_t j = 0; j < size; j++)
                t[j] ^= u[j];
        }
        size_t n = out_len - done < size ? out_len - done : size;
        memcpy(out + done, t, n);
        done += n;
    }
    explicit_bzero(u, sizeof u);
    explicit_bzero(t, sizeof t);
    explicit_bzero(&key, sizeof key);
    explicit_bzero(&hmac, sizeof hmac);
}

/* derived: the key, then the IV. */
static int derive(const struct ssh_key_sealed *sealed, const char *pass, size_t pass_len,
                  unsigned char derived[DERIVED_MAX], struct err *err)
{
    size_t key_len = sealed->cipher->key_len, iv_len = sealed->cipher->iv_len;

    switch (sealed->kdf) {
    case SSH_KDF_BCRYPT:
        if (pass_len == 0)
            return err_set(err, ERR_UNAUTH, "wrong passphrase (it is empty)");
        if (hive_bcrypt_pbkdf(pass, pass_len, sealed->salt, sealed->salt_len, derived,
                              key_len + iv_len, sealed->rounds) != 0)
            return err_set(err, ERR_INTERNAL, "cannot derive a key from the passphrase");
        return 0;
    case SSH_KDF_MD5:
        kdf_md5(pass, pass_len, sealed->salt, derived, key_len);
        break;
    case SSH_KDF_PBKDF2:
        kdf_pbkdf2(sealed, pass, pass_len, derived, key_len);
        break;
    }
    memcpy(derived + key_len, sealed->iv, iv_len);
    return 0;
}

static void decrypt_ctr(const unsigned char *key, size_t key_len, const unsigned char *iv,
                        unsigned char *data, size_t len)
{
    br_aes_ct_ctr_keys aes;
    unsigned char counter[BLOCK];

    memcpy(counter, iv, BLOCK);
    br_aes_ct_ctr_init(&aes, key, key_len);
    /* A block at a time: BearSSL counts in 32 bits, OpenSSH in 128. */
    for (size_t at = 0; at < len; at += BLOCK) {
        uint32_t low = (uint32_t)counter[12] << 24 | (uint32_t)counter[13] << 16 |
                       (uint32_t)counter[14] << 8 | counter[15];

        br_aes_ct_ctr_run(&aes, counter, low, data + at, BLOCK);
        for (size_t i = BLOCK; i-- > 0 && ++counter[i] == 0;)
            ;
    }
    explicit_bzero(&aes, sizeof aes);
}

static bool decrypt_gcm(const unsigned char *key, size_t key_len, const unsigned char *iv,
                        size_t iv_len, unsigned char *data, size_t len, const unsigned char *tag)
{
    br_aes_ct_ctr_keys aes;
    br_gcm_context gcm;

    br_aes_ct_ctr_init(&aes, key, key_len);
    br_gcm_init(&gcm, &aes.vtable, br_ghash_ctmul32);
    br_gcm_reset(&gcm, iv, iv_len);
    br_gcm_flip(&gcm);
    br_gcm_run(&gcm, 0, data, len);
    bool good = br_gcm_check_tag(&gcm, tag) != 0;
    explicit_bzero(&aes, sizeof aes);
    explicit_bzero(&gcm, sizeof gcm);
    return good;
}

static void decrypt_cbc(const unsigned char *key, size_t key_len, unsigned char *iv,
                        unsigned char *data, size_t len)
{
    br_aes_ct_cbcdec_keys aes;

    br_aes_ct_cbcdec_init(&aes, key, key_len);
    br_aes_ct_cbcdec_run(&aes, iv, data, len);
    explicit_bzero(&aes, sizeof aes);
}

/* PKCS#7: n bytes of value n at the end. */
static bool strip_padding(const unsigned char *data, size_t *len)
{
    unsigned n = data[*len - 1];

    if (n == 0 || n > BLOCK || n > *len)
        return false;
    for (size_t i = 1; i <= n; i++) {
        if (data[*len - i] != n)
            return false;
    }
    *len -= n;
    return true;
}

int ssh_key_unseal(const struct ssh_key_sealed *sealed, const char *pass, size_t pass_len,
                   unsigned char *out, size_t *out_len, struct err *err)
{
    const struct ssh_key_cipher *cipher = sealed->cipher;
    unsigned char derived[DERIVED_MAX];
    size_t len = sealed->len - cipher->tag_len;
    bool good = true;

    if (derive(sealed, pass, pass_len, derived, err) != 0)
        return -1;
    unsigned char *iv = derived + cipher->key_len;
    memcpy(out, sealed->data, len);
    switch (cipher->mode) {
    case SSH_CIPHER_CTR:
        decrypt_ctr(derived, cipher->key_len, iv, out, len);
        break;
    case SSH_CIPHER_CBC:
        decrypt_cbc(derived, cipher->key_len, iv, out, len);
        if (sealed->format != SSH_FORMAT_OPENSSH)
            good = strip_padding(out, &len);
        break;
    case SSH_CIPHER_GCM:
        good =
            decrypt_gcm(derived, cipher->key_len, iv, cipher->iv_len, out, len, sealed->data + len);
        break;
    }
    explicit_bzero(derived, sizeof derived);
    ssh_wipe_stack();
    if (!good)
        return err_set(err, ERR_UNAUTH, "wrong passphrase");
    *out_len = len;
    return 0;
}
