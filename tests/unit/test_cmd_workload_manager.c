/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/str.h"
#include "cmd/workload_manager.h"

struct result {
    struct conf *conf;
    struct buf warnings;
    struct err err;
    int rc;
};

static struct result read_text(const char *text)
{
    struct result r = { .conf = conf_create(), .warnings = BUF_INIT, .err = ERR_INIT };
    r.rc = workload_manager_read(r.conf, "c.json", text, strlen(text), &r.warnings, &r.err);
    return r;
}

static void done(struct result *r)
{
    conf_destroy(r->conf);
    buf_fini(&r->warnings);
}

TEST(standalone_configuration)
{
    struct result r =
        read_text("{\n \"role\": \"standalone\",\n \"listen_port\": 9090,\n \"max_threads\": 4\n}");
    CHECK_OK(r.rc, &r.err);
    CHECK_STR(conf_str(r.conf, CONF_daemon_listen), "127.0.0.1:9090");
    CHECK_INT(conf_int(r.conf, CONF_daemon_threads), 4);
    CHECK_STR(conf_str(r.conf, CONF_daemon_role), "standalone");
    CHECK_INT(conf_source(r.conf, CONF_daemon_listen), CONF_FROM_FLAG);
    CHECK_STR(buf_data(&r.warnings), "");
    done(&r);
}

TEST(defaults_are_those_of_the_original)
{
    struct result r = read_text("{}");
    CHECK_OK(r.rc, &r.err);
    CHECK_STR(conf_str(r.conf, CONF_daemon_listen), "127.0.0.1:8080");
    CHECK_INT(conf_int(r.conf, CONF_daemon_threads), 0);
    done(&r);
    r = read_text("{\"role\":\"standalone\",\"head_node_address\":\"\",\"worker_nodes\":[],\"max_"
                  "threads\":null}");
    CHECK_OK(r.rc, &r.err);
    CHECK_STR(buf_data(&r.warnings), "");
    done(&r);
}

TEST(keys_without_effect_are_named)
{
    struct result r = read_text(
        "{\n\"head_node_address\": \"10.0.0.1:8080\",\n\"worker_nodes\": [\"10.0.0.2:8080\"],\n"
        "\"listen_prot\": 1\n}");
    CHECK_OK(r.rc, &r.err);
    CHECK(strstr(buf_data(&r.warnings), "c.json:2: head_node_address") != NULL);
    CHECK(strstr(buf_data(&r.warnings), "c.json:3: worker_nodes") != NULL);
    CHECK(strstr(buf_data(&r.warnings),
                 "c.json:4: unknown key 'listen_prot', did you mean 'listen_port'?") != NULL);
    done(&r);
}

TEST(other_roles_say_what_to_do)
{
    static const char *const roles[] = { "head", "worker" };
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        char *text = mem_printf("{\n\"listen_port\": 1,\n\"role\": \"%s\"}", roles[i]);
        struct result r = read_text(text);
        CHECK_INT(r.err.kind, ERR_UNPROCESS);
        CHECK(str_starts(r.err.msg, "c.json:3: role"));
        CHECK(strstr(r.err.hint, "standalone") != NULL);
        done(&r);
        free(text);
    }
}

TEST(wrong_values_name_file_and_line)
{
    static const struct {
        const char *text, *begin;
    } cases[] = {
        { "{\n\"role\": \"haed\"}", "c.json:2: role" },
        { "{\n\"role\": 1}", "c.json:2: " },
        { "{\n\n\"listen_port\": \"8080\"}", "c.json:3: " },
        { "{\"listen_port\": 65536}", "c.json:1: " },
        { "{\"listen_port\": -1}", "c.json:1: " },
        { "{\"listen_port\": 80.5}", "c.json:1: " },
        { "{\"max_threads\": -2}", "c.json:1: " },
        { "{\"max_threads\": true}", "c.json:1: " },
        { "{\"head_node_address\": 5}", "c.json:1: " },
        { "{\n\"worker_nodes\": \"a\"}", "c.json:2: " },
        { "{\n\"worker_nodes\": [1]}", "c.json:2: worker_nodes" },
        { "[]", "c.json:1: " },
        { "{", "c.json" },
        { "", "c.json" },
        { "{\"role\": \"standalone\",}", "c.json" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct result r = read_text(cases[i].text);
        if (r.rc == 0 || r.err.kind != ERR_INVALID || !str_starts(r.err.msg, cases[i].begin))
            unit_fail(__FILE__, __LINE__, "%s: %d %s", cases[i].text, r.rc, r.err.msg);
        done(&r);
    }
}

/* A key's name as a value is not the key. */
TEST(line_of_a_key)
{
    struct result r = read_text("{\n\"x\": \"listen_port\",\n\"listen_port\"\n:\n\"no\"}");
    CHECK(str_starts(r.err.msg, "c.json:3: "));
    done(&r);
}
