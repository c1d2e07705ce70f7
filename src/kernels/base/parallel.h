/* Division of work into blocks, and distribution of the blocks over the members of a team.

   A grid depends on the shape of the work alone, not on the number of threads. One thread computes
   each block, and the result does not depend on which thread that is. */
#ifndef AEFAST_PARALLEL_H
#define AEFAST_PARALLEL_H

#include "kernels/base/team.h"

enum {
    /* Largest number of rows in a block. */
    BLOCK_ROWS = 256,
    /* Largest number of columns in a block; arrays of this length are put on the stack. */
    BLOCK_COLUMNS = 256,
    /* Blocks begin at multiples of this many columns: a cache line of float32. */
    COLUMN_UNIT = 16,
    /* Number of blocks that suffices to balance the load of a few cores. */
    BLOCKS_WANTED = 8,
    /* Number of multiply-adds below which a block is not divided further. */
    BLOCK_WORK = 1 << 20,
    /* Largest number of samples summed in the real type before the sum is added in double. */
    CHUNK_ROWS = 512
};

static inline int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* First index of part i when [0, total) is divided into `count` parts of nearly equal size, each a
   whole number of units (the last part may end inside one). Part `count` begins at total. */
static inline int64_t part_begin(int64_t total, int64_t unit, int64_t count, int64_t i)
{
    if (count == 1) /* saves integer divisions, which cost time in small steps */
        return i > 0 ? total : 0;
    int64_t units = ceil_div(total, unit);
    return min_i64(total, (units / count * i + units % count * i / count) * unit);
}

/* The division of a matrix of results into blocks. */
typedef struct {
    /* Size of the whole matrix. */
    int64_t n_rows, n_columns;
    /* Blocks begin at multiples of these. */
    int64_t row_unit, column_unit;
    /* Number of blocks along each dimension. */
    int64_t row_blocks, column_blocks;
} grid;

/* Return a grid of blocks of at most `rows` x `columns`, multiples of the units, of nearly equal
   size. */
static inline grid make_grid(int64_t n_rows, int64_t n_columns, int64_t rows, int64_t columns,
                             int64_t row_unit, int64_t column_unit)
{
    return (grid){.n_rows = n_rows,
                  .n_columns = n_columns,
                  .row_unit = row_unit,
                  .column_unit = column_unit,
                  .row_blocks = ceil_div(n_rows, rows),
                  .column_blocks = ceil_div(n_columns, columns)};
}

/* Return the grid of a product (n_rows x inner) (inner x n_columns) by BLAS. Its blocks are large,
   because BLAS repacks its operands for each block. */
static inline grid make_blas_grid(int64_t n_rows, int64_t n_columns, int64_t inner)
{
    grid g = make_grid(n_rows, n_columns, BLOCK_ROWS, BLOCK_COLUMNS, 1, COLUMN_UNIT);
    while (g.row_blocks * g.column_blocks < BLOCKS_WANTED) {
        int64_t rows = ceil_div(n_rows, g.row_blocks),
                columns = ceil_div(n_columns, g.column_blocks);
        if (rows * columns / 2 < BLOCK_WORK / max_i64(inner, 1))
            break;
        if (columns >= rows && columns >= 2 * COLUMN_UNIT)
            g.column_blocks *= 2;
        else if (rows >= 2)
            g.row_blocks *= 2;
        else
            break;
    }
    return g;
}

/* One block of a grid. */
typedef struct {
    /* First row and first column of the block in the matrix. */
    int64_t row, column;
    /* Size of the block. */
    int64_t n_rows, n_columns;
    /* Position of the block in its grid. */
    int64_t row_index, column_index;
} block;

static inline int64_t grid_size(const grid *g) { return g->row_blocks * g->column_blocks; }

static inline block grid_block(const grid *g, int64_t i)
{
    int64_t r = i / g->column_blocks, c = i % g->column_blocks;
    block b = {.row_index = r, .column_index = c};
    b.row = part_begin(g->n_rows, g->row_unit, g->row_blocks, r);
    b.n_rows = part_begin(g->n_rows, g->row_unit, g->row_blocks, r + 1) - b.row;
    b.column = part_begin(g->n_columns, g->column_unit, g->column_blocks, c);
    b.n_columns = part_begin(g->n_columns, g->column_unit, g->column_blocks, c + 1) - b.column;
    return b;
}

/* The range [share_begin, share_end) of n work items that member m computes. The range is
   contiguous, so that neighbouring items stay in one thread's cache. */
static inline int64_t share_begin(member m, int64_t n) { return part_begin(n, 1, m.size, m.index); }
static inline int64_t share_end(member m, int64_t n)
{
    return part_begin(n, 1, m.size, m.index + 1);
}

/* ---- dynamic distribution of work, for machines whose cores are not equally fast ---- */

/* The state of one member's share of the items. Phases, which are separated by barriers, alternate
   between parity 0 and 1. */
typedef struct {
    /* Number of items taken from the share in the phases of each parity. */
    _Alignas(CACHE_LINE) _Atomic int64_t taken[2];
    /* Parity of the present phase, read and written by the member alone; equal in all members. */
    int parity;
} share;

/* The items [0, n) of a phase as one member sees them. Each member begins with its own share, a
   contiguous range that stays in its cache, then helps the others with theirs. No result may depend
   on which member computes an item. */
typedef struct {
    member m;
    /* One share for each member. */
    share *shares;
    /* Parity of the phase, and number of shares that this member has found exhausted. */
    int parity, n_finished;
    /* Number of items in the phase, and the items [begin, end) that `take_items` took last. */
    int64_t n, begin, end;
} work;

static inline work begin_work(member m, share *shares, int64_t n)
{
    if (m.size == 1)
        return (work){.m = m, .n = n};
    int parity = shares[m.index].parity = !shares[m.index].parity;
    /* The counter of the previous phase is cleared for the next one. */
    atomic_store_explicit(&shares[m.index].taken[!parity], 0, memory_order_relaxed);
    return (work){.m = m, .shares = shares, .parity = parity, .n = n};
}

/* Take up to half of the items left in a share, and at most `most`, into [begin, end). Returns 0
   when all shares are exhausted. */
static inline int take_items(work *w, int64_t most)
{
    if (w->m.size == 1) { /* no other member takes items */
        w->begin = w->end;
        w->end = min_i64(w->n, w->begin + most);
        return w->begin < w->end;
    }
    for (; w->n_finished < w->m.size; ++w->n_finished) {
        int whose = (w->m.index + w->n_finished) % w->m.size;
        _Atomic int64_t *counter = &w->shares[whose].taken[w->parity];
        int64_t first = part_begin(w->n, 1, w->m.size, whose),
                size = part_begin(w->n, 1, w->m.size, whose + 1) - first;
        int64_t taken = atomic_load_explicit(counter, memory_order_relaxed), more = 0;
        do {
            if (taken >= size)
                break;
            more = min_i64(most, ceil_div(size - taken, 2));
        } while (!atomic_compare_exchange_weak_explicit(
            counter, &taken, taken + more, memory_order_relaxed, memory_order_relaxed));
        if (taken < size) {
            w->begin = first + taken;
            w->end = w->begin + more;
            return 1;
        }
    }
    return 0;
}

#endif
