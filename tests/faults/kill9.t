# SPDX-License-Identifier: BSD-2-Clause
# kill -9 of the daemon 1,000 times at random moments under a stream of submits (kill9.c). KILLS and SEED override.
top=$(cd "$(dirname "$0")/../.." && pwd)
exec "$top/build/faults/kill9" --kills "${KILLS:-1000}" ${SEED:+--seed "$SEED"} "${HIVE:-$top/build/hive}"
