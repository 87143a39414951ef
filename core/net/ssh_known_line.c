/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_known_line.h"

#include "base/buf.h"
#include "base/str.h"
#include "net/ssh_pattern.h"

#include <bearssl_hmac.h>

/* What is left of a line. */
struct rest {
    const char *p, *end;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct rest *r)
{
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
}

static struct ssh_span next_word(struct rest *r)
{
    skip_blanks(r);
    const char *from = r->p;
    while (r->p < r->end && !is_blank(*r->p))
        r->p++;
    return (struct ssh_span){ (const unsigned char *)from, (size_t)(r->p - from) };
}

/* "|1|SALT|HASH", as `ssh-keygen -H` writes it; nothing else on the line may name a host. */
static bool parse_hashed(struct ssh_known_line *line)
{
    unsigned char bytes[SSH_KNOWN_SALT_SIZE + 1];
    const char *end = line->hosts + line->hosts_len;
    const char *salt = line->hosts + 3;
    size_t n;

    if (line->hosts_len < 3 || memcmp(line->hosts, "|1|", 3) != 0)
        return false;
    const char *bar = memchr(salt, '|', (size_t)(end - salt));
    /* 28 digits are 20 bytes, or 21: that is why there is room for one more. */
    if (!bar || bar - salt != 28 || end - (bar + 1) != 28)
        return false;
    if (!ssh_base64_decode(salt, 28, bytes, &n) || n != SSH_KNOWN_SALT_SIZE)
        return false;
    memcpy(line->salt, bytes, n);
    if (!ssh_base64_decode(bar + 1, 28, bytes, &n) || n != SSH_KNOWN_SALT_SIZE)
        return false;
    memcpy(line->hash, bytes, n);
    line->hashed = true;
    return true;
}

/* The type in front of the key must be the type within it. */
static const char *parse_key(struct ssh_span type, struct ssh_span base64,
                             struct ssh_known_line *line)
{
    char inner[SSH_KEY_TYPE_MAX];

    if (base64.len == 0)
        return "the key is missing";
    line->key = mem_alloc(base64.len);
    if (!ssh_base64_decode((const char *)base64.data, base64.len, line->key, &line->key_len))
        return "the key is not base64";
    if (!ssh_key_blob_type(line->key, line->key_len, inner))
        return "the key is malformed";
    if (!ssh_span_is(type, inner))
        return "the key is of another type than the line says";
    return NULL;
}

static const char *parse_fields(struct rest *r, struct ssh_known_line *line)
{
    struct ssh_span word = next_word(r);

    if (word.data[0] == '@') {
        if (ssh_span_is(word, "@revoked"))
            line->marker = SSH_KNOWN_IS_REVOKED;
        else if (ssh_span_is(word, "@cert-authority"))
            line->marker = SSH_KNOWN_AUTHORITY;
        else
            return "the marker is unknown";
        word = next_word(r);
        if (word.len > 0 && word.data[0] == '@')
            return "there is more than one marker";
    }
    line->hosts = (const char *)word.data;
    line->hosts_len = word.len;
    if (word.len == 0)
        return "the host is missing";
    if (word.data[0] == '|' && !parse_hashed(line))
        return "the hashed host name is malformed";
    struct ssh_span type = next_word(r);
    if (type.len == 0 || type.data[0] == '#')
        return "the key is missing";
    return parse_key(type, next_word(r), line);
}

bool ssh_known_line_parse(const char *text, size_t len, int number, struct ssh_known_line *line,
                          const char **why)
{
    struct rest r = { text, text + len };

    *line = (struct ssh_known_line){ .number = number };
    *why = NULL;
    if (r.end > r.p && r.end[-1] == '\r')
        r.end--;
    skip_blanks(&r);
    if (r.p == r.end || *r.p == '#')
        return false;
    if (len > SSH_KNOWN_LINE_MAX)
        *why = "the line is too long";
    else if (memchr(text, '\0', len))
        *why = "the line has NUL bytes";
    else
        *why = parse_fields(&r, line);
    if (*why) {
        ssh_known_line_fini(line);
        return false;
    }
    return true;
}

void ssh_known_line_fini(struct ssh_known_line *line)
{
    MEM_FREE(line->key);
    line->key_len = 0;
}

void ssh_known_hash(const unsigned char salt[SSH_KNOWN_SALT_SIZE], const char *name,
                    unsigned char out[SSH_KNOWN_SALT_SIZE])
{
    br_hmac_key_context key;
    br_hmac_context hmac;

    br_hmac_key_init(&key, &br_sha1_vtable, salt, SSH_KNOWN_SALT_SIZE);
    br_hmac_init(&hmac, &key, 0);
    br_hmac_update(&hmac, name, strlen(name));
    br_hmac_out(&hmac, out);
}

bool ssh_known_line_names(const struct ssh_known_line *line, const char *name)
{
    unsigned char hash[SSH_KNOWN_SALT_SIZE];

    if (!name)
        return false;
    if (!line->hashed)
        return ssh_pattern_list_match(name, line->hosts, line->hosts_len, true) == 1;
    ssh_known_hash(line->salt, name, hash);
    return str_secret_eq(hash, line->hash, sizeof hash);
}

static char *form_of(const char *name, uint16_t port)
{
    char *out = port == 0 || port == 22 ? mem_strdup(name) : mem_printf("[%s]:%u", name, port);

    for (char *p = out; p && *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return out;
}

void ssh_known_forms_init(struct ssh_known_forms *forms, const struct ssh_known_name *host)
{
    uint16_t port = host->alias ? 0 : host->port;

    forms->name = form_of(host->name, port);
    forms->bare = port == 0 || port == 22 ? NULL : form_of(host->name, 0);
    forms->address = host->address ? form_of(host->address, port) : NULL;
}

void ssh_known_forms_fini(struct ssh_known_forms *forms)
{
    MEM_FREE(forms->name);
    MEM_FREE(forms->bare);
    MEM_FREE(forms->address);
}
