/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logging in, by keys only, in the order of OpenSSH: the agent's keys that IdentityFile names, the
 * agent's others unless IdentitiesOnly, then files.
 */
#include "base/mem.h"

#include "base/clock.h"
#include "base/str.h"
#include "net/ssh_client_priv.h"
#include "net/ssh_pattern.h"

#include <unistd.h>

#define MSG_EXT_INFO 7
#define EXTENSIONS_MAX 64
#define AGENT_LIST_NS (5 * NS_PER_S)

/* --- what the server says ----------------------------------------------------------------------- */

static void copy_list(struct ssh_span s, char *out, size_t size)
{
    struct buf text = BUF_INIT;

    str_append_safe(&text, (const char *)s.data, s.len);
    str_copy(out, size, buf_data(&text));
    buf_fini(&text);
}

void client_auth_message(struct ssh_client *c, const unsigned char *data, size_t len)
{
    struct ssh_cursor cursor = ssh_cursor(data + 1, len - 1);
    struct ssh_span name, value;
    uint32_t count;
    uint8_t partial;

    if (data[0] != MSG_EXT_INFO) {
        name = ssh_get_string(&cursor);
        partial = ssh_get_u8(&cursor);
        if (cursor.bad || partial > 1)
            return;
        copy_list(name, c->auth.methods, sizeof c->auth.methods);
        c->auth.partial = partial;
        return;
    }
    count = ssh_get_u32(&cursor);
    for (uint32_t i = 0; i < count && i < EXTENSIONS_MAX; i++) {
        name = ssh_get_string(&cursor);
        value = ssh_get_string(&cursor);
        if (cursor.bad)
            return;
        if (ssh_span_is(name, "server-sig-algs")) {
            copy_list(value, c->auth.sig_algs, sizeof c->auth.sig_algs);
            c->auth.sig_algs_known = true;
        }
    }
}

static bool has_method(const struct ssh_client *c, const char *method)
{
    const char *list = c->auth.methods;

    return ssh_pattern_list_match(method, list, strlen(list), false) == 1;
}

/* --- what was tried ----------------------------------------------------------------------------- */

static void note(struct ssh_client *c, const char *label, const char *why)
{
    if (buf_len(&c->auth.tried) > 8192)
        return;
    buf_printf(&c->auth.tried, "%s: %s\n", label, why);
}

static void key_free(struct client_key *k)
{
    list_remove(&k->link);
    ssh_key_destroy(k->key);
    free(k->label);
    free(k->blob);
    free(k);
}

static void keys_free(struct list *keys)
{
    LIST_FOR_EACH_SAFE(it, keys)
        key_free(CONTAINER_OF(it, struct client_key, link));
}

void client_auth_fini(struct ssh_client *c)
{
    c->auth.now = NULL;
    keys_free(&c->auth.keys);
    ssh_agent_close(c->auth.agent);
    c->auth.agent = NULL;
    buf_fini(&c->auth.tried);
}

/* --- keys --------------------------------------------------------------------------------------- */

static struct client_key *key_add(struct list *keys, char *label, struct ssh_span blob)
{
    struct client_key *k = mem_alloc(sizeof *k);

    k->label = label;
    if (blob.len > 0) {
        k->blob = mem_dup(blob.data, blob.len);
        k->blob_len = blob.len;
    }
    list_append(keys, &k->link);
    return k;
}

/* A public key, in PATH.pub or in PATH itself. The agent may have the private one. */
static bool load_public(const char *path, struct ssh_pubkey *pub)
{
    char *name = mem_printf("%s.pub", path);
    bool found = ssh_pubkey_load(name, pub, NULL) == 0 || ssh_pubkey_load(path, pub, NULL) == 0;

    free(name);
    return found;
}

static void note_certificate(struct ssh_client *c, const char *path)
{
    char *name = mem_printf("%s-cert.pub", path);

    if (access(name, R_OK) == 0) {
        c->auth.skipped_for_system = true;
        note(c, name, "certificates need the system's ssh");
    }
    free(name);
}

static void load_file(struct ssh_client *c, const char *path, struct list *files)
{
    struct err err = ERR_INIT;
    struct ssh_span blob = { NULL, 0 };
    struct ssh_pubkey pub;
    struct ssh_key *key = ssh_key_load(path, &err);
    bool have_pub = false;
    struct client_key *k;

    note_certificate(c, path);
    if (!key || !ssh_key_public(key, &blob)) {
        have_pub = load_public(path, &pub);
        if (have_pub)
            blob = (struct ssh_span){ pub.blob, pub.blob_len };
    }
    if (!key && err.kind == ERR_UNPROCESS)
        c->auth.skipped_for_system = true;
    if (have_pub && pub.why_not) {
        c->auth.skipped_for_system = true;
        note(c, path, pub.why_not);
        ssh_key_destroy(key);
    } else if (key || have_pub) {
        k = key_add(files, str_safe(path), blob);
        k->key = key;
        if (!key && err.kind != ERR_NOT_FOUND)
            note(c, path, err.msg);
    } else if (err.kind != ERR_NOT_FOUND || !c->opt.config->identity_defaults) {
        note(c, path, err.msg);
    }
    if (have_pub)
        ssh_pubkey_fini(&pub);
}

static struct client_key *find_blob(struct list *keys, const struct ssh_pubkey *pub)
{
    LIST_FOR_EACH(it, keys) {
        struct client_key *k = CONTAINER_OF(it, struct client_key, link);

        if (k->blob_len == pub->blob_len && k->blob_len > 0 &&
            memcmp(k->blob, pub->blob, k->blob_len) == 0)
            return k;
    }
    return NULL;
}

/* Keys of the agent: those that `files` has go to `named` and out of files, the rest to `others`. */
static void load_agent(struct ssh_client *c, struct list *files, struct list *named,
                       struct list *others)
{
    struct ssh_agent_keys keys = { 0 };
    struct err err = ERR_INIT;

    if (!c->opt.config->agent)
        return;
    c->auth.agent = ssh_agent_open(c->opt.config->agent, AGENT_LIST_NS, &err);
    if (!c->auth.agent || ssh_agent_list(c->auth.agent, AGENT_LIST_NS, &keys, &err) != 0) {
        note(c, "the agent", err.msg);
        return;
    }
    for (size_t i = 0; i < keys.count; i++) {
        const struct ssh_pubkey *pub = &keys.key[i];
        struct client_key *file = find_blob(files, pub);
        char *label = mem_printf("the agent's key %s", *pub->comment ? pub->comment : pub->name);

        if (pub->why_not) {
            if (!c->opt.config->identities_only) {
                c->auth.skipped_for_system = true;
                note(c, label, pub->why_not);
            }
            free(label);
        } else if (file || !c->opt.config->identities_only) {
            if (file)
                key_free(file);
            key_add(file ? named : others, label, (struct ssh_span){ pub->blob, pub->blob_len });
        } else {
            free(label);
        }
    }
    ssh_agent_keys_fini(&keys);
}

static void take_all(struct list *from, struct list *to)
{
    LIST_FOR_EACH_SAFE(it, from) {
        list_remove(it);
        list_append(to, it);
    }
}

static void load_keys(struct ssh_client *c)
{
    const struct ssh_config_list *paths = &c->opt.config->identity_files;
    struct list files, named, others;

    list_init(&files);
    list_init(&named);
    list_init(&others);
    for (size_t i = 0; i < paths->count; i++)
        load_file(c, paths->item[i], &files);
    load_agent(c, &files, &named, &others);
    take_all(&named, &c->auth.keys);
    take_all(&others, &c->auth.keys);
    take_all(&files, &c->auth.keys);
}

/* --- signing ------------------------------------------------------------------------------------ */

static int unlock(struct ssh_client *c, struct client_key *k, struct err *err)
{
    if (!ssh_key_locked(k->key))
        return 0;
    if (!c->opt.ask.passphrase) {
        err_set(err, ERR_UNAUTH, "needs its passphrase (run: ssh-add %s)", ssh_key_name(k->key));
        return -1;
    }
    return ssh_key_unlock(k->key, &c->opt.ask, err);
}

static int make_signature(struct ssh_client *c, struct client_key *k, const unsigned char *data,
                          size_t len, struct buf *out, enum ssh_sign_alg *alg, struct err *err)
{
    if (ssh_sign_userauth_alg(data, len, alg, err) != 0)
        return -1;
    if (!k->key && !c->auth.agent)
        return err_set(err, ERR_UNAUTH, "only its public half is here");
    if (!k->key)
        return ssh_agent_sign(c->auth.agent, (struct ssh_span){ k->blob, k->blob_len }, *alg, data,
                              len, c->opt.agent_ns, out, err);
    if (unlock(c, k, err) != 0)
        return -1;
    return ssh_sign(k->key, *alg, data, len, out, err);
}

/* libssh2's, with what to sign. */
static int lib_sign(LIBSSH2_SESSION *session, unsigned char **sig, size_t *sig_len,
                    const unsigned char *data, size_t data_len, void **abstract)
{
    struct ssh_client *c = *abstract;
    struct buf blob = BUF_INIT;
    struct ssh_span inner = { NULL, 0 };
    enum ssh_sign_alg alg = SSH_SIGN_NONE;
    int rc;

    (void)session;
    err_clear(&c->auth.sign_err);
    rc = make_signature(c, c->auth.now, data, data_len, &blob, &alg, &c->auth.sign_err);
    if (rc == 0)
        rc = ssh_sign_split(
            (struct ssh_span){ (const unsigned char *)buf_data(&blob), buf_len(&blob) }, alg,
            &inner, &c->auth.sign_err);
    if (rc == 0) {
        *sig = client_lib_alloc(c, inner.len);
        *sig_len = inner.len;
        if (*sig)
            memcpy(*sig, inner.data, inner.len);
        else
            rc = err_set(&c->auth.sign_err, ERR_TOO_LARGE, "out of memory");
    }
    buf_fini(&blob);
    /* Whoever was asked took time that is not the server's. */
    client_set_deadline(c, c->opt.auth_ns);
    return rc;
}

/* --- steps -------------------------------------------------------------------------------------- */

static bool wants_more(const struct ssh_client *c)
{
    return c->auth.partial;
}

static void fail_methods(struct ssh_client *c)
{
    struct err err = ERR_INIT;

    c->needs_system = true;
    err_set(&err, ERR_UNPROCESS, "%s@%s: the server takes no keys, only: %s", c->opt.config->user,
            c->name, c->auth.methods);
    err_hint(&err, "use the system's ssh for this host");
    client_fail(c, &err);
}

static void fail_keys(struct ssh_client *c)
{
    const char *user = c->opt.config->user;
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;

    c->needs_system = c->auth.skipped_for_system || wants_more(c) ||
                      has_method(c, "gssapi-with-mic") || has_method(c, "hostbased");
    buf_append(&text, buf_data(&c->auth.tried), buf_len(&c->auth.tried));
    for (size_t i = 0; i + 1 < buf_len(&text); i++)
        if (text.mem[text.start + i] == '\n')
            text.mem[text.start + i] = ';';
    if (buf_len(&text) > 0)
        buf_truncate(&text, buf_len(&text) - 1);
    if (wants_more(c)) {
        err_set(&err, ERR_UNPROCESS, "%s@%s: the server wants more than a key: %s", user, c->name,
                c->auth.methods);
        err_hint(&err, "use the system's ssh for this host");
    } else if (buf_len(&text) == 0) {
        err_set(&err, ERR_UNAUTH, "%s@%s: there is no key to log in with", user, c->name);
        err_hint(&err, "make one with ssh-keygen, then: ssh-copy-id %s@%s", user, c->name);
    } else {
        err_set(&err, ERR_UNAUTH, "%s@%s: no key is accepted: %s", user, c->name, buf_data(&text));
        if (c->needs_system)
            err_hint(&err, "use the system's ssh for this host");
        else
            err_hint(&err, "check the user, or put a key there: ssh-copy-id %s@%s", user, c->name);
    }
    buf_fini(&text);
    client_fail(c, &err);
}

/* The server has hung up, perhaps because of too many keys. */
static void fail_connection(struct ssh_client *c)
{
    size_t tried = c->auth.count;

    client_fail_lib(c, "logging in");
    if (tried > 1 && c->disconnected)
        err_hint(&c->err,
                 "after %zu keys: name the right one with IdentityFile and IdentitiesOnly "
                 "in ~/.ssh/config",
                 tried);
}

static void start_list(struct ssh_client *c)
{
    const char *user = c->opt.config->user;
    const char *list = libssh2_userauth_list(c->session, user, (unsigned)strlen(user));

    if (!list) {
        if (libssh2_userauth_authenticated(c->session)) {
            note(c, "no key", "the server lets everybody in");
            client_ready(c);
        } else if (libssh2_session_last_errno(c->session) != LIBSSH2_ERROR_EAGAIN) {
            client_fail_lib(c, "logging in");
        }
        return;
    }
    copy_list((struct ssh_span){ (const unsigned char *)list, strlen(list) }, c->auth.methods,
              sizeof c->auth.methods);
    c->auth.listed = true;
    c->auth.partial = false;
    if (!has_method(c, "publickey")) {
        fail_methods(c);
        return;
    }
    load_keys(c);
    /* The agent had its own limit. */
    client_set_deadline(c, c->opt.auth_ns);
}

/* Whether the server makes and checks a signature of ours with it. */
static bool usable(struct ssh_client *c, const struct client_key *k)
{
    struct ssh_cursor cursor = ssh_cursor(k->blob, k->blob_len);
    struct err err = ERR_INIT;
    enum ssh_sign_alg alg;

    if (!ssh_span_is(ssh_get_string(&cursor), "ssh-rsa"))
        return true;
    if (!c->auth.sig_algs_known) {
        c->auth.skipped_for_system = true;
        note(c, k->label, "the server doesn't say that it takes RSA signatures with SHA-2");
        return false;
    }
    if (ssh_sign_pick(SSH_KEY_RSA, c->auth.sig_algs, &alg, &err) == 0)
        return true;
    note(c, k->label, err.msg);
    return false;
}

/* Sets auth.now to the next key to try; false: there is none. */
static bool next_key(struct ssh_client *c)
{
    struct list *keys = &c->auth.keys;

    while (!list_empty(keys)) {
        struct client_key *k = CONTAINER_OF(keys->next, struct client_key, link);
        struct err err = ERR_INIT;
        struct ssh_span blob;

        if (!k->blob && k->key && unlock(c, k, &err) == 0 && ssh_key_public(k->key, &blob)) {
            k->blob = mem_dup(blob.data, blob.len);
            k->blob_len = blob.len;
        }
        if (c->auth.count >= SSH_CLIENT_KEYS_MAX) {
            note(c, k->label, "not tried: too many keys");
        } else if (!k->blob) {
            note(c, k->label, err.msg);
        } else if (usable(c, k)) {
            c->auth.now = k;
            c->auth.count++;
            client_set_deadline(c, c->opt.auth_ns);
            err_clear(&c->auth.sign_err);
            return true;
        }
        key_free(k);
    }
    return false;
}

/* False: all is said about this key, on to the next. */
static bool key_failed(struct ssh_client *c, int rc)
{
    struct client_key *k = c->auth.now;

    if (c->disconnected ||
        (rc != LIBSSH2_ERROR_AUTHENTICATION_FAILED && rc != LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED &&
         rc != LIBSSH2_ERROR_METHOD_NONE)) {
        note(c, k->label, "the connection ended");
        fail_connection(c);
        return true;
    }
    if (c->auth.sign_err.kind != ERR_NONE) {
        if (c->auth.sign_err.kind == ERR_UNPROCESS)
            c->auth.skipped_for_system = true;
        note(c, k->label, c->auth.sign_err.msg);
    } else if (rc == LIBSSH2_ERROR_AUTHENTICATION_FAILED) {
        note(c, k->label, "not accepted there");
    } else if (wants_more(c)) {
        note(c, k->label, "accepted, and not enough");
    } else if (!k->key) {
        note(c, k->label, "its signature is refused");
    } else {
        note(c, k->label, "known there, its signature is refused");
    }
    c->auth.now = NULL;
    key_free(k);
    if (wants_more(c)) {
        fail_keys(c);
        return true;
    }
    return false;
}

void client_auth_step(struct ssh_client *c)
{
    if (!c->auth.listed)
        start_list(c);
    while (c->state == SSH_CLIENT_AUTH && c->auth.listed) {
        void *abstract = c;
        int rc;

        if (!c->auth.now && !next_key(c)) {
            fail_keys(c);
            return;
        }
        rc = libssh2_userauth_publickey(c->session, c->opt.config->user, c->auth.now->blob,
                                        c->auth.now->blob_len, lib_sign, &abstract);
        if (rc == LIBSSH2_ERROR_EAGAIN)
            return;
        if (rc == 0) {
            note(c, c->auth.now->label, "accepted");
            client_ready(c);
            keys_free(&c->auth.keys);
            c->auth.now = NULL;
            ssh_agent_close(c->auth.agent);
            c->auth.agent = NULL;
            return;
        }
        if (key_failed(c, rc))
            return;
    }
}
