/* SPDX-License-Identifier: Apache-2.0 */
/* The gpu_metrics blob of amdgpu: a header {u16 size, u8 format, u8 content}, then what this revision has, in the
 * machine's byte order and natural alignment (kernel: kgd_pp_interface.h). All ones = not available. */
#include <limits.h>

#include "hardware/gpu.h"

#define NOWHERE 0

/* Scales turn the field into degrees, shares and watts. The layouts of a row's content revisions agree in these
 * fields. counters: three offsets of u32 each, ended by 0: power, thermal, hardware. */
static const struct layout {
    int format, content_from, content_to;
    uint16_t size, temperature, hotspot, busy, power, status, bandwidth;
    bool power_wide; /* u32 */
    double temperature_scale, busy_scale, power_scale;
    uint16_t counters[3][4];
} layouts[] = {
    {1, 1, 2, 72, 4, 6, 16, 22, NOWHERE, NOWHERE, false, 1, 0.01, 1, {{0}}},
    {1, 3, 3, 120, 4, 6, 16, 22, 112, NOWHERE, false, 1, 0.01, 1, {{0}}},
    {1, 4, 5, 288, NOWHERE, 4, 12, 10, NOWHERE, NOWHERE, false, 1, 0.01, 1, {{0}}},
    {1, 6, 6, 56, NOWHERE, 4, 12, 10, NOWHERE, NOWHERE, false, 1, 0.01, 1, {{40}, {44, 48, 52}, {36}}},
    {1, 7, 8, 64, NOWHERE, 4, 12, 10, NOWHERE, 16, false, 1, 0.01, 1, {{48}, {52, 56, 60}, {44}}},
    {2, 1, 1, 120, 4, NOWHERE, 28, 40, NOWHERE, NOWHERE, false, 0.01, 1e-4, 1e-3, {{0}}},
    {2, 2, 4, 128, 4, NOWHERE, 28, 40, 120, NOWHERE, false, 0.01, 1e-4, 1e-3, {{0}}},
    {3, 0, 0, 256, 4, NOWHERE, 42, 112, NOWHERE, NOWHERE, true, 0.01, 0.01, 1e-3,
     {{232, 236, 240}, {244, 248, 252}, {228}}},
};

static uint64_t field(const uint8_t *bytes, size_t len, size_t at, size_t size)
{
    uint64_t value = 0;
    if (at + size > len)
        return UINT64_MAX;
    for (size_t i = 0; i < size; i++) /* amdgpu runs on little-endian hosts */
        value |= (uint64_t)bytes[at + i] << (8 * i);
    return value == (size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1) ? UINT64_MAX : value;
}

static double scaled(const uint8_t *bytes, size_t len, size_t at, size_t size, double scale)
{
    uint64_t value = at == NOWHERE ? UINT64_MAX : field(bytes, len, at, size);
    return value == UINT64_MAX ? NAN : (double)value * scale;
}

/* The status that means the same on all chips: bits 0-23 power and current, 32-43 temperatures, 44-47 VR and
 * PROCHOT lines. */
static int flags_of(uint64_t status)
{
    return (status & UINT64_C(0xffffff) ? GPU_THROTTLE_POWER : 0) |
           (status >> 32 & 0xfff ? GPU_THROTTLE_THERMAL : 0) | (status >> 44 & 0xf ? GPU_THROTTLE_HARDWARE : 0);
}

static int64_t counter_sum(const uint8_t *bytes, size_t len, const uint16_t at[4])
{
    int64_t sum = at[0] ? 0 : -1;
    for (int i = 0; at[i]; i++) {
        uint64_t value = field(bytes, len, at[i], 4);
        if (value == UINT64_MAX)
            return -1;
        sum += (int64_t)value;
    }
    return sum;
}

static const struct layout *layout_of(const uint8_t *bytes, size_t len)
{
    if (len < 4 || field(bytes, len, 0, 2) > len)
        return NULL;
    for (int i = 0; i < O3_COUNT(layouts); i++) {
        const struct layout *l = &layouts[i];
        if (bytes[2] == l->format && bytes[3] >= l->content_from && bytes[3] <= l->content_to)
            return field(bytes, len, 0, 2) >= l->size ? l : NULL;
    }
    return NULL;
}

bool gpu_metrics_decode(const uint8_t *bytes, size_t len, gpu_metrics *ret_metrics)
{
    gpu_metrics *m = ret_metrics;
    *m = (gpu_metrics){NAN, NAN, NAN, NAN, NAN, -1, {-1, -1, -1}};
    const struct layout *l = layout_of(bytes, len);
    if (!l)
        return false;
    m->temperature_c = scaled(bytes, len, l->temperature, 2, l->temperature_scale);
    m->hotspot_c = scaled(bytes, len, l->hotspot, 2, l->temperature_scale);
    m->busy_frac = scaled(bytes, len, l->busy, 2, l->busy_scale);
    if (m->busy_frac > 1) /* some firmware of format 3 counts hundredths of a per cent */
        m->busy_frac = m->busy_frac <= 100 ? m->busy_frac / 100 : NAN;
    m->power_w = scaled(bytes, len, l->power, l->power_wide ? 4 : 2, l->power_scale);
    double gigabytes = scaled(bytes, len, l->bandwidth, 8, 1);
    m->bandwidth_bytes_per_s = gigabytes > 0 && gigabytes < 1e6 ? gigabytes * 1e9 : NAN;
    uint64_t status = l->status ? field(bytes, len, l->status, 8) : UINT64_MAX;
    if (status != UINT64_MAX)
        m->throttle = flags_of(status);
    for (int i = 0; i < O3_COUNT(m->residency); i++)
        m->residency[i] = counter_sum(bytes, len, l->counters[i]);
    return true;
}
