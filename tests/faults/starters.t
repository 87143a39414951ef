# SPDX-License-Identifier: BSD-2-Clause
# kill -9 of shims and spawner, alone and together with the daemon (kill9.c). STARTER_KILLS and SEED override.
top=$(cd "$(dirname "$0")/../.." && pwd)
exec "$top/build/faults/kill9" --starters --kills "${STARTER_KILLS:-400}" ${SEED:+--seed "$SEED"} \
    "${HIVE:-$top/build/hive}"
