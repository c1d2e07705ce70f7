/* The active atoms of one code, orthogonalised: a Cholesky factorization of their Gram matrix,
   applied to all columns of G.

   For the active atoms S in order of entry, let G_SS = L L^T. Row i of the basis is [P_i | R_i]
   with P = L^-1 G_S (n, k) and R = L^-1 (n, n). Then the row of L for a new atom j is a column of
   P:              L_new,i = P_i[j] G_SS z = t has the solution                                  z =
   sum_i u_i R_i, u = R t and its atoms have these correlations with all atoms of D:   z G_S = sum_i
   u_i P_i One atom more or less changes z and z G_S by a multiple of one row, so that no system is
   solved again. (Efron et al. 2004 and batch OMP, Rubinstein et al. 2008, update L alone and solve
   with it in each step.) */
#ifndef AEFAST_BASIS_H
#define AEFAST_BASIS_H

#include "kernels/products/product.h"

typedef struct {
    /* Number of active atoms and its limit. */
    int64_t n, capacity;
    /* Where R begins in a row, which is a whole number of panels, and distance between rows. */
    int64_t k, ld;
    /* (capacity): indices of the active atoms in order of entry. */
    int64_t *atom;
    /* (capacity, ld): the rows [P_i | R_i]. */
    real *rows;
    /* (capacity, rounded up to whole vectors): scratch memory. */
    real *coefficients;
} basis;

/* n rounded up to a multiple of LANES. */
static inline int64_t whole_vectors(int64_t n) { return ceil_div(n, LANES) * LANES; }
static inline real *basis_row(const basis *b, int64_t i) { return b->rows + i * b->ld; }

/* out = scale (from - sum over i < count of coefficients[i] rows[i]) for `width` entries, whole
   vectors. `count` is a constant once the function is inlined. Rows are read along their length,
   which the hardware prefetches: many rows are in L2, not in L1. */
ALWAYS_INLINE void subtract_rows(const int count, int64_t width, const real *coefficients,
                                 const real *rows, int64_t ld, const real *from, real scale,
                                 real *out)
{
    vec minus[8], factor = vec_set(scale);
    UNROLL(8)
    for (int i = 0; i < count; ++i)
        minus[i] = vec_set(-coefficients[i]);
    for (int64_t v = 0; v < width; v += LANES) {
        vec sum = vec_load(from + v);
        UNROLL(8)
        for (int i = 0; i < count; ++i)
            sum = vec_fma(minus[i], vec_load(rows + i * ld + v), sum);
        vec_store(out + v, sum * factor);
    }
}

/* out = scale (from - sum over i < n of coefficients[i] rows[i]) for any n. */
static void orthogonalise(int64_t n, int64_t width, const real *coefficients, const real *rows,
                          int64_t ld, const real *from, real scale, real *out)
{
    for (; n > 8; n -= 8, coefficients += 8, rows += 8 * ld, from = out)
        subtract_rows(8, width, coefficients, rows, ld, from, 1, out);
    switch (n) {
#define X(count)                                                                                   \
    case count:                                                                                    \
        subtract_rows(count, width, coefficients, rows, ld, from, scale, out);                     \
        break;
        X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#undef X
    }
}

/* An atom depends linearly on the active atoms where its squared distance from their span, relative
   to its squared length, is within rounding error. */
#define DEPENDENT_ATOM (64 * (AEFAST_REAL_BITS == 32 ? (real)FLT_EPSILON : (real)DBL_EPSILON))

/* Make atom j active, whose row of G is given. Returns 0, and changes nothing, where the atom
   depends on the active atoms or the basis is full. */
static int basis_add(basis *b, int64_t j, const real *gram_row)
{
    int64_t n = b->n;
    if (n == b->capacity)
        return 0;
    real *l = b->coefficients, *out = basis_row(b, n);
    for (int64_t i = 0; i < n; ++i)
        l[i] = basis_row(b, i)[j];
    vec squares = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = vec_load_n(l + i, n - i);
        squares = vec_fma(v, v, squares);
    }
    real length = gram_row[j], added = length - (real)vec_sum(squares);
    if (!(added > DEPENDENT_ATOM * length))
        return 0;
    real scale = 1 / (real)sqrt((double)added);
    orthogonalise(n, b->k, l, b->rows, b->ld, gram_row, scale, out);
    memset(out + b->k, 0, (size_t)(b->ld - b->k) * sizeof(real));
    out[b->k + n] = 1;
    orthogonalise(n, whole_vectors(n + 1), l, b->rows + b->k, b->ld, out + b->k, scale, out + b->k);
    b->atom[n] = j;
    b->n = n + 1;
    return 1;
}

/* Remove one of n entries; the later ones move down. */
static inline void remove_real(real *array, int64_t n, int64_t at)
{
    memmove(array + at, array + at + 1, (size_t)(n - at - 1) * sizeof(real));
}

/* Rotate two rows of n entries: a, b = c b - s a, s b + c a. */
static inline void rotate_rows(real *a, real *b, int64_t n, real c, real s)
{
    vec cos = vec_set(c), sin = vec_set(s);
    for (int64_t v = 0; v < n; v += LANES) {
        vec x = vec_load(a + v), y = vec_load(b + v);
        vec_store(a + v, vec_fma(cos, y, -(sin * x)));
        vec_store(b + v, vec_fma(sin, y, cos * x));
    }
}

/* Remove the atom at a place. Givens rotations move its part of the basis to the last row, which is
   then row n for the new n. The coordinates u of a vector in the basis are rotated alike: the
   caller subtracts u_n R_n from z = sum_i u_i R_i and u_n P_n from z G_S. */
static void basis_drop(basis *b, int64_t place, real *u)
{
    int64_t n = b->n, width = b->k + whole_vectors(n);
    for (int64_t i = place + 1; i < n; ++i) {
        real *above = basis_row(b, i - 1), *below = basis_row(b, i);
        real g = above[b->k + place], f = below[b->k + place],
             r = (real)sqrt((double)g * (double)g + (double)f * (double)f);
        real c = g / r, s = f / r, x = u[i - 1], y = u[i];
        rotate_rows(above, below, width, c, s);
        u[i - 1] = c * y - s * x;
        u[i] = s * y + c * x;
    }
    for (int64_t i = place; i < n; ++i) {
        real *R = basis_row(b, i) + b->k;
        remove_real(R, n, place);
        R[n - 1] = 0;
    }
    memmove(b->atom + place, b->atom + place + 1, (size_t)(n - place - 1) * sizeof *b->atom);
    b->n = n - 1;
}

#endif
