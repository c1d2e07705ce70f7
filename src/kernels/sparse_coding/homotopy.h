/* The lasso by following its piecewise linear solution path (Osborne et al. 2000; Efron et al.
   2004; from a warm start Garrigues & El Ghaoui 2008).

   The code h solves a problem with correlations c + rho p and penalty lambda = alpha + rho mu. As
   rho falls to 0 the problem becomes the given one. A path starts from nothing:    p = 0, mu = 1,
   rho = max |c| - alpha, h = 0; from a code h:   mu = 0, rho = 1, with the p for which h is a
   solution. Between two events, h and q = c + rho p - h G are linear in rho. When rho falls by t,
       h += t w,   q -= t rate,   lambda -= t mu,   G_SS w = mu sign_S - p_S,   rate = p + w G_S.
   An event occurs where the code of an active atom reaches 0 or |q| of another atom reaches
   lambda.

   Without the first kind of event the path from nothing is that of least-angle regression (Efron et
   al. 2004): active atoms keep the sign of their correlation, whatever their code's, and stay. */
#ifndef AEFAST_HOMOTOPY_H
#define AEFAST_HOMOTOPY_H

#include "kernels/sparse_coding/coder.h"

typedef struct {
    basis active;
    /* (capacity, rounded up to whole vectors): codes of the active atoms, and their change w. */
    real *h, *w;
    /* (capacity): coordinates of w in the basis. */
    real *u;
    /* (ld_k): change of q. */
    real *rate;
    /* (ld_k): a mask, set for atoms that may become active. */
    real_int *idle;
    /* Number of atoms that depend on the active ones and stay out until one of these leaves. */
    int64_t n_dependent;
    /* The atom that has left in the last event, or -1. Its q is at +lambda (left_above) or -lambda
       and moves away from there. Rounding may contradict that: the atom must not return to the same
       side in the next step. */
    int64_t left_last;
    int left_above;
    /* First entry of the vector of atoms where the search for the next atom to enter begins. */
    int64_t hint;
    /* Least-angle regression: the number of atoms with which it ends, none of which leaves; 0: the
       lasso. */
    int64_t n_kept;
    real lambda, mu, rho;
} path;

static int64_t basis_width(const dictionary_forms *f, int64_t capacity)
{
    return leading_dimension(f->ld_k + whole_vectors(capacity));
}

static basis carve_basis(const dictionary_forms *f, int64_t capacity, arena *a)
{
    basis b = {.n = 0, .capacity = capacity, .k = f->ld_k, .ld = basis_width(f, capacity)};
    b.atom = CARVE(a, int64_t, capacity);
    b.rows = CARVE(a, real, capacity * b.ld);
    b.coefficients = CARVE(a, real, whole_vectors(capacity));
    return b;
}

static path carve_path(const dictionary_forms *f, arena *a)
{
    int64_t capacity = min_i64(f->d, f->k);
    path t = {.active = carve_basis(f, capacity, a)};
    t.h = CARVE(a, real, whole_vectors(capacity));
    t.w = CARVE(a, real, whole_vectors(capacity));
    t.u = CARVE(a, real, capacity);
    t.rate = CARVE(a, real, f->ld_k);
    t.idle = CARVE(a, real_int, f->ld_k);
    return t;
}

/* Let all atoms become active that are not. */
static void mark_idle(path *t, const dictionary_forms *f)
{
    for (int64_t j = 0; j < f->ld_k; ++j)
        t->idle[j] = j < f->k ? -1 : 0;
    for (int64_t i = 0; i < t->active.n; ++i)
        t->idle[t->active.atom[i]] = 0;
    t->n_dependent = 0;
}

/* Give row i of the basis the coordinate with which q of its atom changes at the rate `aim`. */
static void turn_towards(path *t, int64_t i, real aim)
{
    const real *row = basis_row(&t->active, i);
    int64_t j = t->active.atom[i];
    t->u[i] = (aim - t->rate[j]) / row[j];
    add_multiple(t->rate, t->u[i], row, t->active.k);
    add_multiple(t->w, t->u[i], row + t->active.k, whole_vectors(i + 1));
}

/* Event: atom j becomes active. */
static void enter(path *t, const row_problem *p, int64_t j)
{
    const dictionary_forms *f = p->dictionary;
    t->idle[j] = 0;
    int64_t n = t->active.n;
    if (!basis_add(&t->active, j, f->gram + j * f->ld_k)) {
        ++t->n_dependent;
        return;
    }
    t->h[n] = t->w[n] = 0;
    for (int64_t i = n + 1; i < whole_vectors(n + 1); ++i)
        t->h[i] = t->w[i] = 0;
    turn_towards(t, n, p->q[j] > 0 ? t->mu : -t->mu);
}

/* Event: the active atom at a place leaves. */
static void leave(path *t, const row_problem *p, int64_t place)
{
    int64_t n = t->active.n, j = t->active.atom[place];
    basis_drop(&t->active, place, t->u);
    remove_real(t->h, n, place);
    remove_real(t->w, n, place);
    t->h[n - 1] = t->w[n - 1] = 0;
    const real *gone = basis_row(&t->active, n - 1);
    add_multiple(t->rate, -t->u[n - 1], gone, t->active.k);
    add_multiple(t->w, -t->u[n - 1], gone + t->active.k, whole_vectors(n));
    t->w[n - 1] = 0;
    if (t->n_dependent)
        mark_idle(t, p->dictionary);
    t->idle[j] = -1;
    t->left_last = j;
    t->left_above = p->q[j] > 0;
}

/* Return the place of the active atom whose code reaches 0 first within *fall, or -1; *fall becomes
   the fall of rho up to there. */
static int64_t next_to_leave(const path *t, real *fall)
{
    int64_t first = -1;
    for (int64_t v = 0; v < t->active.n; v += LANES) {
        vec h = vec_load(t->h + v), w = vec_load(t->w + v), bound = vec_set(*fall);
        if (!any_lane((h * w < vec_set(0)) & (vec_abs(h) <= bound * vec_abs(w))))
            continue;
        for (int64_t i = v; i < min_i64(v + LANES, t->active.n); ++i)
            if (t->h[i] * t->w[i] < 0 && -t->h[i] / t->w[i] <= *fall) {
                *fall = -t->h[i] / t->w[i];
                first = i;
            }
    }
    return first;
}

/* Return the atom, of the LANES atoms from v on, whose |q| reaches lambda first within *fall, or
   `first` if there is none; *fall becomes the fall of rho up to there. */
static int64_t next_of_lanes(const path *t, const row_problem *p, int64_t v, int64_t first,
                             real *fall)
{
    vec q = vec_load(p->q + v), rate = vec_load(t->rate + v), bound = vec_set(*fall);
    ivec idle = ivec_load(t->idle + v),
         flip = (ivec)vec_fma(-bound, rate, q) & ~magnitude_mask(p->job->positive);
    vec distance = vec_set(t->lambda) - (vec)((ivec)q ^ flip),
        speed = vec_set(t->mu) - (vec)((ivec)rate ^ flip);
    ivec reached = idle & (distance < bound * speed);
    /* The distance may be slightly negative by rounding. */
    vec needed = vec_select(reached, vec_max(distance, vec_set(0)) / speed, bound);
    for (int i = 0; i < LANES; ++i)
        if (needed[i] < *fall) {
            *fall = needed[i];
            first = v + i;
        }
    return first;
}

/* Return the idle atom whose |q| reaches lambda first within *fall, or -1; *fall becomes the fall
   of rho up to there. Only atoms beyond lambda after the shortest fall found so far, |q - fall
   rate| > lambda - fall mu, are examined; the search begins at the hint, where the fall was short
   last time. */
static int64_t next_to_enter(path *t, const row_problem *p, real *fall)
{
    int64_t first = -1, hint = t->hint;
    ivec mask = magnitude_mask(p->job->positive);
    first = next_of_lanes(t, p, hint, first, fall);
    vec step = vec_set(-*fall), bound = vec_set(t->lambda - *fall * t->mu);
    for (int64_t v = 0; v < p->dictionary->ld_k; v += LANES) {
        vec after = magnitude(vec_fma(step, vec_load(t->rate + v), vec_load(p->q + v)), mask);
        if (__builtin_expect(any_lane((after > bound) & ivec_load(t->idle + v)), 0)) {
            if (first >= 0) /* the second shortest fall is likely to be the next event */
                t->hint = first / LANES * LANES;
            first = next_of_lanes(t, p, v, first, fall);
            step = vec_set(-*fall), bound = vec_set(t->lambda - *fall * t->mu);
        }
    }
    return first;
}

/* Whether the atom to enter is the one that has just left, at the side from which it left. */
static int turns_back(const path *t, const row_problem *p, int64_t enters, real fall)
{
    return enters >= 0 && enters == t->left_last &&
           (p->q[enters] - fall * t->rate[enters] > 0) == t->left_above;
}

/* Follow the path to its end. Returns 0 where it has more than max_events events. */
static int follow(path *t, const row_problem *p, int64_t max_events)
{
    for (int64_t event = 0; event <= max_events; ++event) {
        real fall = t->rho;
        int64_t leaves = t->n_kept ? -1 : next_to_leave(t, &fall);
        real bound = fall;
        int64_t enters = next_to_enter(t, p, &fall);
        if (turns_back(t, p, enters, fall)) {
            t->idle[enters] = 0;
            fall = bound;
            enters = next_to_enter(t, p, &fall);
            t->idle[t->left_last] = -1;
        }
        add_multiple(p->q, -fall, t->rate, t->active.k);
        add_multiple(t->h, fall, t->w, whole_vectors(t->active.n));
        t->lambda -= fall * t->mu;
        t->rho -= fall;
        t->left_last = -1;
        if (t->n_kept && t->active.n == t->n_kept)
            return 1;
        if (enters >= 0)
            enter(t, p, enters);
        else if (leaves >= 0)
            leave(t, p, leaves);
        else
            return 1;
    }
    return 0;
}

/* Apply one step of iterative refinement to the conditions D_S (x - h D) = alpha sign_S of the
   active codes, with a newly computed residual, to correct the rounding errors of the path. If a
   code would change its sign, nothing changes. */
static void refine(path *t, const row_problem *p)
{
    const dictionary_forms *f = p->dictionary;
    int64_t n = t->active.n, padded_n = whole_vectors(n);
    real *lacking = t->active.coefficients, *change = t->w;
    for (int64_t i = 0; i < n; ++i) {
        real sign = t->h[i] > 0 ? 1 : -1;
        lacking[i] = dot(p->residual, f->atoms + t->active.atom[i] * f->ld_d, f->ld_d) -
                     p->alpha * sign;
    }
    for (int64_t i = n; i < padded_n; ++i)
        lacking[i] = 0;
    memset(change, 0, (size_t)padded_n * sizeof(real));
    for (int64_t i = 0; i < n; ++i) {
        const real *R = basis_row(&t->active, i) + t->active.k;
        add_multiple(change, dot(R, lacking, padded_n), R, whole_vectors(i + 1));
    }
    for (int64_t i = 0; i < n; ++i)
        if (!(t->h[i] * (t->h[i] + change[i]) > 0))
            return;
    add_multiple(t->h, 1, change, padded_n);
}

static void scatter_codes(const path *t, const row_problem *p)
{
    memset(p->h, 0, (size_t)p->dictionary->ld_k * sizeof(real));
    for (int64_t i = 0; i < t->active.n; ++i)
        p->h[t->active.atom[i]] = t->h[i];
}

static void end_path(path *t, const row_problem *p)
{
    scatter_codes(t, p);
    if (t->n_kept) /* the conditions are those of the lasso */
        return;
    compute_residual(p);
    refine(t, p);
    scatter_codes(t, p);
}

static void begin_path(path *t, const dictionary_forms *f)
{
    t->active.n = 0;
    t->left_last = -1;
    t->hint = 0;
    mark_idle(t, f);
}

/* Follow the path from nothing to the code p->h. Returns 0 where the path is too long. */
static int follow_from_nothing(path *t, const row_problem *p, int64_t max_events)
{
    const dictionary_forms *f = p->dictionary;
    memcpy(p->q, p->c, (size_t)f->ld_k * sizeof(real));
    begin_path(t, f);
    real largest = largest_correlation(p->q, f->ld_k, p->job->positive);
    t->lambda = largest > p->alpha ? largest : p->alpha;
    t->mu = 1;
    t->rho = t->lambda - p->alpha;
    memset(t->rate, 0, (size_t)f->ld_k * sizeof(real));
    int arrived = t->rho > 0 ? follow(t, p, max_events) : 1;
    end_path(t, p);
    return arrived;
}

/* Follow the path from the code p->h, with correlations p->q = D (x - h D), to a new code p->h.
   Returns 0 where the path is too long. */
static int follow_from_code(path *t, const row_problem *p, int64_t max_events)
{
    const dictionary_forms *f = p->dictionary;
    begin_path(t, f);
    for (int64_t j = 0; j < f->k; ++j) {
        if (p->h[j] == 0)
            continue;
        if (basis_add(&t->active, j, f->gram + j * f->ld_k)) {
            t->h[t->active.n - 1] = p->h[j];
            t->idle[j] = 0;
        } else {
            /* The atom depends on earlier ones: its code starts at 0. */
            add_multiple(p->q, p->h[j], f->gram + j * f->ld_k, f->ld_k);
        }
    }
    int64_t n = t->active.n;
    for (int64_t i = n; i < whole_vectors(n); ++i)
        t->h[i] = 0;
    memset(t->w, 0, (size_t)whole_vectors(n) * sizeof(real));
    /* The vector p, in t->rate: it moves q of idle atoms beyond the bound to half the bound. */
    for (int64_t j = 0; j < f->ld_k; ++j) {
        real q = p->q[j], beyond = magnitude_of(q, p->job->positive) > p->alpha;
        t->rate[j] = beyond ? (q > 0 ? p->alpha : -p->alpha) / 2 - q : 0;
    }
    for (int64_t i = 0; i < n; ++i) {
        int64_t j = t->active.atom[i];
        t->rate[j] = (t->h[i] > 0 ? p->alpha : -p->alpha) - p->q[j];
    }
    add_multiple(p->q, 1, t->rate, f->ld_k);
    t->lambda = p->alpha, t->mu = 0, t->rho = 1;
    for (int64_t i = 0; i < n; ++i)
        turn_towards(t, i, 0);
    int arrived = follow(t, p, max_events);
    end_path(t, p);
    return arrived;
}

#endif
