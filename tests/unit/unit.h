/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unit tests. A test file has TEST(name) { ... } blocks and nothing else to register: each block
 * enters itself into a linker section, so that a test that was written is a test that runs.
 *
 * Each test runs in a child process of its own, with a deadline of 60 seconds (UNIT_DEADLINE_S
 * overrides it). It fails by a failed CHECK, a crash, a leak or other finding of the sanitizer, the
 * deadline, an exit() before its end, or by leaving processes running: none of these is ever
 * "expected". Its standard output is standard error. Output is TAP; `test_x NAME` runs one test.
 */
#ifndef HIVE_TESTS_UNIT_H
#define HIVE_TESTS_UNIT_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct unit_test {
    const char *name;
    void (*fn)(void);
};

/* clang's ASan would put a red zone between the entries; gcc leaves named sections alone. */
#ifdef __clang__
#define UNIT_NO_PADDING , no_sanitize("address")
#else
#define UNIT_NO_PADDING
#endif

#define TEST(id)                                                                                   \
    static void unit_fn_##id(void);                                                                \
    static const struct unit_test unit_row_##id = { #id, unit_fn_##id };                           \
    static const struct unit_test *const unit_ptr_##id                                             \
        __attribute__((section("unit_tests"), used UNIT_NO_PADDING)) = &unit_row_##id;             \
    static void unit_fn_##id(void)

void unit_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void unit_check_str(const char *file, int line, const char *expr, const char *got,
                    const char *want);
void unit_check_int(const char *file, int line, const char *expr, int64_t got, int64_t want);

/* A folder of the test's own under $TMPDIR, made by the first call, removed when the test ends. */
const char *unit_tmpdir(void);

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            unit_fail(__FILE__, __LINE__, "%s", #cond);                                            \
    } while (0)
#define CHECK_STR(got, want) unit_check_str(__FILE__, __LINE__, #got, (got), (want))
#define CHECK_INT(got, want)                                                                       \
    unit_check_int(__FILE__, __LINE__, #got, (int64_t)(got), (int64_t)(want))
/* For calls with a struct err: prints its message when the call failed. */
#define CHECK_OK(call, errp)                                                                       \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            unit_fail(__FILE__, __LINE__, "%s: %s", #call, (errp)->msg);                           \
    } while (0)

#endif
