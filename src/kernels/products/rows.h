/* Loading of the user's rows: gathering, conversion to reals, checks. */
#ifndef AEFAST_ROWS_H
#define AEFAST_ROWS_H

#include "kernels/base/rows_view.h"
#include "kernels/products/packing.h"

/* The type of entries that are reals already and need no conversion. */
enum { REAL_KIND = AEFAST_REAL_BITS == 32 ? ROWS_FLOAT32 : ROWS_FLOAT64 };

/* The row to visit at a place. */
static inline const char *row_at(const rows_view *rows, int64_t place)
{
    return rows->data + (rows->order ? rows->order[place] : place) * rows->stride;
}

/* As many entries as a vector has doubles, in each type of a table, wherever they are in memory. */
enum { DOUBLES = AEFAST_VEC_BYTES / 8 };
typedef double doubles_in_memory __attribute__((vector_size(8 * DOUBLES), aligned(1), may_alias));
typedef float floats_in_memory __attribute__((vector_size(4 * DOUBLES), aligned(1), may_alias));
typedef double doubles __attribute__((vector_size(8 * DOUBLES)));
typedef real few_reals
    __attribute__((vector_size(sizeof(real) * DOUBLES), aligned(sizeof(real)), may_alias));

ALWAYS_INLINE doubles load_doubles(const double *p) { return *(const doubles_in_memory *)p; }

/* DOUBLES bytes, and LANES bytes below. Instructions are named because GCC 12 takes many others. */
ALWAYS_INLINE doubles doubles_of_bytes(const uint8_t *p)
{
#if defined(__AVX512VL__) && AEFAST_VEC_BYTES == 64
    return (doubles)_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    doubles x = {0};
    for (int i = 0; i < DOUBLES; ++i)
        x[i] = (double)p[i];
    return x;
#endif
}

ALWAYS_INLINE vec vec_of_bytes(const uint8_t *p)
{
#if defined(__AVX512F__) && VEC_IS(64, 32)
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(__AVX2__) && VEC_IS(32, 32)
    return (vec)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    vec x = {0};
    for (int i = 0; i < LANES; ++i)
        x[i] = (real)p[i];
    return x;
#endif
}

/* Load entries j to j + DOUBLES - 1. */
ALWAYS_INLINE doubles entries_in_double(int kind, const char *from, int64_t j)
{
    if (kind == ROWS_UINT8)
        return doubles_of_bytes((const uint8_t *)from + j);
    if (kind == ROWS_FLOAT32)
        return __builtin_convertvector(*(const floats_in_memory *)(from + 4 * j), doubles);
    return *(const doubles_in_memory *)(from + 8 * j);
}

ALWAYS_INLINE void store_rounded(real *to, doubles x)
{
    *(few_reals *)to = __builtin_convertvector(x, few_reals);
}

/* Load one entry. */
ALWAYS_INLINE double entry_in_double(int kind, const char *from, int64_t j)
{
    float narrow;
    double wide;
    if (kind == ROWS_UINT8)
        return (double)((const uint8_t *)from)[j];
    if (kind == ROWS_FLOAT32) {
        memcpy(&narrow, from + 4 * j, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&wide, from + 8 * j, sizeof wide);
    return wide;
}

/* Convert n entries to reals. Rows may be misaligned, and are therefore read by memcpy. */
ALWAYS_INLINE void convert_entries(int kind, const char *from, int64_t n, real *out)
{
    if (kind == ROWS_UINT8) {
        const uint8_t *x = (const uint8_t *)from;
        int64_t j = 0;
        for (; j + LANES <= n; j += LANES)
            vec_store(out + j, vec_of_bytes(x + j));
        for (; j < n; ++j)
            out[j] = (real)x[j];
    } else if (kind == REAL_KIND) {
        memcpy(out, from, (size_t)n * sizeof(real));
    } else if (kind == ROWS_FLOAT32) {
        for (int64_t j = 0; j < n; ++j) {
            float x;
            memcpy(&x, from + j * (int64_t)sizeof x, sizeof x);
            out[j] = (real)x;
        }
    } else {
        for (int64_t j = 0; j < n; ++j) {
            double x;
            memcpy(&x, from + j * (int64_t)sizeof x, sizeof x);
            out[j] = (real)x;
        }
    }
}

/* out[j] = (x[j] - shift[j]) factor[j] for n entries of a kind, computed in double. */
ALWAYS_INLINE void scale_kind(int kind, const char *from, int64_t n, const double *shift,
                              const double *factor, real *restrict out)
{
    int64_t j = 0;
    for (; j + DOUBLES <= n; j += DOUBLES)
        store_rounded(out + j, (entries_in_double(kind, from, j) - load_doubles(shift + j)) *
                                   load_doubles(factor + j));
    for (; j < n; ++j)
        out[j] = (real)((entry_in_double(kind, from, j) - shift[j]) * factor[j]);
}

/* Convert n entries, which begin at a column, to reals in the model's units. Differences are taken
   in double, so that narrow columns far from 0 keep their digits in float32. */
__attribute__((noinline, unused)) static void scale_entries(const rows_view *rows, const char *from,
                                                            int64_t column, int64_t n,
                                                            real *restrict out)
{
    const double *shift = rows->shift + column, *factor = rows->factor + column;
    if (rows->kind == ROWS_UINT8)
        scale_kind(ROWS_UINT8, from, n, shift, factor, out);
    else if (rows->kind == ROWS_FLOAT32)
        scale_kind(ROWS_FLOAT32, from, n, shift, factor, out);
    else
        scale_kind(ROWS_FLOAT64, from, n, shift, factor, out);
}

/* Move finite entries, which begin at a column, to the nearest end of their domain. */
__attribute__((noinline, unused)) static void clip_entries(const rows_view *rows, int64_t column,
                                                           int64_t n, real *x)
{
    for (int64_t j = 0; j < n; ++j) {
        real low = (real)(rows->lows ? rows->lows[column + j] : rows->low),
             high = (real)(rows->highs ? rows->highs[column + j] : rows->high);
        if (x[j] - x[j] == 0)
            x[j] = x[j] < low ? low : x[j] > high ? high : x[j];
    }
}

static inline int64_t entry_bytes(int kind)
{
    return kind == ROWS_UINT8 ? 1 : kind == ROWS_FLOAT32 ? 4 : 8;
}

/* Whether x[0], ..., x[n - 1] are finite and in [low, high]. NaN fails every comparison, infinity
   the one with the largest finite number. A bound that is NaN excludes every number. */
ALWAYS_INLINE int in_range(const real *x, int64_t n, real low, real high)
{
    vec least = vec_set(low <= -REAL_MAX ? -REAL_MAX : low),
        most = vec_set(high >= REAL_MAX ? REAL_MAX : high);
    ivec good = ivec_set(-1);
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        vec v = vec_load(x + j);
        good &= (v >= least) & (v <= most);
    }
    if (j < n) {
        vec v = vec_load_n(x + j, n - j);
        good &= ((v >= least) & (v <= most)) | ~lanes_below(n - j);
    }
    return !any_lane(~good);
}

/* Whether x[0], ..., x[n - 1], which begin at a column, pass a check with bounds for each column or
   with NaN allowed. */
static inline int entries_in_range(const rows_view *rows, int64_t column, const real *x, int64_t n)
{
    int all = 1;
    for (int64_t j = 0; j < n; ++j) {
        real low = (real)(rows->lows ? rows->lows[column + j] : rows->low),
             high = (real)(rows->highs ? rows->highs[column + j] : rows->high);
        all &= (x[j] - x[j] == 0 && x[j] >= low && x[j] <= high) || (rows->missing && x[j] != x[j]);
    }
    return all;
}

/* Whether n entries from a column on pass the check. */
static inline int passes_check(const rows_view *rows, int64_t column, int64_t n, const real *x)
{
    return rows->lows || rows->missing ? entries_in_range(rows, column, x, n)
                                       : in_range(x, n, (real)rows->low, (real)rows->high);
}

/* ---- rows in CSR form ---- */

/* The column of a stored entry. */
ALWAYS_INLINE int64_t column_at(const rows_view *rows, int64_t entry)
{
    return rows->wide ? ((const int64_t *)rows->indices)[entry]
                      : ((const int32_t *)rows->indices)[entry];
}

/* The places of the entries of the row at a place of the pass: [begin, end). */
typedef struct {
    int64_t begin, end;
} entry_range;

static inline entry_range entries_of_row(const rows_view *rows, int64_t place)
{
    int64_t row = rows->order ? rows->order[place] : place;
    return (entry_range){rows->row_begin[row], rows->row_begin[row + 1]};
}

/* The first place of a row's entries whose column is not below `column`. */
static inline int64_t first_entry_from(const rows_view *rows, entry_range at, int64_t column)
{
    int64_t low = at.begin, high = at.end;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (column_at(rows, middle) < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A stored number as a real, in the model's units; `entry` is -1 for a 0 that is not stored. */
static inline real sparse_value(const rows_view *rows, int64_t entry, int64_t column)
{
    double x = entry < 0                    ? 0
               : rows->kind == ROWS_FLOAT64 ? ((const double *)rows->data)[entry]
                                            : (double)((const float *)rows->data)[entry];
    return (real)(rows->shift ? (x - rows->shift[column]) * rows->factor[column] : x);
}

/* Load columns [column, column + n) of a row in CSR form, PANEL columns at a time to addresses
   `stride` reals apart, with all entries that are not stored. */
__attribute__((noinline, unused)) static int load_sparse_row(const rows_view *rows, int64_t place,
                                                             int64_t column, int64_t n, real *out,
                                                             int64_t stride)
{
    entry_range at = entries_of_row(rows, place);
    int centred = rows->shift && !rows->absent_missing && !rows->keeps_zeros, status = STATUS_OK;
    for (int64_t j = 0; j < n; j += PANEL)
        for (int64_t i = 0; i < min_i64(PANEL, n - j); ++i)
            out[j / PANEL * stride + i] = rows->absent_missing ? (real)NAN
                                          : centred ? sparse_value(rows, -1, column + j + i)
                                                    : 0;
    for (int64_t e = first_entry_from(rows, at, column); e < at.end; ++e) {
        int64_t j = column_at(rows, e) - column;
        if (j >= n)
            break;
        out[j / PANEL * stride + j % PANEL] = sparse_value(rows, e, column + j);
    }
    for (int64_t j = 0; (rows->clipped || rows->checked) && j < n; j += PANEL) {
        real *x = out + j / PANEL * stride;
        int64_t m = min_i64(PANEL, n - j);
        if (rows->clipped)
            clip_entries(rows, column + j, m, x);
        if (rows->checked && !passes_check(rows, column + j, m, x))
            status = STATUS_BAD_ROWS;
    }
    return status;
}

/* Load columns [column, column + n) of the row at a place. Returns STATUS_BAD_ROWS where an entry
   fails the check. */
ALWAYS_INLINE int load_row(const rows_view *rows, int64_t place, int64_t column, int64_t n,
                           real *out)
{
    if (rows->row_begin)
        return load_sparse_row(rows, place, column, n, out, PANEL);
    const char *from = row_at(rows, place) + column * entry_bytes(rows->kind);
    if (rows->shift)
        scale_entries(rows, from, column, n, out);
    else
        convert_entries(rows->kind, from, n, out);
    if (rows->clipped)
        clip_entries(rows, column, n, out);
    if (!rows->checked)
        return STATUS_OK;
    return passes_check(rows, column, n, out) ? STATUS_OK : STATUS_BAD_ROWS;
}

/* Whether rows are loaded as they are, by copies of their entries. */
static inline int are_copied(const rows_view *rows)
{
    return !rows->row_begin && rows->kind == REAL_KIND && !rows->checked && !rows->shift &&
           !rows->clipped;
}

/* Load all d columns of the row at a place, PANEL columns at a time to addresses `stride` reals
   apart. The last PANEL columns are filled up with 0. Returns the status of load_row. */
static inline int load_row_in_panels(const rows_view *rows, int64_t place, int64_t d, real *out,
                                     int64_t stride)
{
    if (rows->row_begin) {
        if (d % PANEL)
            memset(out + d / PANEL * stride, 0, PANEL * sizeof *out);
        return load_sparse_row(rows, place, 0, d, out, stride);
    }
    int status = STATUS_OK;
    for (int64_t column = 0; column < d; column += PANEL, out += stride) {
        memset(out, 0, PANEL * sizeof *out);
        status |= load_row(rows, place, column, min_i64(PANEL, d - column), out);
    }
    return status;
}

/* Prefetching for a thread that visits the places [begin, end) of each batch in turn. */
typedef struct {
    /* Number of rows between the one that is read and the one that is fetched. */
    int64_t rows;
    /* End of the thread's places in the present batch. */
    int64_t end;
    /* Number of places of a batch that other threads visit. */
    int64_t others;
} lookahead;

enum { BYTES_AHEAD = 16384 }; /* half of a small L1 cache */

/* Return the lookahead for places [begin, end) of batches of n rows with d columns. */
static inline lookahead look_ahead(const rows_view *rows, int64_t d, int64_t n, int64_t begin,
                                   int64_t end)
{
    int64_t most = max_i64(1, BYTES_AHEAD / (d * entry_bytes(rows->kind)));
    return (lookahead){.rows = min_i64(most, end - begin), .end = end, .others = n - (end - begin)};
}

/* Prefetch the row that the thread reads l->rows rows after the one at `place`. Hardware cannot
   predict a random order of rows, and a table is larger than a cache. The function is always
   inlined, because GCC drops calls of functions that only prefetch. */
ALWAYS_INLINE void fetch_later_row(const rows_view *rows, const lookahead *l, int64_t place,
                                   int64_t d)
{
    if (rows->row_begin)
        return;
    int64_t later = place + l->rows + (place + l->rows < l->end ? 0 : l->others),
            bytes = d * entry_bytes(rows->kind);
    if (later >= rows->n_rows)
        return;
    const char *row = row_at(rows, later), *last = row + bytes - 1;
    for (; row < last; row += CACHE_LINE)
        __builtin_prefetch(row);
    __builtin_prefetch(last);
}

/* Copy the rows at the places [place, place + n), as load_row_in_panels does; row i goes to
   out + i PANEL. A function of its own, so that its few variables stay in registers. */
__attribute__((noinline, unused)) static void copy_rows_in_panels(const rows_view *rows,
                                                                  const lookahead *later,
                                                                  int64_t place, int64_t n,
                                                                  int64_t d, real *out,
                                                                  int64_t stride)
{
    const rows_view from = {.data = rows->data,
                            .stride = rows->stride,
                            .n_rows = rows->n_rows,
                            .order = rows->order,
                            .kind = REAL_KIND};
    const lookahead ahead = *later;
    for (int64_t i = 0; i < n; ++i) {
        fetch_later_row(&from, &ahead, place + i, d);
        const real *row = (const real *)row_at(&from, place + i);
        real *to = out + i * PANEL;
        int64_t left = d;
        for (; left >= PANEL; left -= PANEL, row += PANEL, to += stride) {
            vec_store(to, vec_load(row));
            vec_store(to + LANES, vec_load(row + LANES));
        }
        if (left > LANES) {
            vec_store(to, vec_load(row));
            vec_store(to + LANES, vec_load_few(row + LANES, left - LANES));
        } else if (left > 0) {
            vec_store(to, vec_load_n(row, left));
            vec_store(to + LANES, (vec){0});
        }
    }
}

#endif
