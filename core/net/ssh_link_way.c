/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How to reach the host of a link: ssh_config, and the hosts to go through. "a,b" is b through a,
 * whatever b's own ProxyJump says; that is also how ssh takes a ProxyJump of several hosts.
 */
#include "base/mem.h"

#include "base/hosts_file.h"
#include "net/ssh_link_priv.h"

/* --- one host ----------------------------------------------------------------------------------- */

static int read_config(struct ssh_link *link, const char *hop, struct ssh_config *out,
                       struct err *err)
{
    struct hosts_entry entry;
    int rc;

    if (hosts_entry_parse(hop, &entry, err) != 0)
        return -1;
    struct ssh_config_input in = { .host = entry.host,
                                   .user = entry.user,
                                   .port = entry.port,
                                   .local_user = link->me.name,
                                   .home = link->me.home,
                                   .local_host = link->local_host,
                                   .uid = link->me.uid,
                                   .io = &ssh_config_files };
    rc = ssh_config_read(&in, out, err);
    hosts_entry_fini(&entry);
    return rc;
}

char *ssh_link_jumps(const struct ssh_config *config)
{
    struct buf word = BUF_INIT;

    for (size_t i = 0; i < config->jump_count; i++) {
        const struct ssh_config_jump *j = &config->jump[i];
        struct hosts_entry entry = { .user = j->user, .host = j->host, .port = j->port };

        if (i > 0)
            buf_append_char(&word, ',');
        hosts_entry_format(&entry, &word);
    }
    if (buf_len(&word) == 0) {
        buf_fini(&word);
        return NULL;
    }
    return buf_take(&word, NULL);
}

/* What to go through for `word`, whose last host has that config; NULL: nothing. */
static char *through(const char *word, const struct ssh_config *config)
{
    const char *comma = strrchr(word, ',');

    return comma ? mem_strndup(word, (size_t)(comma - word)) : ssh_link_jumps(config);
}

/* --- circles ------------------------------------------------------------------------------------ */

static int circle(const struct ssh_link *link, const struct buf *seen, struct err *err)
{
    struct buf text = BUF_INIT;

    /* Words, each behind a line feed */
    for (const char *p = buf_data(seen); *p; p++) {
        if (*p != '\n')
            buf_append_char(&text, *p);
        else if (p != buf_data(seen))
            buf_append_str(&text, " -> ");
    }
    err_set(err, ERR_INVALID, "%s is reached through itself (ProxyJump): %.300s", link->name,
            buf_data(&text));
    buf_fini(&text);
    return err_hint(err, "correct ProxyJump in ~/.ssh/config");
}

static bool has_line(const struct buf *seen, const char *word)
{
    char *line = mem_printf("\n%s\n", word);
    char *text = mem_printf("%s\n", buf_data(seen));
    bool has = strstr(text, line) != NULL;

    free(line);
    free(text);
    return has;
}

static void add_line(struct buf *seen, const char *word)
{
    buf_append_char(seen, '\n');
    buf_append_str(seen, word);
}

/* Follows the chain from link->jump_word on: two links that wait for each other would wait for
 * ever. */
static int check_chain(struct ssh_link *link, struct err *err)
{
    struct buf seen = BUF_INIT;
    char *word = mem_strdup(link->jump_word);
    int rc = 0;

    add_line(&seen, link->word);
    for (int hops = 0; word && rc == 0; hops++) {
        struct ssh_config config;
        char *next = NULL;
        bool again = has_line(&seen, word);

        add_line(&seen, word);
        if (again || hops > 2 * SSH_LINK_HOPS_MAX) {
            rc = circle(link, &seen, err);
        } else if (ssh_link_check_word(word, err) != 0 ||
                   read_config(link, ssh_link_last(word), &config, err) != 0) {
            rc = err_prefix(err, "%s, through %s", link->name, word);
        } else {
            next = through(word, &config);
            ssh_config_fini(&config);
        }
        free(word);
        word = next;
    }
    free(word);
    buf_fini(&seen);
    return rc;
}

int link_way_find(struct ssh_link *link, struct err *err)
{
    if (read_config(link, link->name, &link->config, err) != 0)
        return err_prefix(err, "%s", link->name);
    link->configured = true;
    link->jump_word = through(link->word, &link->config);
    return link->jump_word ? check_chain(link, err) : 0;
}
