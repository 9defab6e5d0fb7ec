/* SPDX-License-Identifier: Apache-2.0 */
/* A graph's tensors in the order of their evaluation, and the buffer that llama.cpp would need for them. */
#ifndef O3_MEMORY_PLAN_H
#define O3_MEMORY_PLAN_H

#include "base/base.h"

#define PLAN_BLOCK_NODES 64 /* the largest kind of block has fewer */
#define PLAN_SOURCES 6

typedef enum plan_kind {
    PLAN_INPUT,   /* lies there before the first node is evaluated, until its last use */
    PLAN_FRESH,   /* needs bytes of its own */
    PLAN_INPLACE, /* takes over the bytes of a source of its size that nobody else needs */
    PLAN_SINK,    /* writes into memory outside (a cache) */
    PLAN_MARK,    /* no tensor: here the state of the buffer is taken down */
} plan_kind;

typedef struct plan_node {
    uint8_t kind;    /* plan_kind */
    uint8_t sources; /* places of source[] that are in use */
    bool placed;
    int uses;
    int source[PLAN_SOURCES]; /* numbers of other nodes; 0 = none */
    int64_t bytes, offset;    /* a mark's offset is its state */
} plan_node;

typedef struct graph_plan {
    int count, most;
    plan_node node[]; /* number 1 is node[0] */
} graph_plan;
/* With room for so many blocks and what lies around them; the caller frees. */
graph_plan *plan_new(int blocks);

/* Adds a tensor and returns its number, from 1 on. A full plan takes no more (returns 0). */
int plan_add(graph_plan *plan, plan_kind kind, double bytes, const int source[PLAN_SOURCES]);
#define PLAN_ADD(plan, kind, bytes, ...) plan_add((plan), (kind), (bytes), (const int[PLAN_SOURCES]){__VA_ARGS__})
/* Marks a place; a and b (0 = none) are what lives there and is not needed to the end. */
int plan_mark(graph_plan *plan, int a, int b);
/* Bytes of the buffer that holds them all. Consumes the plan's counts: call it once. */
double plan_bytes(graph_plan *plan);
/* After that: were the same bytes free at both marks, and their tensors at the same places? */
bool plan_same(const graph_plan *plan, int mark, int other);

#endif
