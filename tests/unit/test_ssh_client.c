/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be tested without a server that knows cryptography; the rest is in tests/lab/ssh.t. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/sock.h"
#include "net/ssh_client.h"
#include "net/ssh_client_hello.h"
#include "net/ssh_config.h"
#include "net/ssh_known_hosts.h"
#include "net/ssh_wire.h"
#include "unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- lists ------------------------------------------------------------------------------------ */

static void check_offer(const char *config, const char *want)
{
    struct buf out = BUF_INIT;

    ssh_method_offer("a1,a2,b1,b2", config, &out);
    CHECK_STR(buf_data(&out), want);
    buf_fini(&out);
}

TEST(offers_by_ssh_config)
{
    check_offer(NULL, "a1,a2,b1,b2");
    check_offer("+x", "a1,a2,b1,b2");
    check_offer("b2,x,a1", "b2,a1");
    check_offer("b2,b2,b*", "b2,b1");
    check_offer("x,y", "");
    check_offer("-a*", "b1,b2");
    check_offer("-*", "");
    check_offer("^b2,x", "b2,a1,a2,b1");
    check_offer("^", "a1,a2,b1,b2");
    check_offer("", "");
    for (int m = 0; m < SSH_METHOD_COUNT; m++) {
        const char *all = ssh_method_all((enum ssh_method)m);

        CHECK(strlen(all) < SSH_METHOD_LIST_MAX);
        CHECK(!strstr(all, "chacha20") && !strstr(all, "cbc") && !strstr(all, "sha1"));
        CHECK(!strstr(all, "ssh-rsa") && !strstr(all, "dss") && !strstr(all, "md5"));
        CHECK(*ssh_method_noun((enum ssh_method)m));
    }
}

/* --- the part in clear ------------------------------------------------------------------------ */

static struct ssh_hello hello_new(void)
{
    struct ssh_hello h = { .host = "there" };

    for (int m = 0; m < SSH_METHOD_COUNT; m++)
        h.offer[m] = ssh_method_all((enum ssh_method)m);
    return h;
}

struct lists {
    const char *kex, *key, *cipher[2], *mac[2], *comp[2];
};

static const struct lists good_lists = {
    .kex = "x,curve25519-sha256",
    .key = "ssh-ed25519",
    .cipher = { "aes256-ctr", "aes256-ctr" },
    .mac = { "hmac-sha2-256", "hmac-sha2-256" },
    .comp = { "none,zlib", "none" },
};

static void put_packet(struct buf *out, const struct buf *payload, unsigned padding)
{
    ssh_put_u32(out, (uint32_t)(1 + buf_len(payload) + padding));
    buf_append_char(out, (char)padding);
    buf_append(out, buf_data(payload), buf_len(payload));
    for (unsigned i = 0; i < padding; i++)
        buf_append_char(out, 0);
}

static void put_kexinit(struct buf *out, const struct lists *l)
{
    struct buf p = BUF_INIT;

    buf_append_char(&p, 20);
    buf_append(&p, "cookiecookiecook", 16);
    ssh_put_text(&p, l->kex);
    ssh_put_text(&p, l->key);
    for (int i = 0; i < 2; i++)
        ssh_put_text(&p, l->cipher[i]);
    for (int i = 0; i < 2; i++)
        ssh_put_text(&p, l->mac[i]);
    for (int i = 0; i < 2; i++)
        ssh_put_text(&p, l->comp[i]);
    ssh_put_text(&p, "");
    ssh_put_text(&p, "");
    buf_append_char(&p, 0);
    ssh_put_u32(&p, 0);
    put_packet(out, &p, 7);
    buf_fini(&p);
}

/* All at once and byte by byte: both end the same, which is returned. */
static enum ssh_hello_state feed(const struct buf *bytes, struct ssh_hello *last, struct err *err)
{
    enum ssh_hello_state states[2];

    for (int way = 0; way < 2; way++) {
        struct buf in = BUF_INIT;
        size_t released = 0, step = way ? 1 : buf_len(bytes);

        *last = hello_new();
        err_clear(err);
        for (size_t at = 0; at < buf_len(bytes) && last->state < SSH_HELLO_DONE; at += step) {
            buf_append(&in, buf_data(bytes) + at, step);
            ssh_hello_feed(last, &in, &released, err);
            CHECK(released <= buf_len(&in));
        }
        states[way] = last->state;
        buf_fini(&in);
    }
    CHECK_INT(states[0], states[1]);
    CHECK((states[0] == SSH_HELLO_BAD) == (err->kind != ERR_NONE));
    return states[0];
}

static enum ssh_hello_state feed_text(const char *text, struct ssh_hello *h, struct err *err)
{
    struct buf b = BUF_INIT;
    enum ssh_hello_state state;

    buf_append_str(&b, text);
    state = feed(&b, h, err);
    buf_fini(&b);
    return state;
}

static void expect_lists(struct lists l, enum ssh_hello_state want, const char *text)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    struct ssh_hello h;

    buf_append_str(&b, "SSH-2.0-x\r\n");
    put_kexinit(&b, &l);
    CHECK_INT(feed(&b, &h, &err), want);
    if (text) {
        if (!strstr(err.msg, text))
            unit_fail(__FILE__, __LINE__, "\"%s\" is not in: %s", text, err.msg);
        CHECK_INT(err.kind, ERR_UNPROCESS);
        CHECK(h.needs_system);
    }
    buf_fini(&b);
}

TEST(methods_in_common)
{
    struct lists l = good_lists;

    expect_lists(l, SSH_HELLO_DONE, NULL);
    l.kex = "diffie-hellman-group1-sha1,ext-info-s,kex-strict-s-v00@openssh.com";
    expect_lists(l, SSH_HELLO_BAD,
                 "no key exchange method that hive uses, only: diffie-hellman-group1-sha1");
    l.kex = "";
    expect_lists(l, SSH_HELLO_BAD, "only: none");
    l = good_lists;
    l.key = "ssh-rsa,ssh-dss";
    expect_lists(l, SSH_HELLO_BAD, "only: ssh-rsa,ssh-dss");
    l = good_lists;
    l.cipher[1] = "chacha20-poly1305@openssh.com";
    expect_lists(l, SSH_HELLO_BAD, "no cipher that hive uses, only: chacha20");
    l.cipher[1] = "aes128-gcm@openssh.com,aes128-ctr";
    expect_lists(l, SSH_HELLO_BAD, "one cipher for one direction and another for the other");
    l = good_lists;
    l.mac[0] = "hmac-sha1,umac-64@openssh.com";
    expect_lists(l, SSH_HELLO_BAD, "no MAC that hive uses, only: hmac-sha1");
    /* With AES-GCM nobody needs one */
    l.cipher[0] = l.cipher[1] = "aes128-gcm@openssh.com";
    expect_lists(l, SSH_HELLO_DONE, NULL);
    l.comp[1] = "zlib";
    expect_lists(l, SSH_HELLO_BAD, "compression");
    /* A list of thousands of names is cut in the message. */
    l = good_lists;
    struct buf many = BUF_INIT;
    for (int i = 0; i < 3000; i++)
        buf_printf(&many, "kex%d,", i);
    l.kex = buf_data(&many);
    expect_lists(l, SSH_HELLO_BAD, "kex0,kex1,");
    buf_fini(&many);
}

TEST(versions)
{
    struct ssh_hello h;
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    CHECK_INT(feed_text("SSH-2.0-OpenSSH_9.2 \x1b[1m\r\n", &h, &err), SSH_HELLO_KEXINIT);
    CHECK_STR(h.software, "OpenSSH_9.2 \\e[1m");
    CHECK_INT(feed_text("welcome\r\n\r\nto\nSSH-1.99-x\n", &h, &err), SSH_HELLO_KEXINIT);
    CHECK_INT(feed_text("SSH-2.0-", &h, &err), SSH_HELLO_VERSION);
    CHECK_INT(feed_text("SSH-1.5-x\r\n", &h, &err), SSH_HELLO_BAD);
    CHECK_INT(err.kind, ERR_CORRUPT);
    CHECK_INT(feed_text("HTTP/1.1 400\r\n", &h, &err), SSH_HELLO_VERSION);
    for (int i = 0; i < 250; i++)
        buf_append_char(&b, i ? 'a' : 'S');
    buf_clear(&b);
    buf_append_str(&b, "SSH-2.0-");
    for (int i = 0; i < 300; i++)
        buf_append_char(&b, 'a');
    CHECK_INT(feed(&b, &h, &err), SSH_HELLO_BAD);
    buf_clear(&b);
    for (int i = 0; i < 70000; i++)
        buf_append_char(&b, i % 90 ? 'a' : '\n');
    CHECK_INT(feed(&b, &h, &err), SSH_HELLO_BAD);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    buf_fini(&b);
}

static enum ssh_hello_state feed_after_version(const void *data, size_t len, struct err *err)
{
    struct buf b = BUF_INIT;
    struct ssh_hello h;
    enum ssh_hello_state state;

    buf_append_str(&b, "SSH-2.0-x\r\n");
    buf_append(&b, data, len);
    state = feed(&b, &h, err);
    buf_fini(&b);
    return state;
}

TEST(first_packets)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT, payload = BUF_INIT;

    CHECK_INT(feed_after_version("\0\0\0\1\0\24", 6, &err), SSH_HELLO_BAD); /* too short */
    CHECK_INT(feed_after_version("\xff\xff\xff\xff\0\24", 6, &err), SSH_HELLO_BAD);
    CHECK_INT(feed_after_version("\0\0\0\x10\x10\24", 6, &err), SSH_HELLO_BAD); /* all padding */
    CHECK_INT(feed_after_version("\0\0\0\x10\4\x5a", 6, &err), SSH_HELLO_BAD);  /* other message */
    CHECK_INT(feed_after_version("\0\0\0\x10\4\24", 6, &err), SSH_HELLO_KEXINIT);
    CHECK_INT(feed_after_version("\0\0\0\x10\4\1", 6, &err), SSH_HELLO_DONE); /* a reason comes */
    /* Every KEXINIT that is cut, but with the right length. */
    put_kexinit(&b, &good_lists);
    for (size_t cut = 6; cut < buf_len(&b) - 7; cut++) {
        struct buf packet = BUF_INIT;

        buf_clear(&payload);
        buf_append(&payload, buf_data(&b) + 5, cut - 5);
        put_packet(&packet, &payload, 4);
        CHECK_INT(feed_after_version(buf_data(&packet), buf_len(&packet), &err), SSH_HELLO_BAD);
        CHECK_INT(err.kind, ERR_CORRUPT);
        buf_fini(&packet);
    }
    /* Chatter before it has its limit. */
    buf_clear(&payload);
    buf_append_str(&payload, "\2ignore");
    buf_clear(&b);
    put_packet(&b, &payload, 4);
    put_kexinit(&b, &good_lists);
    CHECK_INT(feed_after_version(buf_data(&b), buf_len(&b), &err), SSH_HELLO_DONE);
    buf_clear(&b);
    for (int i = 0; i < 6000; i++)
        put_packet(&b, &payload, 4);
    CHECK_INT(feed_after_version(buf_data(&b), buf_len(&b), &err), SSH_HELLO_BAD);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    buf_fini(&b);
    buf_fini(&payload);
}

/* --- the client against peers that are none --------------------------------------------------- */

struct rig {
    int64_t now_ns;
    struct clock clock;
    struct ev_loop *loop;
    struct ssh_config config;
    struct ssh_client_options options;
    struct ssh_known_hosts *known;
    struct ssh_client *client;
    int peer;
    int changes;
    bool destroy_in_callback;
};

static int64_t rig_mono(void *arg)
{
    return ((struct rig *)arg)->now_ns;
}

static int64_t rig_wall(void *arg)
{
    (void)arg;
    return clock_system.wall_ns(NULL);
}

static void rig_changed(struct ssh_client *client, void *arg)
{
    struct rig *r = arg;

    CHECK(client == r->client);
    r->changes++;
    if (r->destroy_in_callback) {
        ssh_client_destroy(client);
        r->client = NULL;
    }
}

static void rig_init(struct rig *r)
{
    struct err err = ERR_INIT;

    *r = (struct rig){ .now_ns = NS_PER_S, .peer = -1 };
    r->clock = (struct clock){ rig_mono, rig_wall, r };
    r->loop = ev_loop_create(&r->clock, &err);
    CHECK(r->loop);
    r->known = ssh_known_hosts_create();
    r->config.host = (char *)(uintptr_t) "there";
    r->config.user = (char *)(uintptr_t) "ann";
    r->config.port = 22;
    r->options = (struct ssh_client_options){
        .config = &r->config, .known = r->known, .changed = rig_changed, .arg = r
    };
}

static void rig_open(struct rig *r)
{
    struct err err = ERR_INIT;
    int fds[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    r->peer = fds[1];
    r->options.has_fd = true;
    r->options.fd = fds[0];
    r->client = ssh_client_open(r->loop, &r->options, &err);
    CHECK(r->client);
    CHECK_INT(ssh_client_state(r->client), SSH_CLIENT_CONNECTING);
}

static void rig_turns(struct rig *r, int count)
{
    struct err err = ERR_INIT;

    for (int i = 0; i < count; i++) {
        CHECK_OK(ev_turn(r->loop, 0, &err), &err);
    }
}

static void rig_fini(struct rig *r)
{
    ssh_client_destroy(r->client);
    if (r->peer >= 0)
        close(r->peer);
    ev_loop_destroy(r->loop);
    ssh_known_hosts_destroy(r->known);
}

static void rig_say(struct rig *r, const void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(r->peer, (const char *)data + done, len - done, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return; /* it had enough */
        done += n > 0 ? (size_t)n : 0;
        rig_turns(r, 2);
    }
    rig_turns(r, 5);
}

static void expect_failed(struct rig *r, enum err_kind kind, const char *text)
{
    const struct err *err = ssh_client_error(r->client);

    CHECK_INT(ssh_client_state(r->client), SSH_CLIENT_FAILED);
    if (!strstr(err->msg, text))
        unit_fail(__FILE__, __LINE__, "\"%s\" is not in: %s", text, err->msg);
    CHECK_INT(err->kind, kind);
    CHECK_INT(r->changes, 1);
}

TEST(silence_has_a_deadline)
{
    struct rig r;

    rig_init(&r);
    rig_open(&r);
    rig_turns(&r, 5);
    CHECK_INT(ssh_client_state(r.client), SSH_CLIENT_HANDSHAKE);
    r.now_ns += 19 * NS_PER_S;
    rig_turns(&r, 3);
    CHECK_INT(ssh_client_state(r.client), SSH_CLIENT_HANDSHAKE);
    r.now_ns += 2 * NS_PER_S;
    rig_turns(&r, 3);
    expect_failed(&r, ERR_TIMEOUT, "there accepts the connection and says nothing");
    rig_fini(&r);
}

/* A byte now and then doesn't make it longer. */
TEST(dribbling_has_a_deadline)
{
    struct rig r;

    rig_init(&r);
    rig_open(&r);
    rig_say(&r, "SSH-2.0-", 8);
    for (int i = 0; i < 25 && ssh_client_state(r.client) != SSH_CLIENT_FAILED; i++) {
        rig_say(&r, "x", 1);
        r.now_ns += NS_PER_S;
        rig_turns(&r, 3);
    }
    expect_failed(&r, ERR_TIMEOUT, "says nothing");
    rig_fini(&r);
}

TEST(peers_that_are_no_ssh_server)
{
    struct rig r;
    char *large = mem_alloc(1000000);

    memset(large, 'x', 1000000);
    rig_init(&r);
    rig_open(&r);
    rig_say(&r, large, 1000000);
    expect_failed(&r, ERR_TOO_LARGE, "there is no SSH server: it sent 6");
    rig_fini(&r);
    free(large);

    rig_init(&r);
    rig_open(&r);
    rig_say(&r, "SSH-1.0-x\n", 10);
    expect_failed(&r, ERR_CORRUPT, "it says \"SSH-1.0-x\"");
    CHECK(!ssh_client_needs_system(r.client));
    rig_fini(&r);

    rig_init(&r);
    rig_open(&r);
    rig_turns(&r, 3);
    CHECK(shutdown(r.peer, SHUT_WR) == 0);
    rig_turns(&r, 3);
    expect_failed(&r, ERR_UNAVAILABLE, "there closed the connection while exchanging keys");
    rig_fini(&r);
}

TEST(server_says_a_line_and_hangs_up)
{
    struct rig r;

    rig_init(&r);
    rig_open(&r);
    rig_say(&r, "Exceeded MaxStartups\r\nbye\r\n", 27);
    close(r.peer);
    r.peer = -1;
    rig_turns(&r, 5);
    expect_failed(&r, ERR_UNAVAILABLE,
                  "there closed the connection; it said: Exceeded MaxStartups");
    CHECK(!strstr(ssh_client_error(r.client)->msg, "bye"));
    rig_fini(&r);

    rig_init(&r);
    rig_open(&r);
    rig_say(&r, "220 smtp \x1b[2J\r\n", 15);
    r.now_ns += 30 * NS_PER_S;
    rig_turns(&r, 5);
    expect_failed(&r, ERR_TIMEOUT, "there doesn't speak SSH; it says: 220 smtp \\e[2J");
    rig_fini(&r);
}

TEST(server_says_why)
{
    struct rig r;
    struct buf b = BUF_INIT, p = BUF_INIT;

    rig_init(&r);
    rig_open(&r);
    buf_append_char(&p, 1);
    ssh_put_u32(&p, 11);
    ssh_put_text(&p, "come \x1b[31mback\n later");
    ssh_put_text(&p, "");
    buf_append_str(&b, "SSH-2.0-x\r\n");
    put_packet(&b, &p, 10);
    rig_say(&r, buf_data(&b), buf_len(&b));
    expect_failed(&r, ERR_UNAVAILABLE, "there ended the connection: come \\e[31mback\\n later");
    rig_fini(&r);
    buf_fini(&b);
    buf_fini(&p);
}

TEST(server_without_our_methods)
{
    struct lists l = good_lists;
    struct buf b = BUF_INIT;
    struct rig r;

    rig_init(&r);
    rig_open(&r);
    l.key = "ssh-rsa";
    buf_append_str(&b, "SSH-2.0-old_3.9\r\n");
    put_kexinit(&b, &l);
    rig_say(&r, buf_data(&b), buf_len(&b));
    expect_failed(&r, ERR_UNPROCESS,
                  "there offers no kind of host key that hive uses, only: ssh-rsa");
    CHECK(ssh_client_needs_system(r.client));
    CHECK_STR(ssh_client_server(r.client), "old_3.9");
    rig_fini(&r);
    buf_fini(&b);
}

/* Our version, and a key exchange that begins with what is known of the host. */
TEST(known_types_come_first)
{
    static const char line[] =
        "there ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyN"
        "TYAAAAIBAAAAAAAAAA=\n";
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    char got[4096];
    ssize_t n, total = 0;
    struct rig r;

    rig_init(&r);
    CHECK_OK(ssh_known_hosts_add_text(r.known, "k", line, strlen(line), &err), &err);
    CHECK_INT(ssh_known_hosts_bad_count(r.known), 0);
    rig_open(&r);
    buf_append_str(&b, "SSH-2.0-x\r\n");
    put_kexinit(&b, &good_lists);
    rig_say(&r, buf_data(&b), buf_len(&b));
    while ((n = recv(r.peer, got + total, sizeof got - 1 - (size_t)total, 0)) > 0)
        total += n;
    CHECK(total > 600 && memcmp(got, "SSH-2.0-hive\r\n", 14) == 0);
    CHECK(memmem(got, (size_t)total, "ecdsa-sha2-nistp256,ssh-ed25519,ecdsa-sha2-nistp384", 51));
    CHECK(memmem(got, (size_t)total, "kex-strict-c-v00@openssh.com", 28));
    CHECK(memmem(got, (size_t)total, "ext-info-c", 10));
    CHECK(!memmem(got, (size_t)total, "chacha20", 8));
    CHECK(!memmem(got, (size_t)total, "sha1", 4));
    CHECK(!memmem(got, (size_t)total, "zlib", 4));
    rig_fini(&r);
    buf_fini(&b);
}

TEST(only_the_system_can)
{
    static const char line[] =
        "@cert-authority there ssh-ed25519 "
        "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    struct err err = ERR_INIT;
    struct rig r;

    rig_init(&r);
    CHECK_OK(ssh_known_hosts_add_text(r.known, "k", line, strlen(line), &err), &err);
    CHECK_INT(ssh_known_hosts_bad_count(r.known), 0);
    rig_open(&r);
    rig_turns(&r, 3);
    expect_failed(&r, ERR_UNPROCESS, "@cert-authority");
    CHECK(ssh_client_needs_system(r.client));
    rig_fini(&r);

    rig_init(&r);
    r.config.needs_system = true;
    r.config.why = (char *)(uintptr_t) "config:3: ProxyCommand is set";
    rig_open(&r);
    rig_turns(&r, 3);
    expect_failed(&r, ERR_UNPROCESS, "config:3: ProxyCommand is set");
    CHECK(ssh_client_needs_system(r.client));
    rig_fini(&r);
}

static void count_event(struct ssh_channel *channel, unsigned events, void *arg)
{
    CHECK_INT(events, SSH_CHANNEL_ENDED);
    CHECK_INT(ssh_channel_result(channel)->end, SSH_CHANNEL_LOST);
    ++*(int *)arg;
    ssh_channel_close(channel);
}

/* Commands that wait for a connection that never comes */
TEST(channels_of_a_failure)
{
    struct err err = ERR_INIT;
    struct rig r;
    int events = 0;
    bool eof;
    size_t len;

    rig_init(&r);
    rig_open(&r);
    for (int i = 0; i < SSH_CLIENT_CHANNELS_MAX; i++)
        CHECK(ssh_client_exec(r.client, "true", count_event, &events, &err));
    CHECK(!ssh_client_exec(r.client, "true", count_event, &events, &err));
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    rig_turns(&r, 3);
    close(r.peer);
    r.peer = -1;
    rig_turns(&r, 5);
    CHECK_INT(ssh_client_state(r.client), SSH_CLIENT_FAILED);
    CHECK_INT(events, SSH_CLIENT_CHANNELS_MAX);
    CHECK(!ssh_client_exec(r.client, "true", count_event, &events, &err));
    CHECK_STR(err.msg, ssh_client_error(r.client)->msg);
    rig_fini(&r);

    rig_init(&r);
    rig_open(&r);
    struct ssh_channel *ch = ssh_client_exec(r.client, "true", NULL, NULL, &err);
    char *large = mem_alloc(SSH_CHANNEL_COMMAND_MAX + 2);
    CHECK_INT(ssh_channel_room(ch), SSH_CHANNEL_INPUT_MAX);
    CHECK_INT(ssh_channel_write(ch, large, 100), 100);
    CHECK_INT(ssh_channel_room(ch), SSH_CHANNEL_INPUT_MAX - 100);
    ssh_channel_write_eof(ch);
    CHECK_INT(ssh_channel_write(ch, large, 1), 0);
    CHECK_STR(ssh_channel_output(ch, SSH_CHANNEL_OUT, &len, &eof), "");
    CHECK(len == 0 && !eof);
    CHECK_INT(ssh_channel_result(ch)->end, SSH_CHANNEL_RUNNING);
    CHECK_OK(ssh_channel_signal(ch, "TERM", &err), &err);
    CHECK(ssh_channel_signal(ch, "TERM", &err) != 0);
    ssh_channel_close(ch);
    memset(large, 'x', SSH_CHANNEL_COMMAND_MAX + 1);
    CHECK(!ssh_client_exec(r.client, large, NULL, NULL, &err));
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    free(large);
    rig_turns(&r, 3);
    rig_fini(&r);
}

TEST(ends_at_any_time)
{
    for (int turns = 0; turns < 4; turns++) {
        struct rig r;
        struct err err = ERR_INIT;

        rig_init(&r);
        rig_open(&r);
        CHECK(ssh_client_exec(r.client, "true", NULL, NULL, &err));
        rig_turns(&r, turns);
        rig_fini(&r);

        rig_init(&r);
        rig_open(&r);
        rig_turns(&r, turns);
        ssh_client_disconnect(r.client);
        ssh_client_disconnect(r.client);
        rig_turns(&r, 3);
        CHECK_INT(ssh_client_state(r.client), SSH_CLIENT_CLOSED);
        CHECK_INT(r.changes, 1);
        CHECK(!ssh_client_exec(r.client, "true", NULL, NULL, &err));
        rig_fini(&r);
    }
    struct rig r;

    rig_init(&r);
    r.destroy_in_callback = true;
    rig_open(&r);
    rig_say(&r, "SSH-1.0-x\n", 10);
    CHECK(!r.client && r.changes == 1);
    rig_fini(&r);

    struct ssh_config nobody = { .host = (char *)(uintptr_t) "x" };
    struct ssh_client_options o = { .config = &nobody };
    struct err err = ERR_INIT;
    CHECK(!ssh_client_open(NULL, &o, &err));
    CHECK_INT(err.kind, ERR_INVALID);
}

/* --- connecting ------------------------------------------------------------------------------- */

struct connected {
    int calls, fd;
    struct err err;
};

static void on_connected(void *arg, int fd, const struct err *err)
{
    struct connected *c = arg;

    c->calls++;
    c->fd = fd;
    if (err)
        c->err = *err;
}

/* A port where nobody listens first, then the listener. */
static int resolve_two(void *arg, const char *host, uint16_t port, int family,
                       struct resolve_address *out, struct err *err)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    const uint16_t ports[] = { 1, port };

    (void)err;
    (void)arg;
    CHECK_STR(host, "two");
    CHECK_INT(family, AF_UNSPEC);
    for (int i = 0; i < 2; i++) {
        a.sin_port = htons(ports[i]);
        memcpy(&out[i].addr, &a, sizeof a);
        out[i].len = sizeof a;
    }
    return 2;
}

static int resolve_none(void *arg, const char *host, uint16_t port, int family,
                        struct resolve_address *out, struct err *err)
{
    (void)arg;
    (void)port;
    (void)family;
    (void)out;
    return err_set(err, ERR_NOT_FOUND, "%s: nobody knows it", host);
}

static struct connected connect_to(const struct ssh_connect_target *target, int64_t timeout_ns)
{
    struct connected c = { .fd = -1 };
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);

    CHECK(loop);
    CHECK(ssh_connect_start(loop, target, timeout_ns, on_connected, &c));
    CHECK_INT(c.calls, 0);
    while (c.calls == 0)
        CHECK_OK(ev_turn(loop, NS_PER_S, &err), &err);
    CHECK_INT(c.calls, 1);
    ev_loop_destroy(loop);
    return c;
}

TEST(connects_to_one_of_several_addresses)
{
    struct sock_addr addr = { .host = "127.0.0.1" };
    struct ssh_connect_target target = { .host = "two", .resolve = resolve_two };
    struct err err = ERR_INIT;
    int listener = sock_listen_tcp(&addr, &err);
    struct connected c;

    CHECK(listener >= 0);
    target.port = addr.port;
    c = connect_to(&target, 10 * NS_PER_S);
    CHECK(c.fd >= 0);
    CHECK(fcntl(c.fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(c.fd, F_GETFD) & FD_CLOEXEC);
    close(c.fd);
    target.bind_address = "127.0.0.1";
    c = connect_to(&target, 10 * NS_PER_S);
    CHECK(c.fd >= 0);
    close(c.fd);
    target.bind_address = "::1";
    c = connect_to(&target, 10 * NS_PER_S);
    CHECK(c.fd < 0);
    CHECK_INT(c.err.kind, ERR_INVALID);
    close(listener);
    target.bind_address = NULL;
    c = connect_to(&target, 10 * NS_PER_S);
    CHECK(c.fd < 0);
    CHECK_INT(c.err.kind, ERR_UNAVAILABLE);
    target.resolve = resolve_none;
    c = connect_to(&target, 10 * NS_PER_S);
    CHECK(c.fd < 0);
    CHECK_STR(c.err.msg, "two: nobody knows it");
    /* Addresses need no name server. */
    target = (struct ssh_connect_target){ .host = "::1", .port = 1, .family = SSH_FAMILY_INET };
    c = connect_to(&target, 10 * NS_PER_S);
    CHECK(c.fd < 0);
    CHECK_INT(c.err.kind, ERR_NOT_FOUND);
}

TEST(cancelled_connect)
{
    struct connected c = { .fd = -1 };
    struct err err = ERR_INIT;
    struct ev_loop *loop = ev_loop_create(&clock_system, &err);
    struct ssh_connect_target target = { .host = "127.0.0.1", .port = 1 };

    struct ssh_connect *connect = ssh_connect_start(loop, &target, NS_PER_S, on_connected, &c);
    ssh_connect_cancel(connect);
    ssh_connect_cancel(NULL);
    CHECK_OK(ev_turn(loop, 0, &err), &err);
    CHECK_INT(c.calls, 0);
    ev_loop_destroy(loop);
}
