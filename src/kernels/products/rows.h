/* Reads the user's rows: gathers, converts, checks. */
#ifndef AEFAST_ROWS_H
#define AEFAST_ROWS_H

#include "kernels/base/rows_view.h"
#include "kernels/products/packing.h"

enum { OWN_KIND = AEFAST_REAL_BITS == 32 ? ROWS_FLOAT32 : ROWS_FLOAT64 }; /* needs no conversion */

static inline const char *row_at(const rows_view *rows, int64_t place)
{
    return rows->data + (rows->order ? rows->order[place] : place) * rows->stride;
}

/* n entries as reals. Rows may lie at any address: nothing is read through a pointer of its type.
 */
ALWAYS_INLINE void convert_entries(int kind, const char *from, int64_t n, real *out)
{
    if (kind == ROWS_UINT8) {
        const uint8_t *x = (const uint8_t *)from;
        for (int64_t j = 0; j < n; ++j)
            out[j] = (real)x[j];
    } else if (kind == OWN_KIND) {
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

static inline int64_t entry_bytes(int kind)
{
    return kind == ROWS_UINT8 ? 1 : kind == ROWS_FLOAT32 ? 4 : 8;
}

/* Whether all of x[0 .. n - 1] are finite and in [low, high]: NaN fails every comparison, and
 * infinity one with the largest finite number. */
ALWAYS_INLINE int in_range(const real *x, int64_t n, real low, real high)
{
    vec least = vec_set(low <= -REAL_MAX ? -REAL_MAX : low),
        most = vec_set(high >= REAL_MAX ? REAL_MAX : high); /* NaN stays: nothing is in range */
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

/* The same with limits for each entry, or with NaN allowed. */
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

/* Columns [column, column + n) of the row at this place. Returns STATUS_BAD_ROWS if they fail their
 * check. */
ALWAYS_INLINE int load_row(const rows_view *rows, int64_t place, int64_t column, int64_t n,
                           real *out)
{
    convert_entries(rows->kind, row_at(rows, place) + column * entry_bytes(rows->kind), n, out);
    if (!rows->checked)
        return STATUS_OK;
    int good = rows->lows || rows->missing ? entries_in_range(rows, column, out, n)
                                           : in_range(out, n, (real)rows->low, (real)rows->high);
    return good ? STATUS_OK : STATUS_BAD_ROWS;
}

/* All d columns, PANEL after PANEL, so many reals apart; what the last lacks becomes 0. */
static inline int load_row_in_panels(const rows_view *rows, int64_t place, int64_t d, real *out,
                                     int64_t stride)
{
    int status = STATUS_OK, as_it_is = rows->kind == OWN_KIND && !rows->checked;
    const real *row = (const real *)row_at(rows, place);
    for (int64_t column = 0; column < d; column += PANEL, out += stride) {
        if (as_it_is && d - column >= PANEL) {
            memcpy(out, row + column, PANEL * sizeof *out);
        } else if (as_it_is) {
            pack_panel(1, d - column, row + column, 0, out);
        } else {
            memset(out, 0, PANEL * sizeof *out);
            status |= load_row(rows, place, column, min_i64(PANEL, d - column), out);
        }
    }
    return status;
}

/* The row that whoever visits the places [begin, end) of a batch, and then the same of the next
 * batch, reads so many `rows` later. */
typedef struct {
    int64_t rows, end, others; /* others: places of a batch that somebody else visits */
} lookahead;

enum { BYTES_AHEAD = 16384 }; /* half of L1 */

static inline lookahead look_ahead(const rows_view *rows, int64_t d, int64_t n, int64_t begin,
                                   int64_t end)
{
    int64_t most = max_i64(1, BYTES_AHEAD / (d * entry_bytes(rows->kind)));
    return (lookahead){min_i64(most, end - begin), end, n - (end - begin)};
}

/* Asks for it: hardware does not foresee which rows a random order visits, and a table is larger
   than a cache. (Inlined, for GCC drops calls of functions that do nothing but this.) */
ALWAYS_INLINE void fetch_later_row(const rows_view *rows, const lookahead *l, int64_t place,
                                   int64_t d)
{
    int64_t later = place + l->rows + (place + l->rows < l->end ? 0 : l->others),
            bytes = d * entry_bytes(rows->kind);
    if (later >= rows->n_rows)
        return;
    const char *row = row_at(rows, later);
    for (int64_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch(row + i);
    __builtin_prefetch(row + bytes - 1);
}

#endif
