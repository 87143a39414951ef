/* SPDX-License-Identifier: BSD-2-Clause */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "sys/sample.h"
#include "sys/sample_parse.h"
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NEAR(got, want) CHECK(fabs((got) - (want)) < 1e-6)
#define PARSE(fn, text, ...) fn(text, strlen(text), __VA_ARGS__)
#define NOBODY 2000000000 /* a pid above all that there can be */

/* --- an invented machine ------------------------------------------------------------------------ */

struct machine {
    int64_t now_ns;
    struct clock clock;
    struct sampler *s;
};

static int64_t machine_now(void *arg)
{
    return ((struct machine *)arg)->now_ns;
}

static void put(const char *path, const char *text)
{
    char *full = fs_join(unit_tmpdir(), path), *slash = strrchr(full, '/');
    struct err err = ERR_INIT;
    int fd;

    *slash = '\0';
    CHECK_OK(fs_mkdir_p(full, 0700, &err), &err);
    *slash = '/';
    fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && fs_write_all(fd, text, strlen(text)) == 0);
    close(fd);
    free(full);
}

static void put_folder(const char *path)
{
    char *full = fs_join(unit_tmpdir(), path);
    struct err err = ERR_INIT;

    CHECK_OK(fs_mkdir_p(full, 0700, &err), &err);
    free(full);
}

static void machine_start(struct machine *m)
{
    struct err err = ERR_INIT;

    put_folder("proc");
    *m = (struct machine){ .now_ns = 1000 * NS_PER_S };
    m->clock = (struct clock){ machine_now, machine_now, m };
    m->s = sampler_create(&(struct sampler_options){ .root = unit_tmpdir(), .clock = &m->clock },
                          &err);
    CHECK(m->s);
}

static const struct sample *machine_after(struct machine *m, int64_t seconds)
{
    m->now_ns += seconds * NS_PER_S;
    return sampler_take(m->s);
}

/* --- CPUs --------------------------------------------------------------------------------------- */

static void check_cpu(const struct sample_cpu *c, double user, double kernel, double iowait,
                      double steal, double idle)
{
    NEAR(c->user, user);
    NEAR(c->kernel, kernel);
    NEAR(c->iowait, iowait);
    NEAR(c->steal, steal);
    NEAR(c->idle, idle);
}

TEST(percent_of_the_interval)
{
    struct machine m;
    const struct sample *s;

    machine_start(&m);
    put("proc/stat", "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 100 10 50 1000 20 5 5 0 0 0\n"
                     "cpu1 0 0 0 1000 0 0 0 0 0 0\nintr 1 2 3\nctxt 4\n");
    s = sampler_take(m.s);
    CHECK_INT(s->interval_ns, 0);
    CHECK_INT(s->core_count, 2);
    check_cpu(&s->cpu, -1, -1, -1, -1, -1);
    check_cpu(&s->cores[1].cpu, -1, -1, -1, -1, -1);
    NEAR(sample_cpu_busy(&s->cpu), -1);

    /* cpu0: 30 user, 10 nice, 15+3+2 system, 20 iowait, 10 steal, 10 idle of 100; cpu1: idle */
    put("proc/stat", "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 130 20 65 1010 40 8 7 10 0 0\n"
                     "cpu1 0 0 0 1100 0 0 0 0 0 0\n");
    s = machine_after(&m, 1);
    CHECK_INT(s->interval_ns, NS_PER_S);
    check_cpu(&s->cores[0].cpu, 40, 20, 20, 10, 10);
    check_cpu(&s->cores[1].cpu, 0, 0, 0, 0, 100);
    check_cpu(&s->cpu, 20, 10, 10, 5, 55);
    check_cpu(&s->usable, 20, 10, 10, 5, 55);
    NEAR(sample_cpu_busy(&s->cpu), 35);
    sampler_destroy(m.s);
}

TEST(cpus_that_come_and_go_and_counters_that_go_back)
{
    struct machine m;
    const struct sample *s;

    machine_start(&m);
    put("proc/stat", "cpu0 0 0 0 0 500\ncpu1 900 0 0 900 0\ncpu2 0 0 0 0\ncpu3 5 5 5 5\n");
    sampler_take(m.s);
    /* cpu0: iowait went back; cpu1 is gone; cpu3 begins anew with less of everything */
    put("proc/stat", "cpu0 50 0 0 50 400\ncpu2 100 0 0 100\ncpu3 1 1 1 1\n");
    s = machine_after(&m, 2);
    CHECK_INT(s->core_count, 3);
    CHECK_INT(s->cores[1].id, 2);
    check_cpu(&s->cores[0].cpu, 50, 0, 0, 0, 50);
    check_cpu(&s->cores[1].cpu, 50, 0, 0, 0, 50);
    check_cpu(&s->cores[2].cpu, -1, -1, -1, -1, -1);
    check_cpu(&s->cpu, 50, 0, 0, 0, 50);
    /* cpu1 is back: unknown for one interval, and not in the mean */
    put("proc/stat", "cpu0 150 0 0 50 400\ncpu1 0 0 0 9999 0\ncpu2 200 0 0 100\ncpu3 2 1 1 1\n");
    s = machine_after(&m, 1);
    check_cpu(&s->cores[1].cpu, -1, -1, -1, -1, -1);
    check_cpu(&s->cpu, 100, 0, 0, 0, 0);
    put("proc/stat", "cpu0 150 0 0 50 400\ncpu1 0 0 0 10099 0\ncpu2 200 0 0 100\ncpu3 2 1 1 1\n");
    s = machine_after(&m, 1);
    check_cpu(&s->cores[1].cpu, 0, 0, 0, 0, 100);
    sampler_destroy(m.s);
}

TEST(a_kernel_that_shows_only_the_sum)
{
    struct machine m;

    machine_start(&m);
    put("proc/stat", "cpu 0 0 0 0\n");
    sampler_take(m.s);
    put("proc/stat", "cpu 25 0 25 50\n");
    check_cpu(&machine_after(&m, 1)->cpu, 25, 25, 0, 0, 50);
    sampler_destroy(m.s);
}

static size_t usable_of(const char *allowed)
{
    struct sample_counters c = { 0 };
    struct sample_kinds none = { 0 };
    struct sample_arrays arrays = { 0 };
    struct sample out = { 0 };

    PARSE(sample_parse_stat, "cpu0 1 1 1 1\ncpu1 1 1 1 1\ncpu2 1 1 1 1\ncpu4 1 1 1 1\n", &c);
    PARSE(sample_parse_allowed, allowed, &c);
    sample_reset(&out);
    sample_rates(NULL, &c, &none, &none, &arrays, &out);
    for (size_t i = 0, n = 0; i < out.core_count; i++) {
        n += out.cores[i].usable;
        CHECK(i + 1 < out.core_count || n == out.usable_count);
    }
    free(arrays.cores);
    free(arrays.interfaces);
    sample_counters_fini(&c);
    return out.usable_count;
}

TEST(cpus_that_are_ours)
{
    CHECK_INT(usable_of(""), 4);
    CHECK_INT(usable_of("Cpus_allowed:\tff\nCpus_allowed_list:\t0-127\n"), 4);
    CHECK_INT(usable_of("Cpus_allowed_list:\t1\n"), 1);
    CHECK_INT(usable_of("Cpus_allowed_list:\t0,2-4\nMems_allowed:\n"), 4); /* as many: renumbered */
    CHECK_INT(usable_of("Cpus_allowed_list:\t0,3-4\n"), 2);
    CHECK_INT(usable_of("Cpus_allowed_list:\t8-9\n"), 4); /* other numbers than those shown */
    CHECK_INT(usable_of("Cpus_allowed_list:\t1-\n"), 4);
    CHECK_INT(usable_of("Cpus_allowed_list:\t0-99999999999999999999\n"), 4);
    CHECK_INT(usable_of("Cpus_allowed_list:\t4-1\n"), 4);
}

TEST(the_mean_of_our_cpus)
{
    struct machine m;
    const struct sample *s;

    machine_start(&m);
    put("proc/self/status", "Name:\tx\nCpus_allowed_list:\t1,2\n");
    put("proc/stat", "cpu0 0 0 0 0\ncpu1 0 0 0 0\ncpu2 0 0 0 0\ncpu3 0 0 0 0\n");
    sampler_take(m.s);
    put("proc/stat", "cpu0 9 0 0 0\ncpu1 0 0 0 9\ncpu2 9 0 0 0\ncpu3 9 0 0 0\n");
    s = machine_after(&m, 1);
    CHECK_INT(s->usable_count, 2);
    NEAR(s->cpu.user, 75);
    NEAR(s->usable.user, 50);
    sampler_destroy(m.s);
}

TEST(odd_lines_of_stat)
{
    struct sample_counters c = { 0 };

    PARSE(
        sample_parse_stat,
        "cpu\ncpu \ncpu 1 2 3\ncpux 1 2 3 4\ncpu5 1 2 3 4\ncpu4 1 2 3 4\ncpu5 1 2 3 4\n"
        "cpu8191 1 2 3 99999999999999999999999\ncpu8192 1 2 3 4\ncpu99999999999999999999 1 2 3 4\n"
        "cpu6 -1 2 3 4\ncp",
        &c);
    CHECK(!c.has_total);
    CHECK_INT(c.core_count, 2);
    CHECK_INT(c.cores[0].id, 5);
    CHECK_INT(c.cores[1].id, 8191);
    CHECK_INT(c.cores[1].ticks.idle, SAMPLE_NUMBER_MAX);
    sample_counters_fini(&c);
}

/* --- memory, load, pressure, uptime ------------------------------------------------------------- */

TEST(memory_of_new_and_old_kernels)
{
    struct sample_memory m = { -1, -1, -1, -1, -1, -1 };

    PARSE(sample_parse_meminfo,
          "MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable: 600 kB\nBuffers: 10 kB\n"
          "Cached: 200 kB\nSwapCached: 7 kB\nShmem: 50 kB\nSReclaimable: 30 kB\n"
          "SwapTotal: 500 kB\nSwapFree: 400 kB\n",
          &m);
    CHECK_INT(m.total, 1000 * 1024);
    CHECK_INT(m.free, 100 * 1024);
    CHECK_INT(m.available, 600 * 1024);
    CHECK_INT(m.cached, 240 * 1024);
    CHECK_INT(m.swap_total, 500 * 1024);
    CHECK_INT(m.swap_used, 100 * 1024);

    m = (struct sample_memory){ -1, -1, -1, -1, -1, -1 };
    PARSE(sample_parse_meminfo,
          "MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 200 kB\nShmem: 50 kB\n", &m);
    CHECK_INT(m.available, 260 * 1024);
    CHECK_INT(m.swap_used, -1);

    m = (struct sample_memory){ -1, -1, -1, -1, -1, -1 };
    PARSE(sample_parse_meminfo, "MemTotal: 100 kB\nMemAvailable: 999 kB\nSwapTotal: 5\nSwapFree: 9",
          &m);
    CHECK_INT(m.available, 100 * 1024);
    CHECK_INT(m.swap_used, 0);

    m = (struct sample_memory){ -1, -1, -1, -1, -1, -1 };
    PARSE(sample_parse_meminfo, "MemTotal: 99999999999999999999 kB\nMemFree:\nCached: x\n", &m);
    CHECK_INT(m.total, SAMPLE_NUMBER_MAX);
    CHECK_INT(m.free, -1);
    CHECK_INT(m.available, -1);
}

TEST(load_uptime_boot_id_pressure)
{
    struct sample s = { 0 };
    char id[40];

    sample_reset(&s);
    PARSE(sample_parse_loadavg, "0.52 10.05 3 2/812 4711\n", &s);
    NEAR(s.load[0], 0.52);
    NEAR(s.load[1], 10.05);
    NEAR(s.load[2], 3);
    CHECK_INT(s.runnable, 2);
    CHECK_INT(s.threads, 812);
    sample_reset(&s);
    PARSE(sample_parse_loadavg, "0.52 x", &s);
    NEAR(s.load[0], -1);
    CHECK_INT(s.runnable, -1);

    CHECK_INT(sample_parse_uptime_ns("12.34 99.00\n", 12), 12340 * NS_PER_MS);
    CHECK_INT(sample_parse_uptime_ns("x", 1), -1);
    CHECK_INT(sample_parse_uptime_ns("99999999999999", 14), -1);

    PARSE(sample_parse_pressure, "some avg10=1.50 avg60=0 total=5\nfull avg10=0.25 avg60=0\n",
          &s.io_pressure);
    NEAR(s.io_pressure.some, 1.5);
    NEAR(s.io_pressure.full, 0.25);
    PARSE(sample_parse_pressure, "some avg10=7.00 avg60=0\nfull avg10=1000\n", &s.cpu_pressure);
    NEAR(s.cpu_pressure.some, 7);
    NEAR(s.cpu_pressure.full, -1);

    PARSE(sample_parse_boot_id, "ec200cd5-d23d-4ce2-8af2-50028f29218d\n", id);
    CHECK_STR(id, "ec200cd5-d23d-4ce2-8af2-50028f29218d");
    PARSE(sample_parse_boot_id, "a b\n", id);
    CHECK_STR(id, "");
    PARSE(sample_parse_boot_id, "0123456789012345678901234567890123456789\n", id);
    CHECK_STR(id, "");
}

/* --- disks and interfaces ----------------------------------------------------------------------- */

#define DISKS                                                                                      \
    "   7 0 loop0 95 1 2466 5 29424 24126 1019072 679 0 520 821 0 0 0 0\n"                         \
    "   8 0 sda %d 0 %d 0 %d 0 %d 0 0 %d 0\n"                                                      \
    "   8 1 sda1 %d 0 %d 0 %d 0 %d 0 0 %d 0\n"                                                     \
    " 259 0 nvme0n1 0 0 %d 0 0 0 0 0 0 %d 0\n"                                                     \
    " 253 0 dm-0 9999 0 9999 0 9999 0 9999 0 0 9999 0\n"                                           \
    "   8 17 sdb1 1 2 3 4\n"

static void put_disks(int n)
{
    char text[2048];

    snprintf(text, sizeof text, DISKS, n, 2 * n, 3 * n, 4 * n, n, n, 2 * n, 3 * n, 4 * n, n, 2 * n,
             5 * n);
    put("proc/diskstats", text);
}

static void check_disks(struct machine *m)
{
    const struct sample *s;

    put_disks(100);
    s = machine_after(m, 1);
    NEAR(s->disk.reads_per_s, -1);
    NEAR(s->disk.busiest_percent, -1);
    put_disks(300); /* 200 more in 2 s */
    s = machine_after(m, 2);
    NEAR(s->disk.reads_per_s, 100);
    NEAR(s->disk.writes_per_s, 300);
    NEAR(s->disk.read_bytes_per_s, 512 * (200 + 200));
    NEAR(s->disk.write_bytes_per_s, 512 * 400);
    NEAR(s->disk.busiest_percent, 50);
}

TEST(whole_disks_by_their_devices)
{
    struct machine m;

    put("sys/block/sda/device/model", "x");
    put("sys/block/nvme0n1/device/model", "x");
    put_folder("sys/block/dm-0");
    put_folder("sys/block/loop0");
    machine_start(&m);
    check_disks(&m);
    sampler_destroy(m.s);
}

TEST(whole_disks_by_their_names)
{
    static const char *const whole[] = { "sda",     "sdaa",  "vdb",  "xvda", "hda",       "nvme0n1",
                                         "mmcblk0", "dasda", "nbd3", "rbd0", "cciss!c0d0" };
    static const char *const not_whole[] = { "sda1",   "nvme0n1p1", "mmcblk0p1",   "mmcblk0boot0",
                                             "dm-0",   "md0",       "loop0",       "zram0",
                                             "sr0",    "sd",        "nvme",        "nvme0",
                                             "nvme0n", "ram0",      "cciss!c0d0p1" };
    struct sample_kinds none = { 0 };
    struct machine m;

    machine_start(&m);
    check_disks(&m);
    sampler_destroy(m.s);
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        CHECK(sample_disk_kind(&none, whole[i]) == SAMPLE_KIND_DEVICE);
    for (size_t i = 0; i < ARRAY_LEN(not_whole); i++)
        CHECK(sample_disk_kind(&none, not_whole[i]) == SAMPLE_KIND_OVER);
}

static const char net_heading[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n";

/* Each interface has sent and received `n` times a number of its own. */
static void put_net(const char *const *names, int n)
{
    struct buf b = BUF_INIT;

    buf_append_str(&b, net_heading);
    for (int i = 0; names[i]; i++)
        buf_printf(&b, "%6s:%d %d 0 0 0 0 0 0 %d %d 0 0 0 0 0 0\n", names[i], n << i, n,
                   3 * (n << i), 2 * n);
    buf_append_str(&b, "  bad0: 1 2 3\nnocolon 1 2\n ../x: 1 1 1 1 1 1 1 1 1 1\n");
    put("proc/net/dev", buf_data(&b));
    buf_fini(&b);
}

/* `counted` has a '+' for each interface that is in the sum. */
static void check_net(struct machine *m, const char *const *names, const char *counted)
{
    const struct sample *s;
    double sum = 0;

    put_net(names, 1000);
    s = machine_after(m, 1);
    NEAR(s->network.rx_bytes_per_s, -1);
    put_net(names, 3000);
    s = machine_after(m, 2);
    CHECK_INT(s->interface_count, strlen(counted));
    for (size_t i = 0; i < s->interface_count; i++) {
        CHECK_STR(s->interfaces[i].name, names[i]);
        if (s->interfaces[i].counted != (counted[i] == '+'))
            unit_fail(__FILE__, __LINE__, "%s should be %c", names[i], counted[i]);
        NEAR(s->interfaces[i].rx_bytes_per_s, 1000 << i);
        NEAR(s->interfaces[i].tx_packets_per_s, 2000);
        sum += counted[i] == '+' ? 1000 << i : 0;
    }
    NEAR(s->network.rx_bytes_per_s, sum);
    NEAR(s->network.tx_bytes_per_s, 3 * sum);
    NEAR((double)s->network.rx_bytes, 3 * sum);
}

TEST(interfaces_of_a_host)
{
    static const char *const names[] = { "lo",     "eth0", "docker0", "veth12", "bond0",
                                         "eth0.7", "eth1", "vf0",     "tun0",   NULL };
    struct machine m;

    put("sys/class/net/eth0/device/vendor", "x");
    put("sys/class/net/eth1/device/vendor", "x");
    put_folder("sys/class/net/eth1/brport");
    put("sys/class/net/vf0/device/vendor", "x"); /* below eth1, as Azure does it */
    put("sys/class/net/vf0/master/device/vendor", "x");
    put_folder("sys/class/net/docker0/bridge");
    put_folder("sys/class/net/veth12/brport");
    put_folder("sys/class/net/bond0/lower_eth0");
    put_folder("sys/class/net/eth0.7/lower_eth0");
    put("sys/class/net/tun0/tun_flags", "0x1");
    put_folder("sys/class/net/lo");
    machine_start(&m);
    check_net(&m, names, "-+----+--");
    sampler_destroy(m.s);
}

TEST(interfaces_of_a_container)
{
    static const char *const names[] = { "lo", "eth0", "eth1", "br0", "eth0.7", "tap3", NULL };
    struct machine m;

    put_folder("sys/class/net/eth0");
    put_folder("sys/class/net/br0/bridge");
    put_folder("sys/class/net/eth0.7/lower_eth0");
    put("sys/class/net/tap3/tun_flags", "x");
    machine_start(&m); /* eth1 isn't in /sys: the name decides */
    check_net(&m, names, "-++---");
    sampler_destroy(m.s);
}

TEST(interfaces_without_sys)
{
    static const char *const names[] = { "lo", "enp3s0", "veth1", "docker0", "br-12", NULL };
    struct machine m;

    machine_start(&m);
    check_net(&m, names, "-+---");
    sampler_destroy(m.s);
}

TEST(an_interface_that_comes_anew)
{
    static const char *const two[] = { "eth0", "eth1", NULL }, *const one[] = { "eth1", NULL };
    struct machine m;
    const struct sample *s;

    machine_start(&m);
    put_net(one, 5000);
    machine_after(&m, 1);
    put_net(two, 10); /* eth1 has less than before: it is another */
    s = machine_after(&m, 1);
    NEAR(s->interfaces[0].rx_bytes_per_s, -1);
    NEAR(s->interfaces[1].rx_bytes_per_s, 0);
    NEAR(s->network.rx_bytes_per_s, 0);
    sampler_destroy(m.s);
}

/* --- users -------------------------------------------------------------------------------------- */

static void utmp_record(struct buf *b, size_t size, int type, int pid, const char *user)
{
    char r[400] = "";
    int16_t t = (int16_t)type;
    int32_t p = pid;

    memcpy(r, &t, sizeof t);
    memcpy(r + 4, &p, sizeof p);
    memcpy(r + 8, "pts/0", 5);
    memcpy(r + 44, user, strnlen(user, 32));
    memcpy(r + 76, "host.example.org", 16);
    memset(r + 344, 0x5E, 12); /* times */
    buf_append(b, r, size);
}

static bool is_even(int64_t pid, void *arg)
{
    (void)arg;
    return pid % 2 == 0;
}

static void try_utmp(size_t size, size_t times)
{
    struct sample_users u = { .count = -1, .sessions = -1 };
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < times; i++) {
        utmp_record(&b, size, 2, 0, "reboot");
        utmp_record(&b, size, 7, 100, "ann");
        utmp_record(&b, size, 7, 101, "gone");
        utmp_record(&b, size, 8, 102, "ended");
        utmp_record(&b, size, 6, 104, "LOGIN");
        utmp_record(&b, size, 7, 106, "bob");
        utmp_record(&b, size, 7, 108, "ann");
        utmp_record(&b, size, 7, 110, "a_name_of_32_bytes_has_no_nul_at");
    }
    CHECK(sample_parse_utmp(buf_data(&b), buf_len(&b), is_even, NULL, &u));
    CHECK_INT(u.count, 3);
    CHECK_INT(u.sessions, 4 * times);
    CHECK_STR(u.names[0], "ann");
    CHECK_STR(u.names[1], "bob");
    CHECK_STR(u.names[2], "a_name_of_32_bytes_has_no_nul_at");
    buf_fini(&b);
}

TEST(utmp_of_both_layouts)
{
    struct sample_users u = { .count = -1, .sessions = -1 };
    struct buf b = BUF_INIT;
    char noise[1200];

    for (size_t times = 1; times < 8; times++) {
        try_utmp(384, times);
        try_utmp(400, times); /* three times: both sizes divide the length */
    }
    /* Nothing at the front tells, and both sizes divide the length: then it is the usual one. */
    memset(buf_reserve(&b, 20 * 384), 0, 20 * 384);
    buf_added(&b, 20 * 384);
    for (int i = 20; i < 25; i++)
        utmp_record(&b, 384, 7, i, "ann");
    CHECK(sample_parse_utmp(buf_data(&b), buf_len(&b), is_even, NULL, &u));
    CHECK_INT(u.sessions, 3);
    buf_fini(&b);
    u.count = u.sessions = -1;
    memset(noise, 0xA5, sizeof noise);
    CHECK(!sample_parse_utmp(noise, sizeof noise, is_even, NULL, &u));
    CHECK(!sample_parse_utmp(noise, 0, is_even, NULL, &u));
    CHECK(!sample_parse_utmp(noise, 383, is_even, NULL, &u));
    CHECK_INT(u.count, -1);
}

TEST(users_from_utmp_and_from_sessions)
{
    struct buf b = BUF_INIT;
    struct machine m;
    const struct sample *s;
    char *path;
    int fd;

    machine_start(&m);
    CHECK_INT(sampler_take(m.s)->users.count, -1);
    put("run/systemd/sessions/1",
        "# private\nUID=0\nUSER=ann\nACTIVE=1\nSTATE=active\nCLASS=user\n");
    put("run/systemd/sessions/c2", "USER=gdm\nSTATE=active\nCLASS=greeter\n");
    put("run/systemd/sessions/3", "USER=bob\nSTATE=closing\nCLASS=user\n");
    put("run/systemd/sessions/4", "USER=root\nCLASS=manager-early\n");
    put("run/systemd/sessions/5", "USER=eve\nSTATE=online\nCLASS=user-early\n");
    put("run/systemd/sessions/6", "USER=ann\nCLASS=user\n");
    put("run/systemd/sessions/7", "STATE=active\nUSER=b\001b\n");
    path = fs_join(unit_tmpdir(), "run/systemd/sessions/1.ref");
    CHECK(mkfifo(path, 0600) == 0); /* opening this would wait */
    free(path);
    path = fs_join(unit_tmpdir(), "run/systemd/sessions/fifo");
    CHECK(mkfifo(path, 0600) == 0);
    free(path);
    put("run/utmp", "");
    CHECK_INT(machine_after(&m, 1)->users.count, -1); /* not looked again yet */
    s = machine_after(&m, 10);
    CHECK_INT(s->users.count, 2);
    CHECK_INT(s->users.sessions, 3);

    /* utmp, where there is one, is what counts. */
    utmp_record(&b, 384, 2, 0, "reboot");
    utmp_record(&b, 384, 7, 4711, "carl");
    utmp_record(&b, 384, 7, NOBODY, "gone");
    path = fs_join(unit_tmpdir(), "run/utmp");
    fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fs_write_all(fd, buf_data(&b), buf_len(&b)) == 0);
    close(fd);
    free(path);
    put_folder("proc/4711");
    s = machine_after(&m, 10);
    CHECK_INT(s->users.count, 1);
    CHECK_STR(s->users.names[0], "carl");
    CHECK_INT(s->processes, 1);
    buf_fini(&b);
    sampler_destroy(m.s);
}

TEST(users_as_who_prints_them)
{
    struct sample_users u = { .count = -1, .sessions = -1 };
    char name[32];

    PARSE(sample_parse_who, "", &u);
    CHECK_INT(u.count, 0);
    PARSE(sample_parse_who,
          "USER\t\tTTY\t\tIDLE\tTIME\t\t HOST\nann\t\tpts/0\t\t00:00\tNov 20 18:00\n", &u);
    CHECK_INT(u.count, 1);
    CHECK_STR(u.names[0], "ann");
    PARSE(sample_parse_who, "bob      pts/1  2026-11-20 18:00 (::1)\nann tty1\n\n b\n", &u);
    CHECK_INT(u.count, 2);
    CHECK_INT(u.sessions, 3);
    for (int i = 0; i < SAMPLE_SESSIONS_MAX + 5; i++) {
        snprintf(name, sizeof name, "u%d", i);
        sample_users_add(&u, name, strlen(name));
    }
    CHECK_INT(u.count, SAMPLE_USERS_MAX);
    CHECK_INT(u.sessions, SAMPLE_SESSIONS_MAX);
}

/* --- the sampler -------------------------------------------------------------------------------- */

TEST(nothing_there_is_nothing_known)
{
    struct machine m;
    const struct sample *s;

    machine_start(&m);
    put("proc/meminfo", "\n\ngarbage");
    put("proc/stat", "");
    put_folder("proc/loadavg");
    for (int i = 0; i < 2; i++) {
        s = machine_after(&m, 1);
        CHECK_INT(s->memory.total, -1);
        NEAR(s->load[0], -1);
        NEAR(s->cpu.user, -1);
        NEAR(s->cpu_pressure.some, -1);
        CHECK_INT(s->uptime_ns, -1);
        CHECK_INT(s->network.rx_bytes, -1);
        CHECK_INT(s->core_count, 0);
        CHECK_STR(s->boot_id, "");
        CHECK_INT(s->users.count, -1);
    }
    sampler_destroy(m.s);
    sampler_destroy(NULL);
}

TEST(asked_too_soon_it_gives_the_same)
{
    struct machine m;
    const struct sample *s;

    machine_start(&m);
    put("proc/loadavg", "1 2 3 4/5 6\n");
    sampler_take(m.s);
    put("proc/loadavg", "9 9 9 9/9 9\n");
    m.now_ns += SAMPLE_INTERVAL_MIN_NS - 1;
    NEAR(sampler_take(m.s)->load[0], 1);
    m.now_ns += 1;
    s = sampler_take(m.s);
    NEAR(s->load[0], 9);
    CHECK_INT(s->interval_ns, SAMPLE_INTERVAL_MIN_NS);
    CHECK_INT(s->taken_ns, m.now_ns);
    sampler_destroy(m.s);
}

TEST(what_it_refuses)
{
    const char *many[SAMPLE_FOLDERS_MAX + 2] = { NULL };
    struct err err = ERR_INIT;

    CHECK(!sampler_create(&(struct sampler_options){ .root = "/nowhere" }, &err));
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(strstr(err.msg, "/nowhere/proc"));
    for (size_t i = 0; i <= SAMPLE_FOLDERS_MAX; i++)
        many[i] = "/";
    CHECK(!sampler_create(&(struct sampler_options){ .folders = many }, &err));
    CHECK_INT(err.kind, ERR_TOO_LARGE);
}

/* A stat of 8192 CPUs is longer than what is read first. */
TEST(a_large_machine)
{
    struct buf b = BUF_INIT;
    struct machine m;
    const struct sample *s;

    machine_start(&m);
    for (int round = 0; round < 2; round++) {
        buf_clear(&b);
        for (int i = 0; i < 9000; i++)
            buf_printf(&b, "cpu%d %d 0 0 %d 0 0 0 0 0 0\n", i, 1000 * round, 3000 * round);
        put("proc/stat", buf_data(&b));
        s = machine_after(&m, 1);
    }
    CHECK_INT(s->core_count, SAMPLE_CORES_MAX);
    NEAR(s->cpu.user, 25);
    buf_fini(&b);
    sampler_destroy(m.s);
}

TEST(this_machine)
{
    const char *folders[] = { "/", "/nowhere", NULL };
    struct err err = ERR_INIT;
    struct sampler *s = sampler_create(&(struct sampler_options){ .folders = folders }, &err);
    const struct sample *x;
    int64_t deadline = clock_mono_ns(&clock_system) + 10 * NS_PER_S;
    char boot[40];

    CHECK(s);
    x = sampler_take(s);
    sys_boot_id(boot, sizeof boot);
    CHECK_STR(x->boot_id, boot);
    CHECK(x->memory.total > 0 && x->memory.available > 0);
    CHECK(x->memory.available <= x->memory.total);
    CHECK(x->uptime_ns > 0 && x->processes > 1 && x->threads > 1 && x->load[2] >= 0);
    CHECK(x->core_count >= 1 && x->usable_count >= 1);
    CHECK_INT(x->folder_count, 2);
    CHECK(x->folders[0].total > 0 && x->folders[0].free <= x->folders[0].total);
    CHECK_INT(x->folders[1].total, -1);
    while (x->interval_ns == 0 || x->cpu.idle < 0) {
        CHECK(clock_mono_ns(&clock_system) < deadline);
        poll(NULL, 0, 20);
        x = sampler_take(s);
    }
    NEAR(x->cpu.user + x->cpu.kernel + x->cpu.iowait + x->cpu.steal + x->cpu.idle, 100);
    sampler_destroy(s);
}
