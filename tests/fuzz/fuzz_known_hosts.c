/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * known_hosts. Input: a host's name, LF, and the text of the file. Whatever the text: a line
 * written for the host is understood, a host that was removed is gone, and other lines stay.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/ssh_known_hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key[] = "\0\0\0\x0bssh-ed25519\0\0\0\4aaaa";
#define KEY_LEN (sizeof key - 1)

static void require(bool ok)
{
    if (!ok)
        abort();
}

static struct ssh_known_found look(const char *text, size_t len, const struct ssh_known_name *host,
                                   struct ssh_known_types *types)
{
    struct ssh_known_hosts *known = ssh_known_hosts_create();
    struct ssh_known_found found;

    require(ssh_known_hosts_add_text(known, "kh", text, len, NULL) == 0);
    for (size_t i = 0; i < ssh_known_hosts_bad_count(known) && i < SSH_KNOWN_BAD_MAX; i++) {
        const char *file, *why;
        int line;
        ssh_known_hosts_bad(known, i, &file, &line, &why);
        require(str_eq(file, "kh") && line > 0 && why);
    }
    ssh_known_hosts_types(known, host, types);
    ssh_known_hosts_check(known, host, key, KEY_LEN, &found);
    require((found.status == SSH_KNOWN_UNKNOWN) == (found.line == 0));
    require(types->count <= SSH_KNOWN_TYPES_MAX);
    found.file = NULL;
    ssh_known_hosts_destroy(known);
    return found;
}

/* The line for the key at the end of the text: known then, unless revoked. */
static void try_line(const char *text, size_t len, const struct ssh_known_name *host,
                     const unsigned char *salt)
{
    struct buf b = BUF_INIT;
    struct ssh_known_types types;

    buf_append(&b, text, len);
    buf_append_char(&b, '\n');
    if (ssh_known_hosts_line(host, key, KEY_LEN, salt, &b, NULL) == 0) {
        enum ssh_known_status status = look(buf_data(&b), buf_len(&b), host, &types).status;
        require(status == SSH_KNOWN_MATCH || status == SSH_KNOWN_REVOKED);
        require(types.count > 0 || status == SSH_KNOWN_REVOKED);
    }
    buf_fini(&b);
}

static void try_remove(const char *text, size_t len, const struct ssh_known_name *host)
{
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct ssh_known_types types;
    size_t removed = 0;

    if (ssh_known_hosts_remove_text("kh", text, len, host, NULL, 0, &once, &removed, NULL) == 0) {
        require(buf_len(&once) <= len && (removed > 0) == (buf_len(&once) < len));
        enum ssh_known_status status = look(buf_data(&once), buf_len(&once), host, &types).status;
        require(status == SSH_KNOWN_UNKNOWN || status == SSH_KNOWN_REVOKED);
        require(types.count == 0);
        require(ssh_known_hosts_remove_text("kh", buf_data(&once), buf_len(&once), host, NULL, 0,
                                            &twice, &removed, NULL) == 0);
        require(removed == 0 && str_eq(buf_data(&once), buf_data(&twice)));
    } else {
        require(buf_len(&once) == 0);
    }
    buf_fini(&once);
    buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *newline = size ? memchr(text, '\n', size) : NULL;
    char type[SSH_KEY_TYPE_MAX];

    if (ssh_key_blob_type(data, size, type))
        require(*type && strlen(type) < SSH_KEY_TYPE_MAX);
    if (!newline || size > 64 * 1024)
        return 0;
    char *name = mem_strndup(text, (size_t)(newline - text));
    struct ssh_known_name host = { .name = name };
    struct ssh_known_types types;
    size_t len = size - (size_t)(newline + 1 - text);

    look(newline + 1, len, &host, &types);
    try_line(newline + 1, len, &host, NULL);
    try_line(newline + 1, len, &host, (const unsigned char *)"0123456789abcdefghij");
    try_remove(newline + 1, len, &host);
    host.port = 2222;
    host.address = "10.0.0.1";
    look(newline + 1, len, &host, &types);
    free(name);
    return 0;
}
