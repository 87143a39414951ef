/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Included first by every .c file of ours (through mem.h): functions whose misuse has cost others
 * dearly do not compile here. Use buf_*, str_*, and the spawner instead.
 */
#ifndef HIVE_BASE_SAFE_H
#define HIVE_BASE_SAFE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strtok system popen gets atoi atol atoll strncpy \
    strncat tmpnam mktemp

#endif
