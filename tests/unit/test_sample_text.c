/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "sys/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEAR(got, want) CHECK(fabs((got) - (want)) < 1e-6)

static struct sampler *text_sampler(const char *const *folders)
{
    struct err err = ERR_INIT;
    struct sampler *s =
        sampler_create(&(struct sampler_options){ .text = true, .folders = folders }, &err);

    CHECK(s);
    return s;
}

static const struct sample *take_text(struct sampler *s, const char *text)
{
    struct err err = ERR_INIT;
    const struct sample *x = sampler_read_text(s, text, strlen(text), &err);

    if (!x)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    return x;
}

static const char first[] =
    "Welcome!\n@end\n@hive-sample 1\n@stat\ncpu 1 2 3 4\n@pressure/memory\nsome avg10=9.00\ncut "
    "off here\n"
    "@hive-sample 1\n@stat\ncpu0 0 0 0 100 0\ncpu1 0 0 0 100 0\nintr 5\n"
    "@self/status\nName:\tcat\nCpus_allowed_list:\t1\n"
    "@meminfo\nMemTotal: 100 kB\nMemFree: 50 kB\nMemAvailable: 60 kB\n"
    "@loadavg\n0.50 0.25 0.10 3/99 1234\n@uptime\n100.00 50.00\n"
    "@diskstats\n8 0 sda 0 0 0 0 0 0 0 0 0 0 0\n8 1 sda1 0 0 0 0 0 0 0 0 0 0 0\n"
    "@net/dev\n head | x\n eth0: 100 1 0 0 0 0 0 0 0 0 0\n  br0: 9 9 0 0 0 0 0 0 9 9 9\n"
    "@pressure/cpu\nsome avg10=5.00 avg60=0\n@pressure/memory\n"
    "@sys/kernel/random/boot_id\nabc-1\n@processes\n77\n@disks\nsda\n"
    "@nets\ndevice eth0\nover br0\nnonsense\n@who\n@root     pts/0\nann pts/1\n@unknown\neve "
    "pts/2\n"
    "@folder 1\nFilesystem 1024-blocks Used Available Capacity Mounted on\n"
    "//server/my share 1000 400 600 40% /mnt/a b\n@folder 0\n@folder 99\n@end\nprompt$ ";

static const char second[] =
    "@hive-sample 1\n@stat\ncpu0 100 0 0 100 0\ncpu1 0 0 25 150 25\n@uptime\n102.00 51.00\n"
    "@self/status\nCpus_allowed_list:\t1\n"
    "@diskstats\n8 0 sda 20 0 40 0 60 0 80 0 0 500 0\n8 1 sda1 20 0 40 0 60 0 80 0 0 500 0\n"
    "@net/dev\n eth0: 1100 11 0 0 0 0 0 0 200 20 0\n  br0: 99 99 0 0 0 0 0 0 99 99 9\n"
    "@disks\nsda\n@nets\ndevice eth0\nover br0\n@sys/kernel/random/boot_id\nabc-1\n"
    "@sessions\n@session\nUSER=ann\nCLASS=user\n@session\nUSER=bob\nCLASS=greeter\n@end\n";

TEST(a_text_gives_a_sample)
{
    const char *folders[] = { "/", "/mnt/a b", NULL };
    struct sampler *s = text_sampler(folders);
    const struct sample *x = take_text(s, first);

    CHECK_INT(x->interval_ns, 0);
    CHECK_INT(x->core_count, 2);
    CHECK_INT(x->usable_count, 1);
    CHECK_INT(x->memory.available, 60 * 1024);
    NEAR(x->load[1], 0.25);
    CHECK_INT(x->runnable, 3);
    CHECK_INT(x->uptime_ns, 100 * NS_PER_S);
    CHECK_INT(x->taken_ns, 100 * NS_PER_S);
    CHECK_STR(x->boot_id, "abc-1");
    CHECK_INT(x->processes, 77);
    NEAR(x->cpu_pressure.some, 5);
    NEAR(x->memory_pressure.some, -1);
    CHECK_INT(x->users.count, 2);
    CHECK_STR(x->users.names[0], "@root");
    CHECK_INT(x->folders[1].total, 1000 * 1024);
    CHECK_INT(x->folders[1].free, 600 * 1024);
    CHECK_INT(x->folders[0].total, -1);
    CHECK_INT(x->network.rx_bytes, 100);
    NEAR(x->network.rx_bytes_per_s, -1);

    x = take_text(s, second);
    CHECK_INT(x->interval_ns, 2 * NS_PER_S);
    NEAR(x->cpu.user, 50);
    NEAR(x->usable.user, 0);
    NEAR(x->usable.iowait, 25);
    NEAR(x->disk.write_bytes_per_s, 80 * 512 / 2);
    NEAR(x->disk.busiest_percent, 25);
    NEAR(x->network.rx_bytes_per_s, 500);
    NEAR(x->network.tx_packets_per_s, 10);
    CHECK_INT(x->users.count, 1);
    CHECK_INT(x->memory.total, -1);
    CHECK_INT(x->folders[1].total, -1);
    CHECK(sampler_take(s) == x);
    sampler_destroy(s);
}

TEST(a_reboot_is_no_interval)
{
    struct sampler *s = text_sampler(NULL);
    char text[sizeof second];

    take_text(s, second);
    CHECK_INT(take_text(s, first)->interval_ns, 0); /* less uptime */
    str_copy(text, sizeof text, second);
    strstr(text, "abc-1")[4] = '2';
    CHECK_INT(take_text(s, text)->interval_ns, 0); /* another boot */
    CHECK_INT(take_text(s, second)->interval_ns, 0);
    sampler_destroy(s);
}

TEST(what_is_no_whole_sample)
{
    static const char *const bad[] = { "",
                                       "@end\n",
                                       "@hive-sample 1\n",
                                       "@hive-sample 1\n@end",
                                       "x@hive-sample 1\n@end\n",
                                       "@hive-sample 2\n@end\n" };
    struct sampler *s = text_sampler(NULL);
    struct err err = ERR_INIT;
    size_t large = SAMPLE_TEXT_MAX + 1;
    char *text = mem_alloc(large);

    take_text(s, first);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK_INT(sample_text_end(bad[i], strlen(bad[i])), 0);
        CHECK(!sampler_read_text(s, bad[i], strlen(bad[i]), &err));
        CHECK_INT(err.kind, ERR_CORRUPT);
    }
    CHECK(!sampler_read_text(s, text, large, &err));
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    free(text);
    /* After all that it still knows the first. */
    CHECK_INT(take_text(s, second)->interval_ns, 2 * NS_PER_S);
    CHECK_INT(sample_text_end(second, strlen(second)), strlen(second));
    CHECK_INT(sample_text_end(first, strlen(first)), strlen(first) - strlen("prompt$ "));
    for (size_t len = 0; len < strlen(second); len++)
        CHECK_INT(sample_text_end(second, len), 0);
    sampler_destroy(s);
}

/* --- the script itself -------------------------------------------------------------------------- */

struct shell {
    pid_t pid;
    int in, out;
    struct buf text;
};

/* A login shell that is given the command line, as sshd does it. */
static void shell_start(struct shell *sh, const char *const *argv)
{
    int in[2], out[2];

    *sh = (struct shell){ .text = BUF_INIT };
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    sh->pid = fork();
    if (sh->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    sh->in = in[1];
    sh->out = out[0];
}

static const struct sample *shell_sample(struct shell *sh, struct sampler *s)
{
    struct err err = ERR_INIT;
    const struct sample *x;
    size_t end;

    CHECK(write(sh->in, "\n", 1) == 1);
    while ((end = sample_text_end(buf_data(&sh->text), buf_len(&sh->text))) == 0) {
        ssize_t n = read(sh->out, buf_reserve(&sh->text, 4096), 4096);
        CHECK(n > 0);
        buf_added(&sh->text, (size_t)n);
    }
    x = sampler_read_text(s, buf_data(&sh->text), end, &err);
    CHECK(x);
    buf_consume(&sh->text, end);
    return x;
}

/* It ends with its stdin, and leaves nothing behind. */
static void shell_end(struct shell *sh)
{
    int status;

    close(sh->in);
    CHECK(waitpid(sh->pid, &status, 0) == sh->pid);
    CHECK_INT(status, 0);
    CHECK_INT(buf_len(&sh->text), 0);
    close(sh->out);
    buf_fini(&sh->text);
}

static bool near_to(double a, double b, double part)
{
    return fabs(a - b) <= part * (fabs(a) + fabs(b)) + 1;
}

static const char *compare_interfaces(const struct sample *a, const struct sample *b)
{
    if (a->interface_count != b->interface_count)
        return "number of interfaces";
    for (size_t i = 0; i < a->interface_count; i++) {
        if (!str_eq(a->interfaces[i].name, b->interfaces[i].name))
            return "name of an interface";
        if (a->interfaces[i].counted != b->interfaces[i].counted)
            return "which interfaces count";
    }
    return NULL;
}

static const char *compare_cores(const struct sample *a, const struct sample *b)
{
    if (a->core_count != b->core_count || a->usable_count != b->usable_count)
        return "number of cores";
    for (size_t i = 0; i < a->core_count; i++) {
        if (a->cores[i].id != b->cores[i].id || a->cores[i].usable != b->cores[i].usable)
            return "a core";
    }
    return NULL;
}

/* Where two ways of measuring one machine don't agree, or NULL. */
static const char *compare(const struct sample *a, const struct sample *b)
{
    const char *what = compare_cores(a, b);

    if (!what)
        what = compare_interfaces(a, b);
    if (what)
        return what;
    if (!str_eq(a->boot_id, b->boot_id))
        return "boot id";
    if (a->memory.total != b->memory.total || a->memory.swap_total != b->memory.swap_total ||
        !near_to((double)a->memory.available, (double)b->memory.available, 0.05))
        return "memory";
    if (!near_to((double)a->uptime_ns / 1e9, (double)b->uptime_ns / 1e9, 0.01))
        return "uptime";
    if (!near_to((double)a->processes, (double)b->processes, 0.1))
        return "processes";
    if ((a->cpu_pressure.some < 0) != (b->cpu_pressure.some < 0) ||
        (a->io_pressure.full < 0) != (b->io_pressure.full < 0))
        return "pressure";
    if ((a->disk.busiest_percent < 0) != (b->disk.busiest_percent < 0))
        return "disks";
    if ((a->users.sessions > 0 || b->users.sessions > 0) && a->users.sessions != b->users.sessions)
        return "users";
    if (a->folder_count != b->folder_count || a->folders[0].total != b->folders[0].total ||
        !near_to((double)a->folders[0].free, (double)b->folders[0].free, 0.05) ||
        b->folders[1].total != -1)
        return "folders";
    return NULL;
}

static struct sampler *direct_sampler(const char *const *folders)
{
    struct err err = ERR_INIT;
    struct sampler *s = sampler_create(&(struct sampler_options){ .folders = folders }, &err);

    CHECK(s);
    sampler_take(s);
    while (sampler_take(s)->interval_ns == 0)
        poll(NULL, 0, 5);
    return s;
}

static bool can_run(const char *const *argv)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* busybox's df finds nothing in a plain chroot, where "/" is no mount point. */
static bool has_df(const char *const *shell)
{
    const char *argv[5] = { NULL };
    size_t n = 0;

    for (; shell[n]; n++)
        argv[n] = shell[n];
    argv[n++] = "-c";
    argv[n] = "df -Pk -- / >/dev/null";
    return can_run(argv);
}

/* Other tests may start hundreds of processes and make interfaces between the two: until they agree
 * once. */
static void try_shell(const char *const *shell)
{
    const char *folders[] = { "/", "/no where/$x", NULL }, *argv[5] = { NULL }, *different;
    int64_t deadline = clock_mono_ns(&clock_system) + 30 * NS_PER_S;
    struct sampler *text = text_sampler(folders), *direct;
    struct buf command = BUF_INIT;
    struct err err = ERR_INIT;
    const struct sample *x;
    struct shell sh;
    bool df = has_df(shell);
    size_t n = 0;

    CHECK_OK(sample_script_command(folders, &command, &err), &err);
    for (; shell[n]; n++)
        argv[n] = shell[n];
    argv[n++] = "-c";
    argv[n] = buf_data(&command);
    shell_start(&sh, argv);
    CHECK_INT(shell_sample(&sh, text)->interval_ns, 0);
    do {
        direct = direct_sampler(folders);
        x = shell_sample(&sh, text);
        CHECK(x->interval_ns > 0);
        NEAR(x->cpu.user + x->cpu.kernel + x->cpu.iowait + x->cpu.steal + x->cpu.idle, 100);
        different = compare(sampler_take(direct), x);
        if (different && str_eq(different, "folders") && !df && x->folders[0].total == -1)
            different = NULL;
        sampler_destroy(direct);
    } while (different && clock_mono_ns(&clock_system) < deadline);
    if (different)
        unit_fail(__FILE__, __LINE__, "%s: not the same", different);
    shell_end(&sh);
    sampler_destroy(text);
    buf_fini(&command);
}

TEST(the_script_in_sh)
{
    try_shell((const char *const[]){ "/bin/sh", NULL });
}

TEST(the_script_in_other_shells)
{
    static const char *const shells[] = { "bash", "ksh",  "mksh", "zsh",
                                          "yash", "fish", "tcsh", "csh" };

    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        if (can_run((const char *const[]){ shells[i], "-c", "exit 0", NULL }))
            try_shell((const char *const[]){ shells[i], NULL });
    }
}

/* A host with nothing but busybox. */
TEST(the_script_in_busybox)
{
    const char *const install[] = { "busybox", "--install", "-s", unit_tmpdir(), NULL };

    if (!can_run((const char *const[]){ "busybox", "true", NULL }))
        return;
    CHECK(can_run(install));
    char *sh = fs_join(unit_tmpdir(), "sh");
    CHECK(setenv("PATH", unit_tmpdir(), 1) == 0);
    try_shell((const char *const[]){ sh, NULL });
    free(sh);
}

TEST(the_command_line)
{
    const char *bad[] = { "it's", "a\\b", "a!b", "a\nb", "a\x7F" };
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK(!strpbrk(SAMPLE_SCRIPT, "'\\!\n\t"));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *folders[] = { "/", bad[i], NULL };
        err_clear(&err);
        CHECK_INT(sample_script_command(folders, &b, &err), -1);
        CHECK_INT(err.kind, ERR_INVALID);
        CHECK(err.hint[0]);
        CHECK_INT(buf_len(&b), 0);
    }
    CHECK_OK(sample_script_command(NULL, &b, &err), &err);
    CHECK(str_ends(buf_data(&b), "' hive"));
    buf_fini(&b);
}
