/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TLS server for tests/smoke/run-smoke: BearSSL with the settings that hive relies on.
 *
 *   tls_smoke CERT.der KEY.der     KEY.der as `openssl ec -outform DER` writes it, P-256
 *
 * Prints "port N", then serves one connection after the other: sends "echo: " and the first line
 * back, closes, and prints what came of it: "ok version=HEX suite=HEX", "refused REASON" or
 * "error NUMBER". Ends when killed.
 */
#include <arpa/inet.h>
#include <bearssl.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Forward secrecy and authenticated encryption, or nothing. */
static const uint16_t suites[] = {
    BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
};

struct identity {
    unsigned char cert_data[4096];
    unsigned char key_data[32];
    br_x509_certificate cert;
    br_ec_private_key key;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "tls_smoke: %s: %s\n", what, why);
    return -1;
}

/* Returns the length, or 0: none of our files is empty. */
static size_t read_file(const char *name, unsigned char *out, size_t size)
{
    FILE *f = fopen(name, "re");
    size_t n;

    if (f == NULL) {
        fail(name, strerror(errno));
        return 0;
    }
    n = fread(out, 1, size, f);
    fclose(f);
    if (n == 0 || n == size) {
        fail(name, "empty or too large");
        return 0;
    }
    return n;
}

/*
 * SEC1 ECPrivateKey: SEQUENCE, version 1, the 32 bytes. BearSSL's own decoder is not used: it writes
 * past its buffer on crafted keys.
 */
static int load_identity(struct identity *id, const char *cert_file, const char *key_file)
{
    static const unsigned char head[] = { 0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20 };
    unsigned char der[256];
    size_t len = read_file(cert_file, id->cert_data, sizeof id->cert_data);

    if (len == 0)
        return -1;
    id->cert = (br_x509_certificate){ .data = id->cert_data, .data_len = len };
    len = read_file(key_file, der, sizeof der);
    if (len < sizeof head + 32 || memcmp(der, head, sizeof head) != 0)
        return fail(key_file, "not a P-256 key in SEC1 form");
    memcpy(id->key_data, der + sizeof head, 32);
    id->key = (br_ec_private_key){ .curve = BR_EC_secp256r1, .x = id->key_data, .xlen = 32 };
    return 0;
}

static int server_init(br_ssl_server_context *sc, const struct identity *id)
{
    br_ssl_engine_context *eng = &sc->eng;
    unsigned char seed[32];

    br_ssl_server_zero(sc);
    br_ssl_engine_set_versions(eng, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(eng, suites, sizeof suites / sizeof *suites);
    br_ssl_engine_add_flags(eng, BR_OPT_NO_RENEGOTIATION | BR_OPT_ENFORCE_SERVER_PREFERENCES);
    br_ssl_engine_set_default_ec(eng);
    br_ssl_server_set_single_ec(sc, &id->cert, 1, &id->key, BR_KEYTYPE_SIGN, BR_KEYTYPE_EC,
                                br_ec_get_default(), br_ecdsa_sign_asn1_get_default());
    br_ssl_engine_set_hash(eng, br_sha256_ID, &br_sha256_vtable);
    br_ssl_engine_set_hash(eng, br_sha384_ID, &br_sha384_vtable);
    br_ssl_engine_set_hash(eng, br_sha512_ID, &br_sha512_vtable);
    br_ssl_engine_set_prf_sha256(eng, &br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(eng, &br_tls12_sha384_prf);
    br_ssl_engine_set_default_aes_gcm(eng);
    br_ssl_engine_set_default_chapol(eng);
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return fail("getrandom", strerror(errno));
    br_ssl_engine_inject_entropy(eng, seed, sizeof seed);
    explicit_bzero(seed, sizeof seed);
    return 0;
}

static int low_read(void *ctx, unsigned char *data, size_t len)
{
    ssize_t n = read(*(int *)ctx, data, len);

    return n > 0 ? (int)n : -1;
}

static int low_write(void *ctx, const unsigned char *data, size_t len)
{
    ssize_t n = write(*(int *)ctx, data, len);

    return n > 0 ? (int)n : -1;
}

static void report(const br_ssl_engine_context *eng, int echoed)
{
    int err = br_ssl_engine_last_error(eng);
    br_ssl_session_parameters session;

    br_ssl_engine_get_session_parameters(eng, &session);
    /* Where the client takes no alert, BearSSL reports the alert it sent. */
    if (echoed)
        printf("ok version=%04x suite=%04x\n", session.version, session.cipher_suite);
    else if (err == BR_ERR_UNSUPPORTED_VERSION || err == BR_ERR_SEND_FATAL_ALERT + 70)
        printf("refused unsupported-version\n");
    else if (err == BR_ERR_SEND_FATAL_ALERT + BR_ALERT_HANDSHAKE_FAILURE)
        printf("refused no-common-suite\n");
    else
        printf("error %d\n", err);
    fflush(stdout);
}

static void serve(int fd, const struct identity *id)
{
    static br_ssl_server_context sc;
    static unsigned char iobuf[BR_SSL_BUFSIZE_BIDI];
    static const char prefix[] = "echo: ";
    struct timeval limit = { .tv_sec = 15 };
    br_sslio_context io;
    char line[256];
    size_t len = 0;
    int echoed = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (server_init(&sc, id) != 0)
        return;
    br_ssl_engine_set_buffer(&sc.eng, iobuf, sizeof iobuf, 1);
    if (!br_ssl_server_reset(&sc)) {
        report(&sc.eng, 0);
        return;
    }
    br_sslio_init(&io, &sc.eng, low_read, &fd, low_write, &fd);
    while (len < sizeof line && br_sslio_read(&io, line + len, 1) == 1) {
        if (line[len++] != '\n')
            continue;
        echoed = br_sslio_write_all(&io, prefix, sizeof prefix - 1) == 0 &&
                 br_sslio_write_all(&io, line, len) == 0 && br_sslio_flush(&io) == 0;
        break;
    }
    report(&sc.eng, echoed);
    if (echoed)
        br_sslio_close(&io);
}

static int listen_any(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return fail("listen", strerror(errno));
    printf("port %u\n", (unsigned)ntohs(addr.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    static struct identity id;
    int fd;

    if (argc != 3) {
        fprintf(stderr, "usage: tls_smoke CERT.der KEY.der\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (load_identity(&id, argv[1], argv[2]) != 0 || (fd = listen_any()) < 0)
        return 1;
    for (;;) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            fail("accept", strerror(errno));
            return 1;
        }
        serve(client, &id);
        close(client);
    }
}
