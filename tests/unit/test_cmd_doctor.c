/* SPDX-License-Identifier: BSD-2-Clause */
/* What `hive doctor` makes of what machines say, and of what is known of a host. */
#include "base/mem.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "cmd/doctor.h"
#include "cmd/hosts_probe.h"

static void read_text(struct doctor_facts *f, const char *text)
{
    *f = (struct doctor_facts){ .count = 0 };
    doctor_facts_read(f, text, strlen(text));
}

TEST(facts_are_lines_with_a_mark)
{
    struct doctor_facts f;

    read_text(&f, "Welcome!\n@hive os Linux\n@hive uid 7\n@hive os Other\n @hive arch x\n"
                  "@hive bad;name x\n@hive  x\n@hive empty\n@hive evil a\033[31mb\n@hive cut 12");
    CHECK_STR(doctor_fact(&f, "os"), "Linux");
    CHECK_INT(doctor_fact_int(&f, "uid", -1), 7);
    CHECK_INT(doctor_fact_int(&f, "os", -1), -1);
    CHECK_STR(doctor_fact(&f, "arch"), "");
    CHECK_STR(doctor_fact(&f, "evil"), "a\\e[31mb");
    CHECK_STR(doctor_fact(&f, "cut"), ""); /* its line has no end */
    CHECK_INT(f.count, 4);
    CHECK(!f.complete);
    doctor_facts_fini(&f);
    read_text(&f, "@hive end 1\n");
    CHECK(f.complete);
    doctor_facts_fini(&f);
}

TEST(facts_have_limits)
{
    struct buf b = BUF_INIT;
    struct doctor_facts f;

    for (int i = 0; i < 2 * DOCTOR_FACTS_MAX; i++)
        buf_printf(&b, "@hive n%d %01000d\n", i, 0);
    read_text(&f, buf_data(&b));
    CHECK_INT(f.count, DOCTOR_FACTS_MAX);
    CHECK_INT(strlen(doctor_fact(&f, "n1")), DOCTOR_FACT_MAX);
    doctor_facts_fini(&f);
    buf_fini(&b);
}

TEST(times_and_versions)
{
    int64_t ns, exact, major, minor;

    CHECK(doctor_read_time("1763690000.123456789\n", &ns, &exact));
    CHECK_INT(ns, INT64_C(1763690000123456789));
    CHECK_INT(exact, 1);
    CHECK(doctor_read_time("1763690000.%N\n", &ns, &exact)); /* busybox */
    CHECK_INT(ns, INT64_C(1763690000000000000));
    CHECK_INT(exact, NS_PER_S);
    CHECK(doctor_read_time("1763690000", &ns, &exact));
    CHECK(!doctor_read_time("", &ns, &exact));
    CHECK(!doctor_read_time("x1", &ns, &exact));
    CHECK(!doctor_read_time("99999999999999999999999999", &ns, &exact));
    CHECK(!doctor_read_time("-1", &ns, &exact));

    CHECK(doctor_read_version("waypipe 0.10.4", &major, &minor) && major == 0 && minor == 10);
    CHECK(doctor_read_version("way2pipe v12.3-rc", &major, &minor) && major == 12 && minor == 3);
    CHECK(!doctor_read_version("", &major, &minor));
    CHECK(!doctor_read_version("version 7.", &major, &minor));
    CHECK(!doctor_read_version("no numbers", &major, &minor));
    CHECK(!doctor_read_version("999999999999999999999.1", &major, &minor));
}

TEST(the_script_is_a_shell_program_that_ends)
{
    struct doctor_visit v = { .sha256 = "abc" };
    struct err err = ERR_INIT;

    CHECK_INT(doctor_visit_all(&v, 1, 20 * NS_PER_S, &err), 0);
    CHECK_INT(v.err.kind, ERR_NONE);
    CHECK(v.facts.complete && v.timed);
    CHECK_STR(doctor_fact(&v.facts, "os"), "Linux");
    CHECK(v.ahead_ns < NS_PER_S && v.ahead_ns > -NS_PER_S);
    CHECK(doctor_fact_int(&v.facts, "memory_kib", 0) > 0);
    CHECK(doctor_fact_int(&v.facts, "free_kib", -1) >= 0);
    CHECK_STR(doctor_fact(&v.facts, "hive_path"), "");
    doctor_visit_fini(&v);
}

/* --- a host, of what is known --- */

struct rig {
    struct hosts_probe probe;
    struct doctor_visit visit;
    struct doctor_host host;
    struct doctor_report report;
};

static void judge(struct rig *r, const char *facts, int64_t ahead_ns)
{
    *r = (struct rig){ .probe = { .step = HOSTS_OK },
                       .visit = { .timed = true, .ahead_ns = ahead_ns, .uncertainty_ns = 1000 } };
    doctor_facts_read(&r->visit.facts, facts, strlen(facts));
    r->host =
        (struct doctor_host){ .word = "ann@big:2222", .probe = &r->probe, .visit = &r->visit };
    doctor_check_host(&r->host, &r->report);
}

static const struct doctor_check *find(const struct rig *r, const char *check)
{
    for (size_t i = 0; i < r->report.count; i++)
        if (str_eq(r->report.checks[i].check, check))
            return &r->report.checks[i];
    return NULL;
}

static void finish(struct rig *r)
{
    doctor_report_fini(&r->report);
    doctor_visit_fini(&r->visit);
}

static void expect(const char *facts, int64_t ahead_ns, const char *check,
                   enum doctor_status status, const char *fix)
{
    const struct doctor_check *c;
    struct rig r;

    judge(&r, facts, ahead_ns);
    c = find(&r, check);
    CHECK(c);
    CHECK_INT(c->status, status);
    CHECK_STR(c->fix, fix);
    finish(&r);
}

TEST(each_finding_has_its_fix)
{
    expect("", 0, "clock", DOCTOR_OK, NULL);
    expect("@hive uid 5\n", -3 * NS_PER_S, "clock", DOCTOR_PROBLEM,
           "ssh -p 2222 ann@big sudo timedatectl set-ntp true");
    expect("@hive uid 0\n", 3 * NS_PER_S, "clock", DOCTOR_PROBLEM,
           "ssh -p 2222 ann@big timedatectl set-ntp true");
    expect("@hive home_state writable\n@hive cache /c\n@hive free_kib 1000\n@hive home /h\n", 0,
           "home", DOCTOR_PROBLEM, "ssh -p 2222 ann@big du -xh --max-depth=1 /h");
    expect("@hive home_state writable\n@hive home /h\n@hive free_kib 100000000\n", 0, "home",
           DOCTOR_OK, NULL);
    expect("@hive memory_kib 1000000\n@hive available_kib 900000\n", 0, "memory", DOCTOR_OK, NULL);
    expect("@hive systemd yes\n@hive kill_user yes\n@hive uid 5\n@hive user ann\n", 0, "logout",
           DOCTOR_PROBLEM, "ssh -p 2222 ann@big sudo loginctl enable-linger ann");
    expect("@hive systemd yes\n@hive kill_user yes\n@hive linger yes\n", 0, "logout", DOCTOR_OK,
           NULL);
    expect("@hive uid 5\n@hive packages pacman\n", 0, "waypipe", DOCTOR_NOTE,
           "ssh -p 2222 ann@big sudo pacman -S waypipe");
    expect("@hive nvidia_pci yes\n@hive nvidia_code 9\n@hive nvidia failed\n", 0, "gpu",
           DOCTOR_PROBLEM, "ssh -p 2222 ann@big nvidia-smi");
    expect("@hive render_devices 1\n@hive render_closed 1\n@hive user ann\n@hive uid 5\n", 0, "gpu",
           DOCTOR_NOTE, "ssh -p 2222 ann@big sudo usermod -aG render ann");
    expect("@hive render_devices 2\n@hive render_closed 0\n", 0, "gpu", DOCTOR_OK, NULL);
}

/* Fixes are copied into terminals. */
TEST(what_a_host_says_gets_into_no_command)
{
    struct rig r;

    judge(&r,
          "@hive systemd yes\n@hive kill_user yes\n@hive user a;reboot\n@hive home /$(reboot)\n"
          "@hive home_state closed\n@hive noexec `reboot`\n@hive render_devices 1\n"
          "@hive render_closed 1\n@hive arch $(reboot)\n",
          0);
    for (size_t i = 0; i < r.report.count; i++)
        CHECK(!r.report.checks[i].fix || !strstr(r.report.checks[i].fix, "reboot"));
    finish(&r);
    expect("@hive home_state closed\n@hive home -rf\n", 0, "home", DOCTOR_NOTE,
           "ssh -p 2222 ann@big ls -ld ~");
}
