/* Matrix products with register tiles.

   The right operand B (depth, n) is packed in panels of PANEL columns: panel j holds B[:, j PANEL :
   (j + 1) PANEL], GROUP rows after GROUP rows, the entries of a column in them adjacent; columns
   past n are zero. A tile of TILE_ROWS x PANEL sums stays in registers while the product runs over
   at most DEPTH rows of the panel, which stay in L1; the left operand's groups are broadcast. It is
   row-major, or in panels as well, and so is the result. A depth that is no multiple of GROUP ends
   with zeros in one of the two operands at least, and finite numbers in the other. All sizes follow
   from the shapes; sums run over the depth in order. */
#ifndef AEFAST_PRODUCT_H
#define AEFAST_PRODUCT_H

#include "kernels/base/parallel.h"
#include "kernels/products/operand.h"

/* Two vectors a row: each broadcast serves both. Rows fill the registers: 16, or 32 with AVX-512
 * and on AArch64. */
#if AEFAST_VEC_BYTES == 64 || defined(__aarch64__)
enum { TILE_ROWS = 12 };
#else
enum { TILE_ROWS = 6 };
#endif
enum { PANEL = 2 * LANES, DEPTH = 256 };

static inline int64_t grouped(int64_t n) { return ceil_div(n, GROUP) * GROUP; }
static inline int64_t n_panels(int64_t columns) { return ceil_div(columns, PANEL); }
static inline int64_t padded(int64_t columns) { return n_panels(columns) * PANEL; }

/* Distance between the rows of a left operand: whole panels, an odd number of cache lines, so that
 * rows do not compete for cache sets. */
static inline int64_t leading_dimension(int64_t columns)
{
    int64_t line = CACHE_LINE / (int64_t)sizeof(real), lines = ceil_div(padded(columns), line);
    return (lines | 1) * line;
}

typedef struct {
    vec sum[TILE_ROWS][2];
} tile_sums;

/* sums += `steps` columns of A times as many rows of a panel of B; group g of row r of A stands at
   a + r * a_row + g * a_step. `rows` is a constant where this is inlined. Four steps share the
   loop's end: the fewer instructions beside the multiply-adds, the less it costs where a core has
   two threads and the other one is somebody else's. */
ALWAYS_INLINE void multiply_add(const int rows, tile_sums *t, int64_t steps, const operand *a,
                                int64_t a_row, int64_t a_step, const operand *b)
{
    UNROLL_BY(4)
    for (int64_t p = 0; p < steps; p += GROUP, b += GROUP * PANEL, a += a_step) {
        group_vec b0 = load_groups(b), b1 = load_groups(b + GROUP * LANES);
        UNROLL(16)
        for (int r = 0; r < rows; ++r) {
            group_vec x = broadcast_group(a + r * a_row);
            t->sum[r][0] = add_products(x, b0, t->sum[r][0]);
            t->sum[r][1] = add_products(x, b1, t->sum[r][1]);
        }
    }
}

ALWAYS_INLINE void clear_sums(const int rows, tile_sums *t)
{
    UNROLL(16)
    for (int r = 0; r < rows; ++r)
        t->sum[r][0] = t->sum[r][1] = (vec){0};
}

/* C (rows, PANEL) (+)= sums: sums of DEPTH terms are added to sums of sums; errors grow with
 * neither length. */
ALWAYS_INLINE void store_sums(const int rows, const tile_sums *t, real *c, int64_t ldc, int add)
{
    UNROLL(16)
    for (int r = 0; r < rows; ++r) {
        vec_store(c + r * ldc, add ? vec_load(c + r * ldc) + t->sum[r][0] : t->sum[r][0]);
        vec_store(c + r * ldc + LANES,
                  add ? vec_load(c + r * ldc + LANES) + t->sum[r][1] : t->sum[r][1]);
    }
}

/* C (+)= A B with A as `multiply_add` has it, B one panel. */
ALWAYS_INLINE void tile(const int rows, int64_t depth, const operand *a, int64_t a_row,
                        int64_t a_step, const operand *b, real *c, int64_t ldc, int add)
{
    tile_sums t;
    clear_sums(rows, &t);
    multiply_add(rows, &t, depth, a, a_row, a_step, b);
    store_sums(rows, &t, c, ldc, add);
}

/* The same with A in panels: A[r, p] = a[(p / PANEL) * a_panel + r * PANEL + p % PANEL]. */
ALWAYS_INLINE void tile_in_panels(const int rows, int64_t depth, const operand *a, int64_t a_panel,
                                  const operand *b, real *c, int add)
{
    tile_sums t;
    clear_sums(rows, &t);
    for (; depth >= PANEL; depth -= PANEL, a += a_panel, b += PANEL * PANEL)
        multiply_add(rows, &t, PANEL, a, PANEL, GROUP, b);
    multiply_add(rows, &t, depth, a, PANEL, GROUP, b);
    store_sums(rows, &t, c, PANEL, add);
}

#if AEFAST_VEC_BYTES == 64 || defined(__aarch64__)
#define EACH_TILE_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#else
#define EACH_TILE_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif

/* A row-major. */
static void tile_of_rows(int rows, int64_t depth, const operand *a, int64_t lda, const operand *b,
                         real *c, int64_t ldc, int add)
{
    switch (rows) {
#define X(n)                                                                                       \
    case n:                                                                                        \
        tile(n, depth, a, lda, GROUP, b, c, ldc, add);                                             \
        break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
}

static void tile_of_panels(int rows, int64_t depth, const operand *a, int64_t a_panel,
                           const operand *b, real *c, int add)
{
    switch (rows) {
#define X(n)                                                                                       \
    case n:                                                                                        \
        tile_in_panels(n, depth, a, a_panel, b, c, add);                                           \
        break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
}

/* A term A^T B of a sum of products: both operands panels, A[r, p] = a[(p / GROUP * PANEL + r) *
 * GROUP + p % GROUP]. */
typedef struct {
    const operand *a, *b;
} panel_pair;

/* C (+)= the sum of the terms' columns from `column` of A on: one sum of n_pairs * depth products.
 */
ALWAYS_INLINE void tile_of_pairs(const int rows, int n_pairs, const panel_pair *pair, int64_t depth,
                                 int64_t column, real *c, int add)
{
    tile_sums t;
    clear_sums(rows, &t);
    for (int i = 0; i < n_pairs; ++i)
        multiply_add(rows, &t, depth, pair[i].a + column * GROUP, GROUP, GROUP * PANEL, pair[i].b);
    store_sums(rows, &t, c, PANEL, add);
}

static void tile_of_columns(int rows, int n_pairs, const panel_pair *pair, int64_t depth,
                            int64_t column, real *c, int add)
{
    switch (rows) {
#define X(n)                                                                                       \
    case n:                                                                                        \
        tile_of_pairs(n, n_pairs, pair, depth, column, c, add);                                    \
        break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
}

/* m >= 1 rows are cut into tiles of equal heights, the taller ones first: for (tile_rows t =
 * first_tile(m); t.row < m; t = next_tile(t)). */
typedef struct {
    int64_t row;
    int64_t low, n_taller; /* those still to come are `low` rows high, n_taller of them one more */
    int rows;
} tile_rows;

static inline tile_rows first_tile(int64_t m)
{
    int64_t n = ceil_div(m, TILE_ROWS), low = m / n, n_taller = m - low * n;
    return (tile_rows){0, low, n_taller, (int)(low + (n_taller > 0))};
}

static inline tile_rows next_tile(tile_rows t)
{
    return (tile_rows){t.row + t.rows, t.low, t.n_taller - 1, (int)(t.low + (t.n_taller > 1))};
}

/* C (m, panels * PANEL) = A (m, depth) B: row-major A and C, B in panels of panel_rows >= depth
   rows. DEPTH columns of A stay in L2 while the panels pass. */
static inline void product_panels(int64_t m, int64_t panels, int64_t depth, const operand *a,
                                  int64_t lda, const operand *b, int64_t panel_rows, real *c,
                                  int64_t ldc)
{
    for (int64_t p = 0; p < depth; p += DEPTH)
        for (int64_t j = 0; j < panels; ++j)
            for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t))
                tile_of_rows(t.rows, min_i64(DEPTH, depth - p), a + t.row * lda + p, lda,
                             b + (j * panel_rows + p) * PANEL, c + t.row * ldc + j * PANEL, ldc,
                             p > 0);
}

/* Memory that is wanted soon, asked for a little before each of n tiles: hardware does not look
 * across the pages of panels. */
typedef struct {
    const char *next;
    int64_t lines; /* before each tile */
} ahead;

/* Where tiles are few, asking costs more than it brings. */
static inline ahead wanted_soon(const operand *from, int64_t entries, int64_t n_tiles)
{
    return (ahead){
        (const char *)from,
        n_tiles < 8 ? 0 : ceil_div(entries * (int64_t)sizeof(operand), CACHE_LINE * n_tiles)};
}

/* Clang wants the builtin's arguments to be literals. */
ALWAYS_INLINE void fetch_ahead_to_l1(ahead *f)
{
    for (int64_t i = 0; i < f->lines; ++i, f->next += CACHE_LINE)
        __builtin_prefetch(f->next, 0, 3);
}

ALWAYS_INLINE void fetch_ahead_to_l2(ahead *f)
{
    for (int64_t i = 0; i < f->lines; ++i, f->next += CACHE_LINE)
        __builtin_prefetch(f->next, 0, 2);
}

/* Called with each panel j of a result of `product_in_panels` that is complete. */
typedef void finish_panel(void *context, int64_t j);

/* C (m, panels * PANEL) = A (m, depth) B, all in panels, those of A, B and C so many entries apart.
   Each panel of C is finished while it is in L1. Meanwhile the next panel of B is fetched, and the
   next columns of A. */
static inline void product_in_panels(int64_t m, int64_t panels, int64_t depth, const operand *a,
                                     int64_t a_panel, const operand *b, int64_t b_panel, real *c,
                                     int64_t c_panel, finish_panel *finish, void *context)
{
    int64_t chunks = ceil_div(depth, DEPTH), tiles = ceil_div(m, TILE_ROWS);
    for (int64_t q = 0; q < chunks; ++q) {
        int64_t p = part_begin(depth, PANEL, chunks, q),
                end = part_begin(depth, PANEL, chunks, q + 1), steps = end - p;
        int64_t steps_to_come = q + 1 < chunks ? part_begin(depth, PANEL, chunks, q + 2) - end : 0;
        ahead next_a = wanted_soon(a + end / PANEL * a_panel,
                                   ceil_div(steps_to_come, PANEL) * a_panel, panels * tiles);
        for (int64_t j = 0; j < panels; ++j) {
            int is_last = j == panels - 1;
            ahead next_b = wanted_soon(b + (is_last ? end * PANEL : (j + 1) * b_panel + p * PANEL),
                                       (is_last ? steps_to_come : steps) * PANEL, tiles);
            for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t)) {
                fetch_ahead_to_l2(&next_a);
                fetch_ahead_to_l1(&next_b);
                tile_of_panels(t.rows, steps, a + p / PANEL * a_panel + t.row * PANEL, a_panel,
                               b + j * b_panel + p * PANEL, c + j * c_panel + t.row * PANEL, q > 0);
            }
            if (q == chunks - 1)
                finish(context, j);
        }
    }
}

/* C (m, PANEL) (+)= the sum of A^T B over the pairs, panels of depth <= DEPTH rows, m <= PANEL
 * columns of A. */
static inline void product_of_columns(int64_t m, int n_pairs, const panel_pair *pair, int64_t depth,
                                      real *c, int add)
{
    for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t))
        tile_of_columns(t.rows, n_pairs, pair, depth, t.row, c + t.row * PANEL, add);
}

enum { PAIRS_BYTES = 1 << 14 }; /* half of a small L1 */

/* How many of n_pairs a tile adds up in its registers: all where their panels stay in L1 together.
 * Short ones do, and there tiles end often. */
static inline int pairs_at_once(int n_pairs, int64_t depth)
{
    return 2 * n_pairs * depth * PANEL * (int64_t)sizeof(operand) <= PAIRS_BYTES ? n_pairs : 1;
}

#endif
