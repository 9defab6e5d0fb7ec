/* SPDX-License-Identifier: Apache-2.0 */
/* Leaving out the blocks that repeat must not change a byte: against the replay of all blocks, for the models of the
 * oracle, of the simulator and of layers drawn at random, at settings drawn at random. And it must leave some out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "oracle.h"
#include "predict/memory_fold.h"
#include "simulate/simulate_impl.h"

#define DRAWS 60 /* settings a model */

static o3_setting draw_setting(o3_rng *rng)
{
    static const char *const types[] = {"f16", "q8_0", "q4_0"};
    static const int batches[] = {32, 128, 512, 2048, 77};
    static const o3_era eras[] = {O3_ERA_C, O3_ERA_C, O3_ERA_MIDDLE, O3_ERA_A};
    o3_setting s = {.knobs = O3_KNOBS_DEFAULT, .parallel = 1 + (int)o3_rng_below(rng, 4) / 2 * (int)o3_rng_below(rng, 4)};
    s.knobs.num_ctx = (int32_t)(1 + o3_rng_below(rng, 1u << (1 + o3_rng_below(rng, 10)))) * O3_CTX_GRID;
    s.knobs.num_batch = batches[o3_rng_below(rng, O3_COUNT(batches))];
    s.flash_attention = o3_rng_below(rng, 2);
    s.kv_unified = o3_rng_below(rng, 4) == 0;
    s.kv_type = o3_kv_type_find(types[s.flash_attention ? o3_rng_below(rng, 3) : 0]);
    s.era = eras[o3_rng_below(rng, O3_COUNT(eras))];
    return s;
}

/* On the host, on a device, and with some of the first blocks on the host. */
static void compare(const o3_model *m, o3_rng *rng)
{
    for (int i = 0; i < DRAWS; i++) {
        o3_setting s = draw_setting(rng);
        batch_shape shape = predict_shape(m, &s);
        int layers = m->layers > 1 ? m->layers - 1 : 1;
        int host[] = {-1, 0, 1 + (int)o3_rng_below(rng, (uint32_t)layers), layers};
        int blocks = host[o3_rng_below(rng, O3_COUNT(host))];
        double folded = predict_compute(m, &s, &shape, blocks), whole = predict_compute_whole(m, &s, &shape, blocks);
        if (folded < whole || folded > whole)
            fail_msg("%s num_ctx %d num_batch %d slots %d flash %d %s era %d, %d blocks on the host: %.0f bytes, not %.0f",
                     m->name, s.knobs.num_ctx, s.knobs.num_batch, s.parallel, s.flash_attention, s.kv_type->name, s.era,
                     blocks, folded, whole);
    }
}

static void models_of_the_oracle(void **state)
{
    (void)state;
    char path[1024], line[1024], *field[ORACLE_COLUMNS];
    O3_FORMAT(path, "%s/tests/fixtures/predict/oracle.csv", getenv("O3_SOURCE_ROOT"));
    o3_auto(file) FILE *file = fopen(path, "r");
    assert_non_null(file);
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    o3_rng rng;
    int models = 0;
    o3_rng_seed(&rng, 1, 1);
    while (fgets(line, sizeof(line), file)) {
        oracle_split(line, field);
        if (strcmp(field[0], "M"))
            continue;
        oracle_model(m, field);
        compare(m, &rng);
        models++;
    }
    assert_int_equal(models, 36);
}

static void models_of_the_simulator(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    o3_rng rng;
    o3_rng_seed(&rng, 1, 2);
    for (int i = 0; i < sim_model_count; i++) {
        sim_model_make(i, m);
        compare(m, &rng);
    }
}

/* Sizes of one model, layers as they fall: patterns, islands, single odd ones. */
static void layers_at_random(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    o3_rng rng;
    o3_rng_seed(&rng, 1, 3);
    for (int n = 0; n < 60; n++) {
        sim_model_make((int)o3_rng_below(&rng, (uint32_t)sim_model_count), m);
        m->layers = 1 + (int)o3_rng_below(&rng, 70);
        m->dense_lead = (int)o3_rng_below(&rng, 4);
        int every = 1 + (int)o3_rng_below(&rng, 9), odd = 1 + (int)o3_rng_below(&rng, 30), start = (int)o3_rng_below(&rng, 9);
        for (int i = 0; i < m->layers; i++) {
            m->layer[i] = m->layer[0];
            m->layer[i].window_tokens = (i + start) % every ? 1024 : 0;
            m->layer[i].heads_kv = o3_rng_below(&rng, (uint32_t)odd) ? m->heads_kv : 2 * m->heads_kv;
        }
        compare(m, &rng);
    }
}

static block_fold fold_of(const char *kinds, int try)
{
    block_fold fold = {.count = (int)strlen(kinds), .all = (int)strlen(kinds)};
    for (int i = 0; i < fold.count; i++)
        fold.at[i] = (fold_block){(int16_t)i, (int16_t)(i + 1 < fold.count ? kinds[i] : 0), (int16_t)kinds[i], 0};
    fold_blocks(&fold, try);
    return fold;
}

static void series_are_left_out(void **state)
{
    (void)state;
    block_fold fold = fold_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0);
    assert_int_equal(fold.count, 3); /* two of the series, and the last block */
    assert_int_equal(fold.at[1].back, 1);
    assert_int_equal(fold.at[2].number, 31);
    fold = fold_of("aaaaaaaab", 0);
    assert_int_equal(fold.count, 4); /* nothing behind it reads what all of a read: its last one ends otherwise */
    fold = fold_of("abababababababababababab", 0);
    assert_int_equal(fold.count, 6);
    assert_int_equal(fold.at[3].back, 2);
    fold = fold_of("wwwwwfwwwwwfwwwwwfwwwwwfwwwwwfwwwwwf", 0);
    assert_in_range(fold.count, 8, 12);
    fold = fold_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", FOLD_TRIES);
    assert_int_equal(fold.count, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(models_of_the_oracle), cmocka_unit_test(models_of_the_simulator),
                                       cmocka_unit_test(layers_at_random), cmocka_unit_test(series_are_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
