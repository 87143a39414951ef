/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small SSH client for tests/smoke/run-smoke: libssh2 on BearSSL against a real sshd on loopback.
 *
 *   ssh_smoke keygen SEED            new Ed25519 user key: seed into the file, authorized_keys line out
 *   ssh_smoke port                   prints a port that was free a moment ago
 *   ssh_smoke wait PORT              returns when an SSH server answers on PORT (deadline 10 s)
 *   ssh_smoke run OPTIONS [COMMAND]  logs in and runs COMMAND; its output and exit status; 255: SSH failed
 *   ssh_smoke forge OPTIONS          damages the host's signature byte by byte: all must fail
 *
 * OPTIONS: -p PORT  -u USER  -s SEED (or -A: agent)  -e FILE.pub: the host key must be this one
 *          -H HOSTKEYS  -k KEX  -c CIPHERS  -m MACS: methods to offer  -i FILE: stdin of the command
 *          -v: print the agreed methods first
 *          -t sig|key|f|f-zero|f-one: damage the server's key exchange reply so; watch: only look;
 *             data: flip a bit in what comes encrypted
 */
#include "vendor/libssh2/hive_bearssl_pool.h"

#include <arpa/inet.h>
#include <bearssl.h>
#include <errno.h>
#include <fcntl.h>
#include <libssh2.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sodium/crypto_sign_ed25519.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What hive offers: no SHA-1, no chacha20-poly1305 (libssh2 loops for ever on a flipped bit). */
#define DEFAULT_KEX                                                                                \
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,"                           \
    "ecdh-sha2-nistp384,diffie-hellman-group16-sha512,diffie-hellman-group14-sha256"
#define DEFAULT_HOSTKEYS                                                                           \
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,rsa-sha2-512,rsa-sha2-256"
#define DEFAULT_CIPHERS "aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes128-ctr"
#define DEFAULT_MACS                                                                               \
    "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"

#define DEADLINE_S 60
#define MEMORY_LIMIT (16 << 20)
#define MSG_NEWKEYS 21
#define MSG_KEX_REPLY 31
#define MSG_GEX_REPLY 33
#define DAMAGED_BYTE 40 /* of the encrypted stream: inside its first packet, behind the length */

enum damage {
    DAMAGE_NONE,
    DAMAGE_WATCH,
    DAMAGE_SIG,
    DAMAGE_KEY,
    DAMAGE_F,
    DAMAGE_F_ZERO,
    DAMAGE_F_ONE,
    DAMAGE_DATA,
};

struct options {
    uint16_t port;
    const char *user, *seed_file, *expect_file, *stdin_file;
    const char *hostkeys, *kex, *ciphers, *macs;
    const char *command;
    int agent, verbose;
    enum damage damage;
};

struct user_key {
    unsigned char pub[crypto_sign_ed25519_PUBLICKEYBYTES];
    unsigned char secret[crypto_sign_ed25519_SECRETKEYBYTES];
};

/* What came from the server and is still in clear, held back until a packet is complete. */
struct tap {
    struct hive_bearssl_pool pool; /* first, for the allocator */
    enum damage damage;
    size_t damage_at; /* DAMAGE_SIG: this byte of the signature blob */
    size_t sig_len;   /* out: length of the blob, 0 if none was seen */
    int damaged;      /* out: something was changed */
    int banner_seen, encrypted;
    size_t encrypted_seen; /* bytes */
    size_t len, ready, pos;
    unsigned char buf[65536];
};

/*
 * libssh2 forgets the host's key where the handshake fails after it was read, and p and g where they
 * are too large: see vendor/libssh2/README.md.
 */
#ifdef __SANITIZE_ADDRESS__
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:hostkey_method_ssh_rsa_init\n"
           "leak:hostkey_method_ssh_ecdsa_init\n"
           "leak:hostkey_method_ssh_ed25519_init\n"
           "leak:kex_method_diffie_hellman_group18_sha512_key_exchange\n";
}
#endif

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "ssh_smoke: %s: %s\n", what, why);
    return -1;
}

static int fail_errno(const char *what)
{
    return fail(what, strerror(errno));
}

/* --- keys ------------------------------------------------------------------------------------ */

static void base64(char *out, const unsigned char *in, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16;

        if (i + 1 < len)
            v |= (uint32_t)in[i + 1] << 8;
        if (i + 2 < len)
            v |= in[i + 2];
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
        *out++ = i + 2 < len ? digits[v & 63] : '=';
    }
    *out = 0;
}

static size_t put_string(unsigned char *out, const void *data, size_t len)
{
    out[0] = (unsigned char)(len >> 24);
    out[1] = (unsigned char)(len >> 16);
    out[2] = (unsigned char)(len >> 8);
    out[3] = (unsigned char)len;
    memcpy(out + 4, data, len);
    return 4 + len;
}

static size_t public_blob(unsigned char out[64], const struct user_key *key)
{
    size_t n = put_string(out, "ssh-ed25519", 11);

    return n + put_string(out + n, key->pub, sizeof key->pub);
}

static int load_key(struct user_key *key, const char *file)
{
    unsigned char seed[crypto_sign_ed25519_SEEDBYTES];
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return fail_errno(file);
    n = read(fd, seed, sizeof seed);
    close(fd);
    if (n != (ssize_t)sizeof seed)
        return fail(file, "not a seed of 32 bytes");
    return crypto_sign_ed25519_seed_keypair(key->pub, key->secret, seed);
}

static int cmd_keygen(const char *file)
{
    unsigned char seed[crypto_sign_ed25519_SEEDBYTES], blob[64];
    char text[128];
    struct user_key key;
    int fd;

    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return fail_errno("getrandom");
    fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_errno(file);
    if (write(fd, seed, sizeof seed) != (ssize_t)sizeof seed || close(fd) != 0)
        return fail_errno(file);
    if (load_key(&key, file) != 0)
        return -1;
    base64(text, blob, public_blob(blob, &key));
    printf("ssh-ed25519 %s smoke\n", text);
    return 0;
}

/* Called by libssh2 with what to sign; it frees *sig with the session's allocator. */
static int sign(LIBSSH2_SESSION *session, unsigned char **sig, size_t *sig_len,
                const unsigned char *data, size_t data_len, void **abstract)
{
    const struct user_key *key = *abstract;

    *sig = hive_bearssl_alloc(crypto_sign_ed25519_BYTES, libssh2_session_abstract(session));
    if (*sig == NULL)
        return -1;
    *sig_len = crypto_sign_ed25519_BYTES;
    return crypto_sign_ed25519_detached(*sig, NULL, data, data_len, key->secret);
}

/* --- sockets --------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static int dial(uint16_t port)
{
    struct sockaddr_in addr = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int cmd_port(void)
{
    struct sockaddr_in addr = loopback(0);
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return fail_errno("port");
    close(fd);
    printf("%u\n", (unsigned)ntohs(addr.sin_port));
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int cmd_wait(uint16_t port)
{
    int64_t deadline = now_ms() + 10000;

    while (now_ms() < deadline) {
        char banner[4] = "";
        int fd = dial(port);

        if (fd >= 0) {
            struct pollfd pfd = { .fd = fd, .events = POLLIN };

            if (poll(&pfd, 1, 5000) == 1 && read(fd, banner, sizeof banner) == 4 &&
                memcmp(banner, "SSH-", 4) == 0) {
                close(fd);
                return 0;
            }
            close(fd);
        }
        poll(NULL, 0, 20);
    }
    return fail("wait", "no SSH server there after 10 s");
}

/* --- damage on the way ----------------------------------------------------------------------- */

static uint32_t get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The string at *p, which is moved behind it; NULL if it does not end before end. */
static unsigned char *take_string(unsigned char **p, const unsigned char *end, size_t *len)
{
    unsigned char *s = *p + 4;

    if (end - *p < 4 || (size_t)(end - s) < get_u32(*p))
        return NULL;
    *len = get_u32(*p);
    *p = s + *len;
    return s;
}

/* A key exchange reply: type, host key, server's public value f, signature. */
static void damage_reply(struct tap *tap, unsigned char *payload, size_t payload_len)
{
    unsigned char *p = payload + 1, *end = payload + payload_len, *key, *f, *sig;
    size_t key_len, f_len, sig_len;

    key = take_string(&p, end, &key_len);
    f = key ? take_string(&p, end, &f_len) : NULL;
    sig = f ? take_string(&p, end, &sig_len) : NULL;
    if (sig == NULL || key_len == 0 || f_len == 0)
        return;
    tap->sig_len = sig_len;
    tap->damaged = 1;
    switch (tap->damage) {
    case DAMAGE_NONE:
    case DAMAGE_WATCH:
    case DAMAGE_DATA:
        tap->damaged = 0;
        break;
    case DAMAGE_SIG:
        if (tap->damage_at < sig_len)
            sig[tap->damage_at] ^= 0x01;
        else
            tap->damaged = 0; /* ECDSA signatures differ in length */
        break;
    case DAMAGE_KEY:
        key[key_len - 1] ^= 0x01;
        break;
    case DAMAGE_F:
        f[f_len - 1] ^= 0x01;
        break;
    case DAMAGE_F_ZERO:
        memset(f, 0, f_len);
        break;
    case DAMAGE_F_ONE:
        memset(f, 0, f_len);
        f[f_len - 1] = 1;
        break;
    }
}

/* Moves tap->ready behind what is complete, damaging the reply as it passes. */
static void tap_advance(struct tap *tap)
{
    while (!tap->banner_seen) {
        unsigned char *line = tap->buf + tap->ready;
        unsigned char *nl = memchr(line, '\n', tap->len - tap->ready);

        if (nl == NULL)
            return;
        tap->banner_seen = nl - line > 4 && memcmp(line, "SSH-", 4) == 0;
        tap->ready = (size_t)(nl + 1 - tap->buf);
    }
    while (!tap->encrypted && tap->len - tap->ready > 5) {
        unsigned char *packet = tap->buf + tap->ready;
        size_t packet_len = get_u32(packet), pad_len = packet[4];

        if (tap->len - tap->ready < 4 + packet_len || packet_len < pad_len + 2)
            return;
        if (packet[5] == MSG_KEX_REPLY || packet[5] == MSG_GEX_REPLY)
            damage_reply(tap, packet + 5, packet_len - 1 - pad_len);
        if (packet[5] == MSG_NEWKEYS)
            tap->encrypted = 1;
        tap->ready += 4 + packet_len;
    }
    if (tap->encrypted) {
        if (tap->damage == DAMAGE_DATA && tap->encrypted_seen <= DAMAGED_BYTE &&
            DAMAGED_BYTE - tap->encrypted_seen < tap->len - tap->ready)
            tap->buf[tap->ready + DAMAGED_BYTE - tap->encrypted_seen] ^= 0x01;
        tap->encrypted_seen += tap->len - tap->ready;
        tap->ready = tap->len;
    }
}

static ssize_t tap_recv(libssh2_socket_t fd, void *out, size_t len, int flags, void **abstract)
{
    struct tap *tap = *abstract;
    size_t n;

    while (tap->pos == tap->ready) {
        ssize_t got;

        memmove(tap->buf, tap->buf + tap->pos, tap->len - tap->pos);
        tap->len -= tap->pos;
        tap->pos = tap->ready = 0;
        if (tap->len == sizeof tap->buf)
            return -ENOBUFS;
        got = recv(fd, tap->buf + tap->len, sizeof tap->buf - tap->len, flags);
        if (got <= 0)
            return got < 0 ? -errno : 0;
        tap->len += (size_t)got;
        tap_advance(tap);
    }
    n = tap->ready - tap->pos < len ? tap->ready - tap->pos : len;
    memcpy(out, tap->buf + tap->pos, n);
    tap->pos += n;
    return (ssize_t)n;
}

/* --- sessions -------------------------------------------------------------------------------- */

static int fail_session(LIBSSH2_SESSION *session, const char *what)
{
    char *message = NULL;
    int code = libssh2_session_last_error(session, &message, NULL, 0);

    fprintf(stderr, "ssh_smoke: %s: %s (%d)\n", what, message, code);
    return -1;
}

static int set_methods(LIBSSH2_SESSION *session, const struct options *opt)
{
    return libssh2_session_method_pref(session, LIBSSH2_METHOD_KEX, opt->kex) ||
                   libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, opt->hostkeys) ||
                   libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_CS, opt->ciphers) ||
                   libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_SC, opt->ciphers) ||
                   libssh2_session_method_pref(session, LIBSSH2_METHOD_MAC_CS, opt->macs) ||
                   libssh2_session_method_pref(session, LIBSSH2_METHOD_MAC_SC, opt->macs)
               ? -1
               : 0;
}

/* The handshake alone. The session is the caller's also on failure, unless it is NULL. */
static LIBSSH2_SESSION *session_open(const struct options *opt, struct tap *tap, int fd, int *rc)
{
    LIBSSH2_SESSION *session;

    tap->pool.limit = MEMORY_LIMIT;
    session =
        libssh2_session_init_ex(hive_bearssl_alloc, hive_bearssl_free, hive_bearssl_realloc, tap);

    *rc = -1;
    if (session == NULL)
        return NULL;
    libssh2_session_set_blocking(session, 1);
    libssh2_session_set_timeout(session, 20000);
    if (tap->damage != DAMAGE_NONE)
        libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_RECV,
                                      (libssh2_cb_generic *)tap_recv);
    if (set_methods(session, opt) == 0)
        *rc = libssh2_session_handshake(session, fd);
    return session;
}

static void session_close(LIBSSH2_SESSION *session, struct tap *tap)
{
    if (session != NULL)
        libssh2_session_free(session);
    hive_bearssl_pool_fini(&tap->pool);
}

static int check_host_key(LIBSSH2_SESSION *session, const char *file)
{
    char line[4096] = "", text[4096];
    size_t len;
    const char *key = libssh2_session_hostkey(session, &len, NULL);
    FILE *f = fopen(file, "re");
    int same;

    if (f == NULL)
        return fail_errno(file);
    if (fgets(line, sizeof line, f) == NULL)
        line[0] = 0;
    fclose(f);
    if (key == NULL || len > sizeof text / 2)
        return fail("host key", "none, or too long");
    base64(text, (const unsigned char *)key, len);
    /* FILE.pub is: type, space, base64, space, comment */
    const char *want = strchr(line, ' ');

    same =
        want != NULL && strncmp(want + 1, text, strlen(text)) == 0 && want[1 + strlen(text)] == ' ';
    return same ? 0 : fail("host key", "not the expected one");
}

static void print_methods(LIBSSH2_SESSION *session)
{
    printf("kex=%s hostkey=%s crypt=%s,%s mac=%s,%s\n",
           libssh2_session_methods(session, LIBSSH2_METHOD_KEX),
           libssh2_session_methods(session, LIBSSH2_METHOD_HOSTKEY),
           libssh2_session_methods(session, LIBSSH2_METHOD_CRYPT_CS),
           libssh2_session_methods(session, LIBSSH2_METHOD_CRYPT_SC),
           libssh2_session_methods(session, LIBSSH2_METHOD_MAC_CS),
           libssh2_session_methods(session, LIBSSH2_METHOD_MAC_SC));
}

static int login_agent(LIBSSH2_SESSION *session, const char *user)
{
    LIBSSH2_AGENT *agent = libssh2_agent_init(session);
    struct libssh2_agent_publickey *identity = NULL, *previous = NULL;
    int rc = -1;

    if (agent == NULL || libssh2_agent_connect(agent) || libssh2_agent_list_identities(agent))
        goto out;
    while (rc != 0 && libssh2_agent_get_identity(agent, &identity, previous) == 0) {
        rc = libssh2_agent_userauth(agent, user, identity);
        previous = identity;
    }
out:
    if (rc != 0)
        rc = fail_session(session, "login with the agent");
    if (agent != NULL) {
        libssh2_agent_disconnect(agent);
        libssh2_agent_free(agent);
    }
    return rc;
}

static int login(LIBSSH2_SESSION *session, const struct options *opt)
{
    unsigned char blob[64];
    struct user_key key;
    void *abstract = &key;

    if (opt->agent)
        return login_agent(session, opt->user);
    if (load_key(&key, opt->seed_file) != 0)
        return -1;
    if (libssh2_userauth_publickey(session, opt->user, blob, public_blob(blob, &key), sign,
                                   &abstract) != 0)
        return fail_session(session, "login");
    return 0;
}

static int send_stdin(LIBSSH2_CHANNEL *channel, const char *file)
{
    char buf[32768];
    size_t n;
    FILE *f = fopen(file, "re");

    if (f == NULL)
        return fail_errno(file);
    while ((n = fread(buf, 1, sizeof buf, f)) > 0) {
        for (size_t done = 0; done < n;) {
            ssize_t w = libssh2_channel_write(channel, buf + done, n - done);

            if (w < 0) {
                fclose(f);
                return fail("channel", "write failed");
            }
            done += (size_t)w;
        }
    }
    fclose(f);
    return libssh2_channel_send_eof(channel);
}

/* Returns the command's exit status, or -1. */
static int run_command(LIBSSH2_SESSION *session, const struct options *opt)
{
    LIBSSH2_CHANNEL *channel = libssh2_channel_open_session(session);
    char buf[32768];
    ssize_t n;
    int status = -1;

    if (channel == NULL || libssh2_channel_exec(channel, opt->command) != 0)
        goto fail;
    if (opt->stdin_file != NULL && send_stdin(channel, opt->stdin_file) != 0)
        goto fail;
    while ((n = libssh2_channel_read(channel, buf, sizeof buf)) > 0)
        fwrite(buf, 1, (size_t)n, stdout);
    if (n < 0 || libssh2_channel_close(channel) != 0 || libssh2_channel_wait_closed(channel) != 0)
        goto fail;
    status = libssh2_channel_get_exit_status(channel);
    libssh2_channel_free(channel);
    return status;

fail:
    fail_session(session, "command");
    if (channel != NULL)
        libssh2_channel_free(channel);
    return -1;
}

static int cmd_run(const struct options *opt)
{
    static struct tap tap;
    LIBSSH2_SESSION *session = NULL;
    int fd = dial(opt->port), rc, status = -1;

    if (fd < 0)
        return fail_errno("connect");
    tap.damage = opt->damage;
    tap.damage_at = 40; /* inside the signature proper of every algorithm */
    session = session_open(opt, &tap, fd, &rc);
    if (session == NULL || rc != 0) {
        if (session != NULL)
            fail_session(session, "handshake");
        if (tap.sig_len != 0)
            fail("handshake", "the server had signed");
        goto out;
    }
    if (opt->expect_file != NULL && check_host_key(session, opt->expect_file) != 0)
        goto out;
    if (opt->verbose)
        print_methods(session);
    if (login(session, opt) == 0)
        status = opt->command != NULL ? run_command(session, opt) : 0;
    libssh2_session_disconnect(session, "done");
out:
    session_close(session, &tap);
    close(fd);
    return status;
}

/*
 * Bytes before `from` name the algorithm and give a length, both of which libssh2 does not look at:
 * it verifies with the agreed algorithm whatever they say.
 */
static size_t signature_start(const char *hostkey)
{
    if (strncmp(hostkey, "ecdsa-", 6) == 0)
        return 4 + 19 + 4;
    return 4 + strlen(hostkey) + 4;
}

static int cmd_forge(const struct options *opt)
{
    static struct tap tap;
    size_t from = signature_start(opt->hostkeys), tried = 0, accepted = 0, other = 0;
    size_t step =
        strncmp(opt->hostkeys, "rsa-", 4) == 0 ? 7 : 1; /* long, and all bytes are alike */

    for (size_t at = from; at == from || at < tap.sig_len; at += step) {
        int fd = dial(opt->port), rc;
        LIBSSH2_SESSION *session;

        if (fd < 0)
            return fail_errno("connect");
        memset(&tap, 0, sizeof tap);
        tap.damage = DAMAGE_SIG;
        tap.damage_at = at;
        session = session_open(opt, &tap, fd, &rc);
        if (tap.sig_len == 0 || session == NULL)
            return fail("forge", "the server sent no signature");
        if (tap.damaged) {
            tried++;
            accepted += rc == 0;
            other += rc != 0 && rc != LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE;
        }
        session_close(session, &tap);
        close(fd);
    }
    printf("tried=%zu accepted=%zu other=%zu\n", tried, accepted, other);
    return accepted == 0 && other == 0 ? 0 : -1;
}

/* --- command line ---------------------------------------------------------------------------- */

static int parse_port(const char *text, uint16_t *port)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (end == text || *end != 0 || v <= 0 || v > 65535)
        return fail(text, "not a port");
    *port = (uint16_t)v;
    return 0;
}

static int parse_damage(const char *text, enum damage *damage)
{
    static const char *const names[] = {
        [DAMAGE_WATCH] = "watch", [DAMAGE_SIG] = "sig",       [DAMAGE_KEY] = "key",
        [DAMAGE_F] = "f",         [DAMAGE_F_ZERO] = "f-zero", [DAMAGE_F_ONE] = "f-one",
        [DAMAGE_DATA] = "data",
    };

    for (size_t i = DAMAGE_WATCH; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *damage = (enum damage)i;
            return 0;
        }
    }
    return fail(text, "no such damage");
}

static int parse_options(struct options *opt, int argc, char **argv)
{
    int c, rc = 0;

    *opt = (struct options){ .kex = DEFAULT_KEX,
                             .hostkeys = DEFAULT_HOSTKEYS,
                             .ciphers = DEFAULT_CIPHERS,
                             .macs = DEFAULT_MACS };
    while (rc == 0 && (c = getopt(argc, argv, "p:u:s:Ae:i:H:k:c:m:t:v")) != -1) {
        switch (c) {
        case 'p':
            rc = parse_port(optarg, &opt->port);
            break;
        case 'u':
            opt->user = optarg;
            break;
        case 's':
            opt->seed_file = optarg;
            break;
        case 'A':
            opt->agent = 1;
            break;
        case 'e':
            opt->expect_file = optarg;
            break;
        case 'i':
            opt->stdin_file = optarg;
            break;
        case 'H':
            opt->hostkeys = optarg;
            break;
        case 'k':
            opt->kex = optarg;
            break;
        case 'c':
            opt->ciphers = optarg;
            break;
        case 'm':
            opt->macs = optarg;
            break;
        case 't':
            rc = parse_damage(optarg, &opt->damage);
            break;
        case 'v':
            opt->verbose = 1;
            break;
        default:
            rc = -1;
        }
    }
    opt->command = argv[optind];
    return rc;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    struct options opt;
    uint16_t port;
    int rc = -1;

    signal(SIGPIPE, SIG_IGN);
    if (libssh2_init(0) != 0)
        return 255;
    if (strcmp(verb, "keygen") == 0 && argc == 3) {
        rc = cmd_keygen(argv[2]);
    } else if (strcmp(verb, "port") == 0) {
        rc = cmd_port();
    } else if (strcmp(verb, "wait") == 0 && argc == 3) {
        if (parse_port(argv[2], &port) == 0)
            rc = cmd_wait(port);
    } else if (strcmp(verb, "run") == 0 || strcmp(verb, "forge") == 0) {
        int (*command)(const struct options *) = verb[0] == 'r' ? cmd_run : cmd_forge;

        alarm(DEADLINE_S);
        if (parse_options(&opt, argc - 1, argv + 1) == 0)
            rc = command(&opt);
    } else {
        fprintf(stderr, "usage: ssh_smoke keygen SEED | port | wait PORT | run ... | forge ...\n");
    }
    libssh2_exit();
    if (fflush(stdout) != 0)
        rc = -1;
    return rc < 0 ? 255 : rc;
}
