/* SPDX-License-Identifier: Apache-2.0 */
/* Short series first, so that a pattern like five blocks with a window and one without is folded inside and then as a
 * whole. What is left out of a series was seen to repeat inside of what is kept, so folding twice proves both. */
#include "predict/memory_fold.h"

#define PERIOD_MAX 8
#define KINDS_MAX 16 /* of blocks that are told apart; more are not folded */

static bool alike(const fold_block *a, const fold_block *b)
{
    return a->kind == b->kind && a->back == b->back;
}

/* Blocks from `at` on that are like those `period` places before them, the last block apart. */
static int repeated(const block_fold *fold, int at, int period)
{
    int i = at + period;
    while (i < fold->count - 1 && alike(&fold->at[i], &fold->at[i - period]))
        i++;
    return (i - at) / period;
}

/* Do the blocks behind a series read all that it reads? Else something dies in it, when it is read for the last time. */
static bool outlived(const block_fold *fold, int at, int period, int end)
{
    for (int i = at; i < at + period; i++) {
        int later = end;
        while (later < fold->count && fold->at[later].reads != fold->at[i].reads)
            later++;
        if (later == fold->count)
            return false;
    }
    return true;
}

/* Of each series stay the times until it has settled and one that shows it, and the last one if it ends differently. */
static void fold_series(block_fold *fold, int period, int shown)
{
    int kept = 0;
    for (int i = 0; i < fold->count;) {
        int times = i < fold->count - 1 ? repeated(fold, i, period) : 1;
        int stay = times > shown && !outlived(fold, i, period, i + times * period) ? shown + 1 : shown;
        fold_block *settled = times > stay ? &fold->at[i + shown * period - 1] : NULL;
        bool folds = settled && !settled->back; /* else a shorter series ends there */
        int count = folds ? stay * period : 1;
        if (folds)
            settled->back = (int16_t)period;
        memmove(&fold->at[kept], &fold->at[i], (size_t)count * sizeof(fold->at[0]));
        kept += count;
        i += folds ? times * period : 1;
    }
    fold->count = kept;
}

void fold_blocks(block_fold *fold, int try)
{
    static const struct {
        int step, shown;
    } how[FOLD_TRIES] = {{1, 2}, {2, 2}, {2, 5}};
    for (int period = 1; try < FOLD_TRIES && period <= PERIOD_MAX; period++)
        if (period % how[try].step == 0)
            fold_series(fold, period, how[try].shown);
}

bool fold_has_experts(const o3_model *model, int i)
{
    return model->experts > 0 && model->experts_used > 0 && i >= model->dense_lead;
}

/* Do two blocks add the same tensors? Whatever memory_graph.c looks at in a layer must be compared here. */
static bool same_kind(const o3_model *m, int host_blocks, int i, int j)
{
    const o3_layer *a = &m->layer[i], *b = &m->layer[j];
    return a->heads_kv == b->heads_kv && a->key_dim == b->key_dim && a->value_dim == b->value_dim &&
           (a->window_tokens > 0) == (b->window_tokens > 0) && fold_has_experts(m, i) == fold_has_experts(m, j) &&
           (i < host_blocks) == (j < host_blocks) && (i + 1 == host_blocks) == (j + 1 == host_blocks) &&
           !a[1].heads_kv == !b[1].heads_kv; /* the next one may be read ahead */
}

void fold_model(block_fold *ret_fold, const o3_model *model, int host_blocks, int try)
{
    block_fold *f = ret_fold;
    int layers = model->layers - model->draft_layers, kinds = 0, first[KINDS_MAX];
    f->count = f->all = layers > 0 ? layers : 0;
    for (int i = 0; i < layers; i++) {
        const o3_layer *l = &model->layer[i];
        int kind = 0, reads = (l->heads_kv > 0) | (l->window_tokens > 0) << 1 | (i < host_blocks) << 2;
        while (kind < kinds && (i + 1 == layers || !same_kind(model, host_blocks, i, first[kind])))
            kind++;
        if (kind == kinds && kinds < KINDS_MAX)
            first[kinds++] = i;
        f->at[i] = (fold_block){(int16_t)i, (int16_t)(kind < KINDS_MAX ? kind : KINDS_MAX + i), (int16_t)reads, 0};
    }
    fold_blocks(f, try);
}
