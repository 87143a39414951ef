/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/hosts_file.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "net/ssh_link_msg.h"
#include "net/tls_digest.h"

#define NAME_MAX_BYTES 40 /* of a file, without suffix; longer ones are a digest in part */
#define TEXT_MAX 1024     /* of messages to people */

/* --- names -------------------------------------------------------------------------------------- */

static int check_hop(const char *text, size_t len, struct err *err)
{
    char *hop = mem_strndup(text, len);
    struct hosts_entry entry;
    int rc = hosts_entry_parse(hop, &entry, err);

    if (rc == 0)
        hosts_entry_fini(&entry);
    free(hop);
    return rc;
}

int ssh_link_check_word(const char *word, struct err *err)
{
    size_t hops = 0;

    if (strlen(word) > SSH_LINK_WORD_MAX)
        return err_set(err, ERR_INVALID, "the name of the host is longer than %d bytes",
                       SSH_LINK_WORD_MAX);
    for (const char *p = word;; p++) {
        size_t len = strcspn(p, ",");

        if (check_hop(p, len, err) != 0) {
            char *shown = str_safe(word);

            err_prefix(err, "'%s'", shown);
            free(shown);
            return err_hint(err, "write HOST, USER@HOST, HOST:PORT, or JUMP,HOST");
        }
        if (++hops > SSH_LINK_HOPS_MAX)
            return err_set(err, ERR_INVALID, "more than %d hosts, one behind the other",
                           SSH_LINK_HOPS_MAX);
        p += len;
        if (!*p)
            return 0;
    }
}

const char *ssh_link_last(const char *word)
{
    const char *comma = strrchr(word, ',');

    return comma ? comma + 1 : word;
}

static bool plain(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '@' || (c == '.' && !first);
}

char *ssh_link_path(const char *runtime_dir, const char *word, const char *suffix)
{
    struct buf name = BUF_INIT;
    unsigned char digest[DIGEST_SHA256_SIZE];
    char hex[17], *path;

    for (const char *p = word; *p; p++) {
        if (plain(*p, p == word))
            buf_append_char(&name, *p);
        else
            buf_printf(&name, "%%%02x", (unsigned)(unsigned char)*p);
    }
    if (buf_len(&name) > NAME_MAX_BYTES) {
        digest_sha256(word, strlen(word), NULL, 0, digest);
        str_hex(digest, 8, hex);
        buf_truncate(&name, NAME_MAX_BYTES - sizeof hex);
        /* '%' is followed by digits in a name that isn't cut. */
        buf_printf(&name, "%%%s", hex);
    }
    path = mem_printf("%s/links/%s%s", runtime_dir, buf_data(&name), suffix);
    buf_fini(&name);
    return path;
}

/* --- words -------------------------------------------------------------------------------------- */

static const char *const types[] = {
    [SSH_LINK_HELLO] = "hello",     [SSH_LINK_EXEC] = "exec",       [SSH_LINK_DIAL] = "dial",
    [SSH_LINK_SIGNAL] = "signal",   [SSH_LINK_CLOSE] = "close",     [SSH_LINK_STATE] = "state",
    [SSH_LINK_WATCH] = "watch",     [SSH_LINK_CONNECT] = "connect", [SSH_LINK_STOP] = "stop",
    [SSH_LINK_STARTED] = "started", [SSH_LINK_ENDED] = "ended",     [SSH_LINK_ERROR] = "error",
};

static const char *const states[] = {
    [SSH_LINK_NONE] = "",
    [SSH_LINK_CONNECTING] = "connecting",
    [SSH_LINK_HANDSHAKE] = "handshake",
    [SSH_LINK_AUTH] = "auth",
    [SSH_LINK_UP] = "up",
    [SSH_LINK_WAITING] = "waiting",
    [SSH_LINK_STOPPED] = "stopped",
};

const char *ssh_link_state_word(enum ssh_link_state state)
{
    return states[state];
}

/* --- writing ------------------------------------------------------------------------------------ */

static void put_err(struct jsonw *w, const struct err *err)
{
    if (err->kind == ERR_NONE)
        return;
    jsonw_str(w, "error", err->msg);
    if (err->hint[0])
        jsonw_str(w, "hint", err->hint);
    jsonw_str(w, "kind", err_kind_name(err->kind));
}

static void put_command(struct jsonw *w, const char *command)
{
    size_t len = strlen(command);
    char *hex;

    if (str_is_utf8(command, len)) {
        jsonw_str(w, "command", command);
        return;
    }
    /* JSON can't have it, and a shell takes any bytes. */
    hex = mem_alloc(2 * len + 1);
    str_hex(command, len, hex);
    jsonw_str(w, "command_hex", hex);
    free(hex);
}

static void put_state(struct jsonw *w, const struct ssh_link_msg *m)
{
    if (m->state == SSH_LINK_NONE)
        return;
    jsonw_str(w, "state", states[m->state]);
    if (m->via)
        jsonw_str(w, "via", m->via);
    jsonw_time(w, "since", m->since_ns);
    if (m->retry_ns > 0)
        jsonw_time(w, "retry_at", m->retry_ns);
    if (m->server)
        jsonw_str(w, "server", m->server);
    if (m->methods)
        jsonw_str(w, "methods", m->methods);
    put_err(w, &m->result.err);
}

static void put_ended(struct jsonw *w, const struct ssh_link_result *r)
{
    if (r->end == SSH_LINK_CODE)
        jsonw_int(w, "code", r->code);
    else if (r->end == SSH_LINK_SIGNALED)
        jsonw_str(w, "signal", r->signal);
    else
        put_err(w, &r->err);
}

static void put_fields(struct jsonw *w, const struct ssh_link_msg *m)
{
    switch (m->type) {
    case SSH_LINK_HELLO:
        jsonw_int(w, "v", m->version);
        if (m->pid > 0)
            jsonw_int(w, "pid", m->pid);
        if (m->text)
            jsonw_str(w, "host", m->text);
        break;
    case SSH_LINK_EXEC:
        put_command(w, m->text);
        break;
    case SSH_LINK_DIAL:
        jsonw_str(w, "host", m->text);
        jsonw_int(w, "port", m->port);
        break;
    case SSH_LINK_SIGNAL:
        jsonw_str(w, "signal", m->text);
        break;
    case SSH_LINK_STATE:
        put_state(w, m);
        break;
    case SSH_LINK_ENDED:
        put_ended(w, &m->result);
        break;
    case SSH_LINK_ERROR:
        put_err(w, &m->result.err);
        break;
    case SSH_LINK_CLOSE:
    case SSH_LINK_WATCH:
    case SSH_LINK_CONNECT:
    case SSH_LINK_STOP:
    case SSH_LINK_STARTED:
    case SSH_LINK_UNKNOWN:
        break;
    }
}

void ssh_link_msg_encode(const struct ssh_link_msg *m, struct buf *out)
{
    struct jsonw w;

    jsonw_init(&w, out);
    jsonw_obj_open(&w, NULL);
    jsonw_str(&w, "type", m->type == SSH_LINK_UNKNOWN ? m->text : types[m->type]);
    if (m->id > 0)
        jsonw_int(&w, "id", m->id);
    put_fields(&w, m);
    if ((m->type == SSH_LINK_EXEC || m->type == SSH_LINK_DIAL) && m->wait_ns >= 0)
        jsonw_double(&w, "wait_s", (double)m->wait_ns / (double)NS_PER_S);
    jsonw_obj_close(&w);
}

/* --- reading ------------------------------------------------------------------------------------ */

static int missing(const char *field, struct err *err)
{
    return err_set(err, ERR_INVALID, "'%s' is missing", field);
}

static int need_str(yyjson_val *obj, const char *field, size_t max, const char **out,
                    struct err *err)
{
    int rc = jsonx_get_str(obj, "", field, max, out, err);

    if (rc > 0 && **out)
        return 0;
    return rc < 0 ? -1 : missing(field, err);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_hex(struct ssh_link_msg *m, const char *hex, struct err *err)
{
    size_t len = strlen(hex);

    m->own = mem_alloc(len / 2 + 1);
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return err_set(err, ERR_INVALID, "'command_hex' is malformed");
        m->own[i] = (char)(high << 4 | low);
    }
    if (len == 0 || len % 2)
        return err_set(err, ERR_INVALID, "'command_hex' is malformed");
    m->text = m->own;
    return 0;
}

static int read_wait(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    m->wait_ns = -1;
    if (jsonx_get_duration(obj, "", "wait_s", &m->wait_ns, err) < 0)
        return -1;
    if (m->wait_ns > SSH_LINK_WAIT_MAX_S * NS_PER_S)
        return err_set(err, ERR_INVALID, "'wait_s' is more than %d", SSH_LINK_WAIT_MAX_S);
    return 0;
}

static int read_exec(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    const char *hex = NULL;
    int rc = jsonx_get_str(obj, "", "command_hex", 2 * SSH_LINK_COMMAND_MAX, &hex, err);

    if (rc < 0 || read_wait(obj, m, err) != 0)
        return -1;
    if (rc > 0)
        return read_hex(m, hex, err);
    return need_str(obj, "command", SSH_LINK_COMMAND_MAX, &m->text, err);
}

static int read_dial(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    int64_t port = 0;

    if (read_wait(obj, m, err) != 0 ||
        need_str(obj, "host", SSH_LINK_HOST_MAX, &m->text, err) != 0 ||
        jsonx_get_int(obj, "", "port", 1, 65535, &port, err) < 0)
        return -1;
    m->port = (uint16_t)port;
    return port ? 0 : missing("port", err);
}

static int read_err(yyjson_val *obj, struct err *out, struct err *err)
{
    const char *msg = NULL, *hint = NULL, *kind = "internal";

    if (jsonx_get_str(obj, "", "error", TEXT_MAX, &msg, err) < 0 ||
        jsonx_get_str(obj, "", "hint", TEXT_MAX, &hint, err) < 0 ||
        jsonx_get_str(obj, "", "kind", 64, &kind, err) < 0)
        return -1;
    if (!msg)
        return 0;
    err_set(out, err_kind_from_name(kind), "%s", msg);
    if (hint)
        err_hint(out, "%s", hint);
    return 0;
}

static bool signal_ok(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");

    return len > 0 && len < sizeof((struct ssh_link_result *)0)->signal && !name[len];
}

static int read_signal(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    if (need_str(obj, "signal", 31, &m->text, err) != 0)
        return -1;
    return signal_ok(m->text) ? 0
                              : err_set(err, ERR_INVALID, "'signal' is like \"TERM\", without SIG");
}

static int read_ended(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    struct ssh_link_result *r = &m->result;
    const char *name = NULL;
    int64_t code;
    int rc = jsonx_get_int(obj, "", "code", 0, UINT32_MAX, &code, err);

    if (rc < 0 || jsonx_get_str(obj, "", "signal", 31, &name, err) < 0 ||
        read_err(obj, &r->err, err) != 0)
        return -1;
    if (rc > 0) {
        r->end = SSH_LINK_CODE;
        r->code = (uint32_t)code;
    } else if (name) {
        if (!signal_ok(name))
            return err_set(err, ERR_INVALID, "'signal' is no name of one");
        r->end = SSH_LINK_SIGNALED;
        str_copy(r->signal, sizeof r->signal, name);
    } else if (r->err.kind != ERR_NONE) {
        r->end = SSH_LINK_FAILED;
    } else {
        return missing("code", err);
    }
    return 0;
}

static int read_time(yyjson_val *obj, const char *field, int64_t *out, struct err *err)
{
    const char *text = NULL;
    int rc = jsonx_get_str(obj, "", field, 64, &text, err);

    if (rc > 0 && !clock_parse_rfc3339(text, out))
        return err_set(err, ERR_INVALID, "'%s' is no time", field);
    return rc < 0 ? -1 : 0;
}

static int read_state(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    const char *word = "";

    if (jsonx_get_str(obj, "", "state", 32, &word, err) < 0 ||
        jsonx_get_str(obj, "", "via", 32, &m->via, err) < 0 ||
        jsonx_get_str(obj, "", "server", TEXT_MAX, &m->server, err) < 0 ||
        jsonx_get_str(obj, "", "methods", TEXT_MAX, &m->methods, err) < 0 ||
        read_time(obj, "since", &m->since_ns, err) != 0 ||
        read_time(obj, "retry_at", &m->retry_ns, err) != 0 ||
        read_err(obj, &m->result.err, err) != 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (str_eq(word, states[i])) {
            m->state = (enum ssh_link_state)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "'state' is a word that this version of hive doesn't know");
}

static int read_hello(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    if (jsonx_get_int(obj, "", "v", 1, 1000000, &m->version, err) < 0 ||
        jsonx_get_int(obj, "", "pid", 0, INT32_MAX, &m->pid, err) < 0 ||
        jsonx_get_str(obj, "", "host", SSH_LINK_WORD_MAX, &m->text, err) < 0)
        return -1;
    return m->version ? 0 : missing("v", err);
}

static int read_fields(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    switch (m->type) {
    case SSH_LINK_HELLO:
        return read_hello(obj, m, err);
    case SSH_LINK_EXEC:
        return read_exec(obj, m, err);
    case SSH_LINK_DIAL:
        return read_dial(obj, m, err);
    case SSH_LINK_SIGNAL:
        return read_signal(obj, m, err);
    case SSH_LINK_STATE:
        return read_state(obj, m, err);
    case SSH_LINK_ENDED:
        return read_ended(obj, m, err);
    case SSH_LINK_ERROR:
        return read_err(obj, &m->result.err, err);
    case SSH_LINK_CLOSE:
    case SSH_LINK_WATCH:
    case SSH_LINK_CONNECT:
    case SSH_LINK_STOP:
    case SSH_LINK_STARTED:
    case SSH_LINK_UNKNOWN:
        break;
    }
    return 0;
}

static bool needs_id(enum ssh_link_type type)
{
    return type == SSH_LINK_EXEC || type == SSH_LINK_DIAL || type == SSH_LINK_SIGNAL ||
           type == SSH_LINK_CLOSE || type == SSH_LINK_STARTED || type == SSH_LINK_ENDED;
}

static int read_type(yyjson_val *obj, struct ssh_link_msg *m, struct err *err)
{
    const char *word;
    int64_t id = 0;

    if (need_str(obj, "type", 64, &word, err) != 0 ||
        jsonx_get_int(obj, "", "id", 1, INT32_MAX, &id, err) < 0)
        return -1;
    m->id = (uint32_t)id;
    m->type = SSH_LINK_UNKNOWN;
    m->text = word;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (str_eq(word, types[i])) {
            m->type = (enum ssh_link_type)i;
            m->text = NULL;
        }
    }
    return needs_id(m->type) && m->id == 0 ? missing("id", err) : 0;
}

int ssh_link_msg_decode(const char *data, size_t len, struct ssh_link_msg *m, struct err *err)
{
    yyjson_val *obj;

    *m = (struct ssh_link_msg){ .wait_ns = -1 };
    if (len > SSH_LINK_PACKET_MAX)
        return err_set(err, ERR_TOO_LARGE, "a message has more than %zu bytes",
                       SSH_LINK_PACKET_MAX);
    m->doc = jsonx_parse(data, len, err);
    if (!m->doc)
        return -1;
    obj = yyjson_doc_get_root(m->doc);
    if (read_type(obj, m, err) == 0 && read_fields(obj, m, err) == 0)
        return 0;
    ssh_link_msg_fini(m);
    return -1;
}

void ssh_link_msg_fini(struct ssh_link_msg *m)
{
    yyjson_doc_free(m->doc);
    m->doc = NULL;
    MEM_FREE(m->own);
}
