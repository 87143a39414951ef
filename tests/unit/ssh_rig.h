/* SPDX-License-Identifier: BSD-2-Clause */
/* For tests of SSH keys: OpenSSH's and OpenSSL's programs as makers of keys and as judges of
 * signatures. Included by one .c file each. */
#ifndef HIVE_TESTS_SSH_RIG_H
#define HIVE_TESTS_SSH_RIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "net/ssh_key_priv.h"
#include "net/ssh_sign.h"
#include "unit/unit.h"

#include <bearssl_hash.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A file in the test's folder; a few at a time. */
static inline const char *rig_path(const char *name)
{
    static char paths[8][300];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];

    snprintf(path, sizeof paths[0], "%s/%s", unit_tmpdir(), name);
    return path;
}

/* Runs `sh -c SCRIPT` in the test's folder with its stdin from that file there; true: status 0. */
static inline bool rig_try(const char *script, const char *input)
{
    char *line = mem_printf("cd '%s' && exec <%s && %s", unit_tmpdir(), input, script);
    char *argv[] = { (char *)"sh", (char *)"-c", line, NULL };
    int status;
    pid_t pid;

    if (posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) != 0)
        unit_fail(__FILE__, __LINE__, "can't run sh");
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    free(line);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static inline void rig_run(const char *script)
{
    if (!rig_try(script, "/dev/null"))
        unit_fail(__FILE__, __LINE__, "failed: %s", script);
}

/* False, after saying so, where a program is missing and the machine is not a CI machine. */
static inline bool rig_has(const char *program)
{
    char *script = mem_printf("command -v %s >/dev/null", program);
    bool has = rig_try(script, "/dev/null");

    free(script);
    if (has)
        return true;
    if (getenv("CI"))
        unit_fail(__FILE__, __LINE__, "%s is not installed", program);
    fprintf(stderr, "# skipped: needs %s\n", program);
    return false;
}

static inline void rig_write(const char *name, const void *data, size_t len)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_write_file(rig_path(name), data, len, 0600, false, &err), &err);
}

static inline void rig_read(const char *name, struct buf *out)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file(rig_path(name), 1 << 20, out, &err), &err);
}

static inline void rig_base64(struct buf *out, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = data;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0) |
                     (i + 2 < len ? in[i + 2] : 0);

        buf_append_char(out, digits[v >> 18]);
        buf_append_char(out, digits[v >> 12 & 63]);
        buf_append_char(out, i + 1 < len ? digits[v >> 6 & 63] : '=');
        buf_append_char(out, i + 2 < len ? digits[v & 63] : '=');
    }
}

/* Base64 of binary data as a block of that label. */
static inline void rig_armor(struct buf *out, const char *label, const void *data, size_t len)
{
    struct buf text = BUF_INIT;

    rig_base64(&text, data, len);
    buf_printf(out, "-----BEGIN %s-----\n", label);
    for (size_t i = 0; i < buf_len(&text); i += 70)
        buf_printf(out, "%.70s\n", buf_data(&text) + i);
    buf_printf(out, "-----END %s-----\n", label);
    buf_fini(&text);
}

/* The bytes that `ssh-keygen -Y sign` signs (PROTOCOL.sshsig) for that message. */
static inline void rig_sshsig_data(struct buf *out, const char *message)
{
    unsigned char digest[64];
    br_sha512_context ctx;

    br_sha512_init(&ctx);
    br_sha512_update(&ctx, message, strlen(message));
    br_sha512_out(&ctx, digest);
    buf_append(out, "SSHSIG", 6);
    ssh_put_text(out, "test");
    ssh_put_text(out, "");
    ssh_put_text(out, "sha512");
    ssh_put_string(out, digest, sizeof digest);
}

/* Asks ssh-keygen whether the blob is that key's signature over the message. */
static inline bool rig_verifies(struct ssh_span pub, const char *blob, size_t len,
                                const char *message)
{
    struct buf sig = BUF_INIT, text = BUF_INIT, signers = BUF_INIT;
    struct ssh_cursor c = ssh_cursor(pub.data, pub.len);
    struct ssh_span type = ssh_get_string(&c);

    buf_append(&sig, "SSHSIG", 6);
    ssh_put_u32(&sig, 1);
    ssh_put_string(&sig, pub.data, pub.len);
    ssh_put_text(&sig, "test");
    ssh_put_text(&sig, "");
    ssh_put_text(&sig, "sha512");
    ssh_put_string(&sig, blob, len);
    rig_armor(&text, "SSH SIGNATURE", buf_data(&sig), buf_len(&sig));
    buf_printf(&signers, "me %.*s ", (int)type.len, (const char *)type.data);
    rig_base64(&signers, pub.data, pub.len);
    buf_append_char(&signers, '\n');
    rig_write("sig", buf_data(&text), buf_len(&text));
    rig_write("signers", buf_data(&signers), buf_len(&signers));
    rig_write("message", message, strlen(message));
    buf_fini(&sig);
    buf_fini(&text);
    buf_fini(&signers);
    return rig_try("ssh-keygen -q -Y verify -f signers -I me -n test -s sig >/dev/null 2>&1",
                   "message");
}

#endif
