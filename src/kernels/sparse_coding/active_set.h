/* The lasso by active sets (feature-sign search, Lee et al. 2007, with several atoms at a time;
   Osborne et al. 2000).

   For active atoms S with signs s, the minimum of 1/2 ||x - h D||^2 + alpha h_S . s over codes that
   are 0 outside S solves a linear system. One round has two steps:
       q = c - h G                             The idle atoms that violate |q_j| <= alpha most
                                               become active, with the sign of q_j.
       h_S <- h_S + G_SS^-1 (q_S - alpha s)    The step ends where a code would change its sign:
                                               the first atom whose code reaches 0 leaves S, and the
                                               system of the remaining atoms is solved.
   The objective falls in each round. Because a step starts from q, it also corrects the rounding
   errors of the previous one. The inverse K = G_SS^-1 is stored; an atom that enters or leaves
   changes it by a multiple of some v^T v. */
#ifndef AEFAST_ACTIVE_SET_H
#define AEFAST_ACTIVE_SET_H

#include "kernels/sparse_coding/basis.h"
#include "kernels/sparse_coding/coder.h"

/* Candidates for activation, found without branches: vectors of q are numbered modulo
   LEADING_VECTORS, and for each remainder and lane the idle atom with the largest |q| is known. */
enum { LEADING_VECTORS = LANES < 8 ? 4 : 2, MOST_LEADERS = LEADING_VECTORS * LANES };

/* The candidates, and their |q|. */
typedef struct {
    vec size[LEADING_VECTORS];
    ivec atom[LEADING_VECTORS];
} leaders;

/* The active set S of one row and the system of its codes. Arrays over S have the padded capacity
   as their length and are 0 past n, except atom and gram. */
typedef struct {
    /* Number of active atoms, its limit, and distance between the rows of K. */
    int64_t n, capacity, ld;
    /* Largest n so far for the present row. */
    int64_t most;
    /* (capacity): indices of the active atoms. */
    int64_t *atom;
    /* (capacity): rows of G that belong to the active atoms. */
    const real **gram;
    /* Codes and their signs. */
    real *h, *sign;
    /* The right-hand side q_S - alpha s. */
    real *lacking;
    /* The solution, K lacking. */
    real *step;
    /* Scratch memory. */
    real *border;
    /* K (capacity + 1, ld), 0 outside (n, n). */
    real *inverse;
    /* (ld_k): a mask, set for atoms that are not active. */
    real_int *idle;
    /* Candidates for activation, those with the largest |q| first. */
    int64_t candidate[MOST_LEADERS];
} active_set;

static active_set carve_active_set(const dictionary_forms *f, arena *a)
{
    int64_t capacity = min_i64(f->d, f->k);
    active_set s = {.capacity = capacity, .ld = leading_dimension(capacity)};
    s.atom = CARVE(a, int64_t, capacity);
    s.gram = CARVE(a, const real *, capacity);
    s.h = CARVE(a, real, padded(capacity));
    s.sign = CARVE(a, real, padded(capacity));
    s.lacking = CARVE(a, real, padded(capacity));
    s.step = CARVE(a, real, padded(capacity));
    s.border = CARVE(a, real, padded(capacity));
    s.inverse = CARVE(a, real, (capacity + 1) * s.ld);
    s.idle = CARVE(a, real_int, f->ld_k);
    return s;
}

/* ---- the inverse K ---- */

/* out = K from, where `from` is 0 past n. */
static inline void multiply_inverse(const active_set *s, const real *from, real *out)
{
    for (int64_t v = 0; v < s->n; v += PANEL) {
        const real *K = s->inverse + v;
        vec sum[2][2] = {{{0}}};
        for (int64_t i = 0; i < s->n; i += 2, K += 2 * s->ld) {
            vec x = vec_set(from[i]), y = vec_set(from[i + 1]); /* past n both y and K are 0 */
            sum[0][0] = vec_fma(x, vec_load(K), sum[0][0]);
            sum[0][1] = vec_fma(x, vec_load(K + LANES), sum[0][1]);
            sum[1][0] = vec_fma(y, vec_load(K + s->ld), sum[1][0]);
            sum[1][1] = vec_fma(y, vec_load(K + s->ld + LANES), sum[1][1]);
        }
        vec_store(out + v, sum[0][0] + sum[1][0]);
        vec_store(out + v + LANES, sum[0][1] + sum[1][1]);
    }
}

/* K += scale v^T v, where v has n entries and is 0 past them. */
static inline void add_outer_product(const active_set *s, int64_t n, real scale, const real *v)
{
    for (int64_t column = 0; column < n; column += PANEL) {
        vec v0 = vec_set(scale) * vec_load(v + column),
            v1 = vec_set(scale) * vec_load(v + column + LANES);
        real *K = s->inverse + column;
        for (int64_t i = 0; i < n; ++i, K += s->ld) {
            vec x = vec_set(v[i]);
            vec_store(K, vec_fma(x, v0, vec_load(K)));
            vec_store(K + LANES, vec_fma(x, v1, vec_load(K + LANES)));
        }
    }
}

/* Make atom j active with a code and a sign. Returns 0, and changes nothing, where the atom depends
   linearly on the active atoms or the set is full. */
static int activate(active_set *s, const row_problem *p, int64_t j, real code, real sign)
{
    const dictionary_forms *f = p->dictionary;
    const real *gram = f->gram + j * f->ld_k;
    int64_t n = s->n;
    if (n == s->capacity)
        return 0;
    for (int64_t i = 0; i < n; ++i)
        s->lacking[i] = gram[s->atom[i]];
    multiply_inverse(s, s->lacking, s->border);
    vec projected = {0};
    for (int64_t i = 0; i < n; i += LANES)
        projected = vec_fma(vec_load(s->lacking + i), vec_load(s->border + i), projected);
    real added = f->diagonal[j] - (real)vec_sum(projected);
    if (!(added > DEPENDENT_ATOM * f->diagonal[j]))
        return 0;
    /* With v = border, K becomes [K + v^T v / added, -v^T / added; -v / added, 1 / added]. */
    s->border[n] = -1;
    s->n = n + 1;
    s->most = s->n > s->most ? s->n : s->most;
    add_outer_product(s, n + 1, 1 / added, s->border);
    s->atom[n] = j, s->gram[n] = gram, s->h[n] = code, s->sign[n] = sign;
    s->idle[j] = 0;
    return 1;
}

/* Remove the atom at a place; the last atom moves there. */
static void deactivate(active_set *s, int64_t place)
{
    int64_t last = s->n - 1;
    real *K = s->inverse, *row = K + place * s->ld, *last_row = K + last * s->ld;
    s->idle[s->atom[place]] = -1;
    s->atom[place] = s->atom[last], s->gram[place] = s->gram[last];
    s->h[place] = s->h[last], s->sign[place] = s->sign[last], s->lacking[place] = s->lacking[last];
    s->h[last] = s->sign[last] = s->lacking[last] = 0;
    memcpy(s->border, row, (size_t)whole_vectors(s->n) * sizeof(real));
    memmove(row, last_row, (size_t)whole_vectors(s->n) * sizeof(real));
    for (int64_t i = 0; i < s->n; ++i)
        K[i * s->ld + place] = K[i * s->ld + last];
    real pivot = s->border[place];
    s->border[place] = s->border[last];
    s->border[last] = 0;
    for (int64_t i = 0; i <= last; ++i)
        K[i * s->ld + last] = last_row[i] = 0;
    s->n = last;
    add_outer_product(s, last, -1 / pivot, s->border);
}

/* ---- a round ---- */

/* Compute q = c - h G for `vectors` vectors from entry v on, and update the candidates. */
ALWAYS_INLINE void correlate_lanes(const int vectors, const active_set *s, const row_problem *p,
                                   int64_t v, leaders *found)
{
    vec q[8];
    UNROLL(8)
    for (int l = 0; l < vectors; ++l)
        q[l] = vec_load(p->c + v + l * LANES);
    for (int64_t i = 0; i < s->n; ++i) {
        vec minus = vec_set(-s->h[i]);
        const real *G = s->gram[i] + v;
        UNROLL(8)
        for (int l = 0; l < vectors; ++l)
            q[l] = vec_fma(minus, vec_load(G + l * LANES), q[l]);
    }
    ivec mask = magnitude_mask(p->job->positive), atom = lanes_from(v);
    UNROLL(8)
    for (int l = 0; l < vectors; ++l, atom += ivec_set(LANES)) {
        vec_store(p->q + v + l * LANES, q[l]);
        vec size = (vec)((ivec)magnitude(q[l], mask) & ivec_load(s->idle + v + l * LANES));
        int place = l % LEADING_VECTORS;
        ivec better = size > found->size[place];
        found->size[place] = vec_select(better, size, found->size[place]);
        found->atom[place] = (better & atom) | (~better & found->atom[place]);
    }
}

/* Compute q = c - h G and return the candidates for activation. */
static leaders correlate_active(const active_set *s, const row_problem *p)
{
    int64_t v = 0, n = p->dictionary->ld_k;
    leaders found;
    memset(&found, 0, sizeof found);
    for (; v + 8 * LANES <= n; v += 8 * LANES)
        correlate_lanes(8, s, p, v, &found);
    for (; v < n; v += 2 * LANES)
        correlate_lanes(2, s, p, v, &found);
    return found;
}

static inline real largest_leader(const leaders *found)
{
    vec largest = found->size[0];
    for (int l = 1; l < LEADING_VECTORS; ++l)
        largest = vec_max(found->size[l], largest);
    return vec_largest(largest);
}

/* List the leaders whose |q| is above the bound in s->candidate, the largest first, at most `most`
   of them. Returns their number. */
static int64_t list_candidates(active_set *s, const leaders *found, real bound, int64_t most)
{
    real size[MOST_LEADERS];
    int64_t n = 0;
    for (int i = 0; i < MOST_LEADERS; ++i) {
        real value = found->size[i / LANES][i % LANES];
        if (!(value > bound) || (n == most && !(value > size[n - 1])))
            continue;
        int64_t place = n < most ? n++ : n - 1;
        for (; place > 0 && value > size[place - 1]; --place) {
            size[place] = size[place - 1];
            s->candidate[place] = s->candidate[place - 1];
        }
        size[place] = value;
        s->candidate[place] = found->atom[i / LANES][i % LANES];
    }
    return n;
}

/* Return the place of the first code that reaches 0 on the way from h to h + step, or -1; *fraction
   becomes the fraction of the way up to there. It is 0 for new codes, which are still 0, whose sign
   would become the wrong one. */
static int64_t first_obstacle(const active_set *s, real *fraction)
{
    int64_t first = -1;
    *fraction = 1;
    for (int64_t v = 0; v < s->n; v += LANES) {
        vec h = vec_load(s->h + v), end = h + vec_load(s->step + v);
        if (!any_lane((end * vec_load(s->sign + v) <= vec_set(0)) & lanes_below(s->n - v)))
            continue;
        for (int64_t i = v; i < min_i64(v + LANES, s->n); ++i)
            if ((s->h[i] + s->step[i]) * s->sign[i] <= 0) {
                real share = s->h[i] * s->sign[i] > 0 ? -s->h[i] / s->step[i] : 0;
                if (first < 0 || share < *fraction) {
                    first = i;
                    *fraction = share < 1 ? share : 1;
                }
            }
    }
    return first;
}

/* Solve for the codes of the active atoms; atoms whose codes reach 0 leave. Returns whether any
   code has changed. */
static int settle(active_set *s, const row_problem *p)
{
    int moved = 0;
    for (int64_t i = 0; i < s->n; ++i)
        s->lacking[i] = p->q[s->atom[i]] - p->alpha * s->sign[i];
    for (;;) {
        real fraction;
        multiply_inverse(s, s->lacking, s->step);
        int64_t obstacle = first_obstacle(s, &fraction);
        add_multiple(s->h, fraction, s->step, whole_vectors(s->n));
        moved |= fraction > 0;
        if (obstacle < 0)
            return moved;
        for (int64_t i = 0; i < s->n; ++i)
            s->lacking[i] *= 1 - fraction;
        deactivate(s, obstacle);
    }
}

/* Empty the set and clear its arrays, so that nothing of this row, such as a NaN, affects the next
   row. */
static void deactivate_all(active_set *s)
{
    size_t bytes = (size_t)padded(s->most) * sizeof(real);
    for (int64_t i = 0; i < s->n; ++i)
        s->idle[s->atom[i]] = -1;
    for (int64_t i = 0; i <= s->most; ++i)
        memset(s->inverse + i * s->ld, 0, bytes);
    real *arrays[] = {s->h, s->sign, s->lacking, s->border};
    for (int i = 0; i < 4; ++i)
        memset(arrays[i], 0, bytes);
    s->n = s->most = 0;
}

/* Initialise the set before the first row. */
static void clear_active_set(active_set *s, const dictionary_forms *f)
{
    memset(s->idle, -1, (size_t)f->ld_k * sizeof(real_int));
    s->n = 0, s->most = s->capacity;
    deactivate_all(s);
}

/* A round activates at most FEWEST_AT_ONCE + n / ACTIVE_PER_NEW atoms. */
enum { FEWEST_AT_ONCE = 2, ACTIVE_PER_NEW = 3 };
/* A round activates only atoms with |q| - alpha of at least this fraction of the largest one's. */
#define WORTH_ACTIVATING ((real)0.4)
/* Smallest relative slack that exceeds the rounding errors of q. */
#define ROUNDING (16 * REAL_EPSILON)

/* Return the value of |q| up to which atoms stay idle. Idle atoms with |q_j| <= (1 + slack) alpha
   add at most `slack` to the relative gap, because alpha ||h||_1 <= 1/2 ||x||^2. */
static real bound_of_idle(const row_problem *p)
{
    real slack = (real)(p->job->tol / 4);
    return p->alpha * (1 + (slack > ROUNDING ? slack : ROUNDING));
}

/* Activate the leading candidates, at most `most` of them. Returns how many became active. */
static int64_t activate_leaders(active_set *s, const row_problem *p, const leaders *found,
                                real largest, real bound, int64_t most)
{
    real enough = p->alpha + WORTH_ACTIVATING * (largest - p->alpha);
    int64_t n = list_candidates(s, found, enough > bound ? enough : bound, most), n_new = 0;
    for (int64_t i = 0; i < n; ++i)
        n_new += activate(s, p, s->candidate[i], 0, p->q[s->candidate[i]] > 0 ? 1 : -1);
    return n_new;
}

/* Activate the atoms of the code p->h. */
static void begin_active_set(active_set *s, const row_problem *p)
{
    for (int64_t v = 0; v < p->dictionary->ld_k; v += LANES) {
        if (!any_lane(vec_load(p->h + v) != vec_set(0)))
            continue;
        for (int64_t j = v; j < v + LANES; ++j)
            if (p->h[j] != 0)
                activate(s, p, j, p->h[j], p->h[j] > 0 ? 1 : -1);
    }
}

/* Write the code to p->h and empty the set. */
static void end_active_set(active_set *s, const row_problem *p)
{
    real sum = 0;
    memset(p->h, 0, (size_t)p->dictionary->ld_k * sizeof(real));
    for (int64_t i = 0; i < s->n; ++i)
        sum += p->h[s->atom[i]] = s->h[i];
    if (!(sum - sum == 0)) /* K has broken down: the algorithm that comes next begins at 0 */
        memset(p->h, 0, (size_t)p->dictionary->ld_k * sizeof(real));
    deactivate_all(s);
}

/* Improve the code p->h until it is a solution. Linearly dependent atoms may end the iteration
   early; the duality gap, computed later, reveals that. */
static void solve_active(active_set *s, const row_problem *p, int64_t max_rounds)
{
    begin_active_set(s, p);
    /* The first round only solves for the atoms of a given code. */
    int starts = s->n > 0, stuck = 0;
    int64_t most = FEWEST_AT_ONCE;
    real bound = bound_of_idle(p);
    for (int64_t round = 0; round < max_rounds && !stuck; ++round) {
        leaders found = correlate_active(s, p);
        real largest = largest_leader(&found);
        if (!starts && !(largest > bound))
            break;
        int64_t n_new = starts ? 0 : activate_leaders(s, p, &found, largest, bound, most);
        int moved = settle(s, p);
        stuck = !starts && (n_new == 0 || (!moved && most == 1));
        most = moved ? FEWEST_AT_ONCE + s->n / ACTIVE_PER_NEW : 1;
        starts = 0;
    }
    end_active_set(s, p);
}

#endif
