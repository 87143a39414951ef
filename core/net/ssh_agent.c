/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_agent.h"

#include "base/clock.h"
#include "base/err.h"
#include "net/sock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* draft-miller-ssh-agent, 5.1 and 5.3 */
#define MSG_FAILURE 5
#define MSG_REQUEST_IDENTITIES 11
#define MSG_IDENTITIES_ANSWER 12
#define MSG_SIGN_REQUEST 13
#define MSG_SIGN_RESPONSE 14
#define FLAG_RSA_SHA2_256 2
#define FLAG_RSA_SHA2_512 4

#define HEAD 4 /* bytes of the length in front */

/* --- protocol ----------------------------------------------------------------------------------- */

void ssh_agent_keys_fini(struct ssh_agent_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        ssh_pubkey_fini(&keys->key[i]);
    MEM_FREE(keys->key);
    keys->count = 0;
}

void ssh_agent_put_list(struct buf *out)
{
    ssh_put_u32(out, 1);
    buf_append_char(out, MSG_REQUEST_IDENTITIES);
}

static uint32_t sign_flags(enum ssh_sign_alg alg)
{
    if (alg == SSH_SIGN_RSA_SHA256)
        return FLAG_RSA_SHA2_256;
    return alg == SSH_SIGN_RSA_SHA512 ? FLAG_RSA_SHA2_512 : 0;
}

int ssh_agent_put_sign(struct buf *out, struct ssh_span key_blob, enum ssh_sign_alg alg,
                       const void *data, size_t len, struct err *err)
{
    size_t around = 1 + 4 + 4 + 4;

    if (key_blob.len > SSH_PUBKEY_MAX || len > SSH_AGENT_REPLY_MAX - around - key_blob.len)
        return err_set(err, ERR_TOO_LARGE, "too much for the SSH agent to sign (%zu bytes)", len);
    ssh_put_u32(out, (uint32_t)(around + key_blob.len + len));
    buf_append_char(out, MSG_SIGN_REQUEST);
    ssh_put_string(out, key_blob.data, key_blob.len);
    ssh_put_string(out, data, len);
    ssh_put_u32(out, sign_flags(alg));
    return 0;
}

void ssh_agent_reader_fini(struct ssh_agent_reader *r)
{
    buf_fini(&r->in);
    r->bad = false;
}

struct ssh_span ssh_agent_reader_message(const struct ssh_agent_reader *r)
{
    return (struct ssh_span){ (const unsigned char *)buf_data(&r->in) + HEAD,
                              buf_len(&r->in) - HEAD };
}

/* Bytes of the message with its head; 0 while the head isn't complete. */
static size_t message_size(const struct ssh_agent_reader *r)
{
    struct ssh_cursor c = ssh_cursor(buf_data(&r->in), buf_len(&r->in));
    uint32_t len = ssh_get_u32(&c);

    return c.bad ? 0 : (size_t)len + HEAD;
}

enum ssh_agent_event ssh_agent_reader_feed(struct ssh_agent_reader *r, const void *data, size_t len,
                                           size_t *used, struct err *err)
{
    const char *p = data;
    size_t size = message_size(r);

    *used = 0;
    if (size != 0 && buf_len(&r->in) == size)
        buf_clear(&r->in); /* the last one was complete */
    while (!r->bad) {
        size = message_size(r);
        if (size != 0 && (size == HEAD || size > HEAD + SSH_AGENT_REPLY_MAX)) {
            r->bad = true;
            break;
        }
        if (size != 0 && buf_len(&r->in) == size)
            return SSH_AGENT_REPLY;
        size_t want = (size != 0 ? size : HEAD) - buf_len(&r->in), have = len - *used;
        if (have == 0)
            return SSH_AGENT_MORE;
        buf_append(&r->in, p + *used, have < want ? have : want);
        *used += have < want ? have : want;
    }
    err_set(err, ERR_INVALID,
            "the SSH agent answered with a message that is empty or over %zu bytes",
            SSH_AGENT_REPLY_MAX);
    return SSH_AGENT_BAD;
}

/* Takes the type of the message. */
static int expect(struct ssh_cursor *c, uint8_t type, struct err *err)
{
    uint8_t got = ssh_get_u8(c);

    if (c->bad || (got != type && got != MSG_FAILURE))
        return err_set(err, ERR_INVALID, "the SSH agent answered something else than was asked");
    if (got == MSG_FAILURE) {
        err_set(err, ERR_DENIED, "the SSH agent refused");
        return err_hint(err, "ssh-add -l shows what it holds; it may be locked, or have asked you");
    }
    return 0;
}

/* A key whose blob makes no sense is kept as one that can't be used. */
static void odd_key(struct ssh_pubkey *key, struct ssh_span blob)
{
    *key = (struct ssh_pubkey){
        .type = SSH_KEY_OTHER,
        .name = mem_strdup("unknown"),
        .comment = mem_strdup(""),
        .why_not = mem_strdup("the SSH agent describes it in a way that makes no sense"),
        .blob = mem_dup(blob.data, blob.len),
        .blob_len = blob.len,
    };
}

int ssh_agent_parse_keys(struct ssh_span message, struct ssh_agent_keys *keys, struct err *err)
{
    struct ssh_cursor c = ssh_cursor(message.data, message.len);
    struct ssh_agent_keys list = { NULL, 0 };

    if (expect(&c, MSG_IDENTITIES_ANSWER, err) != 0)
        return -1;
    uint32_t count = ssh_get_u32(&c);
    if (!c.bad && count > SSH_AGENT_KEYS_MAX)
        return err_set(err, ERR_TOO_LARGE, "the SSH agent lists %lu keys (at most %d)",
                       (unsigned long)count, SSH_AGENT_KEYS_MAX);
    if (c.bad || count > c.left / 8) /* two lengths each */
        return err_set(err, ERR_INVALID, "the SSH agent's list of keys is malformed");
    list.key = mem_alloc_array(count, sizeof *list.key);
    for (uint32_t i = 0; i < count && !c.bad; i++) {
        struct ssh_span blob = ssh_get_string(&c), comment = ssh_get_string(&c);

        if (c.bad)
            break;
        if (ssh_pubkey_parse(blob, comment, &list.key[list.count], NULL) != 0)
            odd_key(&list.key[list.count], blob);
        list.count++;
    }
    if (!ssh_cursor_done(&c)) {
        ssh_agent_keys_fini(&list);
        return err_set(err, ERR_INVALID, "the SSH agent's list of keys is malformed");
    }
    *keys = list;
    return 0;
}

int ssh_agent_parse_signature(struct ssh_span message, enum ssh_sign_alg alg,
                              struct ssh_span *signature, struct err *err)
{
    struct ssh_cursor c = ssh_cursor(message.data, message.len);
    struct ssh_span blob, inner;

    if (expect(&c, MSG_SIGN_RESPONSE, err) != 0)
        return -1;
    blob = ssh_get_string(&c);
    if (!ssh_cursor_done(&c))
        return err_set(err, ERR_INVALID, "the SSH agent's signature is malformed");
    if (ssh_sign_split(blob, alg, &inner, err) != 0)
        return err_prefix(err, "the SSH agent made");
    *signature = blob;
    return 0;
}

/* --- connection --------------------------------------------------------------------------------- */

struct ssh_agent {
    int fd; /* -1 after a failure */
    struct ssh_agent_reader reader;
};

struct ssh_agent *ssh_agent_open(const char *path, int64_t timeout_ns, struct err *err)
{
    if (!path || !*path) {
        err_set(err, ERR_NOT_FOUND, "no SSH agent: SSH_AUTH_SOCK is not set");
        err_hint(err, "start one: eval \"$(ssh-agent)\" && ssh-add");
        return NULL;
    }
    int fd = sock_connect_unix(path, SOCK_STREAM, timeout_ns, err);
    if (fd < 0) {
        err_prefix(err, "SSH agent");
        err_hint(err, "SSH_AUTH_SOCK names a socket that no agent answers at");
        return NULL;
    }
    struct ssh_agent *agent = mem_alloc(sizeof *agent);
    agent->fd = fd;
    return agent;
}

void ssh_agent_close(struct ssh_agent *agent)
{
    if (!agent)
        return;
    if (agent->fd >= 0)
        close(agent->fd);
    ssh_agent_reader_fini(&agent->reader);
    free(agent);
}

static int wait_for(int fd, short events, int64_t until, struct err *err)
{
    for (;;) {
        int64_t left = until - clock_mono_ns(&clock_system);
        struct pollfd p = { .fd = fd, .events = events };

        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, "the SSH agent did not answer in time");
        struct timespec ts = { .tv_sec = (time_t)(left / NS_PER_S),
                               .tv_nsec = (long)(left % NS_PER_S) };
        int n = ppoll(&p, 1, &ts, NULL);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_sys(err, errno, "cannot wait for the SSH agent");
    }
}

static int send_all(int fd, const struct buf *out, int64_t until, struct err *err)
{
    for (size_t done = 0; done < buf_len(out);) {
        ssize_t n =
            send(fd, buf_data(out) + done, buf_len(out) - done, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0)
            done += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            return err_sys(err, errno, "cannot write to the SSH agent");
        else if (wait_for(fd, POLLOUT, until, err) != 0)
            return -1;
    }
    return 0;
}

static int receive(struct ssh_agent *agent, int64_t until, struct err *err)
{
    char in[16384];

    for (;;) {
        size_t used;
        ssize_t n = recv(agent->fd, in, sizeof in, MSG_DONTWAIT);

        if (n == 0)
            return err_set(err, ERR_IO, "the SSH agent closed the connection");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_sys(err, errno, "cannot read from the SSH agent");
        if (n < 0) {
            if (wait_for(agent->fd, POLLIN, until, err) != 0)
                return -1;
            continue;
        }
        /* A sender who never pauses must not get past the time limit. */
        if (clock_mono_ns(&clock_system) >= until)
            return err_set(err, ERR_TIMEOUT, "the SSH agent did not answer in time");
        switch (ssh_agent_reader_feed(&agent->reader, in, (size_t)n, &used, err)) {
        case SSH_AGENT_BAD:
            return -1;
        case SSH_AGENT_REPLY:
            if (used != (size_t)n)
                return err_set(err, ERR_INVALID, "the SSH agent answered more than was asked");
            return 0;
        case SSH_AGENT_MORE:
            break;
        }
    }
}

/* Sends `out` and frees it. The answer is in the reader. */
static int exchange(struct ssh_agent *agent, struct buf *out, int64_t timeout_ns, struct err *err)
{
    int64_t until;
    int rc = -1;

    if (__builtin_add_overflow(clock_mono_ns(&clock_system), timeout_ns, &until))
        until = INT64_MAX;
    if (agent->fd < 0)
        err_set(err, ERR_UNAVAILABLE, "the connection to the SSH agent has failed before");
    else if (send_all(agent->fd, out, until, err) == 0)
        rc = receive(agent, until, err);
    buf_fini(out);
    return rc;
}

/* After a failure nobody knows where the next answer would begin. */
static int give_up(struct ssh_agent *agent)
{
    if (agent->fd >= 0)
        close(agent->fd);
    agent->fd = -1;
    return -1;
}

int ssh_agent_list(struct ssh_agent *agent, int64_t timeout_ns, struct ssh_agent_keys *keys,
                   struct err *err)
{
    struct buf out = BUF_INIT;
    struct err why = ERR_INIT;

    ssh_agent_put_list(&out);
    if (exchange(agent, &out, timeout_ns, &why) == 0 &&
        ssh_agent_parse_keys(ssh_agent_reader_message(&agent->reader), keys, &why) == 0)
        return 0;
    if (err)
        *err = why;
    return why.kind == ERR_DENIED ? -1 : give_up(agent);
}

int ssh_agent_sign(struct ssh_agent *agent, struct ssh_span key_blob, enum ssh_sign_alg alg,
                   const void *data, size_t len, int64_t timeout_ns, struct buf *sig,
                   struct err *err)
{
    struct buf out = BUF_INIT;
    struct err why = ERR_INIT;
    struct ssh_span blob;

    if (ssh_agent_put_sign(&out, key_blob, alg, data, len, err) != 0)
        return -1;
    if (exchange(agent, &out, timeout_ns, &why) == 0 &&
        ssh_agent_parse_signature(ssh_agent_reader_message(&agent->reader), alg, &blob, &why) ==
            0) {
        buf_append(sig, blob.data, blob.len);
        return 0;
    }
    if (err)
        *err = why;
    return why.kind == ERR_DENIED ? -1 : give_up(agent);
}
