/* Columns, as files have them, into rows, as kernels read them. */
#ifndef AEFAST_INTERLEAVE_H
#define AEFAST_INTERLEAVE_H

#include <stdint.h>
#include <string.h>

/* Rows that are written together: a column's part of them is a few cache lines, and they stay in
   the first cache until all columns are in. */
enum { INTERLEAVED_ROWS = 32 };

static inline void interleave_items(const char *const *columns, int64_t n_columns, size_t size,
                                    int64_t first, int64_t n, char *rows, int64_t stride)
{
    for (int64_t begin = 0; begin < n; begin += INTERLEAVED_ROWS) {
        int64_t left = n - begin, count = left < INTERLEAVED_ROWS ? left : INTERLEAVED_ROWS;
        for (int64_t j = 0; j < n_columns; ++j) {
            const char *from = columns[j] + (first + begin) * (int64_t)size;
            char *to = rows + begin * stride + j * (int64_t)size;
            for (int64_t i = 0; i < count; ++i)
                memcpy(to + i * stride, from + i * (int64_t)size, size);
        }
    }
}

/* Write the entries first, ..., first + n - 1 of columns into rows (n, n_columns).

   size: bytes of an entry, 4 or 8, the same in columns and rows; stride: bytes from a row to the
   next. Nothing overlaps. */
static inline void interleave(const char *const *columns, int64_t n_columns, size_t size,
                              int64_t first, int64_t n, char *rows, int64_t stride)
{
    if (size == 4)
        interleave_items(columns, n_columns, 4, first, n, rows, stride);
    else
        interleave_items(columns, n_columns, 8, first, n, rows, stride);
}

#endif
