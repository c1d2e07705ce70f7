/* Dictionary learning: sums over coded rows, and the block-coordinate update of the atoms (Mairal
   et al. 2010). */
#ifndef AEFAST_DICTIONARY_H
#define AEFAST_DICTIONARY_H

#include "kernels/base/workspace.h"
#include "kernels/products/packing.h"
#include "kernels/products/rows.h"
#include "kernels/sparse_coding/sparse_coding.h"

/* ---- sums: members divide the atoms, and each entry is summed in the order of the rows ---- */

/* The atoms of one member. */
typedef struct {
    int64_t begin, end;
} atom_range;

/* y += a x in double, in which products of float32 numbers are exact. */
static inline void add_row_to_sums(double *y, double a, const real *x, int64_t n)
{
    for (int64_t j = 0; j < n; ++j)
        y[j] += a * (double)x[j];
}

/* Add h^T h of row i to the rows of A that belong to atoms in the range. */
static void add_codes(const code_statistics_job *job, int64_t i, atom_range range)
{
    int64_t k = job->n_components, n = job->counts[i];
    const int32_t *index = job->indices + i * job->width;
    const real *value = (const real *)job->values + i * job->width;
    for (int64_t a = 0; a < n; ++a)
        if (index[a] >= range.begin && index[a] < range.end)
            for (int64_t b = 0; b < n; ++b)
                job->A[index[a] * k + index[b]] += (double)value[a] * (double)value[b];
}

/* Add h^T x of row i, in CSR form, to the rows of B that belong to atoms in the range. */
static void add_sparse_row(const code_statistics_job *job, int64_t i, atom_range range)
{
    entry_range at = entries_of_row(&job->rows, i);
    const int32_t *index = job->indices + i * job->width;
    const real *value = (const real *)job->values + i * job->width;
    for (int64_t a = 0; a < job->counts[i]; ++a)
        for (int64_t e = at.begin; index[a] >= range.begin && index[a] < range.end && e < at.end;
             ++e) {
            int64_t column = column_at(&job->rows, e);
            job->B[index[a] * job->n_features + column] +=
                (double)value[a] * (double)sparse_value(&job->rows, e, column);
        }
}

/* Add h^T x of row i to the rows of B that belong to atoms in the range. */
static void add_rows(const code_statistics_job *job, int64_t i, atom_range range)
{
    if (job->rows.row_begin) {
        add_sparse_row(job, i, range);
        return;
    }
    int64_t d = job->n_features;
    const int32_t *index = job->indices + i * job->width;
    const real *value = (const real *)job->values + i * job->width;
    real x[BLOCK_COLUMNS];
    for (int64_t column = 0; column < d; column += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, d - column);
        load_row(&job->rows, i, column, columns, x);
        for (int64_t a = 0; a < job->counts[i]; ++a)
            if (index[a] >= range.begin && index[a] < range.end)
                add_row_to_sums(job->B + index[a] * d + column, (double)value[a], x, columns);
    }
}

static void accumulate_member(void *context, member m)
{
    const code_statistics_job *job = (const code_statistics_job *)context;
    atom_range range = {.begin = share_begin(m, job->n_components),
                        .end = share_end(m, job->n_components)};
    for (int64_t i = 0; i < job->rows.n_rows; ++i) {
        add_codes(job, i, range);
        add_rows(job, i, range);
    }
    team_barrier(m);
}

static void accumulate_codes(code_statistics_job *job)
{
    team_run(job->n_threads, FLOAT_MODE_IEEE, accumulate_member, job);
}

/* ---- update of the atoms ---- */

/* Number of atoms that are updated between two products A D. */
enum { UPDATED_ATOMS = 24 };

typedef struct {
    update_job *job;
    int64_t d, k, ld_d, ld_k;
    /* D in panels. */
    real *panels;
    /* (UPDATED_ATOMS, ld_k): rows of A that belong to the atoms to update. */
    real *A;
    /* (UPDATED_ATOMS, ld_d): rows of A D. */
    real *M;
    /* (ld_d): the new atom, then its change. */
    real *atom;
    /* Size of the memory for all arrays. */
    int64_t bytes;
} update_pass;

static update_pass carve_update(update_job *job)
{
    arena a = arena_at(job->workspace);
    update_pass u = {.job = job, .d = job->n_features, .k = job->n_components};
    u.ld_d = leading_dimension(u.d);
    u.ld_k = leading_dimension(u.k);
    u.panels = CARVE(&a, real, padded(u.d) * u.k);
    u.A = CARVE(&a, real, UPDATED_ATOMS * u.ld_k);
    u.M = CARVE(&a, real, UPDATED_ATOMS * u.ld_d);
    u.atom = CARVE(&a, real, u.ld_d);
    u.bytes = arena_bytes(&a);
    return u;
}

static int64_t update_workspace_bytes(const update_job *job)
{
    update_job measured = *job;
    measured.workspace = 0;
    return carve_update(&measured).bytes;
}

/* Update atom j = first + i: D_j <- D_j + (B_j - (A D)_j) / A_jj, projected onto the unit ball. The
   change of D is applied to rows i + 1, ..., n - 1 of M. */
static void update_atom(const update_pass *u, int64_t first, int64_t n, int64_t i)
{
    int64_t j = first + i, d = u->d;
    const double *B = u->job->B + j * d;
    double scale_of_sums = u->job->scale, use = u->job->A[j * u->k + j], norm2 = 0;
    real *D = (real *)u->job->atoms + j * d, *M = u->M + i * u->ld_d;
    if (!(use > u->job->least_use))
        return;
    use *= scale_of_sums;
    for (int64_t c = 0; c < d; ++c) {
        double value = (double)D[c] + (B[c] * scale_of_sums - (double)M[c]) / use;
        value = u->job->positive && value < 0 ? 0 : value;
        norm2 += value * value;
        u->atom[c] = (real)value;
    }
    if (!(norm2 - norm2 == 0)) {
        u->job->status = STATUS_NOT_FINITE; /* one thread updates atoms */
        return;
    }
    if (!(norm2 > 0))
        return; /* the new atom would be 0: the old one stays */
    real scale = norm2 > 1 ? (real)(1 / sqrt(norm2)) : 1;
    for (int64_t c = 0; c < d; ++c) {
        real value = u->atom[c] * scale;
        u->atom[c] = value - D[c];
        D[c] = value;
    }
    for (int64_t p = 0; p < n_panels(d); ++p)
        pack_panel(1, d - p * PANEL, D + p * PANEL, d, u->panels + (p * u->k + j) * PANEL);
    for (int64_t l = i + 1; l < n; ++l) {
        real a = u->A[l * u->ld_k + j], *later = u->M + l * u->ld_d;
        for (int64_t c = 0; c < d; ++c)
            later[c] += a * u->atom[c];
    }
}

static void update_member(void *context, member m)
{
    const update_pass *u = (const update_pass *)context;
    int64_t d = u->d, k = u->k, first_panel = share_begin(m, n_panels(d)),
            end_panel = share_end(m, n_panels(d));
    for (int64_t p = first_panel; p < end_panel; ++p)
        pack_panel(k, d - p * PANEL, (const real *)u->job->atoms + p * PANEL, d,
                   u->panels + p * k * PANEL);
    for (int64_t sweep = 0; sweep < u->job->n_sweeps; ++sweep)
        for (int64_t first = 0; first < k; first += UPDATED_ATOMS) {
            int64_t n = min_i64(UPDATED_ATOMS, k - first);
            for (int64_t i = share_begin(m, n); i < share_end(m, n); ++i)
                for (int64_t j = 0; j < k; ++j)
                    u->A[i * u->ld_k + j] = (real)(u->job->A[(first + i) * k + j] * u->job->scale);
            team_barrier(m);
            product_panels(n, end_panel - first_panel, k, u->A, u->ld_k,
                           u->panels + first_panel * k * PANEL, k, u->M + first_panel * PANEL,
                           u->ld_d);
            team_barrier(m);
            for (int64_t i = 0; m.index == 0 && i < n; ++i)
                update_atom(u, first, n, i);
            team_barrier(m);
        }
}

static void update_dictionary(update_job *job)
{
    update_pass u = carve_update(job);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, update_member, &u);
}

#endif
