/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/clock.h"
#include "base/str.h"
#include "net/sock.h"
#include "net/ssh_agent.h"
#include "unit/ssh_rig.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define PATIENCE (20 * NS_PER_S)

static struct ssh_span span_of(const struct buf *b)
{
    return (struct ssh_span){ (const unsigned char *)buf_data(b), buf_len(b) };
}

/* --- protocol ------------------------------------------------------------------------------- */

/* Appends a message with that type and payload, length first. */
static void put_message(struct buf *b, uint8_t type, const struct buf *payload)
{
    ssh_put_u32(b, (uint32_t)(1 + buf_len(payload)));
    buf_append_char(b, (char)type);
    buf_append(b, buf_data(payload), buf_len(payload));
}

static void put_ed25519(struct buf *b, const char *comment)
{
    struct buf blob = BUF_INIT;
    static const unsigned char zeros[32];

    ssh_put_text(&blob, "ssh-ed25519");
    ssh_put_string(&blob, zeros, sizeof zeros);
    ssh_put_string(b, buf_data(&blob), buf_len(&blob));
    ssh_put_text(b, comment);
    buf_fini(&blob);
}

TEST(requests)
{
    static const unsigned char want_sign[] = { 0, 0, 0, 16, 13,  0,   0, 0, 1, 'K',
                                               0, 0, 0, 2,  'd', 'a', 0, 0, 0, 4 };
    static const unsigned char want_list[] = { 0, 0, 0, 1, 11 };
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    struct ssh_span key = { (const unsigned char *)"K", 1 };

    ssh_agent_put_list(&out);
    CHECK(ssh_span_eq(span_of(&out), (struct ssh_span){ want_list, sizeof want_list }));
    buf_clear(&out);
    CHECK_OK(ssh_agent_put_sign(&out, key, SSH_SIGN_RSA_SHA512, "da", 2, &err), &err);
    CHECK(ssh_span_eq(span_of(&out), (struct ssh_span){ want_sign, sizeof want_sign }));
    buf_clear(&out);
    CHECK_OK(ssh_agent_put_sign(&out, key, SSH_SIGN_RSA_SHA256, "da", 2, &err), &err);
    CHECK_INT(buf_data(&out)[19], 2);
    buf_clear(&out);
    CHECK_OK(ssh_agent_put_sign(&out, key, SSH_SIGN_ED25519, "da", 2, &err), &err);
    CHECK_INT(buf_data(&out)[19], 0);
    buf_clear(&out);
    char *large = mem_alloc(SSH_AGENT_REPLY_MAX);
    CHECK(ssh_agent_put_sign(&out, key, SSH_SIGN_ED25519, large, SSH_AGENT_REPLY_MAX, &err) != 0);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    CHECK_INT(buf_len(&out), 0);
    free(large);
    buf_fini(&out);
}

TEST(reader_takes_any_pieces)
{
    struct buf two = BUF_INIT, payload = BUF_INIT;

    buf_append_str(&payload, "hello");
    put_message(&two, 12, &payload);
    size_t first = buf_len(&two);
    put_message(&two, 14, &payload);
    for (size_t piece = 1; piece <= buf_len(&two); piece++) {
        struct ssh_agent_reader r = { 0 };
        unsigned messages = 0;

        for (size_t at = 0; at < buf_len(&two);) {
            size_t used, n = buf_len(&two) - at < piece ? buf_len(&two) - at : piece;
            enum ssh_agent_event ev =
                ssh_agent_reader_feed(&r, buf_data(&two) + at, n, &used, NULL);

            CHECK(ev != SSH_AGENT_BAD);
            CHECK(used == n || ev == SSH_AGENT_REPLY);
            at += used;
            CHECK((at == first || at == buf_len(&two)) == (ev == SSH_AGENT_REPLY));
            if (ev == SSH_AGENT_REPLY) {
                struct ssh_span m = ssh_agent_reader_message(&r);

                CHECK(m.len == 6 && m.data[0] == (messages == 0 ? 12 : 14));
                CHECK(memcmp(m.data + 1, "hello", 5) == 0);
                messages++;
            }
        }
        CHECK_INT(messages, 2);
        ssh_agent_reader_fini(&r);
    }
    buf_fini(&two);
    buf_fini(&payload);
}

TEST(reader_refuses_lengths)
{
    static const uint32_t bad[] = { 0, SSH_AGENT_REPLY_MAX + 1, 0x7fffffff, 0xffffffff };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct ssh_agent_reader r = { 0 };
        struct buf b = BUF_INIT;
        struct err err = ERR_INIT;
        size_t used;

        ssh_put_u32(&b, bad[i]);
        CHECK_INT(ssh_agent_reader_feed(&r, buf_data(&b), buf_len(&b), &used, &err), SSH_AGENT_BAD);
        CHECK_INT(err.kind, ERR_INVALID);
        CHECK_INT(ssh_agent_reader_feed(&r, "x", 1, &used, &err), SSH_AGENT_BAD);
        CHECK_INT(used, 0);
        ssh_agent_reader_fini(&r);
        buf_fini(&b);
    }
}

static void check_keys_fail(const struct buf *payload, uint8_t type, enum err_kind kind)
{
    struct ssh_agent_keys keys;
    struct buf message = BUF_INIT;
    struct err err = ERR_INIT;

    buf_append_char(&message, (char)type);
    buf_append(&message, buf_data(payload), buf_len(payload));
    /* An exact copy, so that a read too far is seen. */
    unsigned char *exact = mem_dup(buf_data(&message), buf_len(&message));
    CHECK(ssh_agent_parse_keys((struct ssh_span){ exact, buf_len(&message) }, &keys, &err) != 0);
    CHECK_INT(err.kind, kind);
    free(exact);
    buf_fini(&message);
}

TEST(lists)
{
    struct buf b = BUF_INIT, message = BUF_INIT;
    struct ssh_agent_keys keys;
    struct err err = ERR_INIT;

    ssh_put_u32(&b, 4);
    put_ed25519(&b, "one");
    ssh_put_text(&b, "nonsense");
    ssh_put_text(&b, "two");
    ssh_put_text(&b, "");
    ssh_put_text(&b, "");
    put_ed25519(&b, "four\n");
    buf_append_char(&message, 12);
    buf_append(&message, buf_data(&b), buf_len(&b));
    CHECK_OK(ssh_agent_parse_keys(span_of(&message), &keys, &err), &err);
    CHECK_INT(keys.count, 4);
    CHECK(!keys.key[0].why_not && keys.key[1].why_not && keys.key[2].why_not);
    CHECK_STR(keys.key[0].comment, "one");
    CHECK_STR(keys.key[3].comment, "four\\n");
    ssh_agent_keys_fini(&keys);
    for (size_t i = 0; i < buf_len(&b); i++) {
        struct buf cut = BUF_INIT;

        buf_append(&cut, buf_data(&b), i);
        check_keys_fail(&cut, 12, ERR_INVALID);
        buf_fini(&cut);
    }
    check_keys_fail(&b, 14, ERR_INVALID);
    check_keys_fail(&b, 5, ERR_DENIED);
    buf_append_char(&b, 0);
    check_keys_fail(&b, 12, ERR_INVALID);
    buf_clear(&b);
    ssh_put_u32(&b, SSH_AGENT_KEYS_MAX + 1);
    check_keys_fail(&b, 12, ERR_TOO_LARGE);
    buf_clear(&b);
    ssh_put_u32(&b, SSH_AGENT_KEYS_MAX);
    check_keys_fail(&b, 12, ERR_INVALID);
    for (unsigned i = 0; i < SSH_AGENT_KEYS_MAX; i++)
        put_ed25519(&b, "");
    buf_clear(&message);
    buf_append_char(&message, 12);
    buf_append(&message, buf_data(&b), buf_len(&b));
    CHECK_OK(ssh_agent_parse_keys(span_of(&message), &keys, &err), &err);
    CHECK_INT(keys.count, SSH_AGENT_KEYS_MAX);
    ssh_agent_keys_fini(&keys);
    buf_fini(&b);
    buf_fini(&message);
}

TEST(list_with_security_keys)
{
    struct buf b = BUF_INIT, blob = BUF_INIT;
    struct ssh_agent_keys keys;
    struct err err = ERR_INIT;

    buf_append_char(&b, 12);
    ssh_put_u32(&b, 1);
    ssh_put_text(&blob, "sk-ecdsa-sha2-nistp256@openssh.com");
    ssh_put_string(&b, buf_data(&blob), buf_len(&blob));
    ssh_put_text(&b, "yubi");
    CHECK_OK(ssh_agent_parse_keys(span_of(&b), &keys, &err), &err);
    CHECK_STR(keys.key[0].why_not, "security keys need the system's ssh");
    CHECK_STR(keys.key[0].name, "sk-ecdsa-sha2-nistp256@openssh.com");
    ssh_agent_keys_fini(&keys);
    buf_fini(&b);
    buf_fini(&blob);
}

/* An agent that knows nothing of the flags answers with SHA-1. */
TEST(signatures_of_another_kind)
{
    struct buf b = BUF_INIT, blob = BUF_INIT;
    struct ssh_span sig;
    struct err err = ERR_INIT;
    unsigned char bytes[256] = { 1 };

    ssh_put_text(&blob, "ssh-rsa");
    ssh_put_string(&blob, bytes, sizeof bytes);
    buf_append_char(&b, 14);
    ssh_put_string(&b, buf_data(&blob), buf_len(&blob));
    CHECK(ssh_agent_parse_signature(span_of(&b), SSH_SIGN_RSA_SHA256, &sig, &err) != 0);
    CHECK_STR(err.msg, "the SSH agent made: a signature of another kind than rsa-sha2-256");
    buf_fini(&b);
    buf_fini(&blob);
}

/* --- the real one --------------------------------------------------------------------------- */

static bool agent_there(void)
{
    struct ssh_agent *agent = ssh_agent_open(rig_path("agent"), PATIENCE, NULL);

    ssh_agent_close(agent);
    return agent != NULL;
}

static pid_t start_agent(void)
{
    int64_t until = clock_mono_ns(&clock_system) + PATIENCE;
    char *argv[] = { (char *)"ssh-agent", (char *)"-D", (char *)"-a", (char *)rig_path("agent"),
                     NULL };
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], argv);
        _exit(127);
    }
    while (!agent_there()) {
        CHECK(clock_mono_ns(&clock_system) < until && waitpid(pid, NULL, WNOHANG) == 0);
        poll(NULL, 0, 5);
    }
    return pid;
}

static void end_agent(pid_t pid)
{
    CHECK(kill(pid, SIGTERM) == 0);
    CHECK(waitpid(pid, NULL, 0) == pid);
}

static void check_agent_signs(struct ssh_agent *agent, const struct ssh_pubkey *key,
                              enum ssh_sign_alg alg)
{
    struct buf data = BUF_INIT, sig = BUF_INIT;
    struct ssh_span blob = { key->blob, key->blob_len };
    struct err err = ERR_INIT;

    rig_sshsig_data(&data, "hello");
    CHECK_OK(
        ssh_agent_sign(agent, blob, alg, buf_data(&data), buf_len(&data), PATIENCE, &sig, &err),
        &err);
    CHECK(rig_verifies(blob, buf_data(&sig), buf_len(&sig), "hello"));
    buf_fini(&data);
    buf_fini(&sig);
}

#define KEYS "ed ec2 ec3 ec5 rsa"

TEST(real_agent)
{
    struct ssh_agent_keys keys;
    struct err err = ERR_INIT;

    if (!rig_has("ssh-agent") || !rig_has("ssh-keygen"))
        return;
    pid_t pid = start_agent();
    struct ssh_agent *agent = ssh_agent_open(rig_path("agent"), PATIENCE, &err);
    CHECK(agent);
    CHECK_OK(ssh_agent_list(agent, PATIENCE, &keys, &err), &err);
    CHECK_INT(keys.count, 0);
    ssh_agent_keys_fini(&keys);
    rig_run(
        "ssh-keygen -q -t ed25519 -N '' -C one -f ed; ssh-keygen -q -t ecdsa -b 256 -N '' -f ec2; "
        "ssh-keygen -q -t ecdsa -b 384 -N '' -f ec3; ssh-keygen -q -t ecdsa -b 521 -N '' -f ec5; "
        "ssh-keygen -q -t rsa -b 2048 -N '' -f rsa; "
        "ssh-keygen -q -t ed25519 -N '' -f ca; ssh-keygen -q -s ca -I me -n me ed.pub; "
        "SSH_AUTH_SOCK=$PWD/agent ssh-add -q " KEYS);
    CHECK_OK(ssh_agent_list(agent, PATIENCE, &keys, &err), &err);
    CHECK_INT(keys.count, 6);
    CHECK_STR(keys.key[0].comment, "one");
    unsigned signed_by = 0, unusable = 0;
    for (size_t i = 0; i < keys.count; i++) {
        unusable += keys.key[i].why_not != NULL;
        for (unsigned a = SSH_SIGN_NONE + 1; !keys.key[i].why_not && a < SSH_SIGN_ALG_COUNT; a++) {
            if (ssh_sign_alg_key((enum ssh_sign_alg)a) != keys.key[i].type)
                continue;
            check_agent_signs(agent, &keys.key[i], (enum ssh_sign_alg)a);
            signed_by++;
        }
    }
    CHECK_INT(signed_by, 6);
    CHECK_INT(unusable, 1);

    /* A key that it doesn't have: refused, and the connection is still good. */
    struct buf sig = BUF_INIT;
    struct ssh_span unknown = { keys.key[0].blob, keys.key[0].blob_len };
    rig_run("SSH_AUTH_SOCK=$PWD/agent ssh-add -q -D");
    CHECK(ssh_agent_sign(agent, unknown, SSH_SIGN_ED25519, "x", 1, PATIENCE, &sig, &err) != 0);
    CHECK_INT(err.kind, ERR_DENIED);
    CHECK_INT(buf_len(&sig), 0);
    ssh_agent_keys_fini(&keys);
    CHECK_OK(ssh_agent_list(agent, PATIENCE, &keys, &err), &err);
    CHECK_INT(keys.count, 0);
    ssh_agent_keys_fini(&keys);

    end_agent(pid);
    CHECK(ssh_agent_list(agent, PATIENCE, &keys, &err) != 0);
    CHECK(err.kind == ERR_IO);
    CHECK(ssh_agent_list(agent, PATIENCE, &keys, &err) != 0);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    ssh_agent_close(agent);
    CHECK(!ssh_agent_open(rig_path("agent"), PATIENCE, &err));
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
}

TEST(no_agent)
{
    struct err err = ERR_INIT;

    CHECK(!ssh_agent_open(NULL, PATIENCE, &err));
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(!ssh_agent_open("", PATIENCE, &err));
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(!ssh_agent_open(rig_path("nothing"), PATIENCE, &err));
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    rig_write("file", "x", 1);
    CHECK(!ssh_agent_open(rig_path("file"), PATIENCE, &err));
    ssh_agent_close(NULL);
}

/* --- hostile ones --------------------------------------------------------------------------- */

enum manner {
    AT_ONCE,
    THEN_CLOSE, /* after the answer */
    SLOWLY,     /* a byte each 10 ms */
    FOR_EVER,   /* the answer again and again, as fast as it is taken */
    DEAF        /* neither reads nor answers */
};

/* In a process of its own: answers one request so, and stays until the client is gone. */
static void fake_serve(int listener, const struct buf *answer, enum manner manner)
{
    int fd = accept(listener, NULL, NULL);
    char in[65536];
    size_t done = 0;

    if (fd < 0 || (manner != DEAF && read(fd, in, sizeof in) <= 0))
        _exit(1);
    while (manner != DEAF && (done < buf_len(answer) || manner == FOR_EVER)) {
        size_t at = done % buf_len(answer), n = manner == SLOWLY ? 1 : buf_len(answer) - at;
        ssize_t sent = send(fd, buf_data(answer) + at, n, MSG_NOSIGNAL);

        if (sent < 0)
            _exit(0);
        done += (size_t)sent;
        if (manner == SLOWLY)
            poll(NULL, 0, 10);
    }
    if (manner == THEN_CLOSE)
        _exit(0);
    struct pollfd p = { .fd = fd, .events = manner == DEAF ? 0 : POLLIN };
    poll(&p, 1, 20000);
    _exit(0);
}

/* Lists the keys of such an agent; the time it may take is exact, whatever it does. */
static void check_fake(const struct buf *answer, enum manner manner, int64_t timeout_ns,
                       enum err_kind kind)
{
    struct err err = ERR_INIT;
    struct ssh_agent_keys keys;
    const char *path = rig_path("fake");
    int listener = sock_listen_unix(path, SOCK_STREAM, &err);

    CHECK(listener >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int flags = fcntl(listener, F_GETFL);

        fcntl(listener, F_SETFL, flags & ~O_NONBLOCK);
        fake_serve(listener, answer, manner);
    }
    close(listener);
    struct ssh_agent *agent = ssh_agent_open(path, PATIENCE, &err);
    CHECK(agent);
    int64_t start = clock_mono_ns(&clock_system);
    int rc = ssh_agent_list(agent, timeout_ns, &keys, &err);
    int64_t took = clock_mono_ns(&clock_system) - start;
    if (kind == ERR_NONE) {
        CHECK_OK(rc, &err);
        ssh_agent_keys_fini(&keys);
    } else {
        CHECK(rc != 0);
        CHECK_STR(err_kind_name(err.kind), err_kind_name(kind));
    }
    if (kind == ERR_TIMEOUT)
        CHECK(took >= timeout_ns && took < timeout_ns + 5 * NS_PER_S);
    if (kind != ERR_NONE && kind != ERR_DENIED) {
        CHECK(ssh_agent_list(agent, PATIENCE, &keys, &err) != 0);
        CHECK_INT(err.kind, ERR_UNAVAILABLE);
    }
    ssh_agent_close(agent);
    CHECK(waitpid(pid, NULL, 0) == pid);
    unlink(path);
}

TEST(hostile_agents)
{
    struct buf good = BUF_INIT, payload = BUF_INIT, bad = BUF_INIT;
    const int64_t brief = 200 * NS_PER_MS;

    ssh_put_u32(&payload, 1);
    put_ed25519(&payload, "key");
    put_message(&good, 12, &payload);
    check_fake(&good, AT_ONCE, PATIENCE, ERR_NONE);
    check_fake(&good, SLOWLY, PATIENCE, ERR_NONE);
    check_fake(&good, SLOWLY, brief, ERR_TIMEOUT);
    check_fake(&good, DEAF, brief, ERR_TIMEOUT);
    buf_append(&bad, "\0\4\0\0", 4); /* the longest message, and what follows */
    check_fake(&bad, FOR_EVER, PATIENCE, ERR_INVALID);
    buf_clear(&bad);

    buf_append(&bad, buf_data(&good), buf_len(&good) - 1);
    check_fake(&bad, AT_ONCE, brief, ERR_TIMEOUT);
    check_fake(&bad, THEN_CLOSE, PATIENCE, ERR_IO);
    buf_append(&bad, "xy", 2);
    check_fake(&bad, AT_ONCE, PATIENCE, ERR_INVALID);
    buf_clear(&bad);
    buf_append_str(&bad, "HTTP/1.1 400 Bad Request\r\n\r\n");
    check_fake(&bad, AT_ONCE, PATIENCE, ERR_INVALID);
    buf_clear(&bad);
    ssh_put_u32(&bad, SSH_AGENT_REPLY_MAX);
    while (buf_len(&bad) < SSH_AGENT_REPLY_MAX + 4)
        buf_append(&bad, "\14\0\0\0\0\0\0\0", 8);
    buf_truncate(&bad, SSH_AGENT_REPLY_MAX + 4);
    check_fake(&bad, AT_ONCE, PATIENCE, ERR_INVALID);
    buf_clear(&bad);
    buf_append(&bad, "\0\0\0\1\5", 5);
    check_fake(&bad, AT_ONCE, PATIENCE, ERR_DENIED);
    buf_fini(&good);
    buf_fini(&bad);
    buf_fini(&payload);
}

/* One that doesn't read must not hold us when the request doesn't fit into the socket. */
TEST(deaf_agent_and_a_large_request)
{
    struct buf sig = BUF_INIT;
    struct err err = ERR_INIT;
    const char *path = rig_path("fake");
    int listener = sock_listen_unix(path, SOCK_STREAM, &err);
    struct ssh_agent *agent = ssh_agent_open(path, PATIENCE, &err);
    size_t len = SSH_AGENT_REPLY_MAX - 1000;
    char *data = mem_alloc(len);

    CHECK(listener >= 0 && agent);
    CHECK(ssh_agent_sign(agent, (struct ssh_span){ NULL, 0 }, SSH_SIGN_ED25519, data, len,
                         100 * NS_PER_MS, &sig, &err) != 0);
    CHECK_INT(err.kind, ERR_TIMEOUT);
    CHECK_INT(buf_len(&sig), 0);
    ssh_agent_close(agent);
    close(listener);
    free(data);
}
