/* A program that runs every kernel of one instance on small problems of odd sizes, without Python,
   for the sanitizers and valgrind. What it prints and returns is the number of failed checks; what
   it is for is the report of the tool that it runs under.

   The build script compiles each kernel file for both real types under the name of one instruction
   set, and this program against the tables of that set. */
#ifndef HARNESS_H
#define HARNESS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/autoencoder/autoencoder.h"
#include "kernels/products/scan.h"
#include "kernels/sparse_coding/sparse_coding.h"
#include "kernels/statistics/statistics.h"
#include "runtime/peak.h"

/* The real type of the kernels in use: 0 for float32, 1 for float64. */
extern int is_double;
/* Number of members of the teams that are compared with one thread. */
extern int team_size;

/* Zeroed memory of exactly n_bytes, aligned to a cache line: whatever lies behind belongs to no
   array. It lives until `release_memory`. */
void *memory(int64_t n_bytes);
/* The same for what kernels write before they read it: not zeroed. In the build for valgrind it is
   left uninitialised. */
void *workspace(int64_t n_bytes);
void release_memory(void);
double *doubles(int64_t n);
void *reals(int64_t n);
void *copy_of(const void *from, int64_t n_bytes);
int64_t real_bytes(void);

double get(const void *array, int64_t i);
void put(void *array, int64_t i, double value);

/* Random numbers that are the same in every run: in [0, 1), and in {0, ..., n - 1}. */
double random_number(void);
int random_below(int n);
void fill_uniform(void *array, int64_t n, double low, double high);

/* Record a check. The error must not exceed the bound; NaN fails. */
void check(const char *what, double error, double bound);
/* Check that two arrays have the same bits. */
void check_bits(const char *what, const void *a, const void *b, int64_t n_bytes);
/* Check that n reals are finite. */
void check_finite(const char *what, const void *array, int64_t n);
int n_failures(void);
int n_checks(void);

/* A table of rows in one of the forms that kernels read. */
enum { ORDERED = 1, BACKWARDS = 2, PADDED = 4 };
typedef struct {
    rows_view view;
    int64_t n_features;
} table;

/* Make a table of n rows and d columns from the values X (n, d), as ROWS_... `kind`. `form` is a
   sum of ORDERED (rows are visited in another order), BACKWARDS (a negative stride) and PADDED
   (columns of a wider table). */
table make_table(const double *X, int64_t n, int64_t d, int kind, int form);

/* Return the entry of a column in the row visited at a place, as the kernels convert it. */
double entry(const table *t, int64_t place, int64_t column);

/* Return the rows of a table, as they are visited, in CSR form: their entries other than 0. */
table sparse_rows(const table *t, int keeps_zeros);

/* The suites: each runs the kernels of one header. */
void run_networks(void);
void run_deep_networks(void);
void run_one_pass(void);
void run_likelihoods(void);
void run_gradients(void);
void run_statistics(void);
void run_sparse_coding(void);
void run_rows(void);

#endif
