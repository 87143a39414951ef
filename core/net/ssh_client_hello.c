/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "base/err.h"
#include "base/str.h"
#include "net/ssh_client.h"
#include "net/ssh_client_hello.h"
#include "net/ssh_pattern.h"
#include "net/ssh_wire.h"

#define VERSION_LINE_MAX 255 /* RFC 4253, 4.2 */
#define PACKET_MAX 35000     /* RFC 4253, 6.1 */
#define MSG_DISCONNECT 1
#define MSG_IGNORE 2
#define MSG_DEBUG 4
#define MSG_KEXINIT 20
#define COOKIE_SIZE 16
#define SHOWN_MAX 120 /* of a server's list in a message */

static const struct method {
    const char *noun, *all;
} methods[SSH_METHOD_COUNT] = {
    [SSH_METHOD_KEX] = { "key exchange method",
                         "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,"
                         "ecdh-sha2-nistp384,diffie-hellman-group16-sha512,"
                         "diffie-hellman-group14-sha256" },
    [SSH_METHOD_HOST_KEY] = { "kind of host key",
                              "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,"
                              "ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256" },
    [SSH_METHOD_CIPHER] = { "cipher", "aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,"
                                      "aes128-ctr" },
    [SSH_METHOD_MAC] = { "MAC", "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
                                "hmac-sha2-256,hmac-sha2-512" },
};

const char *ssh_method_all(enum ssh_method method)
{
    return methods[method].all;
}

const char *ssh_method_noun(enum ssh_method method)
{
    return methods[method].noun;
}

/* --- lists of names ----------------------------------------------------------------------------- */

/* The next name of a comma-separated list, which is moved behind it; false at the end. Empty names
 * are skipped. */
static bool next_name(struct ssh_span *list, struct ssh_span *name)
{
    while (list->len > 0) {
        const unsigned char *comma = memchr(list->data, ',', list->len);
        size_t len = comma ? (size_t)(comma - list->data) : list->len;

        *name = (struct ssh_span){ list->data, len };
        list->data += comma ? len + 1 : len;
        list->len -= comma ? len + 1 : len;
        if (len > 0)
            return true;
    }
    return false;
}

static struct ssh_span text_span(const char *s)
{
    return (struct ssh_span){ (const unsigned char *)s, strlen(s) };
}

static bool list_has(struct ssh_span list, struct ssh_span name)
{
    struct ssh_span other;

    while (next_name(&list, &other))
        if (ssh_span_eq(other, name))
            return true;
    return false;
}

/* The first name of `ours` that is in `theirs`: what both sides agree on. */
static bool list_agree(const char *ours, struct ssh_span theirs, struct ssh_span *name)
{
    struct ssh_span list = text_span(ours);

    while (next_name(&list, name))
        if (list_has(theirs, *name))
            return true;
    return false;
}

static void offer_add(struct buf *out, size_t start, struct ssh_span name)
{
    struct ssh_span have = { (const unsigned char *)buf_data(out) + start, buf_len(out) - start };

    if (list_has(have, name))
        return;
    if (have.len > 0)
        buf_append_char(out, ',');
    buf_append(out, name.data, name.len);
}

/* Those of `all` that a pattern of the list matches, or those that none does. */
static void offer_matching(const char *all, const char *patterns, bool want, struct buf *out,
                           size_t start)
{
    struct ssh_span list = text_span(all), name;

    while (next_name(&list, &name)) {
        char *text = mem_strndup((const char *)name.data, name.len);

        if ((ssh_pattern_list_match(text, patterns, strlen(patterns), false) == 1) == want)
            offer_add(out, start, name);
        free(text);
    }
}

void ssh_method_offer(const char *all, const char *config, struct buf *out)
{
    size_t start = buf_len(out);
    char sign = config ? config[0] : '+';
    struct ssh_span list, name;

    if (sign == '+') {
        buf_append_str(out, all);
        return;
    }
    if (sign == '-') {
        offer_matching(all, config + 1, false, out, start);
        return;
    }
    list = text_span(sign == '^' ? config + 1 : config);
    while (next_name(&list, &name)) {
        char *pattern = mem_strndup((const char *)name.data, name.len);

        offer_matching(all, pattern, true, out, start);
        free(pattern);
    }
    if (sign == '^')
        offer_matching(all, "", false, out, start);
}

/* --- the version -------------------------------------------------------------------------------- */

static int bad_version(const struct ssh_hello *h, const char *line, size_t len, struct err *err)
{
    struct buf text = BUF_INIT;

    str_append_safe(&text, line, len < SHOWN_MAX ? len : SHOWN_MAX);
    err_set(err, ERR_CORRUPT, "%s is no SSH server, or it refuses to talk: it says \"%s\"", h->host,
            buf_data(&text));
    buf_fini(&text);
    return err_hint(err, "check the port; a busy server may take the next try");
}

/* The version line, without its end. */
static int take_version(struct ssh_hello *h, const char *line, size_t len, struct err *err)
{
    struct buf text = BUF_INIT;
    size_t prefix = 8;

    if (len > 8 && memcmp(line, "SSH-1.99-", 9) == 0)
        prefix = 9;
    else if (len < 8 || memcmp(line, "SSH-2.0-", 8) != 0)
        return bad_version(h, line, len, err);
    if (memchr(line, 0, len))
        return bad_version(h, line, len, err);
    str_append_safe(&text, line + prefix, len - prefix);
    str_copy(h->software, sizeof h->software, buf_data(&text));
    buf_fini(&text);
    return 0;
}

/* Servers that are busy or that don't like us say so in a line and hang up. */
static void keep_line(struct ssh_hello *h, const char *line, size_t len)
{
    struct buf text = BUF_INIT;

    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    str_append_safe(&text, line, len < sizeof h->said ? len : sizeof h->said);
    str_copy(h->said, sizeof h->said, buf_data(&text));
    buf_fini(&text);
}

static enum ssh_hello_state feed_version(struct ssh_hello *h, struct buf *in, size_t *released,
                                         struct err *err)
{
    for (;;) {
        const char *data = buf_data(in), *end = memchr(data, '\n', buf_len(in));
        size_t line = end ? (size_t)(end - data) + 1 : buf_len(in), len = line;

        if (line >= 4 && memcmp(data, "SSH-", 4) == 0) {
            if (line > VERSION_LINE_MAX) {
                bad_version(h, data, line, err);
                return h->state = SSH_HELLO_BAD;
            }
            if (!end)
                return h->state;
            while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r'))
                len--;
            if (take_version(h, data, len, err) != 0)
                return h->state = SSH_HELLO_BAD;
            *released = line;
            return h->state = SSH_HELLO_KEXINIT;
        }
        if (h->skipped + line >= SSH_CLIENT_HELLO_MAX) {
            err_set(err, ERR_TOO_LARGE,
                    "%s is no SSH server: it sent %zu bytes and said no SSH version", h->host,
                    h->skipped + line);
            err_hint(err, "check the port");
            return h->state = SSH_HELLO_BAD;
        }
        if (!end)
            return h->state;
        if (h->said[0] == 0)
            keep_line(h, data, line);
        h->skipped += line;
        buf_consume(in, line);
    }
}

/* --- KEXINIT ------------------------------------------------------------------------------------ */

static int nothing_common(struct ssh_hello *h, enum ssh_method m, struct ssh_span theirs,
                          struct err *err)
{
    struct buf text = BUF_INIT;
    struct ssh_span name;
    bool cut = false;

    while (!cut && next_name(&theirs, &name)) {
        if (ssh_span_is(name, "ext-info-s") || ssh_span_is(name, "kex-strict-s-v00@openssh.com"))
            continue; /* these are no methods */
        cut = buf_len(&text) + name.len > SHOWN_MAX;
        if (!cut && buf_len(&text) > 0)
            buf_append_char(&text, ',');
        if (!cut)
            str_append_safe(&text, (const char *)name.data, name.len);
    }
    err_set(err, ERR_UNPROCESS, "%s offers no %s that hive uses, only: %s%s", h->host,
            methods[m].noun, buf_len(&text) > 0 ? buf_data(&text) : "none", cut ? ",..." : "");
    buf_fini(&text);
    h->needs_system = true;
    return err_hint(err, "update its SSH server, or use the system's ssh for this host");
}

static bool is_gcm(struct ssh_span cipher)
{
    return cipher.len > 15 && memcmp(cipher.data + 6, "-gcm@", 5) == 0;
}

/* One direction's cipher and MAC must be the other's: libssh2 mixes up their flags. */
static int agree_both(struct ssh_hello *h, enum ssh_method m, const struct ssh_span theirs[2],
                      struct ssh_span *name, struct err *err)
{
    struct ssh_span other;

    for (int way = 0; way < 2; way++)
        if (!list_agree(h->offer[m], theirs[way], way ? &other : name))
            return nothing_common(h, m, theirs[way], err);
    if (ssh_span_eq(*name, other))
        return 0;
    h->needs_system = true;
    err_set(err, ERR_UNPROCESS, "%s wants one %s for one direction and another for the other",
            h->host, methods[m].noun);
    return err_hint(err, "use the system's ssh for this host");
}

static int check_kexinit(struct ssh_hello *h, struct ssh_cursor c, struct err *err)
{
    struct ssh_span kex, key, cipher[2], mac[2], comp[2], name;

    ssh_get_bytes(&c, COOKIE_SIZE);
    kex = ssh_get_string(&c);
    key = ssh_get_string(&c);
    for (int way = 0; way < 2; way++)
        cipher[way] = ssh_get_string(&c);
    for (int way = 0; way < 2; way++)
        mac[way] = ssh_get_string(&c);
    for (int way = 0; way < 2; way++)
        comp[way] = ssh_get_string(&c);
    for (int way = 0; way < 2; way++)
        ssh_get_string(&c); /* languages */
    ssh_get_u8(&c);         /* a guess follows */
    ssh_get_u32(&c);
    if (!ssh_cursor_done(&c))
        return err_set(err, ERR_CORRUPT, "%s: the server's first message is damaged", h->host);
    if (!list_agree(h->offer[SSH_METHOD_KEX], kex, &name))
        return nothing_common(h, SSH_METHOD_KEX, kex, err);
    if (!list_agree(h->offer[SSH_METHOD_HOST_KEY], key, &name))
        return nothing_common(h, SSH_METHOD_HOST_KEY, key, err);
    if (agree_both(h, SSH_METHOD_CIPHER, cipher, &name, err) != 0)
        return -1;
    if (!is_gcm(name) && agree_both(h, SSH_METHOD_MAC, mac, &name, err) != 0)
        return -1;
    for (int way = 0; way < 2; way++)
        if (!list_has(comp[way], text_span("none"))) {
            h->needs_system = true;
            return err_set(err, ERR_UNPROCESS, "%s insists on compression", h->host);
        }
    return 0;
}

static enum ssh_hello_state feed_kexinit(struct ssh_hello *h, const struct buf *in,
                                         size_t *released, struct err *err)
{
    while (buf_len(in) > *released + 5) {
        struct ssh_cursor c = ssh_cursor(buf_data(in) + *released, buf_len(in) - *released);
        uint32_t len = ssh_get_u32(&c);
        uint8_t padding = ssh_get_u8(&c), type;

        if (len < 2 || len > PACKET_MAX || padding > len - 2) {
            err_set(err, ERR_CORRUPT, "%s: the server's first message is damaged", h->host);
            return h->state = SSH_HELLO_BAD;
        }
        type = ssh_get_u8(&c);
        if (type == MSG_DISCONNECT)
            return h->state = SSH_HELLO_DONE; /* libssh2 passes the reason on */
        if (type != MSG_KEXINIT && type != MSG_IGNORE && type != MSG_DEBUG) {
            err_set(err, ERR_CORRUPT,
                    "%s: the server begins with message %u, which is no key exchange", h->host,
                    (unsigned)type);
            return h->state = SSH_HELLO_BAD;
        }
        if (buf_len(in) - *released < 4 + (size_t)len)
            return h->state;
        if (type == MSG_KEXINIT) {
            c.left = len - 2 - padding;
            h->state = check_kexinit(h, c, err) == 0 ? SSH_HELLO_DONE : SSH_HELLO_BAD;
            return h->state;
        }
        *released += 4 + (size_t)len;
        h->skipped += 4 + (size_t)len;
        if (h->skipped > SSH_CLIENT_HELLO_MAX) {
            err_set(err, ERR_TOO_LARGE, "%s: the server talks and never begins the key exchange",
                    h->host);
            return h->state = SSH_HELLO_BAD;
        }
    }
    return h->state;
}

enum ssh_hello_state ssh_hello_feed(struct ssh_hello *h, struct buf *in, size_t *released,
                                    struct err *err)
{
    if (h->state == SSH_HELLO_VERSION)
        feed_version(h, in, released, err);
    if (h->state == SSH_HELLO_KEXINIT)
        feed_kexinit(h, in, released, err);
    return h->state;
}
