/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ssh_config. Input: the host, and after a line "--" each: the user's file, the system's, and what
 * every Include finds. Without them there are no such files.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/ssh_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct part {
    const char *text;
    size_t len;
};

enum { HOST, USER_FILE, SYSTEM_FILE, INCLUDED, PARTS };

static void require(bool ok)
{
    if (!ok)
        abort();
}

static int read_part(void *arg, const char *path, struct buf *out, struct ssh_config_file *file,
                     struct err *err)
{
    const struct part *parts = arg;
    const struct part *p = str_eq(path, "/home/ann/.ssh/config") ? &parts[USER_FILE]
                           : str_eq(path, "/etc/ssh/ssh_config") ? &parts[SYSTEM_FILE]
                                                                 : &parts[INCLUDED];

    if (!p->text)
        return err_set(err, ERR_NOT_FOUND, "can't open %s", path);
    buf_append(out, p->text, p->len);
    *file = (struct ssh_config_file){ .uid = 0 };
    return 0;
}

static int find_part(void *arg, const char *pattern, bool (*found)(void *to, const char *path),
                     void *to, struct err *err)
{
    (void)arg;
    (void)err;
    require(*pattern == '/');
    found(to, "/included");
    return 0;
}

static const char *variable(void *arg, const char *name)
{
    (void)arg;
    return *name == 'A' ? "/run/agent" : NULL;
}

static void check_list(const struct ssh_config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        require(list->item[i] && *list->item[i]);
}

static void check_result(const struct ssh_config *c)
{
    require(c->host && *c->host && *c->host != '-' && c->user && *c->user && *c->user != '-');
    require(c->port > 0);
    require(c->needs_system == (c->why != NULL) && (!c->why || *c->why));
    require(c->connect_timeout_s >= 0 && c->server_alive_interval_s >= 0 &&
            c->server_alive_count_max >= 0 && c->required_rsa_size >= 0);
    require(!c->proxy_command || (c->jump_count == 0 && c->needs_system));
    require(c->notes.count <= SSH_CONFIG_NOTES_MAX);
    require(c->identity_files.count <= SSH_CONFIG_IDENTITIES_MAX);
    require(c->user_known_hosts.count <= SSH_CONFIG_HOSTS_FILES_MAX);
    require(c->jump_count <= SSH_CONFIG_JUMPS_MAX);
    check_list(&c->identity_files);
    check_list(&c->user_known_hosts);
    check_list(&c->global_known_hosts);
    for (size_t i = 0; i < c->notes.count; i++)
        require(str_is_utf8(c->notes.item[i], strlen(c->notes.item[i])));
    for (size_t i = 0; i < c->jump_count; i++) {
        require(*c->jump[i].host && *c->jump[i].host != '-');
        require(!c->jump[i].user || (*c->jump[i].user && *c->jump[i].user != '-'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char separator[] = "\n--\n";
    struct part parts[PARTS] = { { (const char *)data, size } };
    const struct ssh_config_io io = {
        .read = read_part, .glob = find_part, .env = variable, .arg = parts
    };
    struct ssh_config c;
    struct err err = ERR_INIT;

    if (size == 0 || size > 16 * 1024)
        return 0;
    for (int i = 0; i + 1 < PARTS && parts[i].text; i++) {
        const char *end = memmem(parts[i].text, parts[i].len, separator, sizeof separator - 1);
        if (!end)
            break;
        size_t len = (size_t)(end - parts[i].text);
        parts[i + 1].text = end + sizeof separator - 1;
        parts[i + 1].len = parts[i].len - len - (sizeof separator - 1);
        parts[i].len = len;
    }
    char *host = mem_strndup(parts[HOST].text, parts[HOST].len);
    struct ssh_config_input in = { .host = host,
                                   .local_user = "ann",
                                   .home = "/home/ann",
                                   .local_host = "desk.example.org",
                                   .uid = 1000,
                                   .io = &io };
    if (ssh_config_read(&in, &c, &err) == 0) {
        check_result(&c);
    } else {
        require(err.kind == ERR_INVALID || err.kind == ERR_TOO_LARGE);
        require(*err.msg && str_is_utf8(err.msg, strlen(err.msg)));
        require(!c.host && !c.user && c.identity_files.count == 0 && c.notes.count == 0);
    }
    ssh_config_fini(&c);
    free(host);
    return 0;
}
