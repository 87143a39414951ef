/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the socket and libssh2, and the memory that libssh2 uses.
 *
 * libssh2 keeps some of what a server says to itself: whether an exit status came at all (it shows
 * 0 when none did), which ways to log in remain, which signatures are taken, why a channel was
 * refused. And its own parser of "exit-signal" gives out memory that was never written. But every
 * message passes our allocator when libssh2 has done with it, and is read there.
 */
#include "base/mem.h"

#include "base/str.h"
#include "net/ssh_client_priv.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define MSG_EXT_INFO 7
#define MSG_USERAUTH_FAILURE 51
#define MSG_CHANNEL_OPEN_CONFIRMATION 91
#define MSG_CHANNEL_OPEN_FAILURE 92
#define MSG_CHANNEL_REQUEST 98

/* --- memory ------------------------------------------------------------------------------------- */

/* In front of each block. As large as malloc's alignment. */
union block {
    size_t size;
    max_align_t align;
};

static void *block_alloc(size_t size, void **abstract)
{
    union block *b =
        size <= SSH_CLIENT_MEMORY_MAX ? hive_bearssl_alloc(size + sizeof *b, abstract) : NULL;

    if (!b)
        return NULL;
    /* Not everything that libssh2 asks for is written before it is read. */
    memset(b + 1, 0, size);
    b->size = size;
    return b + 1;
}

static void look_at(struct ssh_client *c, const unsigned char *data, size_t len)
{
    if (len == 0)
        return;
    switch (data[0]) {
    case MSG_EXT_INFO:
    case MSG_USERAUTH_FAILURE:
        client_auth_message(c, data, len);
        break;
    case MSG_CHANNEL_OPEN_CONFIRMATION:
    case MSG_CHANNEL_OPEN_FAILURE:
    case MSG_CHANNEL_REQUEST:
        client_channel_message(c, data, len);
        break;
    default:
        break;
    }
}

static void block_free(void *data, void **abstract)
{
    union block *b = data;

    if (!b)
        return;
    look_at(*abstract, data, b[-1].size);
    hive_bearssl_free(b - 1, abstract);
}

static void *block_realloc(void *data, size_t size, void **abstract)
{
    union block *b = data;

    if (!b)
        return block_alloc(size, abstract);
    if (size > SSH_CLIENT_MEMORY_MAX)
        return NULL;
    b = hive_bearssl_realloc(b - 1, size + sizeof *b, abstract);
    if (!b)
        return NULL;
    b->size = size;
    return b + 1;
}

void *client_lib_alloc(struct ssh_client *c, size_t size)
{
    return block_alloc(size, libssh2_session_abstract(c->session));
}

/* --- libssh2's callbacks ------------------------------------------------------------------------ */

static ssize_t lib_recv(libssh2_socket_t fd, void *out, size_t len, int flags, void **abstract)
{
    struct ssh_client *c = *abstract;
    size_t n = c->released < len ? c->released : len;

    (void)fd;
    (void)flags;
    if (c->cut)
        return -EPIPE;
    /* The end isn't told here: libssh2 would forget what it has read and not yet given out. */
    if (n == 0)
        return -EAGAIN;
    memcpy(out, buf_data(&c->in), n);
    buf_consume(&c->in, n);
    c->released -= n;
    return (ssize_t)n;
}

static ssize_t lib_send(libssh2_socket_t fd, const void *data, size_t len, int flags,
                        void **abstract)
{
    struct ssh_client *c = *abstract;

    (void)fd;
    (void)flags;
    if (buf_len(&c->out) + len > CLIENT_OUT_MAX)
        c->flooded = true;
    if (c->cut || c->flooded)
        return -EPIPE;
    buf_append(&c->out, data, len);
    return (ssize_t)len;
}

static void lib_disconnected(LIBSSH2_SESSION *session, int reason, const char *message,
                             int message_len, const char *language, int language_len,
                             void **abstract)
{
    struct ssh_client *c = *abstract;

    (void)session;
    (void)reason;
    (void)language;
    (void)language_len;
    c->disconnected = true;
    buf_clear(&c->last_words);
    if (message && message_len > 0)
        str_append_safe(&c->last_words, message, message_len < 200 ? (size_t)message_len : 200);
}

/* --- sessions ----------------------------------------------------------------------------------- */

static int set_methods(struct ssh_client *c)
{
    static const struct {
        int lib;
        enum ssh_method method;
    } all[] = {
        { LIBSSH2_METHOD_KEX, SSH_METHOD_KEX },
        { LIBSSH2_METHOD_HOSTKEY, SSH_METHOD_HOST_KEY },
        { LIBSSH2_METHOD_CRYPT_CS, SSH_METHOD_CIPHER },
        { LIBSSH2_METHOD_CRYPT_SC, SSH_METHOD_CIPHER },
        { LIBSSH2_METHOD_MAC_CS, SSH_METHOD_MAC },
        { LIBSSH2_METHOD_MAC_SC, SSH_METHOD_MAC },
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (libssh2_session_method_pref(c->session, all[i].lib, c->offer[all[i].method]) != 0)
            return -1;
    return 0;
}

int client_session_create(struct ssh_client *c, struct err *err)
{
    c->pool.limit = SSH_CLIENT_MEMORY_MAX;
    c->session = libssh2_session_init_ex(block_alloc, block_free, block_realloc, c);
    if (!c->session)
        return err_set(err, ERR_INTERNAL, "no SSH session");
    libssh2_session_set_blocking(c->session, 0);
    libssh2_session_callback_set2(c->session, LIBSSH2_CALLBACK_RECV,
                                  (libssh2_cb_generic *)lib_recv);
    libssh2_session_callback_set2(c->session, LIBSSH2_CALLBACK_SEND,
                                  (libssh2_cb_generic *)lib_send);
    libssh2_session_callback_set2(c->session, LIBSSH2_CALLBACK_DISCONNECT,
                                  (libssh2_cb_generic *)lib_disconnected);
    libssh2_session_banner_set(c->session, "SSH-2.0-hive");
    if (set_methods(c) != 0)
        return err_set(err, ERR_INTERNAL, "libssh2 lacks a method that hive uses");
    /* Of RSA signatures: none with SHA-1 */
    libssh2_session_method_pref(c->session, LIBSSH2_METHOD_SIGN_ALGO, "rsa-sha2-512,rsa-sha2-256");
    return 0;
}

void client_session_destroy(struct ssh_client *c)
{
    c->cut = true;
    if (c->session) {
        /* It stops where it would wait, and nothing makes it wait now; but it isn't ours. */
        for (int i = 0; i < 100 && libssh2_session_free(c->session) == LIBSSH2_ERROR_EAGAIN; i++)
            ;
        c->session = NULL;
    }
    hive_bearssl_pool_fini(&c->pool);
}

/* --- the socket --------------------------------------------------------------------------------- */

void client_receive(struct ssh_client *c)
{
    while (buf_len(&c->in) < CLIENT_IN_MAX) {
        size_t room = CLIENT_IN_MAX - buf_len(&c->in);
        ssize_t n = recv(c->fd, buf_reserve(&c->in, room), room, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN))
            return;
        if (n <= 0) {
            c->io_errno = n < 0 ? errno : 0;
            c->peer_eof = true;
            return;
        }
        buf_added(&c->in, (size_t)n);
        c->heard_ns = ev_now_ns(c->loop);
        c->heard = true;
    }
}

void client_flush(struct ssh_client *c)
{
    while (buf_len(&c->out) > 0 && c->fd >= 0) {
        ssize_t n = send(c->fd, buf_data(&c->out), buf_len(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN))
            return;
        if (n < 0) {
            /* What the peer said before may still be there to be read. */
            c->io_errno = errno;
            buf_clear(&c->out);
            return;
        }
        buf_consume(&c->out, (size_t)n);
    }
}
