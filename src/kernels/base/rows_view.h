/* The user's table as every kernel is handed it, and the status that a kernel hands back. */
#ifndef AEFAST_ROWS_VIEW_H
#define AEFAST_ROWS_VIEW_H

#include <stdint.h>

enum {
    ROWS_FLOAT32,
    ROWS_FLOAT64,
    ROWS_UINT8
}; /* what the user's table holds; rows become reals when they are loaded */

/* A table of n rows and d columns, read where the user keeps it. */
typedef struct {
    const char *data;
    int64_t
        stride; /* bytes from a row to the next, of any sign; the columns of a row are adjacent */
    int64_t n_rows;       /* to visit */
    const int64_t *order; /* the row to visit at each place; NULL: 0, 1, 2, ... */
    int kind;             /* ROWS_... */
    int checked;          /* entries that are not finite as reals, or outside [low, high], set
                             STATUS_BAD_ROWS */
    double low, high;
    const double *lows, *highs; /* by column, instead; NULL: the same for all */
    int missing;                /* NaN passes the check */
} rows_view;

enum { STATUS_OK = 0, STATUS_NOT_FINITE = 1, STATUS_BAD_ROWS = 2, STATUS_CUSTOM_FAILED = 4 };

#endif
