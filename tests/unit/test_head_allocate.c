/* SPDX-License-Identifier: BSD-2-Clause */
/* Where applications open: nodes as the test says they are measured, over restarts of the head. */
#include "unit/head_rig.h"

#include "base/fs.h"
#include "head/head_allocate.h"
#include "head/head_apps.h"
#include "head/head_measure.h"
#include "head/head_node.h"
#include "head/reach.h"
#include "net/ssh_deploy.h"
#include "node/link_msg.h"
#include "node/link_sample.h"
#include "sys/sample.h"

#include <fcntl.h>

#define G (INT64_C(1) << 30)

/* --- no host is really reached: these stand in place of reach.o and ssh_deploy_program.o ------- */

struct reach *reach_create(struct ev_loop *loop, const struct log *log,
                           const struct reach_config *cfg, const struct reach_hooks *hooks)
{
    (void)loop;
    (void)log;
    (void)cfg;
    (void)hooks;
    return NULL;
}

void reach_destroy(struct reach *r)
{
    CHECK(!r);
}

void reach_measure(struct reach *r, int64_t interval_s)
{
    (void)r;
    (void)interval_s;
}

void reach_again(struct reach *r)
{
    (void)r;
}

void reach_failed(struct reach *r, const struct err *err)
{
    (void)r;
    (void)err;
}

void reach_leave(struct reach *r, void (*done)(void *arg, const struct err *err), void *arg)
{
    (void)r;
    done(arg, NULL);
}

const struct reach_status *reach_status(const struct reach *r)
{
    (void)r;
    return NULL;
}

void reach_text(const struct reach *r, char *out, size_t size)
{
    (void)r;
    (void)out;
    (void)size;
}

struct ssh_deploy_program *ssh_deploy_program_open(const char *path, const char *others,
                                                   bool dynamic, struct err *err)
{
    (void)path;
    (void)others;
    (void)dynamic;
    err_set(err, ERR_UNPROCESS, "not in this test");
    return NULL;
}

void ssh_deploy_program_close(struct ssh_deploy_program *program)
{
    (void)program;
}

/* --- the world --------------------------------------------------------------------------------- */

static struct rig r;

static void begin(const char *sticky)
{
    rig_init(&r, "8");
    r.errors_expected = true; /* that hive can't be copied to hosts */
    if (sticky) {
        head_destroy(r.head);
        rig_set(&r, CONF_launch_sticky, sticky);
        CHECK(rig_open(&r, NULL) == 0);
    }
    rig_turns(&r);
}

/* It is up, and measured just now. */
static void measure(const char *name, double cpu, double iowait, int64_t total, int64_t available)
{
    struct head_node *n = head_node_find(r.head, name);
    const char *nobody[] = { NULL };
    struct sched_resources have = { .threads = 8, .memory = total };
    struct link_sample s;

    CHECK(n);
    sched_node_set_capacity(r.head->sched, n->index, &have);
    sched_node_set_state(r.head->sched, n->index, SCHED_NODE_UP);
    link_sample_clear(&s);
    s.cpu_percent = cpu;
    s.iowait_percent = iowait;
    s.load[0] = 0.1;
    s.memory_total_bytes = total;
    s.memory_available_bytes = available;
    s.users = nobody;
    head_node_sampled(n, &s);
}

static void add_node(const char *name, const char *host)
{
    struct head_node_spec spec = { .name = name, .host = host };
    struct answer a = { .op.done = rig_answered };

    CHECK_OK(head_node_add(r.head, &spec, &a.op, &a.err), &a.err);
    rig_turns(&r);
    CHECK(a.done && !a.failed);
    measure(name, 1, 0, 32 * G, 30 * G);
}

/* The name of the node it got; `id` may be NULL: a dry run. */
static const char *place(const char *command, const char *host, int64_t *id)
{
    struct head_allocate_request q = { .command = command, .host = host, .far = true };
    struct head_allocated a;
    struct err err = ERR_INIT;
    static char name[64];

    q.dry_run = id == NULL;
    if (head_allocate(r.head, &q, &a, &err) != 0)
        unit_fail(__FILE__, __LINE__, "%s: %s", command, err.msg);
    CHECK(a.result.in > 0);
    str_copy(name, sizeof(name), a.hosts[a.result.ranks[0].host].name);
    CHECK((a.id == 0) == q.dry_run);
    if (id)
        *id = a.id;
    head_allocated_fini(&a);
    return name;
}

static struct err refused(const char *command, const char *host, bool far)
{
    struct head_allocate_request q = { .command = command, .host = host, .far = far };
    struct head_allocated a;
    struct err err = ERR_INIT;

    CHECK_INT(head_allocate(r.head, &q, &a, &err), -1);
    CHECK_INT(a.id, 0);
    head_allocated_fini(&a);
    return err;
}

/* What the node's row says, and its reason. */
static enum choose_out out_of(const char *command, const char *name, char *why, size_t size)
{
    struct head_allocate_request q = { .command = command, .dry_run = true };
    struct head_allocated a;
    enum choose_out out = CHOOSE_OUT_COUNT;

    head_allocate(r.head, &q, &a, NULL);
    for (size_t i = 0; i < a.result.count; i++)
        if (str_eq(a.hosts[a.result.ranks[i].host].name, name)) {
            out = a.result.ranks[i].out;
            str_copy(why, size, a.result.ranks[i].why);
        }
    head_allocated_fini(&a);
    return out;
}

static void report(int64_t id, int64_t memory, bool ended)
{
    struct head_allocate_report p = { 123, memory, 100, ended };
    struct err err = ERR_INIT;

    CHECK_OK(head_allocate_report(r.head, id, &p, &err), &err);
}

static void three(void)
{
    add_node("a", "a");
    add_node("b", "ann@b.local:2222");
    add_node("c", "c");
}

/* --- choosing ---------------------------------------------------------------------------------- */

TEST(ten_within_a_second_go_to_ten_hosts)
{
    char names[10][16];
    int64_t id;

    begin(NULL);
    for (int i = 0; i < 10; i++) {
        snprintf(names[i], sizeof(names[i]), "h%d", i);
        add_node(names[i], names[i]);
    }
    unsigned seen = 0;
    for (int i = 0; i < 10; i++) {
        const char *name = place("firefox https://example.org", NULL, &id);
        CHECK(name[0] == 'h');
        seen |= 1u << (name[1] - '0');
        r.mono_ns += NS_PER_S / 10;
    }
    CHECK_INT(seen, 0x3ff);
    rig_fini(&r);
}

TEST(busy_and_waiting_hosts_are_avoided)
{
    begin(NULL);
    three();
    measure("a", 95, 0, 32 * G, 30 * G);
    measure("b", 1, 40, 32 * G, 30 * G);
    CHECK_STR(place("gimp", NULL, NULL), "c");
    measure("c", 1, 0, 32 * G, G / 10);
    CHECK_STR(place("gimp", NULL, NULL), "a");
    rig_fini(&r);
}

TEST(sticky)
{
    int64_t id;

    begin("firefox-esr=ann@b.local:2222,, gimp = c,nothing, =x, w=b@d host,idle=gone");
    three();
    CHECK_STR(place("/usr/bin/firefox %u", NULL, &id), "b");
    CHECK_STR(place("firefox-esr", NULL, &id), "b");
    CHECK_STR(place("gimp", NULL, NULL), "c");
    CHECK_STR(place("idle", NULL, NULL), "a"); /* what isn't there doesn't matter */
    measure("b", 1, 60, 32 * G, 30 * G);
    CHECK(!str_eq(place("firefox", NULL, NULL), "b")); /* overloaded */
    rig_fini(&r);
}

TEST(one_host_by_name_or_as_ssh_is_told)
{
    struct err err;

    begin(NULL);
    three();
    measure("b", 99, 90, 32 * G, 30 * G);
    CHECK_STR(place("x", "b", NULL), "b");
    CHECK_STR(place("x", "ann@b.local:2222", NULL), "b");
    err = refused("x", "bb", true);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(strstr(err.msg, "bb") && *err.hint);
    err = refused("x", "n1", true); /* our own machine, for who can't go there */
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    rig_fini(&r);
}

TEST(who_is_down_or_old_is_out_with_a_reason)
{
    char why[200];
    struct err err;

    begin(NULL);
    three();
    sched_node_set_state(r.head->sched, head_node_find(r.head, "a")->index, SCHED_NODE_DOWN);
    CHECK_INT(out_of("x", "a", why, sizeof(why)), CHOOSE_DOWN);
    CHECK(strstr(why, "down"));
    CHECK_INT(out_of("x", "n1", why, sizeof(why)), CHOOSE_UNMEASURED);
    CHECK(!str_eq(place("x", NULL, NULL), "a"));
    r.mono_ns += 100 * NS_PER_S;
    CHECK_INT(out_of("x", "b", why, sizeof(why)), CHOOSE_STALE);
    err = refused("x", NULL, false);
    CHECK_INT(err.kind, ERR_UNPROCESS);
    CHECK(strstr(err.msg, "a: ") && strstr(err.msg, "c: ") && *err.hint);
    CHECK_INT(refused("  ", NULL, false).kind, ERR_INVALID);
    rig_fini(&r);
}

TEST(a_removed_host_is_none)
{
    struct answer a = { .op.done = rig_answered };

    begin(NULL);
    three();
    CHECK_OK(head_node_remove(r.head, "c", &a.op, &a.err), &a.err);
    rig_turns(&r);
    CHECK_INT(refused("x", "c", true).kind, ERR_NOT_FOUND);
    rig_fini(&r);
}

TEST(our_own_machine_is_a_host_too_and_jobs_have_promised_room_there)
{
    struct sample s = { .taken_ns = 1000 * NS_PER_S,
                        .usable = { 0.0, 0.0, 0.0, 0.0, 100.0 },
                        .memory = { 16 * G, 15 * G, 15 * G, 0, 0, 0 } };
    struct head_allocate_request q = { .command = "x", .dry_run = true };
    struct head_allocated a;
    struct err err = ERR_INIT;

    begin(NULL);
    rig_world.sample = &s;
    CHECK_OK(head_allocate(r.head, &q, &a, &err), &err);
    CHECK_STR(a.hosts[a.result.ranks[0].host].name, "n1");
    CHECK(!head_allocate_address(r.head, a.hosts[0].id));
    CHECK_INT(a.result.ranks[0].memory_left, 15 * G);
    head_allocated_fini(&a);
    int64_t job = rig_submit(&r, "{'command':'x','threads':1,'memory':'6G'}");
    rig_turns(&r);
    CHECK_INT(rig_status(&r, job), JOB_RUNNING);
    CHECK_OK(head_allocate(r.head, &q, &a, &err), &err);
    CHECK_INT(a.result.ranks[0].memory_left, 9 * G); /* not measured yet: all of it */
    head_allocated_fini(&a);
    struct head_job *j = map_get(&r.head->jobs, (uint64_t)job);
    j->run->use = (struct head_use){ r.mono_ns, NS_PER_S, 4 * G, 100 };
    s.memory.available = 11 * G;
    CHECK_OK(head_allocate(r.head, &q, &a, &err), &err);
    CHECK_INT(a.result.ranks[0].memory_left, 9 * G); /* 2 more are its */
    head_allocated_fini(&a);
    CHECK_INT(refused("x", NULL, true).kind, ERR_UNPROCESS);
    rig_world.sample = NULL;
    rig_fini(&r);
}

/* --- what follows ------------------------------------------------------------------------------ */

TEST(where_it_ran_last_and_what_it_used_outlive_a_restart)
{
    int64_t id;

    begin(NULL);
    three();
    CHECK_STR(place("blender", "b", &id), "b");
    report(id, 20 * G, false);
    r.mono_ns += 60 * NS_PER_S;
    r.wall_ns += 60 * NS_PER_S;
    report(id, G, true);
    CHECK_INT(head_allocate_drop(r.head, id, NULL), -1); /* it has ended */
    for (int again = 0; again < 2; again++) {
        measure("a", 1, 0, 32 * G, 30 * G);
        measure("b", 1, 0, 32 * G, 30 * G);
        measure("c", 1, 0, 32 * G, 30 * G);
        CHECK_STR(place("blender x", NULL, NULL), "b"); /* last */
        CHECK_STR(place("gimp", NULL, NULL), "a");
        measure("a", 1, 0, 64 * G, 9 * G);
        measure("b", 1, 0, 64 * G, 9 * G);
        measure("c", 80, 0, 64 * G, 30 * G);
        CHECK_STR(place("blender x", NULL, NULL), "c"); /* the only one with 20 GiB */
        CHECK_STR(place("gimp", NULL, NULL), "a");
        rig_restart(&r);
    }
    rig_fini(&r);
}

TEST(it_is_written_each_half_minute)
{
    char *path;
    int64_t id;

    begin(NULL);
    three();
    place("blender", "b", &id);
    report(id, 20 * G, false);
    path = fs_join(r.state_dir, "apps.json");
    CHECK(access(path, F_OK) != 0);
    rig_pass(&r, 29 * NS_PER_S);
    CHECK(access(path, F_OK) != 0);
    rig_pass(&r, 2 * NS_PER_S);
    CHECK(access(path, F_OK) == 0);
    rig_crash(&r);
    measure("a", 1, 0, 32 * G, 30 * G);
    measure("b", 1, 0, 32 * G, 30 * G);
    CHECK_STR(place("blender", NULL, NULL), "b");
    free(path);
    rig_fini(&r);
}

TEST(what_did_not_start_was_never_there)
{
    struct err err = ERR_INIT;
    int64_t id;

    begin(NULL);
    three();
    CHECK_STR(place("x", NULL, &id), "a");
    CHECK_STR(place("x", NULL, NULL), "b");
    CHECK_OK(head_allocate_drop(r.head, id, &err), &err);
    CHECK_STR(place("x", NULL, NULL), "a");
    CHECK_INT(head_allocate_drop(r.head, id, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    rig_fini(&r);
}

TEST(places_nobody_tells_of_are_forgotten)
{
    struct head_allocate_report p = { 5, -1, -1, false };
    int64_t quiet, told, after;

    begin(NULL);
    three();
    place("x", NULL, &quiet);
    place("y", NULL, &told);
    report(told, G, false);
    rig_pass(&r, 601 * NS_PER_S);
    measure("a", 1, 0, 32 * G, 30 * G);
    place("z", NULL, &after);
    CHECK_INT(head_allocate_report(r.head, quiet, &p, NULL), -1);
    CHECK_INT(head_allocate_report(r.head, told, &p, NULL), 0);
    rig_pass(&r, HEAD_ALLOCATION_SILENT_NS + NS_PER_S);
    measure("a", 1, 0, 32 * G, 30 * G);
    place("z", NULL, &after);
    CHECK_INT(head_allocate_report(r.head, told, &p, NULL), -1);
    rig_restart(&r);
    measure("a", 1, 0, 32 * G, 30 * G);
    CHECK_INT(head_allocate_report(r.head, after, &p, NULL), -1);
    int64_t fresh;
    place("z", NULL, &fresh);
    CHECK(fresh > after); /* numbers aren't used again */
    rig_fini(&r);
}

TEST(more_places_than_are_known)
{
    struct head_allocate_report p = { 5, -1, -1, false };
    int64_t first, id;

    begin(NULL);
    three();
    place("x", NULL, &first);
    for (int i = 0; i < HEAD_ALLOCATIONS_MAX; i++) {
        measure("a", 1, 0, 100000 * G, 99000 * G);
        place("x", "a", &id);
    }
    CHECK_INT(head_allocate_report(r.head, first, &p, NULL), -1);
    CHECK_INT(head_allocate_report(r.head, id, &p, NULL), 0);
    rig_fini(&r);
}

TEST(clients_without_numbers)
{
    int64_t first, second;

    begin(NULL);
    three();
    place("gimp", "b", &first);
    place("gimp", "b", &second);
    CHECK(head_allocate_started(r.head, "/usr/bin/gimp x.png", "ann@b.local:2222", 7));
    CHECK(head_allocate_started(r.head, "gimp", "b", 8));
    CHECK(head_allocate_started(r.head, "foot", "c", 0)); /* never asked for a place */
    CHECK(!head_allocate_started(r.head, "gimp", "nowhere", 8));
    rig_pass(&r, 601 * NS_PER_S);
    for (int i = 0; i < 3; i++)
        measure((const char *[]){ "a", "b", "c" }[i], 1, 0, 32 * G, 30 * G);
    CHECK_STR(place("gimp", NULL, NULL), "b");
    CHECK_STR(place("foot", NULL, NULL), "c");
    report(first, G, true);
    report(second, G, true);
    rig_fini(&r);
}

/* --- what is kept ------------------------------------------------------------------------------ */

static void start_with(const char *text)
{
    char *path = fs_join(r.state_dir, "apps.json");

    head_destroy(r.head);
    CHECK(fs_write_file(path, text, strlen(text), 0600, false, NULL) == 0);
    CHECK(rig_open(&r, NULL) == 0);
    rig_turns(&r);
    free(path);
}

static char *kept(void)
{
    struct buf b = BUF_INIT;
    char *path = fs_join(r.state_dir, "apps.json");

    CHECK(fs_read_file(path, 1 << 20, &b, NULL) == 0);
    free(path);
    return buf_take(&b, NULL);
}

TEST(a_damaged_file_is_replaced_and_a_newer_one_is_not)
{
    static const struct {
        const char *text;
        bool stays;
    } cases[] = { { "{\"version\":1,\"apps\":[{\"na", false },
                  { "", false },
                  { "[]", false },
                  { "{\"version\":2,\"apps\":7}", true } };
    int64_t id;

    begin(NULL);
    add_node("a", "a");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start_with(cases[i].text);
        measure("a", 1, 0, 32 * G, 30 * G);
        place("x", "a", &id);
        report(id, G, false);
        rig_restart(&r);
        char *text = kept();
        CHECK_INT(str_eq(text, cases[i].text), cases[i].stays);
        free(text);
    }
    rig_fini(&r);
}

TEST(apps_as_text_and_back)
{
    struct head_apps *a = head_apps_create(), *b = head_apps_create();
    struct buf text = BUF_INIT, again = BUF_INIT;
    struct err err = ERR_INIT;
    char name[32];

    for (int i = 0; i < HEAD_APPS_MAX + 10; i++) {
        snprintf(name, sizeof(name), "app%d", i);
        head_apps_ran(a, name, i % 2 ? "big" : "h\"\xc3\xa4", (1700000000 + i) * NS_PER_S);
        head_apps_used(a, name, &(struct choose_run){ i * G, i, 60 * NS_PER_S },
                       (1700000000 + i) * NS_PER_S);
    }
    CHECK_INT(head_apps_count(a), HEAD_APPS_MAX);
    CHECK(!head_apps_find(a, "app9"));
    CHECK(head_apps_find(a, "app10"));
    head_apps_write(a, &text);
    CHECK_OK(head_apps_read(b, buf_data(&text), buf_len(&text), &err), &err);
    CHECK_INT(head_apps_count(b), HEAD_APPS_MAX);
    CHECK_INT(head_apps_find(b, "app1001")->use.memory, 1001 * G);
    head_apps_write(b, &again);
    CHECK_STR(buf_data(&again), buf_data(&text));
    head_apps_destroy(a);
    head_apps_destroy(b);
    buf_fini(&text);
    buf_fini(&again);
}

TEST(entries_without_sense_are_left_out)
{
    static const char text[] =
        "{\"version\":1,\"apps\":[7,{},{\"name\":\"\"},{\"name\":\"a\",\"host\":5},"
        "{\"name\":\"b\",\"memory_bytes\":-1},{\"name\":\"c\",\"used_at\":\"x\"},"
        "{\"name\":\"d\",\"runs\":1.5},{\"name\":\"e\",\"host\":null,\"memory_bytes\":5}]}";
    struct head_apps *a = head_apps_create();
    struct err err = ERR_INIT;

    CHECK_OK(head_apps_read(a, text, strlen(text), &err), &err);
    CHECK_INT(head_apps_count(a), 1);
    CHECK_INT(head_apps_find(a, "e")->use.memory, 5);
    head_apps_destroy(a);
}
