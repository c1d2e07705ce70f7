/* Streaming statistics: a symmetric rank-n update that computes one triangle.

   BLOCK rows at a time are shifted, scaled by the roots of their weights and packed in panels,
   once: a panel serves as the right operand of a tile and, a few of its columns at a time, as the
   left one. The result is computed in squares, one for each pair of panels i <= j; only those with
   i = j compute something twice. Squares are shared in strips, one left panel and a group of right
   ones: for each block of a slab in turn, the left panel stays in L1 while the right ones, which
   stay in L2 from strip to strip, pass; the strip's sums in double stay there for the whole slab.
 */
#include "kernels/statistics/statistics.h"

#include "kernels/statistics/projection.h"

/* Tiles are 1, 2 or 3 vectors wide and as high as registers allow: enough sums to cover the latency
   of multiply-adds. 10 are not enough: 5 x 2 runs at 78 % of the peak on Zen 3, 6 x 2 and 4 x 3 at
   98 %. So the columns of a panel are a multiple of every height. */
#if AEFAST_VEC_BYTES == 64 || defined(__aarch64__)
enum {
    VECTORS = 2,
    COLUMNS = VECTORS * LANES,
    HEIGHT_1 = COLUMNS < 16 ? COLUMNS : 16,
    HEIGHT_2 = COLUMNS < 8 ? COLUMNS : 8,
    HEIGHT_3 = 1
};
#else
enum {
    VECTORS = 3,
    COLUMNS = VECTORS * LANES,
    HEIGHT_1 = COLUMNS < 12 ? COLUMNS : 12,
    HEIGHT_2 = 6,
    HEIGHT_3 = COLUMNS < 12 ? 3 : 4
};
#endif

enum {
    BLOCK = 128, /* rows of which two panels share an L1 cache; their sums in float32 are short */
    SLAB_BLOCKS = 4, /* that are packed together */
    SLAB = SLAB_BLOCKS * BLOCK,
    PANEL_STRIDE = (BLOCK + 1) *
        COLUMNS, /* a row more than a power of two: panels do not compete for cache sets */
    SQUARE = COLUMNS * COLUMNS,
    MOST_IN_GROUP = 4, /* right panels, and */
    GROUPS_WANTED = 4, /* groups, enough to share */
    ROWS_TOGETHER = 8  /* that are packed side by side: whole lines of each panel */
};

typedef struct {
    statistics_job *job;
    int64_t d, panels, group;
    double *scatter; /* [pairs][SQUARE], in the order of strips */
    double *sums;    /* (panels * COLUMNS) */
    real *packed[2]; /* [SLAB_BLOCKS][panels][PANEL_STRIDE]: of even and of odd slabs; columns past
                        d are zero */
    real *root[2];   /* (SLAB): of the rows' weights */
    share *of_strips, *of_rows;
    arena members; /* from here on, ROWS_TOGETHER rows each (d) */
} statistics_pass;

/* A left panel i with the right ones j, begin <= j < end, and where their squares lie. */
typedef struct {
    int64_t i, begin, end, place;
} strip;

static int64_t n_pairs(int64_t panels) { return panels * (panels + 1) / 2; }

static int64_t n_strips(const statistics_pass *s)
{
    int64_t whole = s->panels / s->group;
    return s->group * n_pairs(whole) + (s->panels % s->group ? s->panels : 0);
}

/* Group after group; in each, left panels from the first one to the group's own last. */
static strip strip_at(const statistics_pass *s, int64_t index)
{
    int64_t begin = 0, end = min_i64(s->panels, s->group);
    for (; index >= end; end = min_i64(s->panels, begin + s->group)) {
        index -= end;
        begin = end;
    }
    int64_t above = min_i64(index, begin),
            within = index -
                     above; /* strips before it that are whole, and that begin at the diagonal */
    int64_t place = n_pairs(begin) + (above + within) * (end - begin) - within * (within - 1) / 2;
    return (strip){index, max_i64(index, begin), end, place};
}

static statistics_pass carve_pass(statistics_job *job, void *workspace)
{
    statistics_pass s = {.job = job,
                         .d = job->n_features,
                         .panels = ceil_div(job->n_features, COLUMNS),
                         .members = arena_at(workspace)};
    s.group = max_i64(1, min_i64(MOST_IN_GROUP, s.panels / GROUPS_WANTED));
    s.scatter = CARVE(&s.members, double, n_pairs(s.panels) * SQUARE);
    s.sums = CARVE(&s.members, double, s.panels *COLUMNS);
    for (int i = 0; i < 2; ++i) {
        s.packed[i] = CARVE(&s.members, real, SLAB_BLOCKS * s.panels * PANEL_STRIDE);
        s.root[i] = CARVE(&s.members, real, SLAB);
    }
    s.of_strips = CARVE(&s.members, share, job->n_threads);
    s.of_rows = CARVE(&s.members, share, job->n_threads);
    return s;
}

static int64_t workspace_bytes(const statistics_job *job)
{
    statistics_job measured = *job;
    statistics_pass s = carve_pass(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        CARVE(&s.members, real, ROWS_TOGETHER * s.d);
    return arena_bytes(&s.members);
}

static void begin(statistics_job *job)
{
    statistics_pass s = carve_pass(job, job->workspace);
    memset(s.scatter, 0, (size_t)(n_pairs(s.panels) * SQUARE) * sizeof *s.scatter);
    memset(s.sums, 0, (size_t)(s.panels * COLUMNS) * sizeof *s.sums);
    for (int i = 0; i < 2; ++i)
        memset(s.packed[i], 0,
               (size_t)(SLAB_BLOCKS * s.panels * PANEL_STRIDE) * sizeof *s.packed[i]);
}

/* root (x - r) of n rows into rows of the panels. Returns lanes that are NaN where an x or a result
 * is not finite. */
static vec pack_side_by_side(const statistics_pass *s, int64_t n, const real *x, int64_t x_stride,
                             const real *root, real *to)
{
    const real *shift = (const real *)s->job->shift;
    vec bad = {0};
    for (int64_t j = 0; j < s->d; j += COLUMNS, to += PANEL_STRIDE)
        for (int64_t v = j; v < min_i64(s->d, j + COLUMNS); v += LANES) {
            int64_t left = s->d - v;
            vec centre = vec_load_n(shift + v, left);
            for (int64_t p = 0; p < n; ++p) {
                vec scaled = (vec_load_n(x + p * x_stride + v, left) - centre) * vec_set(root[p]);
                bad = vec_fma(scaled, vec_set(0), bad);
                vec_store(to + p * COLUMNS + v - j, scaled);
            }
        }
    return bad;
}

/* Rows [place, place + n) of a slab that begins at row `first` of the table, n <= ROWS_TOGETHER. */
static int pack_rows(const statistics_pass *s, real *rows, int64_t first, int64_t place, int64_t n,
                     int slab)
{
    const statistics_job *job = s->job;
    real *root = s->root[slab] + place;
    for (int64_t p = 0; p < n; ++p) {
        root[p] = job->weight ? (real)__builtin_sqrt(job->weight[first + place + p]) : 1;
        convert_entries(job->rows.kind, row_at(&job->rows, first + place + p), s->d,
                        rows + p * s->d);
    }
    real *to = s->packed[slab] + place / BLOCK * s->panels * PANEL_STRIDE + place % BLOCK * COLUMNS;
    vec bad = pack_side_by_side(s, n, rows, s->d, root, to);
    for (int i = 0; i < LANES; ++i)
        if (bad[i] != 0)
            return STATUS_BAD_ROWS;
    return STATUS_OK;
}

/* out[i] += in[i] */
ALWAYS_INLINE void add_to_doubles(int64_t n, const real *in, double *out)
{
    for (int64_t i = 0; i < n; ++i)
        out[i] += (double)in[i];
}

/* out (height, width * LANES) += a^T b over `depth` rows: columns of one panel, the first vectors
 * of another. Height and width are constants. */
ALWAYS_INLINE void add_tile(const int height, const int width, int64_t depth, const real *a,
                            const real *b, double *out)
{
    vec sum[16][VECTORS];
    UNROLL(16)
    for (int r = 0; r < height; ++r) {
        UNROLL(4)
        for (int v = 0; v < width; ++v)
            sum[r][v] = (vec){0};
    }
    UNROLL_BY(4)
    for (int64_t p = 0; p < depth; ++p, a += COLUMNS, b += COLUMNS) {
        vec right[VECTORS];
        UNROLL(4)
        for (int v = 0; v < width; ++v)
            right[v] = vec_load(b + v * LANES);
        UNROLL(16)
        for (int r = 0; r < height; ++r) {
            vec x = vec_set(a[r]);
            UNROLL(4)
            for (int v = 0; v < width; ++v)
                sum[r][v] = vec_fma(x, right[v], sum[r][v]);
        }
    }
    real c[16 * VECTORS * LANES];
    UNROLL(16)
    for (int r = 0; r < height; ++r) {
        UNROLL(4)
        for (int v = 0; v < width; ++v)
            vec_store(c + (r * width + v) * LANES, sum[r][v]);
    }
    add_to_doubles(height * width * LANES, c, out);
}

/* The first `columns` of panel a times the first `vectors` of panel b, added to out (columns,
 * vectors * LANES). */
static void add_square(int64_t columns, int64_t vectors, int64_t depth, const real *a,
                       const real *b, double *out)
{
#define TILES(height, width)                                                                       \
    for (int64_t r = 0; r < columns; r += height)                                                  \
        add_tile(height, width, depth, a + r, b, out + r * width * LANES);
    if (vectors == 1) {
        TILES(HEIGHT_1, 1)
    } else if (vectors == 2) {
        TILES(HEIGHT_2, 2)
    } else {
        TILES(HEIGHT_3, VECTORS)
    }
#undef TILES
}

static inline int64_t columns_of(const statistics_pass *s, int64_t panel)
{
    return min_i64(COLUMNS, s->d - panel * COLUMNS);
}
static inline int64_t vectors_of(const statistics_pass *s, int64_t panel)
{
    return ceil_div(columns_of(s, panel), LANES);
}

/* The sums of one panel. */
static void add_sums(const real *panel, const real *root, int64_t depth, double *sums)
{
    vec sum[VECTORS] = {{0}};
    for (int64_t p = 0; p < depth; ++p)
        for (int v = 0; v < VECTORS; ++v)
            sum[v] = vec_fma(vec_set(root[p]), vec_load(panel + p * COLUMNS + v * LANES), sum[v]);
    real c[COLUMNS];
    for (int v = 0; v < VECTORS; ++v)
        vec_store(c + v * LANES, sum[v]);
    add_to_doubles(COLUMNS, c, sums);
}

/* One strip of n rows of a slab: its squares, and the sums of a panel that meets itself. */
static void add_strip(const statistics_pass *s, strip t, int64_t n, int slab)
{
    double *squares = s->scatter + t.place * SQUARE;
    for (int64_t k = 0; k < (t.end - t.begin) * SQUARE; k += CACHE_LINE / (int64_t)sizeof *squares)
        __builtin_prefetch(squares + k, 1, 2);
    for (int64_t first = 0; first < n; first += BLOCK) {
        const real *panels = s->packed[slab] + first / BLOCK * s->panels * PANEL_STRIDE,
                   *left = panels + t.i * PANEL_STRIDE;
        int64_t depth = min_i64(BLOCK, n - first);
        for (int64_t j = t.begin; j < t.end; ++j)
            add_square(columns_of(s, t.i), vectors_of(s, j), depth, left, panels + j * PANEL_STRIDE,
                       squares + (j - t.begin) * SQUARE);
        if (t.begin == t.i)
            add_sums(left, s->root[slab] + first, depth, s->sums + t.i * COLUMNS);
    }
}

/* While one slab's products are made, the next one is packed into the other buffer: one barrier a
 * slab. */
static void add_member(void *context, member m)
{
    const statistics_pass *s = (const statistics_pass *)context;
    arena a = s->members;
    real *rows = CARVE(&a, real, ROWS_TOGETHER * s->d);
    for (int i = 0; i < m.index; ++i)
        rows = CARVE(&a, real, ROWS_TOGETHER * s->d);
    int64_t n = s->job->rows.n_rows;
    int status = STATUS_OK;
    for (int64_t first = -SLAB, slab = 1; first < n; first += SLAB, slab = !slab) {
        int64_t next = first + SLAB, n_next = max_i64(0, min_i64(SLAB, n - next));
        work strips = begin_work(m, s->of_strips, first < 0 ? 0 : n_strips(s)),
             packing = begin_work(m, s->of_rows, ceil_div(n_next, ROWS_TOGETHER));
        while (take_items(&strips, MOST_IN_GROUP))
            for (int64_t index = strips.begin; index < strips.end; ++index)
                add_strip(s, strip_at(s, index), min_i64(SLAB, n - first), (int)slab);
        while (take_items(&packing, ROWS_TOGETHER))
            for (int64_t place = packing.begin * ROWS_TOGETHER;
                 place < min_i64(n_next, packing.end * ROWS_TOGETHER); place += ROWS_TOGETHER)
                status |= pack_rows(s, rows, next, place, min_i64(ROWS_TOGETHER, n_next - place),
                                    !slab);
        team_barrier(m);
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
    memset(s.of_strips, 0, (size_t)job->n_threads * sizeof *s.of_strips);
    memset(s.of_rows, 0, (size_t)job->n_threads * sizeof *s.of_rows);
    team_run(job->n_threads, FLOAT_MODE_IEEE, add_member, &s);
}

/* Both triangles, from one square: of panels that are the same, its upper triangle. */
static void finish_square(const statistics_pass *s, int64_t left, int64_t right,
                          const double *square)
{
    double *scatter = s->job->scatter;
    int64_t ld = vectors_of(s, right) * LANES;
    for (int64_t r = 0; r < columns_of(s, left); ++r)
        for (int64_t c = left == right ? r : 0; c < columns_of(s, right); ++c) {
            int64_t i = left * COLUMNS + r, j = right * COLUMNS + c;
            scatter[i * s->d + j] += square[r * ld + c];
            if (i != j)
                scatter[j * s->d + i] += square[r * ld + c];
        }
}

static void finish(statistics_job *job)
{
    statistics_pass s = carve_pass(job, job->workspace);
    for (int64_t j = 0; j < s.d; ++j)
        job->sums[j] += s.sums[j];
    for (int64_t index = 0; index < n_strips(&s); ++index) {
        strip t = strip_at(&s, index);
        for (int64_t j = t.begin; j < t.end; ++j)
            finish_square(&s, t.i, j, s.scatter + (t.place + j - t.begin) * SQUARE);
    }
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

static void add_sparse(sparse_statistics_job *job)
{
    team_run(job->n_threads, FLOAT_MODE_IEEE, add_sparse_member, job);
}

enum {
    STRIP_VECTORS = 8,
    AHEAD = 6
}; /* sums that stay in registers; rows of B that are on their way while one is used */

/* Columns [column, column + n) of row i, n <= STRIP_VECTORS LANES; `whole` (n is all of that) is a
 * constant where this is inlined. */
ALWAYS_INLINE void sparse_product_strip(const sparse_product_job *job, int64_t i, int64_t column,
                                        int64_t n, const int whole)
{
    const real *values = (const real *)job->values, *B = (const real *)job->B + column;
    int64_t k = job->n_columns, end = job->row_begin[i + 1], last = job->row_begin[job->n_rows] - 1;
    vec sum[STRIP_VECTORS] = {{0}};
    for (int64_t p = job->row_begin[i]; p < end; ++p) {
        const real *row = B + job->columns[p] * k,
                   *next = B + job->columns[min_i64(p + AHEAD, last)] * k;
        for (int64_t j = 0; j < n; j += CACHE_LINE / (int64_t)sizeof(real))
            __builtin_prefetch(next + j);
        vec x = vec_set(values[p]);
        UNROLL(8)
        for (int v = 0; v < STRIP_VECTORS; ++v)
            if (whole || n > v * LANES)
                sum[v] = vec_fma(x,
                                 whole ? vec_load(row + v * LANES)
                                       : vec_load_n(row + v * LANES, n - v * LANES),
                                 sum[v]);
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

static void sparse_product(sparse_product_job *job)
{
    team_run(job->n_threads, FLOAT_MODE_IEEE, sparse_product_member, job);
}

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
