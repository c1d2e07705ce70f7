/* Distances of rows to their nearest references, for detectors of anomalies.

   A set has few references (some hundreds), so that all distances are computed. LANES rows stand in
   the lanes of a vector: the least distances of all of them are kept sorted without a branch. */
#ifndef AEFAST_NEAREST_H
#define AEFAST_NEAREST_H

#include "kernels/base/workspace.h"
#include "kernels/products/rows.h"
#include "kernels/statistics/statistics.h"

enum {
    /* Vectors of rows, and references, whose distances are summed together in registers. */
    NEAREST_VECTORS = 2,
    NEAREST_TOGETHER = 4,
    /* Rows of a block. */
    NEAREST_ROWS = NEAREST_VECTORS * LANES
};

typedef struct {
    nearest_job *job;
    /* Where the members' buffers begin, one after the other. */
    arena members;
} nearest_pass;

/* One member's rows: a row as it is loaded (d), and a block of them by columns (d, NEAREST_ROWS).
 */
typedef struct {
    real *row, *columns;
} nearest_buffers;

/* The least distances so far, rising, and the places of their references. */
typedef struct {
    vec distance[NEAREST_MOST_RANK][NEAREST_VECTORS];
    ivec place[NEAREST_MOST_RANK][NEAREST_VECTORS];
} nearest_found;

static nearest_buffers carve_nearest(const nearest_job *job, arena *a)
{
    nearest_buffers buffers;
    buffers.row = CARVE(a, real, job->n_features);
    buffers.columns = CARVE(a, real, job->n_features * NEAREST_ROWS);
    return buffers;
}

static int64_t nearest_bytes(const nearest_job *job)
{
    arena a = arena_at(0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_nearest(job, &a);
    return arena_bytes(&a);
}

/* |x - y|, which is 0 where x is missing. */
ALWAYS_INLINE vec difference(vec x, vec y, int missing)
{
    vec size = vec_abs(x - y);
    return missing ? vec_max(size, (vec){0}) : size;
}

/* Insert distances to the reference at a place where they are among the `rank` least. */
ALWAYS_INLINE void insert_distance(nearest_found *f, int v, vec distance, ivec place, int64_t rank)
{
    for (int64_t k = 0; k < rank; ++k) {
        vec old = f->distance[k][v];
        ivec old_place = f->place[k][v], is_less = distance < old;
        f->distance[k][v] = vec_select(is_less, distance, old);
        f->place[k][v] = (place & is_less) | (old_place & ~is_less);
        distance = vec_select(is_less, old, distance);
        place = (old_place & is_less) | (place & ~is_less);
    }
}

/* Visit references [first, first + NEAREST_TOGETHER) of a set with m of them. */
ALWAYS_INLINE void visit_references(const nearest_job *job, const real *columns, const real *set,
                                    int64_t first, int missing, nearest_found *f)
{
    int64_t d = job->n_features, last = job->n_references - 1;
    const real *y[NEAREST_TOGETHER];
    vec sum[NEAREST_TOGETHER][NEAREST_VECTORS] = {{{0}}};
    for (int r = 0; r < NEAREST_TOGETHER; ++r)
        y[r] = set + min_i64(first + r, last) * d;
    for (int64_t j = 0; j < d; ++j) {
        UNROLL(4)
        for (int r = 0; r < NEAREST_TOGETHER; ++r) {
            UNROLL(2)
            for (int v = 0; v < NEAREST_VECTORS; ++v)
                sum[r][v] += difference(vec_load(columns + j * NEAREST_ROWS + v * LANES),
                                        vec_set(y[r][j]), missing);
        }
    }
    for (int64_t r = 0; r < min_i64(NEAREST_TOGETHER, job->n_references - first); ++r)
        for (int v = 0; v < NEAREST_VECTORS; ++v)
            insert_distance(f, v, sum[r][v], ivec_set((real_int)(first + r)), job->rank);
}

/* Write the results of `n` rows from row `first` on for one set. Returns whether they are finite.
 */
static int store_nearest(const nearest_job *job, const nearest_found *f, int64_t first, int64_t n,
                         int64_t set)
{
    int finite = 1;
    for (int64_t i = 0; i < n; ++i) {
        int64_t v = i / LANES, lane = i % LANES, to = (first + i) * job->n_sets + set;
        real distance = f->distance[job->rank - 1][v][lane];
        finite &= distance - distance == 0;
        job->distance[to] = (double)distance;
        job->place[to] = (int32_t)f->place[job->rank - 1][v][lane];
    }
    return finite;
}

static int nearest_of_block(const nearest_job *job, const nearest_buffers *buffers, int64_t first,
                            int64_t n)
{
    int64_t d = job->n_features;
    int status = STATUS_OK;
    for (int64_t i = 0; i < NEAREST_ROWS; ++i) {
        if (i < n) /* otherwise the last row again */
            status |= load_row(&job->rows, first + i, 0, d, buffers->row);
        for (int64_t j = 0; j < d; ++j)
            buffers->columns[j * NEAREST_ROWS + i] = buffers->row[j];
    }
    const real *set = (const real *)job->references;
    for (int64_t b = 0; b < job->n_sets; ++b, set += job->n_references * d) {
        nearest_found f;
        for (int64_t k = 0; k < job->rank; ++k)
            for (int v = 0; v < NEAREST_VECTORS; ++v) {
                f.distance[k][v] = vec_set((real)INFINITY);
                f.place[k][v] = (ivec){0};
            }
        for (int64_t r = 0; r < job->n_references; r += NEAREST_TOGETHER) {
            if (job->rows.missing)
                visit_references(job, buffers->columns, set, r, 1, &f);
            else
                visit_references(job, buffers->columns, set, r, 0, &f);
        }
        status |= store_nearest(job, &f, first, n, b) ? STATUS_OK : STATUS_NOT_FINITE;
    }
    return status;
}

static void nearest_member(void *context, member m)
{
    const nearest_pass *f = (const nearest_pass *)context;
    nearest_job *job = f->job;
    arena a = f->members;
    nearest_buffers buffers = carve_nearest(job, &a);
    for (int i = 0; i < m.index; ++i)
        buffers = carve_nearest(job, &a);
    int64_t n = job->rows.n_rows, blocks = ceil_div(n, NEAREST_ROWS);
    int status = STATUS_OK;
    for (int64_t i = share_begin(m, blocks); i < share_end(m, blocks); ++i)
        status |= nearest_of_block(job, &buffers, i * NEAREST_ROWS,
                                   min_i64(NEAREST_ROWS, n - i * NEAREST_ROWS));
#ifdef _OPENMP
#pragma omp atomic
#endif
    job->status |= status;
}

static void nearest(nearest_job *job)
{
    nearest_pass f = {.job = job, .members = arena_at(job->workspace)};
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, nearest_member, &f);
}

#endif
