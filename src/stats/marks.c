/* SPDX-License-Identifier: Apache-2.0 */
/* Marks on samples by what was known of the machine while they were taken. A mark is a reason to repeat a sample and to
 * say why; it is no reason to drop it unsaid. */
#include <stddef.h>

#include "stats_impl.h"

const stats_bounds stats_bounds_default = {
    .foreign_cpu_frac = 0.10, .psi_memory_frac = 0.10, .throttled_frac = 0.01, .clock_drop_frac = 0.10,
    .temperature_c = 85};

static const struct {
    unsigned mark;
    size_t reading, bound;
} above[] = {
    {STATS_MARK_FOREIGN, offsetof(stats_conditions, foreign_cpu_frac), offsetof(stats_bounds, foreign_cpu_frac)},
    {STATS_MARK_MEMORY, offsetof(stats_conditions, psi_memory_frac), offsetof(stats_bounds, psi_memory_frac)},
    {STATS_MARK_THROTTLED, offsetof(stats_conditions, throttled_frac), offsetof(stats_bounds, throttled_frac)},
    {STATS_MARK_HOT, offsetof(stats_conditions, temperature_c), offsetof(stats_bounds, temperature_c)},
};

static double member(const void *of, size_t offset)
{
    return *(const double *)((const char *)of + offset);
}

int stats_marks(const stats_conditions *conditions, int n, const stats_bounds *bounds, unsigned *ret_marks)
{
    double fastest_hz = NAN;
    int marked = 0;
    for (int i = 0; i < n; i++)
        fastest_hz = fmax(fastest_hz, conditions[i].clock_hz); /* fmax passes over NaN */
    for (int i = 0; i < n; i++) {
        ret_marks[i] = conditions[i].clock_hz < fastest_hz * (1 - bounds->clock_drop_frac) ? STATS_MARK_CLOCK : 0;
        for (size_t k = 0; k < sizeof above / sizeof *above; k++)
            if (member(&conditions[i], above[k].reading) > member(bounds, above[k].bound))
                ret_marks[i] |= above[k].mark;
        marked += ret_marks[i] != 0;
    }
    return marked;
}
