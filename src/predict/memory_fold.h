/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks of a model have to be replayed. Blocks of the same kind in a row, or in the same order again and again,
 * soon leave the allocator as they found it; those between bring nothing new and are left out. Whether it was so is
 * seen in the replay: the state behind a block that comes `back` blocks after another must be the same. */
#ifndef O3_MEMORY_FOLD_H
#define O3_MEMORY_FOLD_H

#include "base/base.h"
#include "o3/model.h"

typedef struct fold_block {
    int16_t number; /* of the model's blocks */
    int16_t kind;   /* alike = the same tensors */
    int16_t reads;  /* alike = the same tensors of those that blocks share: masks, positions */
    int16_t back;   /* > 0: the state behind it must be that behind the block so many places before */
} fold_block;

typedef struct block_fold {
    int count, all; /* blocks that are left, blocks of the model */
    fold_block at[O3_LAYERS_MAX];
} block_fold;

#define FOLD_TRIES 3
/* Leaves out what repeats; each try up to FOLD_TRIES - 1 leaves out less, and those from there on nothing. The last block
 * of a model is never part of a series. */
void fold_blocks(block_fold *fold, int try);
/* The same of a model whose first host_blocks blocks lie on the host. */
void fold_model(block_fold *ret_fold, const o3_model *model, int host_blocks, int try);
/* Does block i choose among experts? */
bool fold_has_experts(const o3_model *model, int i);

#endif
