/* Streaming statistics: a symmetric rank-n update that computes one triangle.

   BLOCK rows at a time are shifted, scaled by the roots of their weights and packed in panels, once: a panel serves as the right operand of a tile
   and, a few of its columns at a time, as the left one. The result is computed in squares, one for each pair of panels i <= j; only those with i = j
   compute something twice. Pairs go by in groups of right panels, which stay in L2 while the left ones pass, each of which stays in L1 for the whole
   group. Each square is added to its place in `scatter`, where squares lie in the order in which pairs are visited. */
#include "statistics.h"

#include "projection.h"

/* Rows of a block: at most DEPTH, so that sums in float32 stay short, and so few that two panels of them share an L1 cache. */
enum { FITTING_ROWS = 16384 / (PANEL * (int)sizeof(real)), BLOCK = FITTING_ROWS < DEPTH ? FITTING_ROWS : DEPTH };
enum { PANEL_STRIDE = (BLOCK + 1) * PANEL }; /* a row more than a power of two: panels do not compete for cache sets */

enum { SQUARE = PANEL * PANEL, PANEL_GROUP = 8 };

typedef struct {
    statistics_job *job;
    int64_t d, panels;
    double *scatter; /* [pairs][SQUARE] */
    double *sums;    /* (panels * PANEL) */
    real *packed[2]; /* [panels][PANEL_STRIDE]: of even and of odd blocks */
    real *root[2];   /* (BLOCK): of the rows' weights */
    arena members;   /* from here on, a row each (d) */
} statistics_pass;

/* A pair of panels, and how the pairs go by. */
typedef struct {
    int64_t i, j;
} pair;

static int64_t n_pairs(int64_t panels) { return panels * (panels + 1) / 2; }

static inline pair next_pair(pair p, int64_t panels)
{
    int64_t begin = p.j / PANEL_GROUP * PANEL_GROUP, end = min_i64(panels, begin + PANEL_GROUP);
    if (p.j + 1 < end)
        return (pair){p.i, p.j + 1};
    if (p.i + 1 < end)
        return (pair){p.i + 1, max_i64(p.i + 1, begin)};
    return (pair){0, end};
}

static statistics_pass carve_pass(statistics_job *job, void *workspace)
{
    statistics_pass s = {.job = job, .d = job->n_features, .panels = n_panels(job->n_features), .members = arena_at(workspace)};
    s.scatter = CARVE(&s.members, double, n_pairs(s.panels) * SQUARE);
    s.sums = CARVE(&s.members, double, s.panels * PANEL);
    for (int i = 0; i < 2; ++i) {
        s.packed[i] = CARVE(&s.members, real, s.panels * PANEL_STRIDE);
        s.root[i] = CARVE(&s.members, real, BLOCK);
    }
    return s;
}

static int64_t workspace_bytes(const statistics_job *job)
{
    statistics_job measured = *job;
    statistics_pass s = carve_pass(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        CARVE(&s.members, real, s.d);
    return arena_bytes(&s.members);
}

static void begin(statistics_job *job)
{
    statistics_pass s = carve_pass(job, job->workspace);
    memset(s.scatter, 0, (size_t)(n_pairs(s.panels) * SQUARE) * sizeof *s.scatter);
    memset(s.sums, 0, (size_t)(s.panels * PANEL) * sizeof *s.sums);
}

/* root (x - r) into row p of the panels; columns past d are zero. Returns the lanes where x or the result is not finite. */
static ivec pack_row(const statistics_pass *s, const real *x, real root, real *packed, int64_t p)
{
    const real *shift = (const real *)s->job->shift;
    ivec bad = {0};
    real *to = packed + p * PANEL;
    for (int64_t j = 0; j < s->d; j += PANEL, to += PANEL_STRIDE)
        for (int v = 0; v < PANEL; v += LANES) {
            int64_t left = max_i64(0, s->d - j - v);
            vec value = left ? vec_load_n(x + j + v, left) : (vec){0};
            vec centred = left ? value - vec_load_n(shift + j + v, left) : (vec){0};
            vec scaled = centred * vec_set(root);
            bad |= (value - value != vec_set(0)) | (scaled - scaled != vec_set(0));
            vec_store(to + v, scaled);
        }
    return bad;
}

/* Rows [first, first + n) of the table, n <= BLOCK; members share the rows. */
static int pack_block(const statistics_pass *s, member m, real *row, int64_t first, int64_t n, int buffer)
{
    const statistics_job *job = s->job;
    ivec bad = {0};
    for (int64_t p = share_begin(m, n); p < share_end(m, n); ++p) {
        real root = job->weight ? (real)__builtin_sqrt(job->weight[first + p]) : 1;
        convert_entries(job->rows.kind, row_at(&job->rows, first + p), s->d, row);
        s->root[buffer][p] = root;
        bad |= pack_row(s, row, root, s->packed[buffer], p);
    }
    int any = 0;
    for (int i = 0; i < LANES; ++i)
        any |= bad[i] != 0;
    return any ? STATUS_BAD_ROWS : STATUS_OK;
}

/* out[i] += in[i] */
ALWAYS_INLINE void add_to_doubles(int64_t n, const real *in, double *out)
{
    for (int64_t i = 0; i < n; ++i)
        out[i] += (double)in[i];
}

/* `rows` columns of a panel, from a on, times a whole panel b, over `depth` rows; added to out (rows, PANEL). */
static void add_tile(int rows, int64_t depth, const real *a, const real *b, double *out)
{
    real c[TILE_ROWS * PANEL];
    switch (rows) {
#define X(n) case n: tile(n, depth, a, 1, PANEL, b, c, PANEL, 0); break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
    add_to_doubles(rows * PANEL, c, out);
}

/* Members share the pairs. */
static void add_squares(const statistics_pass *s, member m, const real *packed, int64_t depth)
{
    int64_t n = n_pairs(s->panels), first = share_begin(m, n), end = share_end(m, n);
    pair p = {0, 0};
    for (int64_t index = 0; index < end; ++index, p = next_pair(p, s->panels)) {
        if (index < first)
            continue;
        double *square = s->scatter + index * SQUARE;
        for (int64_t k = 0; k < SQUARE; k += CACHE_LINE / (int64_t)sizeof *square)
            __builtin_prefetch(square + k, 1);
        for (tile_rows t = first_tile(PANEL); t.row < PANEL; t = next_tile(t))
            add_tile(t.rows, depth, packed + p.i * PANEL_STRIDE + t.row, packed + p.j * PANEL_STRIDE, square + t.row * PANEL);
    }
}

/* Members share the panels. */
static void add_sums(const statistics_pass *s, member m, int buffer, int64_t depth)
{
    for (int64_t j = share_begin(m, s->panels); j < share_end(m, s->panels); ++j) {
        const real *panel = s->packed[buffer] + j * PANEL_STRIDE;
        vec low = {0}, high = {0};
        for (int64_t p = 0; p < depth; ++p) {
            vec root = vec_set(s->root[buffer][p]);
            low = vec_fma(root, vec_load(panel + p * PANEL), low);
            high = vec_fma(root, vec_load(panel + p * PANEL + LANES), high);
        }
        real sum[PANEL];
        vec_store(sum, low);
        vec_store(sum + LANES, high);
        add_to_doubles(PANEL, sum, s->sums + j * PANEL);
    }
}

/* While one block's products are made, the next one is packed into the other buffer: one barrier a block. */
static void add_member(void *context, member m)
{
    const statistics_pass *s = (const statistics_pass *)context;
    arena a = s->members;
    real *row = CARVE(&a, real, s->d);
    for (int i = 0; i < m.index; ++i)
        row = CARVE(&a, real, s->d);
    int64_t n = s->job->rows.n_rows;
    int status = pack_block(s, m, row, 0, min_i64(BLOCK, n), 0);
    for (int64_t first = 0, buffer = 0; first < n; first += BLOCK, buffer = !buffer) {
        team_barrier(m);
        int64_t depth = min_i64(BLOCK, n - first), next = first + BLOCK;
        add_squares(s, m, s->packed[buffer], depth);
        add_sums(s, m, (int)buffer, depth);
        if (next < n)
            status |= pack_block(s, m, row, next, min_i64(BLOCK, n - next), !buffer);
    }
#ifdef _OPENMP
#pragma omp atomic
#endif
    s->job->status |= status;
}

static void add(statistics_job *job)
{
    statistics_pass s = carve_pass(job, job->workspace);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, add_member, &s);
}

/* Both triangles, from one square: of panels that are the same, its upper triangle. */
static void finish_square(const statistics_pass *s, pair p, const double *square)
{
    double *scatter = s->job->scatter;
    int64_t rows = min_i64(PANEL, s->d - p.i * PANEL), columns = min_i64(PANEL, s->d - p.j * PANEL);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = p.i == p.j ? r : 0; c < columns; ++c) {
            int64_t i = p.i * PANEL + r, j = p.j * PANEL + c;
            scatter[i * s->d + j] += square[r * PANEL + c];
            if (i != j)
                scatter[j * s->d + i] += square[r * PANEL + c];
        }
}

static void finish(statistics_job *job)
{
    statistics_pass s = carve_pass(job, job->workspace);
    for (int64_t j = 0; j < s.d; ++j)
        job->sums[j] += s.sums[j];
    pair p = {0, 0};
    for (int64_t index = 0; index < n_pairs(s.panels); ++index, p = next_pair(p, s.panels))
        finish_square(&s, p, s.scatter + index * SQUARE);
}

/* ---- sparse rows ---- */

enum { STRIPE = 16 }; /* adjacent rows of the scatter that one member has */

static void add_sparse_member(void *context, member m)
{
    const sparse_statistics_job *job = (const sparse_statistics_job *)context;
    const real *values = (const real *)job->values;
    for (int64_t i = 0; i < job->n_rows; ++i) {
        double weight = job->weight ? job->weight[i] : 1;
        int64_t end = job->row_begin[i + 1];
        for (int64_t p = job->row_begin[i]; p < end; ++p) {
            int64_t column = job->columns[p];
            if (column / STRIPE % m.size != m.index)
                continue;
            double x = weight * (double)values[p], *row = job->scatter + column * job->n_features;
            job->sums[column] += x;
            for (int64_t q = p; q < end; ++q)
                row[job->columns[q]] += x * (double)values[q];
        }
    }
}

static void add_sparse(sparse_statistics_job *job) { team_run(job->n_threads, FLOAT_MODE_IEEE, add_sparse_member, job); }

enum { STRIP_VECTORS = 8, AHEAD = 6 }; /* sums that stay in registers; rows of B that are on their way while one is used */

/* Columns [column, column + n) of row i, n <= STRIP_VECTORS LANES; `whole` (n is all of that) is a constant where this is inlined. */
ALWAYS_INLINE void sparse_product_strip(const sparse_product_job *job, int64_t i, int64_t column, int64_t n, const int whole)
{
    const real *values = (const real *)job->values, *B = (const real *)job->B + column;
    int64_t k = job->n_columns, end = job->row_begin[i + 1], last = job->row_begin[job->n_rows] - 1;
    vec sum[STRIP_VECTORS] = {{0}};
    for (int64_t p = job->row_begin[i]; p < end; ++p) {
        const real *row = B + job->columns[p] * k, *next = B + job->columns[min_i64(p + AHEAD, last)] * k;
        for (int64_t j = 0; j < n; j += CACHE_LINE / (int64_t)sizeof(real))
            __builtin_prefetch(next + j);
        vec x = vec_set(values[p]);
#pragma GCC unroll 8
        for (int v = 0; v < STRIP_VECTORS; ++v)
            if (whole || n > v * LANES)
                sum[v] = vec_fma(x, whole ? vec_load(row + v * LANES) : vec_load_n(row + v * LANES, n - v * LANES), sum[v]);
    }
    for (int v = 0; v < STRIP_VECTORS && n > v * LANES; ++v)
        vec_store_n((real *)job->Y + i * k + column + v * LANES, sum[v], n - v * LANES);
}

static void sparse_product_row(const sparse_product_job *job, int64_t i)
{
    enum { STRIP = STRIP_VECTORS * LANES };
    int64_t column = 0, k = job->n_columns;
    for (; column + STRIP <= k; column += STRIP)
        sparse_product_strip(job, i, column, STRIP, 1);
    if (column < k)
        sparse_product_strip(job, i, column, k - column, 0);
}

static void sparse_product_member(void *context, member m)
{
    const sparse_product_job *job = (const sparse_product_job *)context;
    for (int64_t i = share_begin(m, job->n_rows); i < share_end(m, job->n_rows); ++i)
        sparse_product_row(job, i);
}

static void sparse_product(sparse_product_job *job) { team_run(job->n_threads, FLOAT_MODE_IEEE, sparse_product_member, job); }

const statistics_kernels INSTANCE(statistics) = {
    .workspace_bytes = workspace_bytes,
    .begin = begin,
    .add = add,
    .finish = finish,
    .add_sparse = add_sparse,
    .sparse_product = sparse_product,
    .projection_bytes = projection_bytes,
    .project = project,
};
