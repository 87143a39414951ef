/* SPDX-License-Identifier: BSD-2-Clause */
/* Public keys: names of types, blobs (RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709, 4), `.pub` files. */
#include "base/mem.h"

#include "net/ssh_key_priv.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_BYTES 64 /* RFC 4251, 6 */
#define COMMENT_MAX 1024

static const char *const names[SSH_KEY_TYPE_COUNT] = {
    [SSH_KEY_OTHER] = "",
    [SSH_KEY_ED25519] = "ssh-ed25519",
    [SSH_KEY_ECDSA_256] = "ecdsa-sha2-nistp256",
    [SSH_KEY_ECDSA_384] = "ecdsa-sha2-nistp384",
    [SSH_KEY_ECDSA_521] = "ecdsa-sha2-nistp521",
    [SSH_KEY_RSA] = "ssh-rsa",
};

const char *ssh_key_type_name(enum ssh_key_type type)
{
    return (unsigned)type < SSH_KEY_TYPE_COUNT ? names[type] : "";
}

enum ssh_key_type ssh_key_type_from_name(struct ssh_span name)
{
    for (unsigned t = SSH_KEY_OTHER + 1; t < SSH_KEY_TYPE_COUNT; t++) {
        if (ssh_span_is(name, names[t]))
            return (enum ssh_key_type)t;
    }
    return SSH_KEY_OTHER;
}

static bool begins(struct ssh_span s, const char *with)
{
    size_t len = strlen(with);

    return s.len >= len && memcmp(s.data, with, len) == 0;
}

static bool contains(struct ssh_span s, const char *what)
{
    return s.len > 0 && memmem(s.data, s.len, what, strlen(what)) != NULL;
}

int ssh_key_refuse_type(struct ssh_span name, struct err *err)
{
    if (contains(name, "-cert-v0"))
        err_set(err, ERR_UNPROCESS, "certificates need the system's ssh");
    else if (begins(name, "sk-") || begins(name, "webauthn-sk-"))
        err_set(err, ERR_UNPROCESS, "security keys need the system's ssh");
    else if (ssh_span_is(name, "ssh-dss")) {
        err_set(err, ERR_UNPROCESS, "DSA keys are no longer accepted");
        return err_hint(err, "make a new key: ssh-keygen -t ed25519");
    } else
        return 0;
    return err_hint(err, "use the system's ssh");
}

static char *safe_copy(struct ssh_span s, size_t max)
{
    struct buf b = BUF_INIT;

    if (s.len > 0)
        str_append_safe(&b, (const char *)s.data, s.len < max ? s.len : max);
    return buf_take(&b, NULL);
}

static char *why_not(struct ssh_span name)
{
    struct err err = ERR_INIT;

    if (ssh_key_refuse_type(name, &err) == 0)
        err_set(&err, ERR_UNPROCESS, "a type that the builtin SSH doesn't know");
    return mem_strdup(err.msg);
}

/* What follows the name in a blob of a type that we know. An RSA key of another size is told in
 * *reason, malloc'd. */
static bool blob_ok(enum ssh_key_type type, struct ssh_cursor *c, char **reason)
{
    struct err err = ERR_INIT;
    struct ssh_span s, point;
    size_t bytes;

    switch (type) {
    case SSH_KEY_OTHER:
        return true;
    case SSH_KEY_ED25519:
        s = ssh_get_string(c);
        return ssh_cursor_done(c) && s.len == 32;
    case SSH_KEY_RSA:
        ssh_get_mpint(c);
        s = ssh_get_mpint(c);
        if (!ssh_cursor_done(c))
            return false;
        if (ssh_key_rsa_size(ssh_bits(s), &err) != 0)
            *reason = mem_strdup(err.msg);
        return true;
    default:
        ssh_key_curve(type, &bytes);
        s = ssh_get_string(c);
        point = ssh_get_string(c);
        return ssh_cursor_done(c) && ssh_span_is(s, names[type] + strlen("ecdsa-sha2-")) &&
               point.len == 1 + 2 * bytes && point.data[0] == 4;
    }
}

int ssh_pubkey_parse(struct ssh_span blob, struct ssh_span comment, struct ssh_pubkey *out,
                     struct err *err)
{
    struct ssh_cursor c = ssh_cursor(blob.data, blob.len);
    struct ssh_span name = ssh_get_string(&c);
    enum ssh_key_type type = ssh_key_type_from_name(name);
    char *reason = NULL;

    if (blob.len > SSH_PUBKEY_MAX || c.bad || name.len == 0 || name.len > NAME_MAX_BYTES ||
        !blob_ok(type, &c, &reason))
        return err_set(err, ERR_INVALID, "not a public key as SSH has them");
    if (type == SSH_KEY_OTHER)
        reason = why_not(name);
    *out = (struct ssh_pubkey){
        .type = reason ? SSH_KEY_OTHER : type,
        .name = safe_copy(name, NAME_MAX_BYTES),
        .comment = safe_copy(comment, COMMENT_MAX),
        .why_not = reason,
        .blob = mem_dup(blob.data, blob.len),
        .blob_len = blob.len,
    };
    return 0;
}

void ssh_pubkey_fini(struct ssh_pubkey *pub)
{
    free(pub->name);
    free(pub->comment);
    free(pub->why_not);
    free(pub->blob);
    *pub = (struct ssh_pubkey){ .type = SSH_KEY_OTHER };
}

bool ssh_next_line(struct ssh_span *text, struct ssh_span *line)
{
    if (text->len == 0)
        return false;
    const unsigned char *end = memchr(text->data, '\n', text->len);
    size_t len = end ? (size_t)(end - text->data) : text->len, skip = end ? len + 1 : len;
    const unsigned char *p = text->data;

    text->data += skip;
    text->len -= skip;
    for (; len > 0 && isspace(*p); len--)
        p++;
    while (len > 0 && isspace(p[len - 1]))
        len--;
    *line = (struct ssh_span){ p, len };
    return true;
}

/* Cuts the first word off `line`, and the blanks behind it. */
static struct ssh_span next_word(struct ssh_span *line)
{
    struct ssh_span word = *line;
    size_t n = 0;

    while (n < line->len && line->data[n] != ' ' && line->data[n] != '\t')
        n++;
    word.len = n;
    while (n < line->len && (line->data[n] == ' ' || line->data[n] == '\t'))
        n++;
    line->data += n;
    line->len -= n;
    return word;
}

static int parse_line(struct ssh_span line, struct ssh_pubkey *out, struct err *err)
{
    struct ssh_span type = next_word(&line), base64 = next_word(&line);
    unsigned char *blob = mem_alloc(base64.len + 1);
    struct ssh_span decoded = { blob, 0 };
    int rc;

    if (!ssh_base64_decode((const char *)base64.data, base64.len, blob, &decoded.len) ||
        decoded.len == 0)
        rc = err_set(err, ERR_INVALID, "not a line of the form TYPE BASE64 [COMMENT]");
    else
        rc = ssh_pubkey_parse(decoded, line, out, err);
    if (rc == 0) {
        struct ssh_cursor c = ssh_cursor(blob, decoded.len);

        if (!ssh_span_eq(ssh_get_string(&c), type)) {
            ssh_pubkey_fini(out);
            rc = err_set(err, ERR_INVALID, "the type in front is not that of the key");
        }
    }
    free(blob);
    return rc;
}

int ssh_pubkey_parse_text(const char *text, size_t len, const char *name, struct ssh_pubkey *out,
                          struct err *err)
{
    struct ssh_span rest = { (const unsigned char *)text, len }, line, found = { NULL, 0 };
    char *shown = str_safe(name);
    int rc;

    while (ssh_next_line(&rest, &line)) {
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (found.len != 0) {
            found.len = 0;
            break;
        }
        found = line;
    }
    if (found.len == 0)
        rc = err_set(err, ERR_INVALID, "%s: expected one public key, on one line", shown);
    else if ((rc = parse_line(found, out, err)) != 0)
        err_prefix(err, "%s", shown);
    free(shown);
    return rc;
}

int ssh_pubkey_load(const char *path, struct ssh_pubkey *out, struct err *err)
{
    struct buf text = BUF_INIT;
    struct stat st;
    int fd = ssh_key_open_regular(path, &st, err);

    if (fd < 0)
        return -1;
    int rc = fs_read_fd(fd, path, SSH_KEY_FILE_MAX, &text, err);
    close(fd);
    if (rc == 0)
        rc = ssh_pubkey_parse_text(buf_data(&text), buf_len(&text), path, out, err);
    buf_fini(&text);
    return rc;
}
