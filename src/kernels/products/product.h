/* Matrix products with register tiles.

   The right operand B (depth, n) is packed in panels of PANEL columns: panel j holds
   B[:, j PANEL : (j + 1) PANEL], GROUP rows after GROUP rows, in which the GROUP entries of a
   column are adjacent; columns past n are zero. The left operand is row-major or in panels, and so
   is the result. A tile of at most TILE_ROWS x PANEL sums stays in registers while the product runs
   over at most DEPTH rows of a panel of B, which stay in L1; groups of the left operand are
   broadcast. Where the depth is no multiple of GROUP, the last group is filled with zeros in one of
   the two operands at least, and with finite numbers in the other. All block sizes depend on the
   shapes alone; sums run over the depth in order. */
#ifndef AEFAST_PRODUCT_H
#define AEFAST_PRODUCT_H

#include "kernels/base/parallel.h"
#include "kernels/products/operand.h"

/* The largest height of a tile. A row of sums is two vectors wide, which share each broadcast; the
   rows fill the registers, of which there are 16, or 32 with AVX-512 and on AArch64. */
#if AEFAST_VEC_BYTES == 64 || defined(__aarch64__)
enum { TILE_ROWS = 12 };
#else
enum { TILE_ROWS = 6 };
#endif
enum { PANEL = 2 * LANES, DEPTH = 256 };

/* grouped: n rounded up to whole groups. n_panels: the number of panels that hold so many columns.
   padded: the total width of these panels. */
static inline int64_t grouped(int64_t n) { return ceil_div(n, GROUP) * GROUP; }
static inline int64_t n_panels(int64_t columns) { return ceil_div(columns, PANEL); }
static inline int64_t padded(int64_t columns) { return n_panels(columns) * PANEL; }

/* The distance between the rows of a left operand: at least whole panels, and an odd number of
   cache lines, so that rows do not compete for cache sets. */
static inline int64_t leading_dimension(int64_t columns)
{
    int64_t line = CACHE_LINE / (int64_t)sizeof(real), lines = ceil_div(padded(columns), line);
    return (lines | 1) * line;
}

/* The sums of a tile, in registers. */
typedef struct {
    vec sum[TILE_ROWS][2];
} tile_sums;

/* sums += A (rows, steps) B, where B is `steps` rows of a panel, and group g of row r of A is at
   a + r * a_row + g * a_step. `rows` is a constant once the function is inlined. The loop is
   unrolled by four: the fewer instructions there are beside the multiply-adds, the smaller the loss
   where a second hardware thread of the core belongs to another process. */
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

/* C (rows, PANEL) = sums, or += sums where `add` is set. Adding sums of at most DEPTH terms to sums
   of sums keeps rounding errors small for any depth. */
ALWAYS_INLINE void store_sums(const int rows, const tile_sums *t, real *c, int64_t ldc, int add)
{
    UNROLL(16)
    for (int r = 0; r < rows; ++r) {
        vec_store(c + r * ldc, add ? vec_load(c + r * ldc) + t->sum[r][0] : t->sum[r][0]);
        vec_store(c + r * ldc + LANES,
                  add ? vec_load(c + r * ldc + LANES) + t->sum[r][1] : t->sum[r][1]);
    }
}

/* C (rows, PANEL) (+)= A B, where B is one panel and A is laid out as for multiply_add. */
ALWAYS_INLINE void tile(const int rows, int64_t depth, const operand *a, int64_t a_row,
                        int64_t a_step, const operand *b, real *c, int64_t ldc, int add)
{
    tile_sums t;
    clear_sums(rows, &t);
    multiply_add(rows, &t, depth, a, a_row, a_step, b);
    store_sums(rows, &t, c, ldc, add);
}

/* C (rows, PANEL) (+)= A B, where B is one panel and A is in panels a_panel entries apart:
   A[r, p] = a[(p / PANEL) * a_panel + r * PANEL + p % PANEL]. */
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

/* C (rows, PANEL) (+)= A B for a row-major A, with a copy of `tile` for each height. */
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

/* C (rows, PANEL) (+)= A B for A in panels, with a copy of `tile_in_panels` for each height. */
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

/* One term A^T B of a sum of products, where both operands are panels of the form `by_rows`:
   A[p, r] = a[(p / GROUP * PANEL + r) * GROUP + p % GROUP]. */
typedef struct {
    const operand *a, *b;
} panel_pair;

/* C (rows, PANEL) (+)= the sum over the pairs of A[:, column : column + rows]^T B, as one sum of
   n_pairs * depth products. */
ALWAYS_INLINE void tile_of_pairs(const int rows, int n_pairs, const panel_pair *pair, int64_t depth,
                                 int64_t column, real *c, int add)
{
    tile_sums t;
    clear_sums(rows, &t);
    for (int i = 0; i < n_pairs; ++i)
        multiply_add(rows, &t, depth, pair[i].a + column * GROUP, GROUP, GROUP * PANEL, pair[i].b);
    store_sums(rows, &t, c, PANEL, add);
}

/* The function tile_of_pairs, with a copy for each height. */
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

/* Terms of a sum whose entries of one operand are 0 for all sums of a tile: pixels at the margin of
   pictures, categories that few rows have. Tiles pass over them, which changes no bit of a sum
   where the other operand is finite. Only full precision has lists of the terms that are kept. */
typedef struct {
    int64_t n;
    uint8_t term[DEPTH];
} kept_terms;

/* Whether so few of the terms are kept that it pays to visit them one by one. */
static inline int pays_to_list(const kept_terms *kept, int64_t terms)
{
    return kept->n < terms - terms / 8;
}

/* List the columns of A (rows, depth), in panels, that are not 0. */
static inline void list_columns(int rows, int64_t depth, const operand *a, int64_t a_panel,
                                kept_terms *kept)
{
    int64_t n = 0;
    for (int64_t p = 0; p < depth; p += LANES) {
        const real *column = (const real *)(a + p / PANEL * a_panel + p % PANEL);
        ivec bits = {0};
        for (int r = 0; r < rows; ++r)
            bits |= (ivec)vec_load(column + r * PANEL);
        for (int l = 0; l < LANES && p + l < depth; ++l) {
            kept->term[n] = (uint8_t)(p + l);
            n += bits[l] != 0;
        }
    }
    kept->n = n;
}

/* List the rows of a panel (depth, PANEL) that are not 0. */
static inline void list_rows(int64_t depth, const operand *panel, kept_terms *kept)
{
    int64_t n = 0;
    for (int64_t p = 0; p < depth; ++p) {
        const real *row = (const real *)(panel + p * PANEL);
        kept->term[n] = (uint8_t)p;
        n += any_lane(((ivec)vec_load(row) | (ivec)vec_load(row + LANES)) != 0) != 0;
    }
    kept->n = n;
}

/* C (rows, PANEL) (+)= A B over the terms that are kept, where B is one panel, and entry (r, p) of
   A is at a[r * a_row + p / PANEL * a_panel + p % PANEL * a_term]. */
ALWAYS_INLINE void tile_of_terms(const int rows, const kept_terms *kept, const operand *a,
                                 int64_t a_row, int64_t a_panel, int64_t a_term, const operand *b,
                                 real *c, int64_t ldc, int add)
{
    tile_sums t;
    clear_sums(rows, &t);
    UNROLL_BY(1)
    for (int64_t i = 0; i < kept->n; ++i) {
        int64_t p = kept->term[i];
        multiply_add(rows, &t, 1, a + p / PANEL * a_panel + p % PANEL * a_term, a_row, 1,
                     b + p * PANEL);
    }
    store_sums(rows, &t, c, ldc, add);
}

/* The function tile_of_terms for an A in panels, with a copy for each height. */
static void tile_of_kept_columns(int rows, const kept_terms *kept, const operand *a,
                                 int64_t a_panel, const operand *b, real *c, int add)
{
    switch (rows) {
#define X(n)                                                                                       \
    case n:                                                                                        \
        tile_of_terms(n, kept, a, PANEL, a_panel, 1, b, c, PANEL, add);                            \
        break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
}

/* The function tile_of_terms for the transposed panel of a pair, with a copy for each height. */
static void tile_of_kept_rows(int rows, const kept_terms *kept, panel_pair pair, int64_t column,
                              real *c, int add)
{
    switch (rows) {
#define X(n)                                                                                       \
    case n:                                                                                        \
        tile_of_terms(n, kept, pair.a + column, 1, PANEL * PANEL, PANEL, pair.b, c, PANEL, add);   \
        break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
}

/* The division of m rows, which may be none, into tiles whose heights differ by at most one row,
   taller tiles first: for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t)) */
typedef struct {
    /* First row of the present tile. */
    int64_t row;
    /* Height of the lower tiles, and number of taller tiles from the present one on. */
    int64_t low, n_taller;
    /* Height of the present tile: low, or low + 1 where it is one of the taller tiles. */
    int rows;
} tile_rows;

static inline tile_rows first_tile(int64_t m)
{
    int64_t n = max_i64(1, ceil_div(m, TILE_ROWS)), low = m / n, n_taller = m - low * n;
    return (tile_rows){
        .row = 0, .low = low, .n_taller = n_taller, .rows = (int)(low + (n_taller > 0))};
}

static inline tile_rows next_tile(tile_rows t)
{
    return (tile_rows){.row = t.row + t.rows,
                       .low = t.low,
                       .n_taller = t.n_taller - 1,
                       .rows = (int)(t.low + (t.n_taller > 1))};
}

/* C (m, panels * PANEL) = A (m, depth) B with row-major A and C, and B in panels of
   panel_rows >= depth rows. DEPTH columns of A stay in L2 while all panels of B are read. */
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

/* Memory to prefetch, a few cache lines before each tile: hardware does not prefetch across the
   pages of panels. */
typedef struct {
    /* Address of the next line to fetch. */
    const char *next;
    /* Number of lines to fetch before each tile. */
    int64_t lines;
} ahead;

/* Where tiles are fewer nothing is fetched, since that would take longer than it saves. */
enum { FEWEST_FETCHING = 8 };

/* The least depth of a product for which columns of zeros are looked for. */
enum { FEWEST_COLUMNS = 64 };

/* Return the plan to prefetch `entries` operands during n_tiles tiles. */
static inline ahead wanted_soon(const operand *from, int64_t entries, int64_t n_tiles)
{
    int64_t bytes = entries * (int64_t)sizeof(operand);
    return (ahead){.next = (const char *)from,
                   .lines = n_tiles < FEWEST_FETCHING ? 0 : ceil_div(bytes, CACHE_LINE * n_tiles)};
}

/* Two functions for the two caches, because clang requires literal arguments of the builtin. */
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

/* A function that product_in_panels calls for each panel j of the result once it is complete. */
typedef void finish_panel(void *context, int64_t j);

/* C (m, panels * PANEL) = A (m, depth) B with all matrices in panels, which are a_panel, b_panel
   and c_panel entries apart. `finish` is called for each panel of C while it is in L1. The next
   panel of B and the next columns of A are prefetched meanwhile. */
static inline void product_in_panels(int64_t m, int64_t panels, int64_t depth, const operand *a,
                                     int64_t a_panel, const operand *b, int64_t b_panel, real *c,
                                     int64_t c_panel, finish_panel *finish, void *context)
{
    int64_t chunks = ceil_div(depth, DEPTH), tiles = ceil_div(m, TILE_ROWS);
    if (chunks == 1 && tiles < FEWEST_FETCHING) {
        /* What a small product needs, without the arithmetic of chunks and prefetches. */
        for (int64_t j = 0; j < panels; ++j, b += b_panel, c += c_panel) {
            for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t))
                tile_of_panels(t.rows, depth, a + t.row * PANEL, a_panel, b, c + t.row * PANEL, 0);
            finish(context, j);
        }
        return;
    }
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

/* Tiles of the rows of a block, at most. */
enum { MOST_TILES = 24 };

/* C (m, panels * PANEL) = A (m, depth) B as product_in_panels has it, to the bit where B is finite,
   for an A whose columns may be 0 in many adjacent rows. */
static inline void product_with_zeros(int64_t m, int64_t panels, int64_t depth, const operand *a,
                                      int64_t a_panel, const operand *b, int64_t b_panel, real *c,
                                      int64_t c_panel, finish_panel *finish, void *context)
{
    int64_t chunks = ceil_div(depth, DEPTH), first = part_begin(depth, PANEL, chunks, 1);
    kept_terms kept[MOST_TILES];
    kept->n = first;
    if (GROUP == 1 && depth >= FEWEST_COLUMNS && ceil_div(m, TILE_ROWS) <= MOST_TILES)
        list_columns(first_tile(m).rows, first, a, a_panel, kept);
    if (!pays_to_list(kept, first)) {
        product_in_panels(m, panels, depth, a, a_panel, b, b_panel, c, c_panel, finish, context);
        return;
    }
    for (int64_t q = 0; q < chunks; ++q) {
        int64_t p = part_begin(depth, PANEL, chunks, q),
                end = part_begin(depth, PANEL, chunks, q + 1);
        const operand *columns = a + p / PANEL * a_panel;
        kept_terms *list = kept;
        for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t))
            list_columns(t.rows, end - p, columns + t.row * PANEL, a_panel, list++);
        for (int64_t j = 0; j < panels; ++j) {
            list = kept;
            for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t))
                tile_of_kept_columns(t.rows, list++, columns + t.row * PANEL, a_panel,
                                     b + j * b_panel + p * PANEL, c + j * c_panel + t.row * PANEL,
                                     q > 0);
            if (q == chunks - 1)
                finish(context, j);
        }
    }
}

/* C (m, PANEL) (+)= the sum over the pairs of A^T B, for the first m <= PANEL columns of the A.
   All panels have depth <= DEPTH rows. */
static inline void product_of_columns(int64_t m, int n_pairs, const panel_pair *pair, int64_t depth,
                                      real *c, int add)
{
    for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t))
        tile_of_columns(t.rows, n_pairs, pair, depth, t.row, c + t.row * PANEL, add);
}

/* The same for one pair, over the rows of its panels that are kept. */
static inline void product_of_kept_rows(int64_t m, panel_pair pair, const kept_terms *kept, real *c,
                                        int add)
{
    for (tile_rows t = first_tile(m); t.row < m; t = next_tile(t))
        tile_of_kept_rows(t.rows, kept, pair, t.row, c + t.row * PANEL, add);
}

enum { PAIRS_BYTES = 1 << 14 }; /* half of a small L1 cache */

/* Return how many of n_pairs terms a tile adds in its registers: all where their panels fit in L1
   together, else one. Short panels fit, and for them the cost of storing tiles matters most. */
static inline int pairs_at_once(int n_pairs, int64_t depth)
{
    return 2 * n_pairs * depth * PANEL * (int64_t)sizeof(operand) <= PAIRS_BYTES ? n_pairs : 1;
}

#endif
