/* SPDX-License-Identifier: Apache-2.0 */
/* The measurement runs on this very machine: what it says must be possible, must repeat, and must not take long. Where
 * it may not measure, it says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/hardware.h"

static o3_profile *this_machine(void)
{
    o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_auto(free) o3_config *config = o3_alloc(1, sizeof(*config));
    o3_notes notes = {0};
    o3_err err = {0};
    if (o3_config_load(config, NULL, NULL, NULL, &notes, &err) || o3_profile_read(profile, "/", config, -1, true, &err))
        fail_msg("%s", err.message);
    return profile;
}

static void is_quick_and_possible(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = this_machine();
    o3_err err = {0};
    int64_t begin = o3_now_ns();
    assert_true(isnan(p->bandwidth.all_bytes_per_s));
    o3_status status = o3_bandwidth_measure(&p->bandwidth, p, "/", &err);
    double took_s = (double)(o3_now_ns() - begin) / 1e9;
    if (status == O3_E_IMPOSSIBLE) { /* a small container */
        print_message("skipped: %s\n", err.message);
        skip();
    }
    const o3_bandwidth *b = &p->bandwidth;
    assert_int_equal(status, O3_OK);
    if (took_s > 4) /* two where nothing else runs */
        fail_msg("it took %.1f s", took_s);
    /* From an old board to the fastest memory there is, for each core and for all. */
    assert_true(b->one_bytes_per_s > 0.2e9 && b->one_bytes_per_s < 400e9);
    assert_true(b->all_bytes_per_s > 0.2e9 && b->all_bytes_per_s < 4e12);
    assert_true(b->half_bytes_per_s > 0.2e9 && b->half_bytes_per_s < 4e12);
    assert_true(b->flops_per_s > 0.2e9 && b->flops_per_s < 400e9 * (p->usable_cpus < 1 ? 1 : p->usable_cpus));
    assert_true(b->measured_unix_ms > 0);
}

static void refused(o3_profile *p, o3_status wanted, const char *word)
{
    o3_err err = {0};
    o3_bandwidth before = p->bandwidth;
    assert_int_equal(o3_bandwidth_measure(&p->bandwidth, p, "/", &err), wanted);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" does not say %s", err.message, word);
    assert_memory_equal(&p->bandwidth, &before, sizeof(before));
}

static void says_why_not(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = this_machine();
    int64_t available = p->ram_available_bytes;
    p->ram_available_bytes = 32 << 20;
    refused(p, O3_E_IMPOSSIBLE, "32 MiB");
    p->ram_available_bytes = available;
    p->pool_count = 1;
    p->pools[0] = (o3_pool){.cgroup = 1, .total_bytes = 100 << 20, .safe_bytes = 85 << 20, .used_bytes = 45 << 20};
    refused(p, O3_E_IMPOSSIBLE, "40 MiB");
    p->pool_count = 0;
    O3_COPY(p->cpu_list, "8000-8001");
    refused(p, O3_E_IMPOSSIBLE, "8000-8001");
    p->engine_local = false;
    refused(p, O3_E_IMPOSSIBLE, "another machine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_quick_and_possible), cmocka_unit_test(says_why_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
