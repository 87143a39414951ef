/* SPDX-License-Identifier: BSD-2-Clause */
/* A test program whose tests were lost, for harness.t. */
#include "unit/unit.h"

int fixture_nothing(void);

int fixture_nothing(void)
{
    return 0;
}
