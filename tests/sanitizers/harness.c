/* Memory, random numbers, checks and tables of the harness, and its main function. */
#include "harness.h"

int is_double, team_size = 3;

static void *blocks[1 << 14];
static int n_blocks, failures, checks;

static void *new_block(int64_t n_bytes, int fill)
{
    void *p = 0;
    size_t size = n_bytes > 0 ? (size_t)n_bytes : 1;
    if (n_blocks == sizeof blocks / sizeof *blocks || posix_memalign(&p, 64, size)) {
        fprintf(stderr, "the harness has no more memory\n");
        exit(2);
    }
    if (fill >= 0)
        memset(p, fill, size);
    return blocks[n_blocks++] = p;
}

void *memory(int64_t n_bytes) { return new_block(n_bytes, 0); }

void *workspace(int64_t n_bytes)
{
#ifdef HARNESS_LEAVES_UNINITIALISED
    return new_block(n_bytes, -1);
#else
    return new_block(n_bytes, 0xff); /* NaN, where numbers are read before they are written */
#endif
}

void release_memory(void)
{
    while (n_blocks > 0)
        free(blocks[--n_blocks]);
}

double *doubles(int64_t n) { return memory(n * 8); }
int64_t real_bytes(void) { return is_double ? 8 : 4; }
void *reals(int64_t n) { return memory(n * real_bytes()); }
void *copy_of(const void *from, int64_t n_bytes)
{
    return memcpy(memory(n_bytes), from, (size_t)n_bytes);
}

double get(const void *array, int64_t i)
{
    return is_double ? ((const double *)array)[i] : ((const float *)array)[i];
}

void put(void *array, int64_t i, double value)
{
    if (is_double)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

static uint64_t random_state = 88172645463325252u;

double random_number(void) /* xorshift64 (Marsaglia 2003) */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) / 9007199254740992.0;
}

int random_below(int n) { return (int)(random_number() * n); }

void fill_uniform(void *array, int64_t n, double low, double high)
{
    for (int64_t i = 0; i < n; ++i)
        put(array, i, low + (high - low) * random_number());
}

void check(const char *what, double error, double bound)
{
    ++checks;
    if (error <= bound)
        return;
    ++failures;
    printf("FAILED (%s): %s: %g > %g\n", is_double ? "float64" : "float32", what, error, bound);
}

void check_bits(const char *what, const void *a, const void *b, int64_t n_bytes)
{
    check(what, memcmp(a, b, (size_t)n_bytes) != 0, 0);
}

void check_finite(const char *what, const void *array, int64_t n)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < n; ++i)
        bad += !isfinite(get(array, i));
    check(what, (double)bad, 0);
}

int n_failures(void) { return failures; }
int n_checks(void) { return checks; }

static void write_entry(char *to, int kind, double value)
{
    float narrow = (float)value;
    if (kind == ROWS_UINT8)
        *(uint8_t *)to = (uint8_t)value;
    else if (kind == ROWS_FLOAT32)
        memcpy(to, &narrow, sizeof narrow);
    else
        memcpy(to, &value, sizeof value);
}

static int64_t bytes_of_kind(int kind)
{
    return kind == ROWS_UINT8 ? 1 : kind == ROWS_FLOAT32 ? 4 : 8;
}

table make_table(const double *X, int64_t n, int64_t d, int kind, int form)
{
    int64_t size = bytes_of_kind(kind), stride = (d + (form & PADDED ? 3 : 0)) * size;
    /* The last row ends where the memory ends. */
    char *first = memory((n - 1) * stride + d * size);
    if (form & BACKWARDS) {
        first += (n - 1) * stride;
        stride = -stride;
    }
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < d; ++j)
            write_entry(first + i * stride + j * size, kind, X[i * d + j]);
    int64_t *order = form & ORDERED ? memory(n * 8) : 0;
    for (int64_t i = 0; order && i < n; ++i)
        order[i] = n - 1 - i;
    return (table){.view = {.data = first,
                            .stride = stride,
                            .n_rows = n,
                            .order = order,
                            .kind = kind,
                            .low = -INFINITY,
                            .high = INFINITY},
                   .n_features = d};
}

double entry(const table *t, int64_t place, int64_t column)
{
    const rows_view *v = &t->view;
    const char *at = v->data + (v->order ? v->order[place] : place) * v->stride +
                     column * bytes_of_kind(v->kind);
    float narrow;
    double value;
    if (v->kind == ROWS_UINT8)
        return *(const uint8_t *)at;
    if (v->kind == ROWS_FLOAT32) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&value, at, sizeof value);
    return is_double ? value : (double)(float)value;
}

table sparse_rows(const table *t, int keeps_zeros)
{
    int64_t n = t->view.n_rows, d = t->n_features, n_stored = 0;
    for (int64_t i = 0; i < n * d; ++i)
        n_stored += entry(t, i / d, i % d) != 0;
    int64_t *begins = memory((n + 1) * 8);
    double *values = doubles(n_stored);
    int wide = random_below(2);
    void *columns = memory(n_stored * (wide ? 8 : 4));
    int64_t at = 0;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < d; ++j) {
            double value = entry(t, i, j);
            if (value == 0)
                continue;
            if (wide)
                ((int64_t *)columns)[at] = j;
            else
                ((int32_t *)columns)[at] = (int32_t)j;
            values[at++] = value;
        }
        begins[i + 1] = at;
    }
    table sparse = *t;
    sparse.view.data = (const char *)values;
    sparse.view.kind = ROWS_FLOAT64;
    sparse.view.stride = 0;
    sparse.view.order = 0;
    sparse.view.row_begin = begins;
    sparse.view.indices = columns;
    sparse.view.wide = wide;
    sparse.view.keeps_zeros = keeps_zeros;
    return sparse;
}

int main(int n_arguments, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } suites[] = {
        {"rows", run_rows},
        {"gradients", run_gradients},
        {"networks", run_networks},
        {"deep networks", run_deep_networks},
        {"one pass", run_one_pass},
        {"likelihoods", run_likelihoods},
        {"statistics", run_statistics},
        {"sparse coding", run_sparse_coding},
    };
    if (n_arguments > 1)
        team_size = atoi(arguments[1]);
    for (is_double = 0; is_double < 2; ++is_double)
        for (size_t i = 0; i < sizeof suites / sizeof *suites; ++i) {
            int before = checks;
            suites[i].run();
            release_memory();
            printf("%s, %s: %d checks\n", suites[i].name, is_double ? "float64" : "float32",
                   checks - before);
            fflush(stdout);
        }
    printf("teams of 1 and %d: %d checks, %d failed\n", team_size, n_checks(), n_failures());
    return n_failures() != 0;
}
