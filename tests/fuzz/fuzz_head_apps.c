/* SPDX-License-Identifier: BSD-2-Clause */
/* STATE/apps.json: whatever is in it, what was read is written and read back as the same. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "head/head_apps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head_apps *a = head_apps_create(), *b = head_apps_create();
    struct buf once = BUF_INIT, twice = BUF_INIT;

    if (head_apps_read(a, (const char *)data, size, NULL) == 0) {
        require(head_apps_count(a) <= HEAD_APPS_MAX);
        head_apps_write(a, &once);
        require(head_apps_read(b, buf_data(&once), buf_len(&once), NULL) == 0);
        require(head_apps_count(a) == head_apps_count(b));
        head_apps_write(b, &twice);
        require(str_eq(buf_data(&once), buf_data(&twice)));
    }
    head_apps_destroy(a);
    head_apps_destroy(b);
    buf_fini(&once);
    buf_fini(&twice);
    return 0;
}
