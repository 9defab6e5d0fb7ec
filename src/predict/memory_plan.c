/* SPDX-License-Identifier: Apache-2.0 */
/* llama.cpp packs all tensors of one worst-case batch into one buffer: each is placed, in the order of evaluation, in
 * the smallest hole that takes it (else at the end), may take over the bytes of an operand that dies with it, and
 * leaves a hole after its last use. The holes decide 0-30 % of the size, so they are replayed here and not fitted.
 * The rules are those of the graph allocator of ggml (b10488), observed through its debug output. */
#include "predict/memory_plan.h"

#define ALIGNMENT 64
#define HOLES_MAX 256

typedef struct hole {
    int64_t offset, bytes;
} hole;

typedef struct plan_space {
    int holes; /* in order of their offset; the last one is the endless rest */
    hole hole[HOLES_MAX];
    int64_t peak;
} plan_space;

graph_plan *plan_new(int blocks)
{
    int most = ((blocks > 0 ? blocks : 0) + 2) * PLAN_BLOCK_NODES;
    graph_plan *plan = o3_alloc_dirty(sizeof(*plan) + (size_t)most * sizeof(plan->node[0]));
    *plan = (graph_plan){.most = most}; /* nodes are written as they are added */
    return plan;
}

int plan_add(graph_plan *plan, plan_kind kind, double bytes, const int source[PLAN_SOURCES])
{
    if (plan->count == plan->most)
        return 0;
    plan_node *node = &plan->node[plan->count];
    int64_t whole = bytes > 0 && bytes < 1e15 ? (int64_t)bytes : 0;
    *node = (plan_node){.kind = (uint8_t)kind, .bytes = (whole + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT};
    for (int i = 0; i < PLAN_SOURCES; i++) {
        node->source[i] = source[i];
        if (source[i]) {
            plan->node[source[i] - 1].uses++;
            node->sources = (uint8_t)(i + 1);
        }
    }
    return ++plan->count;
}

int plan_mark(graph_plan *plan, int a, int b)
{
    int mark = PLAN_ADD(plan, PLAN_MARK, 0, 0);
    if (mark) { /* it looks at them and does not use them */
        plan->node[mark - 1].source[0] = a;
        plan->node[mark - 1].source[1] = b;
    }
    return mark;
}

bool plan_same(const graph_plan *plan, int mark, int other)
{
    return mark && other && plan->node[mark - 1].offset == plan->node[other - 1].offset;
}

static void drop_hole(plan_space *space, int i)
{
    space->holes--;
    for (; i < space->holes; i++)
        space->hole[i] = space->hole[i + 1];
}

static int64_t take(plan_space *space, int64_t bytes)
{
    int best = space->holes - 1;
    for (int i = 0; i < space->holes - 1; i++)
        if (space->hole[i].bytes >= bytes && (best == space->holes - 1 || space->hole[i].bytes <= space->hole[best].bytes))
            best = i;
    int64_t offset = space->hole[best].offset;
    space->hole[best].offset += bytes;
    space->hole[best].bytes -= bytes;
    if (!space->hole[best].bytes)
        drop_hole(space, best);
    if (offset + bytes > space->peak)
        space->peak = offset + bytes;
    return offset;
}

static void give(plan_space *space, int64_t offset, int64_t bytes)
{
    int at = 0;
    while (at < space->holes - 1 && space->hole[at].offset < offset)
        at++;
    bool before = at > 0 && space->hole[at - 1].offset + space->hole[at - 1].bytes == offset;
    bool after = offset + bytes == space->hole[at].offset;
    if (before) {
        space->hole[at - 1].bytes += bytes + (after ? space->hole[at].bytes : 0);
        if (after)
            drop_hole(space, at);
    } else if (after) {
        space->hole[at].offset = offset;
        space->hole[at].bytes += bytes;
    } else if (bytes > 0 && space->holes < HOLES_MAX) {
        for (int i = space->holes++; i > at; i--)
            space->hole[i] = space->hole[i - 1];
        space->hole[at] = (hole){offset, bytes};
    }
}

static plan_node *source_of(graph_plan *plan, const plan_node *node, int i)
{
    return node->source[i] ? &plan->node[node->source[i] - 1] : NULL;
}

/* Takes over a source that dies with this node; false if there is none of the right size. */
static bool inherit(graph_plan *plan, plan_node *node)
{
    for (int i = 0; i < node->sources && node->kind == PLAN_INPLACE; i++) {
        plan_node *from = source_of(plan, node, i);
        if (!from || !from->placed || from->uses != 1 || from->bytes != node->bytes)
            continue;
        node->offset = from->offset;
        from->placed = false;
        return true;
    }
    return false;
}

/* Steele, Lea & Flood 2014, the finaliser of SplitMix64. */
static uint64_t mix(uint64_t state, int64_t value)
{
    uint64_t z = state * 0x9e3779b97f4a7c15 + (uint64_t)value;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* What is free and where the tensors of the mark lie, in one number. */
static int64_t state_of(const plan_space *space, const graph_plan *plan, const plan_node *mark)
{
    uint64_t state = (uint64_t)space->holes;
    for (int i = 0; i < 2; i++)
        state = mix(state, mark->source[i] ? plan->node[mark->source[i] - 1].offset : -1);
    for (int i = 0; i < space->holes; i++)
        state = mix(mix(state, space->hole[i].offset), space->hole[i].bytes);
    return (int64_t)state;
}

double plan_bytes(graph_plan *plan)
{
    plan_space space; /* not all of it is set: most graphs have a dozen holes */
    space.holes = 1;
    space.peak = 0;
    space.hole[0] = (hole){0, INT64_MAX / 2};
    for (int i = 0; i < plan->count; i++)
        if (plan->node[i].kind == PLAN_INPUT && plan->node[i].bytes) {
            plan->node[i].offset = take(&space, plan->node[i].bytes);
            plan->node[i].placed = true;
        }
    for (int i = 0; i < plan->count; i++) {
        plan_node *node = &plan->node[i];
        if (node->kind == PLAN_INPUT)
            continue;
        if (node->kind == PLAN_MARK) {
            node->offset = state_of(&space, plan, node);
            continue;
        }
        if (node->kind != PLAN_SINK && node->bytes) {
            if (!inherit(plan, node))
                node->offset = take(&space, node->bytes);
            node->placed = true;
        }
        for (int j = 0; j < node->sources; j++) {
            plan_node *from = source_of(plan, node, j);
            if (from && --from->uses == 0 && from->placed) {
                give(&space, from->offset, from->bytes);
                from->placed = false;
            }
        }
    }
    return (double)space.peak;
}
