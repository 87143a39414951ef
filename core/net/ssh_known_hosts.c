/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_known_hosts.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "net/ssh_known_line.h"
#include "net/tls_digest.h"

/* A line about a host, with the key taken apart. */
struct entry {
    struct ssh_known_line line;
    char type[SSH_KEY_TYPE_MAX];
    const struct file *file;
};

struct file {
    struct file *next;
    char *name;
    char *text;
};

struct bad_line {
    const struct file *file;
    int line;
    const char *why;
};

struct ssh_known_hosts {
    struct file *files;
    struct entry *entries;
    size_t count, cap;
    struct bad_line bad[SSH_KNOWN_BAD_MAX];
    size_t bad_count;
};

/* --- keys ------------------------------------------------------------------------------------- */

void ssh_base64_encode(const void *data, size_t len, bool pad, struct buf *out)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = data;

    for (; len > 0; p += 3, len -= 3) {
        unsigned v = (unsigned)p[0] << 16 | (len > 1 ? (unsigned)p[1] << 8 : 0) |
                     (len > 2 ? (unsigned)p[2] : 0);
        char four[4] = { digit[v >> 18], digit[v >> 12 & 63], len > 1 ? digit[v >> 6 & 63] : '=',
                         len > 2 ? digit[v & 63] : '=' };
        buf_append(out, four, pad || len > 2 ? 4 : len + 1);
        if (len <= 3)
            break;
    }
}

bool ssh_key_blob_type(const void *blob, size_t len, char out[SSH_KEY_TYPE_MAX])
{
    struct ssh_cursor c = ssh_cursor(blob, len);
    struct ssh_span name = ssh_get_string(&c);

    /* A key is more than its type. */
    if (c.bad || c.left == 0 || name.len == 0 || name.len >= SSH_KEY_TYPE_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= ' ' || name.data[i] > '~' || name.data[i] == ',')
            return false;
    memcpy(out, name.data, name.len);
    out[name.len] = '\0';
    return true;
}

void ssh_key_fingerprint(const void *blob, size_t len, char out[SSH_FINGERPRINT_SIZE])
{
    unsigned char digest[DIGEST_SHA256_SIZE];
    struct buf b = BUF_INIT;

    digest_sha256(blob, len, NULL, 0, digest);
    buf_append_str(&b, "SHA256:");
    ssh_base64_encode(digest, sizeof digest, false, &b);
    str_copy(out, SSH_FINGERPRINT_SIZE, buf_data(&b));
    buf_fini(&b);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct ssh_known_hosts *ssh_known_hosts_create(void)
{
    return mem_alloc(sizeof(struct ssh_known_hosts));
}

void ssh_known_hosts_destroy(struct ssh_known_hosts *known)
{
    if (!known)
        return;
    for (size_t i = 0; i < known->count; i++)
        ssh_known_line_fini(&known->entries[i].line);
    free(known->entries);
    while (known->files) {
        struct file *f = known->files;
        known->files = f->next;
        free(f->name);
        free(f->text);
        free(f);
    }
    free(known);
}

static void add_bad(struct ssh_known_hosts *known, const struct file *file, int line,
                    const char *why)
{
    if (known->bad_count < SSH_KNOWN_BAD_MAX)
        known->bad[known->bad_count] = (struct bad_line){ file, line, why };
    known->bad_count++;
}

static void add_line(struct ssh_known_hosts *known, const struct file *file, const char *text,
                     size_t len, int number)
{
    struct ssh_known_line line;
    const char *why = NULL;

    if (!ssh_known_line_parse(text, len, number, &line, &why)) {
        if (why)
            add_bad(known, file, number, why);
        return;
    }
    if (known->count == known->cap) {
        known->cap = known->cap ? known->cap * 2 : 16;
        known->entries = mem_resize(known->entries, known->cap, sizeof *known->entries);
    }
    struct entry *e = &known->entries[known->count++];
    *e = (struct entry){ .line = line, .file = file };
    /* It was looked at when the line was. */
    ssh_key_blob_type(line.key, line.key_len, e->type);
}

int ssh_known_hosts_add_text(struct ssh_known_hosts *known, const char *file, const char *text,
                             size_t len, struct err *err)
{
    if (len > SSH_KNOWN_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s is larger than the limit of %zu bytes", file,
                       SSH_KNOWN_FILE_MAX);
    struct file *f = mem_alloc(sizeof *f);
    int number = 0;

    f->name = mem_strdup(file);
    f->text = mem_strndup(text, len);
    f->next = known->files;
    known->files = f;
    for (size_t at = 0; at < len;) {
        const char *newline = memchr(f->text + at, '\n', len - at);
        size_t n = newline ? (size_t)(newline - f->text) - at : len - at;
        add_line(known, f, f->text + at, n, ++number);
        at += n + 1;
    }
    return 0;
}

int ssh_known_hosts_add_file(struct ssh_known_hosts *known, const char *path, struct err *err)
{
    struct buf text = BUF_INIT;
    struct err e = ERR_INIT;
    int rc = fs_read_file(path, SSH_KNOWN_FILE_MAX, &text, &e);

    if (rc == 0)
        rc = ssh_known_hosts_add_text(known, path, buf_data(&text), buf_len(&text), err);
    else if (e.kind == ERR_NOT_FOUND)
        rc = 0;
    else if (err)
        *err = e;
    buf_fini(&text);
    return rc;
}

size_t ssh_known_hosts_bad_count(const struct ssh_known_hosts *known)
{
    return known->bad_count;
}

void ssh_known_hosts_bad(const struct ssh_known_hosts *known, size_t n, const char **file,
                         int *line, const char **why)
{
    *file = known->bad[n].file->name;
    *line = known->bad[n].line;
    *why = known->bad[n].why;
}

/* --- looking up ------------------------------------------------------------------------------- */

/* In which ways a line is about the host. */
enum { BY_NAME = 1, BY_BARE_NAME = 2, BY_ADDRESS = 4 };

static int how_named(const struct ssh_known_line *line, const struct ssh_known_forms *forms)
{
    return (ssh_known_line_names(line, forms->name) ? BY_NAME : 0) |
           (ssh_known_line_names(line, forms->bare) ? BY_BARE_NAME : 0) |
           (ssh_known_line_names(line, forms->address) ? BY_ADDRESS : 0);
}

/* What the lines with one way of naming the host say about a key. */
struct verdict {
    const struct entry *match, *changed, *other;
};

static void judge(struct verdict *v, const struct entry *e, bool same_key, bool same_type)
{
    const struct entry **which = same_key ? &v->match : same_type ? &v->changed : &v->other;

    if (!*which)
        *which = e;
}

static void set_found(struct ssh_known_found *found, enum ssh_known_status status,
                      const struct entry *e)
{
    found->status = status;
    found->file = e->file->name;
    found->line = e->line.number;
}

static void decide(const struct verdict *name, const struct verdict *bare,
                   const struct verdict *address, struct ssh_known_found *found)
{
    if (name->match || (!name->changed && !name->other && bare->match)) {
        set_found(found, SSH_KNOWN_MATCH, name->match ? name->match : bare->match);
        found->without_port = !name->match;
        if (!address->match && address->changed) {
            set_found(found, SSH_KNOWN_CHANGED, address->changed);
            found->by_address = true;
        }
    } else if (name->changed) {
        set_found(found, SSH_KNOWN_CHANGED, name->changed);
    } else if (name->other) {
        set_found(found, SSH_KNOWN_OTHER_TYPE, name->other);
    }
}

void ssh_known_hosts_check(const struct ssh_known_hosts *known, const struct ssh_known_name *host,
                           const void *key, size_t key_len, struct ssh_known_found *found)
{
    struct ssh_known_forms forms;
    struct verdict name = { NULL, NULL, NULL }, bare = name, address = name;
    char type[SSH_KEY_TYPE_MAX] = "";

    *found = (struct ssh_known_found){ .status = SSH_KNOWN_UNKNOWN };
    ssh_known_forms_init(&forms, host);
    ssh_key_blob_type(key, key_len, type);
    for (size_t i = 0; i < known->count; i++) {
        const struct entry *e = &known->entries[i];
        int how = how_named(&e->line, &forms);
        bool same_key = e->line.key_len == key_len && memcmp(e->line.key, key, key_len) == 0;
        if (!how)
            continue;
        if (e->line.marker == SSH_KNOWN_AUTHORITY) {
            found->authority = found->authority || (how & BY_NAME);
        } else if (e->line.marker == SSH_KNOWN_IS_REVOKED) {
            if (same_key && found->status != SSH_KNOWN_REVOKED) {
                set_found(found, SSH_KNOWN_REVOKED, e);
                found->by_address = how == BY_ADDRESS;
            }
        } else {
            bool same_type = str_eq(e->type, type);
            if (how & BY_NAME)
                judge(&name, e, same_key, same_type);
            if (how & BY_BARE_NAME)
                judge(&bare, e, same_key, same_type);
            if (how & BY_ADDRESS)
                judge(&address, e, same_key, same_type);
        }
    }
    if (found->status != SSH_KNOWN_REVOKED)
        decide(&name, &bare, &address, found);
    ssh_known_forms_fini(&forms);
}

static bool is_revoked(const struct ssh_known_hosts *known, const struct ssh_known_forms *forms,
                       const struct ssh_known_line *line)
{
    for (size_t i = 0; i < known->count; i++) {
        const struct ssh_known_line *l = &known->entries[i].line;
        if (l->marker == SSH_KNOWN_IS_REVOKED && l->key_len == line->key_len &&
            memcmp(l->key, line->key, l->key_len) == 0 && how_named(l, forms))
            return true;
    }
    return false;
}

static void add_type(struct ssh_known_types *types, const char *name)
{
    for (size_t i = 0; i < types->count; i++)
        if (str_eq(types->name[i], name))
            return;
    if (types->count < SSH_KNOWN_TYPES_MAX)
        str_copy(types->name[types->count++], SSH_KEY_TYPE_MAX, name);
}

bool ssh_known_hosts_types(const struct ssh_known_hosts *known, const struct ssh_known_name *host,
                           struct ssh_known_types *types)
{
    struct ssh_known_forms forms;
    struct ssh_known_types bare = { .count = 0 };
    bool authority = false;

    types->count = 0;
    ssh_known_forms_init(&forms, host);
    for (size_t i = 0; i < known->count; i++) {
        const struct entry *e = &known->entries[i];
        int how = how_named(&e->line, &forms);
        if ((how & BY_NAME) && e->line.marker == SSH_KNOWN_AUTHORITY)
            authority = true;
        if (!(how & (BY_NAME | BY_BARE_NAME)) || e->line.marker != SSH_KNOWN_PLAIN ||
            is_revoked(known, &forms, &e->line))
            continue;
        add_type(how & BY_NAME ? types : &bare, e->type);
    }
    if (types->count == 0)
        *types = bare;
    ssh_known_forms_fini(&forms);
    return authority;
}
