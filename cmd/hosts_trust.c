/* SPDX-License-Identifier: BSD-2-Clause */
/* `hive hosts trust`: shows keys, asks, and writes known_hosts. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/hosts.h"
#include "cmd/hosts_probe.h"
#include "net/ssh_key.h"

enum outcome { TRUSTED, ALREADY, REFUSED, NOT_ASKED, FAILED };

struct decision {
    const struct hosts_args *args;
    struct hosts_probe *probe;
    char type[SSH_KEY_TYPE_MAX], print[SSH_FINGERPRINT_SIZE];
    char old_type[SSH_KEY_TYPE_MAX], old_print[SSH_FINGERPRINT_SIZE]; /* of that line */
    enum ssh_known_status before; /* with a key: what was known of it */
    char *old_file;               /* the line that decided then, or NULL */
    int old_line;
    enum outcome outcome;
    const char *file; /* written to */
    struct err err;
};

/* --- what was known ----------------------------------------------------------------------------- */

/* The key of a line "[@MARKER] NAMES TYPE BASE64". */
static void read_old_key(struct decision *d, const char *line)
{
    struct ssh_pubkey pub;

    line += strspn(line, " \t");
    for (int skip = *line == '@' ? 2 : 1; skip > 0; skip--) {
        line += strcspn(line, " \t");
        line += strspn(line, " \t");
    }
    if (ssh_pubkey_parse_text(line, strlen(line), "known_hosts", &pub, NULL) != 0)
        return;
    hosts_key_text(pub.blob, pub.blob_len, d->old_type, d->old_print);
    ssh_pubkey_fini(&pub);
}

static void find_old_key(struct decision *d)
{
    const struct ssh_known_found *found = &d->probe->found;
    struct buf text = BUF_INIT;

    d->before = found->status;
    d->old_file = mem_strdup(found->file);
    d->old_line = found->line;
    if (found->file && fs_read_file(found->file, SSH_KNOWN_FILE_MAX, &text, NULL) == 0) {
        const char *p = buf_data(&text);

        for (int line = 1; line < found->line && *p; line++) {
            p += strcspn(p, "\n");
            p += *p == '\n';
        }
        char *line = mem_strndup(p, strcspn(p, "\r\n"));
        read_old_key(d, line);
        free(line);
    }
    buf_fini(&text);
}

/* --- showing and asking ------------------------------------------------------------------------- */

/* "NAME (ADDRESS, port N)" */
static void append_host(struct buf *b, const struct hosts_probe *p)
{
    str_append_safe(b, p->short_name, SIZE_MAX);
    buf_printf(b, " (%s, port %u)", p->address, (unsigned)p->config.port);
}

static void append_old(struct buf *b, const struct decision *d)
{
    const struct ssh_known_found *found = &d->probe->found;

    buf_printf(b, "  known: %s %s, ", d->old_type, d->old_print);
    str_append_safe(b, found->file, SIZE_MAX);
    buf_printf(b, ":%d%s\n", found->line, found->by_address ? " (for its address)" : "");
}

static void append_key(struct buf *b, const struct decision *d)
{
    enum ssh_known_status status = d->probe->found.status;

    append_host(b, d->probe);
    if (status == SSH_KNOWN_CHANGED)
        buf_append_str(b, " shows ANOTHER KEY than the one that is known.\n"
                          "Either it was changed there, or somebody has put a machine of their own "
                          "between you and the host\nand would see all that you do on it. Find out "
                          "from who runs it, by other means than this connection.\n");
    else if (status == SSH_KNOWN_OTHER_TYPE)
        buf_append_str(b, " shows a key of another type than the one that is known.\n");
    else
        buf_append_str(b, " shows a key that is not known.\n");
    if (status != SSH_KNOWN_UNKNOWN && d->probe->found.file)
        append_old(b, d);
    buf_printf(b, "  shown: %s %s\n", d->type, d->print);
}

static bool says_yes(const char *answer)
{
    return str_eq_nocase(answer, "y") || str_eq_nocase(answer, "yes");
}

static enum outcome ask(struct decision *d)
{
    bool changed = d->probe->found.status == SSH_KNOWN_CHANGED;
    struct buf question = BUF_INIT;
    char answer[32] = "";

    if (d->args->yes)
        return TRUSTED;
    if (!hosts_tty_exists()) {
        err_set(&d->err, ERR_USAGE, "%s: there is no terminal to ask on whether to trust it",
                d->probe->short_name);
        err_hint(&d->err, "compare the fingerprint, then: hive hosts trust --yes %s%s",
                 changed ? "--replace " : "", d->probe->word);
        return NOT_ASKED;
    }
    buf_append_str(&question, changed ? "Trust it instead? [y/N] " : "Trust it? [y/N] ");
    ssize_t len = hosts_tty_ask(buf_data(&question), false, answer, sizeof answer - 1, &d->err);
    buf_fini(&question);
    if (len >= 0 && says_yes(str_trim(answer)))
        return TRUSTED;
    err_set(&d->err, ERR_DENIED, "%s is not trusted; nothing was changed", d->probe->short_name);
    return REFUSED;
}

/* --- writing ------------------------------------------------------------------------------------ */

/* Is that enough, or does a line elsewhere say otherwise? */
static int check_again(struct decision *d)
{
    struct hosts_probe *p = d->probe;
    int rc;

    if (hosts_look_again(p, &d->err) != 0)
        return -1;
    if (p->found.status == SSH_KNOWN_MATCH)
        return 0;
    rc = err_set(&d->err, ERR_CONFLICT, "%s: its key is in %s now, but another line says: %s",
                 p->short_name, d->file, hosts_known_word(p->found.status));
    if (p->found.file)
        err_hint(&d->err, "look at %s:%d", p->found.file, p->found.line);
    return rc;
}

static enum outcome write_key(struct decision *d)
{
    const struct hosts_probe *p = d->probe;
    struct ssh_known_name name = hosts_known_name(p);
    unsigned flags = p->config.hash_known_hosts ? SSH_KNOWN_HASH : 0;

    if (p->config.user_known_hosts.count == 0) {
        err_set(&d->err, ERR_UNPROCESS, "%s: ssh_config names no file to put its key into",
                p->short_name);
        err_hint(&d->err, "set UserKnownHostsFile for it");
        return FAILED;
    }
    if (p->found.status == SSH_KNOWN_CHANGED)
        flags |= SSH_KNOWN_REPLACE;
    d->file = p->config.user_known_hosts.item[0];
    if (ssh_known_hosts_trust(d->file, &name, p->key, p->key_len, flags, NULL, &d->err) != 0) {
        err_prefix(&d->err, "%s", p->short_name);
        d->file = NULL;
        return FAILED;
    }
    return check_again(d) == 0 ? TRUSTED : FAILED;
}

static enum outcome refuse_revoked(struct decision *d)
{
    const struct hosts_probe *p = d->probe;

    err_set(&d->err, ERR_DENIED, "%s shows a revoked host key (%s %s), see %s:%d", p->short_name,
            d->type, d->print, p->found.file, p->found.line);
    err_hint(&d->err, "don't use it; ask who runs the machine for a new host key");
    return FAILED;
}

static enum outcome refuse_changed(struct decision *d)
{
    err_set(&d->err, ERR_DENIED, "%s: its key has changed; nothing was done", d->probe->short_name);
    err_hint(&d->err, "if you know that it was changed: hive hosts trust --replace %s",
             d->probe->word);
    return REFUSED;
}

static void decide(struct decision *d)
{
    struct hosts_probe *p = d->probe;
    struct buf text = BUF_INIT;

    d->outcome = FAILED;
    if (!p->key) {
        d->err = p->err;
        return;
    }
    /* The same host may have been there before under another name. */
    if (hosts_look_again(p, &d->err) != 0)
        return;
    hosts_key_text(p->key, p->key_len, d->type, d->print);
    find_old_key(d);
    if (p->found.status == SSH_KNOWN_MATCH) {
        d->outcome = ALREADY;
        return;
    }
    if (p->found.status == SSH_KNOWN_REVOKED) {
        d->outcome = refuse_revoked(d);
        return;
    }
    if (!d->args->json || !d->args->yes) {
        append_key(&text, d);
        hosts_say(&text);
    }
    buf_fini(&text);
    if (p->found.status == SSH_KNOWN_CHANGED && !d->args->replace)
        d->outcome = refuse_changed(d);
    else
        d->outcome = ask(d);
    if (d->outcome == TRUSTED)
        d->outcome = write_key(d);
}

/* --- results ------------------------------------------------------------------------------------ */

static void say_result(const struct decision *d)
{
    struct buf text = BUF_INIT;

    if (d->outcome == TRUSTED || d->outcome == ALREADY) {
        buf_append_str(&text, "hive: ");
        append_host(&text, d->probe);
        if (d->outcome == TRUSTED)
            buf_append_str(&text, " is trusted; its key is in ");
        else
            buf_append_str(&text, " is trusted already: ");
        str_append_safe(&text, d->outcome == TRUSTED ? d->file : d->probe->found.file, SIZE_MAX);
        if (d->outcome == ALREADY)
            buf_printf(&text, ":%d", d->probe->found.line);
        buf_append_char(&text, '\n');
    } else {
        hosts_append_error(&text, &d->err);
    }
    hosts_say(&text);
    buf_fini(&text);
}

static void put_decision(struct jsonw *w, const struct decision *d)
{
    static const char *const word[] = {
        [TRUSTED] = "trusted",     [ALREADY] = "already-trusted", [REFUSED] = "refused",
        [NOT_ASKED] = "not-asked", [FAILED] = "failed",
    };

    jsonw_obj_open(w, NULL);
    jsonw_str(w, "name", d->probe->word);
    jsonw_str(w, "status", word[d->outcome]);
    hosts_put_error(w, &d->err);
    hosts_put_host(w, d->probe);
    jsonw_str(w, "host_key_before", d->probe->key ? hosts_known_word(d->before) : NULL);
    jsonw_str(w, "known_key_type", d->old_type[0] ? d->old_type : NULL);
    jsonw_str(w, "known_key_fingerprint", d->old_print[0] ? d->old_print : NULL);
    jsonw_str(w, "known_file", d->old_file);
    if (d->old_file)
        jsonw_int(w, "known_line", d->old_line);
    else
        jsonw_null(w, "known_line");
    jsonw_str(w, "written_to", d->file);
    jsonw_obj_close(w);
}

static void print_json(const struct decision *decisions, size_t count)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_arr_open(&w, "hosts");
    for (size_t i = 0; i < count; i++)
        put_decision(&w, &decisions[i]);
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    buf_append_char(&b, '\n');
    cmd_out(&b);
    buf_fini(&b);
}

int hosts_trust(const struct hosts_args *a, char **words, size_t count)
{
    struct hosts_run run = { .timeout_ns = a->timeout_ns,
                             .parallel = HOSTS_PARALLEL,
                             .key_only = true };
    struct decision *decisions = mem_alloc_array(count, sizeof *decisions);
    struct err err = ERR_INIT;
    int code = CMD_OK;

    hosts_run_init(&run, words, count);
    if (hosts_run_all(&run, &err) != 0) {
        cmd_fail(&err);
        code = CMD_FAILED;
        count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct decision *d = &decisions[i];

        d->args = a;
        d->probe = &run.probes[i];
        decide(d);
        if (!a->json)
            say_result(d);
        if (d->outcome == NOT_ASKED)
            code = CMD_USAGE;
        else if (d->outcome > ALREADY && code == CMD_OK)
            code = CMD_FAILED;
    }
    if (a->json && count > 0)
        print_json(decisions, count);
    for (size_t i = 0; i < count; i++)
        free(decisions[i].old_file);
    hosts_run_fini(&run);
    free(decisions);
    return code;
}
