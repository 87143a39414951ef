/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile server, as far as it needs no keys: all that it can say before the first key exchange is
 * done. The first byte says how the rest comes: in pieces of which size, and what is put in front
 * of it, so that the fuzzer need not invent a KEXINIT: nothing, a version, or a version and a
 * KEXINIT for one of the key exchanges. The clock stands still, and then jumps past all deadlines:
 * the client must have ended then.
 *
 * Also what of a server's decrypted messages is read by our own code, with the same bytes.
 */
#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "ev/ev.h"
#include "net/ssh_client.h"
#include "net/ssh_client_hello.h"
#include "net/ssh_client_priv.h"

#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libssh2 forgets a host's key where the handshake fails: see vendor/libssh2/README.md. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:hostkey_method_ssh_rsa_init\n"
           "leak:hostkey_method_ssh_ecdsa_init\n"
           "leak:hostkey_method_ssh_ed25519_init\n"
           "leak:kex_method_diffie_hellman\n";
}

static int64_t now_ns;

static int64_t fuzz_mono(void *arg)
{
    (void)arg;
    return now_ns;
}

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void put_kexinit(struct buf *out, const char *kex)
{
    static const char *const rest[] = {
        "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp521,rsa-sha2-512",
        "aes128-ctr",
        "aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    };
    struct buf p = BUF_INIT;

    buf_append_char(&p, 20);
    buf_append(&p, "cookiecookiecook", 16);
    ssh_put_text(&p, kex);
    for (size_t i = 0; i < ARRAY_LEN(rest); i++)
        ssh_put_text(&p, rest[i]);
    buf_append(&p, "\0\0\0\0\0", 5);
    ssh_put_u32(out, (uint32_t)(buf_len(&p) + 1 + 4));
    buf_append_char(out, 4);
    buf_append(out, buf_data(&p), buf_len(&p));
    buf_append(out, "pads", 4);
    buf_fini(&p);
}

static void put_front(struct buf *out, unsigned what)
{
    /* Group 16 takes too long for a fuzzer. */
    static const char *const kex[] = {
        "curve25519-sha256",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "curve25519-sha256,kex-strict-s-v00@openssh.com",
        "diffie-hellman-group14-sha256",
    };

    if (what > 0)
        buf_append_str(out, "SSH-2.0-fuzz\r\n");
    if (what > 1)
        put_kexinit(out, kex[(what - 2) % ARRAY_LEN(kex)]);
}

static void connection(struct buf *bytes, size_t piece)
{
    const struct clock clock = { fuzz_mono, fuzz_mono, NULL };
    struct ev_loop *loop = ev_loop_create(&clock, NULL);
    struct ssh_known_hosts *known = ssh_known_hosts_create();
    struct ssh_config config = { .host = (char *)(uintptr_t) "h", .user = (char *)(uintptr_t) "u" };
    struct ssh_client_options options = { .config = &config, .known = known, .has_fd = true };
    struct ssh_client *client;
    char sink[4096];
    int fds[2];

    must(loop && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    options.fd = fds[0];
    client = ssh_client_open(loop, &options, NULL);
    must(client && ssh_client_exec(client, "true", NULL, NULL, NULL));
    ev_turn(loop, 0, NULL);
    while (buf_len(bytes) > 0 && ssh_client_state(client) < SSH_CLIENT_FAILED) {
        size_t len = buf_len(bytes) < piece ? buf_len(bytes) : piece;
        ssize_t n = send(fds[1], buf_data(bytes), len, MSG_NOSIGNAL);

        if (n > 0)
            buf_consume(bytes, (size_t)n);
        ev_turn(loop, 0, NULL);
        while (recv(fds[1], sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
    }
    for (int i = 0; i < 4; i++) {
        ev_turn(loop, 0, NULL);
        must(ssh_client_state(client) < SSH_CLIENT_READY ||
             ssh_client_state(client) == SSH_CLIENT_FAILED);
    }
    now_ns += 1000 * NS_PER_S;
    for (int i = 0; i < 4; i++)
        ev_turn(loop, 0, NULL);
    must(ssh_client_state(client) == SSH_CLIENT_FAILED);
    must(ssh_client_error(client)->kind != ERR_NONE);
    ssh_client_destroy(client);
    close(fds[1]);
    ev_loop_destroy(loop);
    ssh_known_hosts_destroy(known);
}

/* What look_at() of ssh_client_io.c passes on. */
static void message(const uint8_t *data, size_t size)
{
    struct ssh_client *c;
    struct ssh_channel *ch;

    if (size == 0)
        return;
    c = mem_alloc(sizeof *c);
    ch = mem_alloc(sizeof *ch);
    list_init(&c->channels);
    ch->client = c;
    ch->lib = (LIBSSH2_CHANNEL *)(void *)ch; /* only whether there is one is looked at */
    list_append(&c->channels, &ch->link);
    if (data[0] == 7 || data[0] == 51)
        client_auth_message(c, data, size);
    else
        client_channel_message(c, data, size);
    must(strlen(c->auth.sig_algs) < sizeof c->auth.sig_algs);
    must(strlen(c->auth.methods) < sizeof c->auth.methods);
    must(strlen(c->refusal) < sizeof c->refusal);
    must(strlen(ch->result.signal) < sizeof ch->result.signal);
    must((ch->said == SSH_CHANNEL_SIGNALED) == (ch->result.signal[0] != 0));
    free(ch);
    free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes = BUF_INIT;

    if (size == 0 || size > 200000)
        return 0;
    put_front(&bytes, data[0] & 7);
    buf_append(&bytes, data + 1, size - 1);
    connection(&bytes, data[0] & 8 ? 1 + (size_t)(data[0] >> 4) * 7 : 65536);
    message(data + 1, size - 1);
    buf_fini(&bytes);
    return 0;
}
