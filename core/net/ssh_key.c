/* SPDX-License-Identifier: BSD-2-Clause */
/* Private keys: the file, its armor (RFC 7468, RFC 1421), passphrases. What is inside the armor:
 * ssh_key_openssh.c, ssh_key_pem.c. */
#include "base/mem.h"

#include "net/ssh_key_priv.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BEGIN "-----BEGIN "
#define END "-----END "
#define DASHES "-----"

/* One block between BEGIN and END. */
struct armor {
    struct ssh_span label, dek; /* dek is empty where there is no DEK-Info line */
    bool encrypted;
    unsigned char *data; /* decoded; size bytes are allocated */
    size_t len, size;
};

static bool line_begins(struct ssh_span line, const char *with)
{
    size_t len = strlen(with);

    return line.len >= len && memcmp(line.data, with, len) == 0;
}

/* The label in "-----BEGIN LABEL-----". */
static bool armor_label(struct ssh_span line, const char *begin, struct ssh_span *label)
{
    size_t head = strlen(begin), tail = strlen(DASHES);

    if (!line_begins(line, begin) || line.len < head + tail ||
        memcmp(line.data + line.len - tail, DASHES, tail) != 0)
        return false;
    *label = (struct ssh_span){ line.data + head, line.len - head - tail };
    return true;
}

static void armor_header(struct armor *a, struct ssh_span line)
{
    if (line_begins(line, "DEK-Info:")) {
        size_t n = strlen("DEK-Info:");

        while (n < line.len && line.data[n] == ' ')
            n++;
        a->dek = (struct ssh_span){ line.data + n, line.len - n };
    } else if (line_begins(line, "Proc-Type:")) {
        a->encrypted = memmem(line.data, line.len, "ENCRYPTED", strlen("ENCRYPTED")) != NULL;
    }
}

/* Reads on to the end of the block whose BEGIN line was just read. */
static int armor_body(struct ssh_span *rest, struct armor *a, struct err *err)
{
    struct ssh_span line, label;

    a->size = rest->len + 1;
    a->data = mem_alloc(a->size);
    while (ssh_next_line(rest, &line)) {
        if (armor_label(line, END, &label)) {
            if (!ssh_span_eq(label, a->label))
                break;
            if (!ssh_base64_decode((char *)a->data, a->len, a->data, &a->len) || a->len == 0)
                return err_set(err, ERR_INVALID, "damaged: its base64 lines are not base64");
            return 0;
        }
        if (line.len > 0 && memchr(line.data, ':', line.len)) {
            armor_header(a, line);
        } else if (line.len > 0) {
            memcpy(a->data + a->len, line.data, line.len);
            a->len += line.len;
        }
    }
    return err_set(err, ERR_INVALID, "damaged: it has no line \"" END "...\" that fits");
}

static void armor_fini(struct armor *a)
{
    ssh_wipe_free(a->data, a->size);
    *a = (struct armor){ .data = NULL };
}

static int no_key(struct ssh_span text, struct err *err)
{
    if (line_begins(text, "PuTTY-User-Key-File-")) {
        err_set(err, ERR_UNPROCESS, "a key in PuTTY's format");
        return err_hint(err, "convert it: puttygen FILE -O private-openssh -o NEW");
    }
    if (line_begins(text, "SSH PRIVATE KEY FILE FORMAT 1")) {
        err_set(err, ERR_UNPROCESS, "a key for SSH protocol 1, which is gone");
        return err_hint(err, "make a new one: ssh-keygen -t ed25519");
    }
    if (line_begins(text, "ssh-") || line_begins(text, "ecdsa-") || line_begins(text, "sk-")) {
        err_set(err, ERR_INVALID, "a public key instead of a private one");
        return err_hint(err, "name the file without .pub");
    }
    return err_set(err, ERR_INVALID, "there is no private key in it");
}

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (unsigned char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "AES-128-CBC,9A0B..." and the encrypted DER */
static int seal_dek(struct ssh_key *key, enum ssh_key_format format, const struct armor *a,
                    struct err *err)
{
    const unsigned char *comma = a->dek.len > 0 ? memchr(a->dek.data, ',', a->dek.len) : NULL;
    struct ssh_key_sealed *sealed = key->sealed = mem_alloc(sizeof *sealed);
    size_t name_len = comma ? (size_t)(comma - a->dek.data) : 0;

    sealed->format = format;
    sealed->kdf = SSH_KDF_MD5;
    sealed->cipher = ssh_key_cipher_find_dek((struct ssh_span){ a->dek.data, name_len });
    if (!sealed->cipher) {
        err_set(err, ERR_UNPROCESS, "encrypted with another cipher than AES-CBC");
        return err_hint(err, "rewrite it in OpenSSH's format: ssh-keygen -p -f FILE");
    }
    if (a->dek.len - name_len - 1 != 2 * sizeof sealed->iv || a->len % sizeof sealed->iv != 0)
        return err_set(err, ERR_INVALID, "damaged: its DEK-Info or its length makes no sense");
    for (size_t i = 0; i < sizeof sealed->iv; i++) {
        int high = hex_digit(comma[1 + 2 * i]), low = hex_digit(comma[2 + 2 * i]);

        if (high < 0 || low < 0)
            return err_set(err, ERR_INVALID, "damaged: its DEK-Info is not hexadecimal");
        sealed->iv[i] = (unsigned char)(high << 4 | low);
    }
    sealed->salt_len = 8;
    memcpy(sealed->salt, sealed->iv, sealed->salt_len);
    sealed->rounds = 1;
    sealed->data = mem_dup(a->data, a->len);
    sealed->len = a->len;
    return 0;
}

static int read_armored(struct ssh_key *key, const struct armor *a, struct err *err)
{
    static const struct {
        const char *label;
        enum ssh_key_format format;
        int (*read)(struct ssh_key *key, struct ssh_span data, struct err *err);
        bool dek; /* may be encrypted by DEK-Info */
    } kinds[] = {
        { "OPENSSH PRIVATE KEY", SSH_FORMAT_OPENSSH, ssh_key_read_openssh, false },
        { "RSA PRIVATE KEY", SSH_FORMAT_PKCS1, ssh_key_read_pkcs1, true },
        { "EC PRIVATE KEY", SSH_FORMAT_SEC1, ssh_key_read_sec1, true },
        { "PRIVATE KEY", SSH_FORMAT_PKCS8, ssh_key_read_pkcs8, false },
        { "ENCRYPTED PRIVATE KEY", SSH_FORMAT_PKCS8, ssh_key_read_pbes2, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!ssh_span_is(a->label, kinds[i].label))
            continue;
        if (a->encrypted && kinds[i].dek)
            return seal_dek(key, kinds[i].format, a, err);
        return kinds[i].read(key, (struct ssh_span){ a->data, a->len }, err);
    }
    if (ssh_span_is(a->label, "DSA PRIVATE KEY"))
        return ssh_key_refuse_type((struct ssh_span){ (const unsigned char *)"ssh-dss", 7 }, err);
    return err_set(err, ERR_INVALID, "it holds something else than a private key");
}

static int parse(struct ssh_key *key, struct ssh_span text, struct err *err)
{
    struct ssh_span rest = text, line;
    struct armor a = { .data = NULL };
    int rc;

    while (ssh_next_line(&rest, &line)) {
        if (!armor_label(line, BEGIN, &a.label))
            continue;
        rc = armor_body(&rest, &a, err);
        /* openssl puts the curve in a block of its own before an EC key, which names it again. */
        bool skip = rc == 0 && ssh_span_is(a.label, "EC PARAMETERS");
        if (rc == 0 && !skip)
            rc = read_armored(key, &a, err);
        armor_fini(&a);
        if (!skip)
            return rc;
    }
    return no_key(text, err);
}

struct ssh_key *ssh_key_parse(const char *text, size_t len, const char *name, struct err *err)
{
    struct ssh_key *key = mem_alloc(sizeof *key);
    int rc;

    key->name = str_safe(name);
    if (len > SSH_KEY_FILE_MAX)
        rc = err_set(err, ERR_TOO_LARGE, "larger than any key file (%zu bytes)", SSH_KEY_FILE_MAX);
    else
        rc = parse(key, (struct ssh_span){ (const unsigned char *)text, len }, err);
    if (rc == 0)
        return key;
    err_prefix(err, "%s", key->name);
    ssh_key_destroy(key);
    return NULL;
}

int ssh_key_open_regular(const char *path, struct stat *st, struct err *err)
{
    /* Non-blocking, so that a FIFO with that name doesn't hold us. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return err_sys(err, errno, "can't open %s", path);
    if (fstat(fd, st) != 0)
        err_sys(err, errno, "can't look at %s", path);
    else if (!S_ISREG(st->st_mode))
        err_set(err, ERR_INVALID, "%s is not a regular file", path);
    else if (st->st_size > (off_t)SSH_KEY_FILE_MAX)
        err_set(err, ERR_TOO_LARGE, "%s is larger than any key file (%zu bytes)", path,
                SSH_KEY_FILE_MAX);
    else
        return fd;
    close(fd);
    return -1;
}

static int check_access(const char *path, const struct stat *st, struct err *err)
{
    if (st->st_uid != geteuid() && st->st_uid != 0) {
        err_set(err, ERR_DENIED, "%s belongs to another user (uid %lu)", path,
                (unsigned long)st->st_uid);
        return err_hint(err, "a private key must belong to who uses it");
    }
    if ((st->st_mode & 077) != 0) {
        err_set(err, ERR_DENIED, "%s can be used by others (mode %04o)", path,
                (unsigned)(st->st_mode & 07777));
        struct buf quoted = BUF_INIT;

        str_append_shell_quoted(&quoted, path);
        err_hint(err, "run: chmod 600 %s", buf_data(&quoted));
        buf_fini(&quoted);
        return -1;
    }
    return 0;
}

struct ssh_key *ssh_key_load(const char *path, struct err *err)
{
    struct ssh_key *key = NULL;
    char *shown = str_safe(path);
    struct stat st;
    int fd = ssh_key_open_regular(path, &st, err);

    if (fd >= 0 && check_access(shown, &st, err) == 0) {
        /* Not through a buffer that grows, which would leave copies behind. */
        size_t size = SSH_KEY_FILE_MAX + 1, len = 0;
        char *text = mem_alloc(size);
        ssize_t n;

        do {
            n = read(fd, text + len, size - len);
            len += n > 0 ? (size_t)n : 0;
        } while ((n > 0 && len < size) || (n < 0 && errno == EINTR));
        if (n < 0)
            err_sys(err, errno, "can't read %s", shown);
        else
            key = ssh_key_parse(text, len, path, err);
        ssh_wipe_free(text, size);
    }
    if (fd >= 0)
        close(fd);
    free(shown);
    return key;
}

void ssh_key_destroy(struct ssh_key *key)
{
    if (!key)
        return;
    free(key->name);
    free(key->pub);
    ssh_key_sealed_free(key->sealed);
    ssh_wipe_free(key, sizeof *key);
}

enum ssh_key_type ssh_key_type(const struct ssh_key *key)
{
    return key->type;
}

bool ssh_key_public(const struct ssh_key *key, struct ssh_span *blob)
{
    *blob = (struct ssh_span){ key->pub, key->pub_len };
    return key->pub != NULL;
}

const char *ssh_key_name(const struct ssh_key *key)
{
    return key->name;
}

bool ssh_key_locked(const struct ssh_key *key)
{
    return key->sealed != NULL;
}

int ssh_key_unlock_with(struct ssh_key *key, const char *passphrase, size_t len, struct err *err)
{
    if (!key->sealed)
        return 0;
    struct ssh_key *open = mem_alloc(sizeof *open);
    size_t size = key->sealed->len, plain_len = 0;
    unsigned char *plain = mem_alloc(size);

    if (key->pub) {
        open->pub = mem_dup(key->pub, key->pub_len);
        open->pub_len = key->pub_len;
        open->type = key->type;
    }
    int rc = ssh_key_unseal(key->sealed, passphrase, len, plain, &plain_len, err);
    if (rc == 0)
        rc = ssh_key_read_plain(open, key->sealed->format, (struct ssh_span){ plain, plain_len },
                                err);
    ssh_wipe_free(plain, size);
    if (rc == 0) {
        struct ssh_key locked = *key;

        *key = *open;
        key->name = locked.name;
        locked.name = NULL;
        *open = locked;
    } else {
        err_prefix(err, "%s", key->name);
    }
    ssh_key_destroy(open);
    return rc;
}

int ssh_key_unlock(struct ssh_key *key, const struct ssh_key_ask *ask, struct err *err)
{
    char passphrase[SSH_KEY_PASSPHRASE_MAX];
    struct err why = ERR_INIT;
    int rc = key->sealed ? -1 : 0;

    for (unsigned attempt = 0; rc != 0 && attempt < SSH_KEY_ATTEMPTS; attempt++) {
        ssize_t len =
            ask->passphrase(ask->arg, key->name, attempt, passphrase, sizeof passphrase, &why);

        if (len < 0)
            break;
        if ((size_t)len > sizeof passphrase)
            len = sizeof passphrase;
        rc = ssh_key_unlock_with(key, passphrase, (size_t)len, &why);
        if (rc != 0 && why.kind != ERR_UNAUTH)
            break;
    }
    explicit_bzero(passphrase, sizeof passphrase);
    if (rc != 0 && err)
        *err = why;
    return rc;
}
