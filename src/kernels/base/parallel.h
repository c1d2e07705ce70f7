/* Work cut into blocks, and how the members of a team share the blocks.

   A grid follows from the shape of the work alone. Each block is computed by one thread; which one
   does not matter to the result. */
#ifndef AEFAST_PARALLEL_H
#define AEFAST_PARALLEL_H

#include "kernels/base/team.h"

enum {
    BLOCK_ROWS = 256,     /* of a block at most; */
    BLOCK_COLUMNS = 256,  /* arrays of this length stand on the stack */
    COLUMN_UNIT = 16,     /* blocks begin at multiples of it: a cache line of float32 */
    BLOCKS_WANTED = 8,    /* enough to balance a few cores, */
    BLOCK_WORK = 1 << 20, /* unless blocks would hold fewer multiply-adds than this */
    CHUNK_ROWS = 512      /* sums over more samples go on in double */
};

static inline int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* Where part i of `count` equal parts of [0, total) begins, in whole units. Part `count` begins at
 * total. */
static inline int64_t part_begin(int64_t total, int64_t unit, int64_t count, int64_t i)
{
    if (count == 1) /* where steps are small, divisions are not */
        return i > 0 ? total : 0;
    int64_t units = ceil_div(total, unit);
    return min_i64(total, (units / count * i + units % count * i / count) * unit);
}

typedef struct {
    int64_t n_rows, n_columns;     /* of the whole result */
    int64_t row_unit, column_unit; /* blocks begin at multiples of these */
    int64_t row_blocks, column_blocks;
} grid;

/* Blocks of at most `rows` x `columns` (multiples of the units), cut evenly. */
static inline grid make_grid(int64_t n_rows, int64_t n_columns, int64_t rows, int64_t columns,
                             int64_t row_unit, int64_t column_unit)
{
    return (grid){n_rows,
                  n_columns,
                  row_unit,
                  column_unit,
                  ceil_div(n_rows, rows),
                  ceil_div(n_columns, columns)};
}

/* The grid of a product (n_rows x inner) (inner x n_columns) by BLAS, which repacks its operands
 * for each block: large ones. */
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

typedef struct {
    int64_t row, column; /* first of the block */
    int64_t n_rows, n_columns;
    int64_t row_index, column_index; /* of the block in its grid */
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

/* The work items [begin, end) of n that are this member's: neighbours stay with one thread, and
 * with its cache. */
static inline int64_t share_begin(member m, int64_t n) { return part_begin(n, 1, m.size, m.index); }
static inline int64_t share_end(member m, int64_t n)
{
    return part_begin(n, 1, m.size, m.index + 1);
}

/* ---- work that is shared as it goes: cores of a shared machine are not equally fast ---- */

/* How many items of a member's share have been taken, in phases of either parity, which alternate:
 * there is a barrier between them. */
typedef struct {
    _Alignas(CACHE_LINE) _Atomic int64_t taken[2];
    int parity; /* of the present phase: for the member itself, all members count alike */
} share;

/* The items [0, n) of a phase as one member sees them. Each begins with its own share, neighbours
   that stay with its cache, then helps the others with theirs. Nothing may depend on who computes
   an item. */
typedef struct {
    member m;
    share *shares; /* one a member */
    int parity, n_finished;
    int64_t n, begin, end; /* [begin, end): what `take_items` took */
} work;

static inline work begin_work(member m, share *shares, int64_t n)
{
    if (m.size == 1)
        return (work){.m = m, .n = n};
    int parity = shares[m.index].parity = !shares[m.index].parity;
    atomic_store_explicit(&shares[m.index].taken[!parity], 0,
                          memory_order_relaxed); /* of the phase before, for the one after this */
    return (work){.m = m, .shares = shares, .parity = parity, .n = n};
}

/* Takes up to half of what is left of a share, `most` items at most. Returns 0 when nothing is left
 * of any. */
static inline int take_items(work *w, int64_t most)
{
    if (w->m.size == 1) { /* nobody to agree with */
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
