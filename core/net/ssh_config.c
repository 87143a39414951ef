/* SPDX-License-Identifier: BSD-2-Clause */
/* From values to a result: defaults, tokens, what only the system's ssh can do. */
#include "base/mem.h"

#include "net/ssh_config.h"

#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "net/ssh_config_priv.h"

#include <netdb.h>
#include <sys/socket.h>

/* --- the effective host ----------------------------------------------------------------------- */

/* An address in the form that getnameinfo() gives it, unless only upper case is what differs, as
 * ssh does it; false when it is none. Asks no resolver. */
static bool normal_address(const char *host, char **out)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char name[NI_MAXHOST];

    if (getaddrinfo(host, NULL, &hints, &found) != 0 || !found)
        return false;
    bool ok = getnameinfo(found->ai_addr, found->ai_addrlen, name, sizeof name, NULL, 0,
                          NI_NUMERICHOST) == 0;
    *out = mem_strdup(ok && !str_eq_nocase(name, host) ? name : host);
    freeaddrinfo(found);
    return true;
}

static int effective_host(struct ssh_config_state *s, char **out, struct err *err)
{
    const struct ssh_config_value *v = &s->v[O_HOST_NAME];
    char *host =
        v->set ? ssh_config_expand_host(s->in, v->text, v->origin, err) : mem_strdup(s->in->host);

    if (!host)
        return -1;
    if (!ssh_config_valid_host(host)) {
        char *shown = ssh_config_show(host);
        err_set(err, ERR_INVALID, "%s: \"%s\" can't be a host", v->origin, shown);
        free(shown);
        free(host);
        return -1;
    }
    if (normal_address(host, out)) {
        free(host);
        return 0;
    }
    for (char *p = host; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    *out = host;
    return 0;
}

/* --- passes ----------------------------------------------------------------------------------- */

/* The user's or the system's file, which may be missing. One that can't be read ssh takes for
 * missing, too. */
static int read_usual(struct ssh_config_state *s, const char *path, bool user, struct err *err)
{
    struct err e = ERR_INIT;
    bool opened = false;

    if (ssh_config_read_file(s, path, user, user, &opened, &e) == 0)
        return 0;
    if (!opened && e.kind == ERR_NOT_FOUND)
        return 0;
    if (opened || e.kind != ERR_DENIED) {
        if (err)
            *err = e;
        return -1;
    }
    if (!s->final)
        ssh_config_list_add(&s->notes, e.msg);
    return 0;
}

static int read_all(struct ssh_config_state *s, struct err *err)
{
    const struct ssh_config_input *in = s->in;

    if (in->file && str_eq_nocase(in->file, "none"))
        return 0;
    if (in->file)
        return ssh_config_read_file(s, in->file, true, false, NULL, err);
    char *own = fs_join(in->home, ".ssh/config");
    int rc = read_usual(s, own, true, err);
    free(own);
    return rc == 0 ? read_usual(s, "/etc/ssh/ssh_config", false, err) : rc;
}

/* Reads all, and once more with the effective host if somebody asked for that (Match final). */
static int passes(struct ssh_config_state *s, char **host, struct err *err)
{
    s->host = mem_strdup(s->in->host);
    if (read_all(s, err) != 0 || effective_host(s, host, err) != 0)
        return -1;
    if (!s->want_final)
        return 0;
    free(s->host);
    s->host = mem_strdup(*host);
    s->final = true;
    s->includes = 0;
    /* What HostName is in the second pass doesn't change the host any more. */
    s->v[O_HOST_NAME].set = true;
    return read_all(s, err);
}

/* --- values to results ------------------------------------------------------------------------ */

struct finish {
    struct ssh_config_state *s;
    struct ssh_config *out;
    struct ssh_config_tokens path, proxy; /* for the two kinds of values */
    char port[8], uid[16];
    bool unsure;
};

static const char *text_of(const struct ssh_config_state *s, enum ssh_config_opt opt)
{
    return s->v[opt].set ? s->v[opt].text : NULL;
}

/* NULL for "none", too. */
static const char *unless_none(const struct ssh_config_state *s, enum ssh_config_opt opt)
{
    const char *text = text_of(s, opt);

    return str_eq_nocase(text, "none") ? NULL : text;
}

static int64_t num_of(const struct ssh_config_state *s, enum ssh_config_opt opt, int64_t otherwise)
{
    return s->v[opt].set ? s->v[opt].num : otherwise;
}

static int add_path(struct finish *f, struct ssh_config_list *list, const char *text,
                    const char *origin, struct err *err)
{
    struct buf path = BUF_INIT;
    int rc = ssh_config_expand(f->s->in, &f->path, text, EXPAND_TILDE | EXPAND_ENV, origin, &path,
                               &f->unsure, err);

    if (rc == 0)
        ssh_config_list_add(list, buf_data(&path));
    buf_fini(&path);
    return rc;
}

static int finish_identities(struct finish *f, struct err *err)
{
    /* ssh_config(5), IdentityFile; without DSA, which neither is any longer. */
    static const char *const usual[] = { "id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519",
                                         "id_ed25519_sk" };
    struct ssh_config_state *s = f->s;

    f->out->identity_defaults = s->identities.count == 0;
    for (size_t i = 0; i < ARRAY_LEN(usual) && s->identities.count == 0; i++) {
        char *path = mem_printf("%s/.ssh/%s", s->in->home, usual[i]);
        ssh_config_list_add(&f->out->identity_files, path);
        free(path);
    }
    for (size_t i = 0; i < s->identities.count; i++) {
        const char *text = s->identities.item[i];
        if (!str_eq_nocase(text, "none") &&
            add_path(f, &f->out->identity_files, text, s->identity_origins.item[i], err) != 0)
            return -1;
    }
    return 0;
}

/* A variable of the environment, "" counting as none. */
static const char *variable(const struct ssh_config_input *in, const char *name)
{
    const char *value = in->io->env ? in->io->env(in->io->arg, name) : NULL;

    return value && *value ? value : NULL;
}

static int finish_agent(struct finish *f, struct err *err)
{
    const struct ssh_config_value *v = &f->s->v[O_IDENTITY_AGENT];
    struct ssh_config_list path = { .count = 0 };
    const char *value;

    if (!v->set || str_eq(v->text, "SSH_AUTH_SOCK")) {
        value = variable(f->s->in, "SSH_AUTH_SOCK");
    } else if (str_eq(v->text, "none")) {
        value = NULL;
    } else if (v->text[0] == '$' && v->text[1] != '{') {
        for (const char *p = v->text + 1; *p || p == v->text + 1; p++)
            if (!(*p == '_' || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
                  (*p >= '0' && *p <= '9')))
                return err_set(err, ERR_INVALID, "%s: IdentityAgent: \"$\" begins no variable",
                               v->origin);
        value = variable(f->s->in, v->text + 1);
    } else {
        if (add_path(f, &path, v->text, v->origin, err) != 0)
            return -1;
        value = path.item[0];
    }
    f->out->agent = mem_strdup(value);
    ssh_config_list_fini(&path);
    return 0;
}

static int finish_known_hosts(struct finish *f, struct err *err)
{
    const struct ssh_config_value *user = &f->s->v[O_USER_KNOWN_HOSTS];
    const struct ssh_config_value *global = &f->s->v[O_GLOBAL_KNOWN_HOSTS];
    static const char *const usual[] = { "~/.ssh/known_hosts", "~/.ssh/known_hosts2" };
    static const char *const shared[] = { "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2" };

    for (size_t i = 0; !user->set && i < ARRAY_LEN(usual); i++)
        if (add_path(f, &f->out->user_known_hosts, usual[i], "", err) != 0)
            return -1;
    for (size_t i = 0; i < user->words.count; i++)
        if (!str_eq_nocase(user->words.item[i], "none") &&
            add_path(f, &f->out->user_known_hosts, user->words.item[i], user->origin, err) != 0)
            return -1;
    for (size_t i = 0; !global->set && i < ARRAY_LEN(shared); i++)
        ssh_config_list_add(&f->out->global_known_hosts, shared[i]);
    /* No tokens here, as in ssh. */
    for (size_t i = 0; i < global->words.count; i++)
        if (!str_eq_nocase(global->words.item[i], "none"))
            ssh_config_list_add(&f->out->global_known_hosts, global->words.item[i]);
    return 0;
}

static int expand_jump(struct finish *f, char **text, const char *origin, struct err *err)
{
    struct buf b = BUF_INIT;

    if (!*text)
        return 0;
    if (ssh_config_expand(f->s->in, &f->proxy, *text, 0, origin, &b, &f->unsure, err) != 0) {
        buf_fini(&b);
        return -1;
    }
    free(*text);
    *text = buf_take(&b, NULL);
    return 0;
}

static int finish_jumps(struct finish *f, struct err *err)
{
    const struct ssh_config_value *v = &f->s->v[O_PROXY_JUMP];

    if (v->words.count == 0)
        return 0;
    f->out->jump = mem_alloc_array(v->words.count, sizeof *f->out->jump);
    for (size_t i = 0; i < v->words.count; i++) {
        struct ssh_config_jump *jump = &f->out->jump[f->out->jump_count];
        const char *text = v->words.item[i];
        /* It was looked at when it was read. */
        if (!ssh_config_parse_jump(text, strlen(text), jump))
            return err_set(err, ERR_INTERNAL, "%s: ProxyJump", v->origin);
        f->out->jump_count++;
        if (expand_jump(f, &jump->user, v->origin, err) != 0 ||
            expand_jump(f, &jump->host, v->origin, err) != 0)
            return -1;
        if (!ssh_config_valid_host(jump->host) ||
            (jump->user && !ssh_config_valid_user(jump->user)))
            return err_set(err, ERR_INVALID, "%s: ProxyJump: this can't be a user and a host",
                           v->origin);
    }
    return 0;
}

static void need(struct finish *f, enum ssh_config_opt opt, const char *what)
{
    const struct ssh_config_value *v = &f->s->v[opt];
    char *why = mem_printf("%s: %s is set", v->origin, what);

    ssh_config_need_system(f->s, why);
    free(why);
}

/* What the builtin client doesn't do. */
static void finish_needs(struct finish *f)
{
    static const struct {
        enum ssh_config_opt opt;
        const char *what;
    } row[] = {
        { O_PROXY_COMMAND, "ProxyCommand" },
        { O_CERTIFICATE, "CertificateFile" },
        { O_PKCS11_PROVIDER, "PKCS11Provider" },
        { O_SECURITY_KEY_PROVIDER, "SecurityKeyProvider" },
        { O_KNOWN_HOSTS_COMMAND, "KnownHostsCommand" },
        { O_REVOKED_HOST_KEYS, "RevokedHostKeys" },
        { O_BIND_INTERFACE, "BindInterface" },
        { O_REFUSE_CONNECTION, "RefuseConnection" },
    };
    struct ssh_config_state *s = f->s;

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        const char *text = unless_none(s, row[i].opt);
        /* The provider that is always there. */
        if (text && !(row[i].opt == O_SECURITY_KEY_PROVIDER && str_eq(text, "internal")))
            need(f, row[i].opt, row[i].what);
    }
    if (num_of(s, O_CANONICALIZE, 0))
        need(f, O_CANONICALIZE, "CanonicalizeHostname");
    /* Newer versions expand it, older ones don't. */
    const char *user = s->in->user ? NULL : text_of(s, O_USER);
    if (user && (strchr(user, '%') || strstr(user, "${")))
        need(f, O_USER, "User with a token");
    if (f->unsure)
        ssh_config_need_system(s, "%C or %j is in a path, and stands for another text in each "
                                  "version of ssh");
    f->out->needs_system = buf_len(&s->why) > 0;
    if (f->out->needs_system)
        f->out->why = mem_strdup(buf_data(&s->why));
}

static void finish_plain(struct finish *f)
{
    const struct ssh_config_state *s = f->s;
    struct ssh_config *out = f->out;

    out->host_key_alias = mem_strdup(text_of(s, O_HOST_KEY_ALIAS));
    out->identities_only = num_of(s, O_IDENTITIES_ONLY, 0);
    out->strict = (enum ssh_config_strict)num_of(s, O_STRICT, SSH_STRICT_ASK);
    out->hash_known_hosts = num_of(s, O_HASH_KNOWN_HOSTS, 0);
    out->check_host_ip = num_of(s, O_CHECK_HOST_IP, 0);
    out->proxy_command = mem_strdup(unless_none(s, O_PROXY_COMMAND));
    out->connect_timeout_s = (int)num_of(s, O_CONNECT_TIMEOUT, 0);
    out->server_alive_interval_s = (int)num_of(s, O_SERVER_ALIVE_INTERVAL, 0);
    out->server_alive_count_max = (int)num_of(s, O_SERVER_ALIVE_COUNT, 3);
    out->bind_address = mem_strdup(text_of(s, O_BIND_ADDRESS));
    out->family = (enum ssh_config_family)num_of(s, O_ADDRESS_FAMILY, SSH_FAMILY_ANY);
    out->password_auth = num_of(s, O_PASSWORD_AUTH, 1);
    out->kbdint_auth = num_of(s, O_KBDINT_AUTH, 1);
    out->pubkey_auth = num_of(s, O_PUBKEY_AUTH, 1);
    out->batch_mode = num_of(s, O_BATCH_MODE, 0);
    out->required_rsa_size = (int)num_of(s, O_REQUIRED_RSA_SIZE, 0);
    out->host_key_algorithms = mem_strdup(text_of(s, O_HOST_KEY_ALGORITHMS));
    out->kex_algorithms = mem_strdup(text_of(s, O_KEX_ALGORITHMS));
    out->ciphers = mem_strdup(text_of(s, O_CIPHERS));
    out->macs = mem_strdup(text_of(s, O_MACS));
    out->preferred_auth = mem_strdup(text_of(s, O_PREFERRED_AUTH));
}

/* Who logs in: as typed, as written, or the local user. ssh, too, looks harder at what is typed. */
static int finish_user(struct finish *f, struct err *err)
{
    const char *typed = f->s->in->user;
    const struct ssh_config_value *v = &f->s->v[O_USER];
    const char *user = typed ? typed : v->set ? v->text : f->s->in->local_user;
    bool ok = typed ? ssh_config_valid_user(user) : *user != '-' && *user != '\0';

    for (const char *p = user; *p; p++)
        ok = ok && (unsigned char)*p >= ' ' && *p != 0x7f;
    if (!ok) {
        char *shown = ssh_config_show(user);
        bool written = !typed && v->set;
        err_set(err, ERR_INVALID, "%s%s\"%s\" can't be a user", written ? v->origin : "",
                written ? ": " : "", shown);
        free(shown);
        return -1;
    }
    f->out->user = mem_strdup(user);
    return 0;
}

static int finish(struct ssh_config_state *s, struct ssh_config *out, struct err *err)
{
    const struct ssh_config_input *in = s->in;
    struct finish f = { .s = s, .out = out };

    out->port = in->port ? in->port : (uint16_t)num_of(s, O_PORT, 22);
    if (finish_user(&f, err) != 0)
        return -1;
    finish_plain(&f);
    snprintf(f.port, sizeof f.port, "%u", out->port);
    snprintf(f.uid, sizeof f.uid, "%u", (unsigned)in->uid);
    f.proxy = (struct ssh_config_tokens){
        .host = out->host, .original_host = in->host, .port = f.port, .user = out->user
    };
    f.path = f.proxy;
    f.path.alias = out->host_key_alias ? out->host_key_alias : in->host;
    f.path.local_user = in->local_user;
    f.path.home = in->home;
    f.path.local_host = in->local_host;
    f.path.uid = f.uid;
    if (finish_identities(&f, err) != 0 || finish_agent(&f, err) != 0 ||
        finish_known_hosts(&f, err) != 0 || finish_jumps(&f, err) != 0)
        return -1;
    finish_needs(&f);
    out->notes = s->notes;
    s->notes = (struct ssh_config_list){ .count = 0 };
    return 0;
}

/* --- the whole -------------------------------------------------------------------------------- */

static void state_fini(struct ssh_config_state *s)
{
    for (size_t i = 0; i < O_COUNT; i++) {
        free(s->v[i].text);
        free(s->v[i].origin);
        ssh_config_list_fini(&s->v[i].words);
    }
    ssh_config_list_fini(&s->identities);
    ssh_config_list_fini(&s->identity_origins);
    ssh_config_list_fini(&s->notes);
    buf_fini(&s->why);
    free(s->host);
}

int ssh_config_read(const struct ssh_config_input *in, struct ssh_config *out, struct err *err)
{
    struct ssh_config_state s = { .in = in };
    int rc = -1;

    *out = (struct ssh_config){ .port = 0 };
    if (!ssh_config_valid_host(in->host)) {
        char *shown = ssh_config_show(in->host);
        err_set(err, ERR_INVALID, "\"%s\" can't be a host", shown);
        free(shown);
    } else if (passes(&s, &out->host, err) == 0) {
        rc = finish(&s, out, err);
    }
    state_fini(&s);
    if (rc != 0)
        ssh_config_fini(out);
    return rc;
}

void ssh_config_fini(struct ssh_config *config)
{
    char *text[] = { config->host,
                     config->user,
                     config->host_key_alias,
                     config->agent,
                     config->proxy_command,
                     config->bind_address,
                     config->host_key_algorithms,
                     config->kex_algorithms,
                     config->ciphers,
                     config->macs,
                     config->preferred_auth,
                     config->why };

    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        free(text[i]);
    for (size_t i = 0; i < config->jump_count; i++)
        ssh_config_jump_fini(&config->jump[i]);
    free(config->jump);
    ssh_config_list_fini(&config->identity_files);
    ssh_config_list_fini(&config->user_known_hosts);
    ssh_config_list_fini(&config->global_known_hosts);
    ssh_config_list_fini(&config->notes);
    *config = (struct ssh_config){ .port = 0 };
}
