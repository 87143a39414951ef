/* SPDX-License-Identifier: BSD-2-Clause */
/* What a host says to `hive doctor`: facts are within their limits and safe to print, times and
 * versions are plausible, and no check breaks on them. */
#include "base/mem.h"

#include "base/str.h"
#include "cmd/doctor.h"
#include "cmd/hosts_probe.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void numbers(const char *text)
{
    int64_t a = 0, b = 0;

    if (doctor_read_time(text, &a, &b))
        require(a >= 0 && b > 0);
    if (doctor_read_version(text, &a, &b))
        require(a >= 0 && b >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hosts_probe probe = { .step = HOSTS_OK };
    struct doctor_visit visit = { .timed = true };
    struct doctor_host host = { .word = "host", .probe = &probe, .visit = &visit };
    struct doctor_report report = { .count = 0 };
    struct doctor_facts *f = &visit.facts;

    doctor_facts_read(f, (const char *)data, size);
    require(f->count <= DOCTOR_FACTS_MAX);
    for (size_t i = 0; i < f->count; i++) {
        require(strlen(f->fact[i].value) <= 4 * DOCTOR_FACT_MAX);
        for (const char *p = f->fact[i].value; *p; p++)
            require((unsigned char)*p >= ' ' && *p != 0x7F);
        numbers(f->fact[i].value);
    }
    doctor_check_host(&host, &report);
    for (size_t i = 0; i < report.count; i++)
        require(report.checks[i].message != NULL);
    doctor_report_fini(&report);
    doctor_visit_fini(&visit);
    return 0;
}
