/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of --own-server: the rows, the one private server that runs, and what was taken in turns. */
#ifndef O3_TUNE_OWN_IMPL_H
#define O3_TUNE_OWN_IMPL_H

#include "tune_impl.h"

#define OWN_TURNS 4 /* visits of each row that is compared: twice there and back */

typedef struct own {
    session *s;
    o3_request request;  /* of the sessions on private servers */
    o3_setting settings[O3_SERVERS_MAX];
    o3_private *server;  /* the one that runs; NULL none */
    session *sub;
    o3_result *scratch;  /* of sub */
    int row;             /* of sub; -1 none */
    char prefix[48];     /* of sub's purposes */
    double share_s;      /* of the time left, for the next row: none may eat what the others need */
    double start_s;      /* what a start took */
    int64_t num_ctx, depth; /* of the turns */
    int taken[O3_SERVERS_MAX];
    double decode[O3_SERVERS_MAX][OWN_TURNS], prefill[O3_SERVERS_MAX][OWN_TURNS];
    bool disturbed[O3_SERVERS_MAX];
    bool out_of_time;
} own;

/* own_server.c: the private server of this row runs, and o->sub is its session; the last one ended before. */
o3_status own_open(own *o, int row, o3_err *err);
/* After a visit of a row: if its setting is not at work, the trial is made to say so and the row has its note. */
o3_status own_believe(own *o, const o3_trial *trial, o3_err *err);
/* What failed: the row alone (O3_OK, it has its note), or the run. */
o3_status own_failed(own *o, int row, o3_status status, const char *message, o3_err *err);

/* own_turns.c */
visit_plan own_turn_plan(const own *o, int64_t depth, const char *prefix, int turn);
o3_status own_take_turns(own *o, o3_err *err);
void own_take_rates(own *o);

#endif
