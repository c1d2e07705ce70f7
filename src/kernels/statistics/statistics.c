/* Streaming statistics: a symmetric rank-n update that computes one triangle.

   BLOCK rows at a time are shifted, scaled by the square roots of their weights and packed in
   panels. A panel serves as the right operand of a tile and, a few of its columns at a time, as the
   left operand. The result is computed in squares, one for each pair of panels i <= j; only squares
   with i = j compute entries twice. Members take squares in strips, which are one left panel and a
   group of right panels. For each block of a slab in turn, the left panel stays in L1 while the
   right panels are read; the right panels stay in L2 from strip to strip, and the strip's sums in
   double stay there for the whole slab. */
#include "kernels/statistics/statistics.h"

#include "kernels/statistics/gaps.h"
#include "kernels/statistics/nearest.h"
#include "kernels/statistics/projection.h"
#include "kernels/statistics/sparse_rows.h"

/* Tiles are 1, 2 or 3 vectors wide (HEIGHT_1, ...) and as high as the registers allow, to have
   enough independent sums to cover the latency of multiply-adds. Ten sums are too few: on Zen 3
   tiles of 5 x 2 run at 78 % of the peak, 6 x 2 and 4 x 3 at 98 %. The number of columns of a panel
   is a multiple of every height. */
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
    /* Rows in a block: two panels of so many rows fit in L1, and sums in float32 stay short. */
    BLOCK = 128,
    /* Blocks, and rows, that are packed between two barriers. */
    SLAB_BLOCKS = 4,
    SLAB = SLAB_BLOCKS * BLOCK,
    /* Distance between panels, a row more than a power of two, so that panels do not compete for
       cache sets. */
    PANEL_STRIDE = (BLOCK + 1) * COLUMNS,
    /* Entries of the square of a pair of panels. */
    SQUARE = COLUMNS * COLUMNS,
    /* Largest number of right panels in a group. */
    MOST_IN_GROUP = 4,
    /* Number of groups that suffices to balance the load. */
    GROUPS_WANTED = 4,
    /* Rows that are packed together, so that whole cache lines of each panel are written. */
    ROWS_TOGETHER = 8
};

typedef struct {
    statistics_job *job;
    /* Number of columns, of panels, and of panels in a group. */
    int64_t d, panels, group;
    /* [pairs][SQUARE]: the squares, in the order of strips. */
    double *scatter;
    /* (panels * COLUMNS). */
    double *sums;
    /* [SLAB_BLOCKS][panels][PANEL_STRIDE]: even and odd slabs in panels; columns past d are 0. */
    real *packed[2];
    /* (SLAB): square roots of the weights of rows in even and in odd slabs. */
    real *root[2];
    /* (n_threads): the members' shares of strips and of rows to pack. */
    share *of_strips, *of_rows;
    /* Where the members' buffers begin, each of ROWS_TOGETHER rows (d). */
    arena members;
} statistics_pass;

/* The pairs of a left panel i and right panels begin <= j < end; `place` is the index of the first
   pair's square in the scatter. */
typedef struct {
    int64_t i, begin, end, place;
} strip;

static int64_t n_pairs(int64_t panels) { return panels * (panels + 1) / 2; }

static int64_t n_strips(const statistics_pass *s)
{
    int64_t whole = s->panels / s->group;
    return s->group * n_pairs(whole) + (s->panels % s->group ? s->panels : 0);
}

/* Return strip number `index`. Strips are ordered by group of right panels, and within a group by
   left panel, from panel 0 to the last panel of the group. */
static strip strip_at(const statistics_pass *s, int64_t index)
{
    int64_t begin = 0, end = min_i64(s->panels, s->group);
    for (; index >= end; end = min_i64(s->panels, begin + s->group)) {
        index -= end;
        begin = end;
    }
    /* Preceding strips of the group that are whole, and that begin at the diagonal. */
    int64_t above = min_i64(index, begin), within = index - above;
    int64_t place = n_pairs(begin) + (above + within) * (end - begin) - within * (within - 1) / 2;
    return (strip){.i = index, .begin = max_i64(index, begin), .end = end, .place = place};
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

/* Write root (x - r) for n rows to the panels. Returns a vector with a lane that is NaN where an
   entry or its shifted value is not finite, and 0 otherwise. */
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

/* Pack rows [place, place + n), n <= ROWS_TOGETHER, of a slab that begins at row `first` of the
   table. Returns a status. */
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

/* out (height, width * LANES) += a^T b over `depth` rows, where a is `height` columns of one panel
   and b the first `width` vectors of another. Height and width are constants. */
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

/* out (columns, vectors * LANES) += a^T b over `depth` rows, where a is the first `columns` columns
   of one panel and b the first `vectors` vectors of another. */
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

/* The number of columns in a panel, which is less than COLUMNS in the last one, and of vectors. */
static inline int64_t columns_of(const statistics_pass *s, int64_t panel)
{
    return min_i64(COLUMNS, s->d - panel * COLUMNS);
}
static inline int64_t vectors_of(const statistics_pass *s, int64_t panel)
{
    return ceil_div(columns_of(s, panel), LANES);
}

/* Add the weighted sums of the columns of one panel. */
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

/* Add n rows of a slab to the squares of one strip, and to the sums of the left panel if the strip
   begins at the diagonal. */
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

/* The work of one member: while one slab is multiplied the next one is packed into the other
   buffer, so that there is one barrier for each slab. */
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

/* Add one square to both triangles of the result. Of the square of a panel with itself only the
   upper triangle is used. */
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

const statistics_kernels INSTANCE(statistics) = {
    .workspace_bytes = workspace_bytes,
    .begin = begin,
    .add = add,
    .finish = finish,
    .add_sparse = add_sparse,
    .sparse_product = sparse_product,
    .projection_bytes = projection_bytes,
    .project = project,
    .gap_bytes = gap_bytes,
    .gap_pack = gap_pack,
    .gap_sums = gap_sums,
    .nearest_bytes = nearest_bytes,
    .nearest = nearest,
    .lanes = LANES,
};
