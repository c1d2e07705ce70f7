/* The items of highest score for each user, without a matrix of all scores.

   A member takes a block of users and goes through the items in strips. Of a dense B the columns of
   a strip stay in cache for all users of the block. The best items of a user so far are a heap, in
   the memory of the result, with the worst of them at the root: a strip whose scores are all lower
   costs a comparison of vectors. A user's result does not depend on the block. */
#ifndef AEFAST_ITEMS_RANKING_H
#define AEFAST_ITEMS_RANKING_H

#include <math.h>

#include "kernels/base/workspace.h"
#include "kernels/items/items.h"
#include "kernels/products/sparse_strip.h"

enum { USERS = 1024, USER_BLOCKS = 32 }; /* most users of a block; blocks that balance the load */

typedef struct {
    ranking_job *job;
    compressed_rows rows;
    /* Users of a block. */
    int64_t n_users;
    share *shares;
    arena members;
} ranking_pass;

/* The state of one user: the heap, and the first entry of the row that is in no strip yet. */
typedef struct {
    real *scores;
    int64_t *items;
    int64_t n, next;
} user_heap;

/* One member's memory. */
typedef struct {
    user_heap *heaps; /* (n_users) */
    real *row;        /* (n_features), of a product with a B in compressed form */
} ranking_buffers;

static ranking_pass carve_ranking(ranking_job *job, void *workspace)
{
    ranking_pass s = {.job = job, .members = arena_at(workspace)};
    s.rows = (compressed_rows){job->row_begin, job->columns, (const real *)job->values};
    s.n_users = max_i64(1, min_i64(USERS, ceil_div(job->n_rows, USER_BLOCKS)));
    s.shares = CARVE(&s.members, share, job->n_threads);
    return s;
}

static ranking_buffers carve_ranking_buffers(const ranking_pass *s, arena *a)
{
    ranking_buffers b;
    b.heaps = CARVE(a, user_heap, s->n_users);
    b.row = CARVE(a, real, s->job->B_begin ? s->job->n_features : 0);
    return b;
}

static int64_t ranking_bytes(const ranking_job *job)
{
    ranking_job measured = *job;
    ranking_pass s = carve_ranking(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_ranking_buffers(&s, &s.members);
    return arena_bytes(&s.members);
}

/* Whether entry a of the heap comes after entry b in the result. */
ALWAYS_INLINE int is_worse(real score_a, int64_t item_a, real score_b, int64_t item_b)
{
    return score_a < score_b || (score_a == score_b && item_a > item_b);
}

/* Put an entry at the root of a heap of n entries and let it sink to its place. */
static void sink(real *scores, int64_t *items, int64_t n, real score, int64_t item)
{
    int64_t at = 0;
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n &&
            is_worse(scores[child + 1], items[child + 1], scores[child], items[child]))
            ++child;
        if (!is_worse(scores[child], items[child], score, item))
            break;
        scores[at] = scores[child];
        items[at] = items[child];
    }
    scores[at] = score;
    items[at] = item;
}

/* Add an entry: items come in rising order, so that an equal score of a full heap stays out. */
static void offer(user_heap *h, int64_t n_best, real score, int64_t item)
{
    if (h->n == n_best) {
        if (score > h->scores[0])
            sink(h->scores, h->items, n_best, score, item);
        return;
    }
    int64_t at = h->n++;
    for (int64_t parent; at > 0; at = parent) {
        parent = (at - 1) / 2;
        if (!is_worse(score, item, h->scores[parent], h->items[parent]))
            break;
        h->scores[at] = h->scores[parent];
        h->items[at] = h->items[parent];
    }
    h->scores[at] = score;
    h->items[at] = item;
}

/* Offer the n scores of the items from `first` on. `scores` has room for whole vectors, and is
   changed where items are left out. Returns the lanes of scores that are not finite. */
static ivec offer_strip(const ranking_pass *s, user_heap *h, int64_t user, int64_t first, int64_t n,
                        real *scores)
{
    const ranking_job *job = s->job;
    const real none = -(real)INFINITY;
    ivec bad = {0};
    for (int64_t j = n; j % LANES; ++j)
        scores[j] = 0;
    for (int64_t j = 0; j < n; j += LANES)
        bad |= vec_load(scores + j) - vec_load(scores + j) != vec_set(0);
    for (int64_t j = n; j % LANES; ++j)
        scores[j] = none;
    if (job->exclude_seen)
        for (; h->next < job->row_begin[user + 1] && job->columns[h->next] < first + n; ++h->next)
            scores[job->columns[h->next] - first] = none;
    if (job->allowed)
        for (int64_t j = 0; j < n; ++j)
            if (!job->allowed[first + j])
                scores[j] = none;
    for (int64_t j = 0; j < n; j += LANES) {
        vec least = vec_set(h->n == job->n_best ? h->scores[0] : none);
        if (!any_lane(vec_load(scores + j) > least))
            continue;
        for (int64_t i = j; i < min_i64(n, j + LANES); ++i)
            if (scores[i] > none)
                offer(h, job->n_best, scores[i], first + i);
    }
    return bad;
}

/* Sort a heap by falling scores, and fill the rest of the result. */
static void finish_heap(const ranking_job *job, user_heap *h)
{
    for (int64_t n = h->n; n > 1; --n) {
        real score = h->scores[n - 1];
        int64_t item = h->items[n - 1];
        h->scores[n - 1] = h->scores[0];
        h->items[n - 1] = h->items[0];
        sink(h->scores, h->items, n - 1, score, item);
    }
    for (int64_t i = h->n; i < job->n_best; ++i) {
        h->scores[i] = -(real)INFINITY;
        h->items[i] = -1;
    }
}

/* Offer all scores of a row in memory, which is not changed. */
static ivec offer_row(const ranking_pass *s, user_heap *h, int64_t user, const real *row)
{
    real scores[STRIP];
    ivec bad = {0};
    for (int64_t first = 0; first < s->job->n_features; first += STRIP) {
        int64_t n = min_i64(STRIP, s->job->n_features - first);
        memcpy(scores, row + first, (size_t)n * sizeof *scores);
        bad |= offer_strip(s, h, user, first, n, scores);
    }
    return bad;
}

/* Compute the scores of a user by a B in compressed form. */
static void scatter_row(const ranking_job *job, int64_t user, real *row)
{
    const real *values = (const real *)job->values, *B = (const real *)job->B;
    memset(row, 0, (size_t)job->n_features * sizeof *row);
    for (int64_t p = job->row_begin[user]; p < job->row_begin[user + 1]; ++p) {
        int64_t item = job->columns[p];
        for (int64_t q = job->B_begin[item]; q < job->B_begin[item + 1]; ++q)
            row[job->B_columns[q]] += values[p] * B[q];
    }
}

static ivec rank_by_dense(const ranking_pass *s, int64_t begin, int64_t end, user_heap *heaps)
{
    const ranking_job *job = s->job;
    int64_t d = job->n_features, last = job->row_begin[job->n_rows] - 1;
    ivec bad = {0};
    for (int64_t first = 0; first < d; first += STRIP)
        for (int64_t user = begin; user < end; ++user) {
            real scores[STRIP];
            vec sum[STRIP_VECTORS];
            int64_t n = min_i64(STRIP, d - first);
            if (n == STRIP)
                sparse_strip(&s->rows, user, last, (const real *)job->B, d, first, STRIP, 1, sum);
            else
                sparse_strip(&s->rows, user, last, (const real *)job->B, d, first, n, 0, sum);
            for (int v = 0; v < STRIP_VECTORS; ++v)
                vec_store(scores + v * LANES, sum[v]);
            bad |= offer_strip(s, heaps + (user - begin), user, first, n, scores);
        }
    return bad;
}

/* Rank the items of users [begin, end). */
static ivec rank_block(const ranking_pass *s, int64_t begin, int64_t end, ranking_buffers b)
{
    const ranking_job *job = s->job;
    for (int64_t user = begin; user < end; ++user)
        b.heaps[user - begin] = (user_heap){.scores = (real *)job->best + user * job->n_best,
                                            .items = job->items + user * job->n_best,
                                            .next = job->row_begin[user]};
    ivec bad = {0};
    if (!job->scores && !job->B_begin)
        bad = rank_by_dense(s, begin, end, b.heaps);
    else
        for (int64_t user = begin; user < end; ++user) {
            const real *row = b.row;
            if (job->scores)
                row = (const real *)job->scores + user * job->n_features;
            else
                scatter_row(job, user, b.row);
            bad |= offer_row(s, b.heaps + (user - begin), user, row);
        }
    for (int64_t user = begin; user < end; ++user)
        finish_heap(job, b.heaps + (user - begin));
    return bad;
}

static void ranking_member(void *context, member m)
{
    const ranking_pass *s = (const ranking_pass *)context;
    arena a = s->members;
    ranking_buffers b = carve_ranking_buffers(s, &a);
    for (int i = 0; i < m.index; ++i)
        b = carve_ranking_buffers(s, &a);
    ivec bad = {0};
    work blocks = begin_work(m, s->shares, ceil_div(s->job->n_rows, s->n_users));
    while (take_items(&blocks, 1))
        bad |= rank_block(s, blocks.begin * s->n_users,
                          min_i64(s->job->n_rows, blocks.end * s->n_users), b);
    int status = any_lane(bad) ? ITEMS_NOT_FINITE : ITEMS_OK;
#ifdef _OPENMP
#pragma omp atomic
#endif
    s->job->status |= status;
}

static void ranking(ranking_job *job)
{
    ranking_pass s = carve_ranking(job, job->workspace);
    job->status = ITEMS_OK;
    memset(s.shares, 0, (size_t)job->n_threads * sizeof *s.shares);
    team_run(job->n_threads, FLOAT_MODE_IEEE, ranking_member, &s);
}

#endif
