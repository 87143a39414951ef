/* SPDX-License-Identifier: BSD-2-Clause */
/* A leak, for harness.t: a failure where the sanitizer is on. */
#include "unit/unit.h"

TEST(leaks)
{
    char *volatile lost = mem_alloc(100);

    lost = NULL;
    CHECK(!lost);
}
