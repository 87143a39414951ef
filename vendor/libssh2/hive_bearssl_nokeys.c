/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libssh2 on BearSSL: what is left out on purpose. libssh2's own code never sees a private key: its
 * PEM and base64 decoders write past their buffers on crafted files. hive reads keys itself and
 * signs in the callback of libssh2_userauth_publickey(). So everything that would load a key, or
 * sign with one that was loaded, fails here.
 */
#include "libssh2_priv.h"

static int refuse(LIBSSH2_SESSION *session)
{
    return _libssh2_error(session, LIBSSH2_ERROR_METHOD_NOT_SUPPORTED,
                          "Key files are not supported here: sign in a callback");
}

int _libssh2_pub_priv_keyfile(LIBSSH2_SESSION *session, unsigned char **method, size_t *method_len,
                              unsigned char **pubkeydata, size_t *pubkeydata_len,
                              const char *privatekey, const char *passphrase)
{
    (void)method, (void)method_len, (void)pubkeydata, (void)pubkeydata_len;
    (void)privatekey, (void)passphrase;
    return refuse(session);
}

int _libssh2_pub_priv_keyfilememory(LIBSSH2_SESSION *session, unsigned char **method,
                                    size_t *method_len, unsigned char **pubkeydata,
                                    size_t *pubkeydata_len, const char *privatekeydata,
                                    size_t privatekeydata_len, const char *passphrase)
{
    (void)method, (void)method_len, (void)pubkeydata, (void)pubkeydata_len;
    (void)privatekeydata, (void)privatekeydata_len, (void)passphrase;
    return refuse(session);
}

int _libssh2_sk_pub_keyfilememory(LIBSSH2_SESSION *session, unsigned char **method,
                                  size_t *method_len, unsigned char **pubkeydata,
                                  size_t *pubkeydata_len, int *algorithm, unsigned char *flags,
                                  const char **application, const unsigned char **key_handle,
                                  size_t *handle_len, const char *privatekeydata,
                                  size_t privatekeydata_len, const char *passphrase)
{
    (void)method, (void)method_len, (void)pubkeydata, (void)pubkeydata_len, (void)algorithm;
    (void)flags, (void)application, (void)key_handle, (void)handle_len;
    (void)privatekeydata, (void)privatekeydata_len, (void)passphrase;
    return refuse(session);
}

int _libssh2_rsa_new_private(libssh2_rsa_ctx **rsa, LIBSSH2_SESSION *session, const char *filename,
                             const unsigned char *passphrase)
{
    (void)filename, (void)passphrase;
    *rsa = NULL;
    return refuse(session);
}

int _libssh2_rsa_new_private_frommemory(libssh2_rsa_ctx **rsa, LIBSSH2_SESSION *session,
                                        const char *filedata, size_t filedata_len,
                                        const unsigned char *passphrase)
{
    (void)filedata, (void)filedata_len, (void)passphrase;
    *rsa = NULL;
    return refuse(session);
}

int _libssh2_rsa_sha1_sign(LIBSSH2_SESSION *session, libssh2_rsa_ctx *rsactx,
                           const unsigned char *hash, size_t hash_len, unsigned char **signature,
                           size_t *signature_len)
{
    (void)rsactx, (void)hash, (void)hash_len, (void)signature, (void)signature_len;
    return refuse(session);
}

int _libssh2_rsa_sha2_sign(LIBSSH2_SESSION *session, libssh2_rsa_ctx *rsactx,
                           const unsigned char *hash, size_t hash_len, unsigned char **signature,
                           size_t *signature_len)
{
    (void)rsactx, (void)hash, (void)hash_len, (void)signature, (void)signature_len;
    return refuse(session);
}

int _libssh2_ecdsa_new_private(libssh2_ecdsa_ctx **ec_ctx, LIBSSH2_SESSION *session,
                               const char *filename, const unsigned char *passphrase)
{
    (void)filename, (void)passphrase;
    *ec_ctx = NULL;
    return refuse(session);
}

int _libssh2_ecdsa_new_private_frommemory(libssh2_ecdsa_ctx **ec_ctx, LIBSSH2_SESSION *session,
                                          const char *filedata, size_t filedata_len,
                                          const unsigned char *passphrase)
{
    (void)filedata, (void)filedata_len, (void)passphrase;
    *ec_ctx = NULL;
    return refuse(session);
}

int _libssh2_ecdsa_sign(LIBSSH2_SESSION *session, libssh2_ecdsa_ctx *ec_ctx,
                        const unsigned char *hash, size_t hash_len, unsigned char **signature,
                        size_t *signature_len)
{
    (void)ec_ctx, (void)hash, (void)hash_len, (void)signature, (void)signature_len;
    return refuse(session);
}

int _libssh2_ed25519_new_private(libssh2_ed25519_ctx **ed_ctx, LIBSSH2_SESSION *session,
                                 const char *filename, const uint8_t *passphrase)
{
    (void)filename, (void)passphrase;
    *ed_ctx = NULL;
    return refuse(session);
}

int _libssh2_ed25519_new_private_frommemory(libssh2_ed25519_ctx **ed_ctx, LIBSSH2_SESSION *session,
                                            const char *filedata, size_t filedata_len,
                                            const unsigned char *passphrase)
{
    (void)filedata, (void)filedata_len, (void)passphrase;
    *ed_ctx = NULL;
    return refuse(session);
}

int _libssh2_ed25519_sign(libssh2_ed25519_ctx *ctx, LIBSSH2_SESSION *session, uint8_t **out_sig,
                          size_t *out_sig_len, const uint8_t *message, size_t message_len)
{
    (void)ctx, (void)out_sig, (void)out_sig_len, (void)message, (void)message_len;
    return refuse(session);
}

/* Which signatures an RSA *user* key may make (RFC 8332); not SHA-1. */
const char *_libssh2_supported_key_sign_algorithms(LIBSSH2_SESSION *session,
                                                   unsigned char *key_method, size_t key_method_len)
{
    static const char rsa[] = "ssh-rsa", rsa_cert[] = "ssh-rsa-cert-v01@openssh.com";

    (void)session;
    if ((key_method_len == sizeof rsa - 1 && memcmp(key_method, rsa, sizeof rsa - 1) == 0) ||
        (key_method_len == sizeof rsa_cert - 1 &&
         memcmp(key_method, rsa_cert, sizeof rsa_cert - 1) == 0))
        return "rsa-sha2-512,rsa-sha2-256";
    return NULL;
}
