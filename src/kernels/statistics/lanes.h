/* Linear algebra of LANES small problems at once, one in each lane. A lower triangle (k, k) is
   stored by rows, entry (a, b) at a (a + 1) / 2 + b. */
#ifndef AEFAST_LANES_H
#define AEFAST_LANES_H

#include "kernels/base/parallel.h"
#include "kernels/base/vec.h"

enum {
    /* Columns whose sums stay in registers; columns of operands are padded to a multiple. */
    LANES_UNIT = 8
};

/* Product of pivots from which its logarithm is taken; it leaves room for one more pivot. */
#define LARGEST_PRODUCT ((real)1e15)

static int64_t lanes_padded(int64_t n) { return ceil_div(n, LANES_UNIT) * LANES_UNIT; }

/* out (columns) = a (n) B (n, columns) in each lane, with B in blocks [columns /
   LANES_UNIT][depth][ LANES_UNIT], of which the first n <= depth rows are read. */
static void lanes_times(int64_t n, int64_t depth, int64_t columns, const vec *a, const real *B,
                        vec *out)
{
    for (int64_t c = 0; c < columns; c += LANES_UNIT, B += depth * LANES_UNIT) {
        vec sum[LANES_UNIT] = {{0}};
        for (int64_t j = 0; j < n; ++j) {
            UNROLL(8)
            for (int i = 0; i < LANES_UNIT; ++i)
                sum[i] = vec_fma(a[j], vec_set(B[j * LANES_UNIT + i]), sum[i]);
        }
        UNROLL(8)
        for (int i = 0; i < LANES_UNIT; ++i)
            out[c + i] = sum[i];
    }
}

/* y += a x, for n vectors. */
ALWAYS_INLINE void add_lanes(int64_t n, vec a, const vec *x, vec *y)
{
    for (int64_t i = 0; i < n; ++i)
        y[i] = vec_fma(a, x[i], y[i]);
}

/* The scalar product of n vectors in each lane, of four sums to cover the latency. */
ALWAYS_INLINE vec dot_lanes(int64_t n, const vec *x, const vec *y)
{
    vec sum[4] = {{0}};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int u = 0; u < 4; ++u)
            sum[u] = vec_fma(x[i + u], y[i + u], sum[u]);
    for (; i < n; ++i)
        sum[0] = vec_fma(x[i], y[i], sum[0]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* out[c] += sum over lanes and i < n of a[i lda] B[i ldb + c], c < columns. A step of 0 repeats one
   vector. */
static void add_products_of_lanes(int64_t n, int64_t columns, const vec *a, int64_t lda,
                                  const vec *B, int64_t ldb, double *out)
{
    for (int64_t c = 0; c < columns; c += LANES_UNIT) {
        vec sum[LANES_UNIT] = {{0}};
        for (int64_t i = 0; i < n; ++i) {
            UNROLL(8)
            for (int u = 0; u < LANES_UNIT; ++u)
                sum[u] = vec_fma(a[i * lda], B[i * ldb + c + u], sum[u]);
        }
        for (int64_t u = 0; u < min_i64(LANES_UNIT, columns - c); ++u)
            out[c + u] += vec_sum(sum[u]);
    }
}

/* Replace a lower triangle M by its Cholesky factor, whose diagonal is stored inverted, and return
   the sum over lanes of weight log |M|. Pivots are at least 1. `column` has room for k vectors. */
static double factor_lanes(int64_t k, vec *M, vec weight, vec *column)
{
    double log_det = 0;
    vec product = vec_set(1);
    for (int64_t c = 0; c < k; ++c) {
        vec *pivot = M + c * (c + 1) / 2 + c;
        product *= *pivot;
        if (c == k - 1 || any_lane(product > vec_set(LARGEST_PRODUCT))) {
            for (int i = 0; i < LANES; ++i)
                log_det += (double)weight[i] * log((double)product[i]);
            product = vec_set(1);
        }
        *pivot = vec_set(1) / vec_sqrt(*pivot);
        for (int64_t a = c + 1; a < k; ++a)
            column[a] = M[a * (a + 1) / 2 + c] *= *pivot;
        for (int64_t a = c + 1; a < k; ++a)
            add_lanes(a - c, -column[a], column + c + 1, M + a * (a + 1) / 2 + c + 1);
    }
    return log_det;
}

/* T = L^-1 for the factor of `factor_lanes`; both are lower triangles. */
static void invert_lanes(int64_t k, const vec *L, vec *T)
{
    for (int64_t a = 0; a < k; ++a) {
        const vec *row = L + a * (a + 1) / 2;
        vec *to = T + a * (a + 1) / 2;
        for (int64_t b = 0; b <= a; ++b)
            to[b] = (vec){0};
        for (int64_t c = 0; c < a; ++c)
            add_lanes(c + 1, row[c], T + c * (c + 1) / 2, to);
        for (int64_t b = 0; b < a; ++b)
            to[b] *= -row[a];
        to[a] = row[a];
    }
}

/* Lower triangle out = weight T^T T. */
static void square_lanes(int64_t k, const vec *T, vec weight, vec *out)
{
    for (int64_t i = 0; i < k * (k + 1) / 2; ++i)
        out[i] = (vec){0};
    for (int64_t c = 0; c < k; ++c) {
        const vec *row = T + c * (c + 1) / 2;
        for (int64_t a = 0; a <= c; ++a)
            add_lanes(a + 1, weight * row[a], row, out + a * (a + 1) / 2);
    }
}

/* sum over lanes and i < n of a[i lda] b[i ldb]. */
static double product_of_lanes(int64_t n, const vec *a, int64_t lda, const vec *b, int64_t ldb)
{
    vec sum = {0};
    for (int64_t i = 0; i < n; ++i)
        sum = vec_fma(a[i * lda], b[i * ldb], sum);
    return vec_sum(sum);
}

#endif
