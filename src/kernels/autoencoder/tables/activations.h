/* The activations of the hidden layer: h = forward(a), with dh/da and d2h/da2 as functions of h.

   To add one: three functions of vectors, an ACTIVATION line (with the exponential that the
   first of them begins with, or 0), an entry of the table, and the reference implementation in
   tests/reference/variants.py. Nothing else. */
#ifndef AEFAST_ACTIVATIONS_H
#define AEFAST_ACTIVATIONS_H

#include "kernels/autoencoder/autoencoder.h"
#include "kernels/products/strip.h"

/* e is the exponential that the ACTIVATION line names, of a. */
typedef vec activation_function(vec a, vec e);
typedef vec activation_derivative(vec h);
/* slope is dh/da. */
typedef vec curvature_function(vec h, vec slope);

typedef struct {
    activation_info info;
    /* Replace values a - bias by h; in training, where a cheaper form will do, by that. */
    void (*forward)(strip *), (*forward_in_training)(strip *);
    /* Replace values dH by dA = dH o dh/da, where the operand is h; column sums go to db. */
    void (*backward)(strip *);
} activation_entry;

/* Replace values a - bias by h in one vector of columns. Exponentials are computed PASS_ROWS
   rows ahead (see PASS_ROWS). */
ALWAYS_INLINE void forward_column(strip *s, int64_t column, int64_t width, int64_t left,
                                  exponential_function *exponential, activation_function *forward)
{
    vec bias = vec_load_n(s->bias + column, left), e[PASS_ROWS];
    ivec bad = {0};
    real *a = s->values + column;
    for (int64_t first = 0, ld = s->ld; first < s->n_rows;
         first += PASS_ROWS, a += PASS_ROWS * ld) {
        int64_t n = min_i64(PASS_ROWS, s->n_rows - first);
        UNROLL_BY(1)
        for (int64_t i = 0; exponential && i < n; ++i)
            e[i] = exponential(vec_load_n(a + i * ld, width) + bias);
        UNROLL_BY(1)
        for (int64_t i = 0; i < n; ++i) {
            vec h = forward(vec_load_n(a + i * ld, width) + bias, exponential ? e[i] : bias);
            bad |= not_finite_lanes(h);
            vec_store_n(a + i * ld, vec_first_n(h, left), width);
        }
    }
    s->not_finite |= any_lane(bad);
}

/* Replace values dH by dA in one vector of columns, and sum them. */
ALWAYS_INLINE void backward_column(strip *s, int64_t column, int64_t width, int64_t left,
                                   activation_derivative *derivative)
{
    vec sum = {0};
    real *d = s->values + column;
    const real *h = s->operand + column;
    for (int64_t i = 0, n = s->n_rows, ld = s->ld, h_ld = s->operand_ld; i < n;
         ++i, d += ld, h += h_ld) {
        vec da = vec_load_n(d, width) * derivative(vec_load_n(h, width));
        sum += da;
        vec_store_n(d, da, width);
    }
    store_as_double(s->column_sums + column, sum, left);
}

/* Compute deltas with the penalties of code_terms and with units that were not kept: dA = (dH kept
   + weight p'(h)) s + 2 lambda weight ||W_j||^2 s s', with s = dh/da.

   A dead unit, which no row keeps, has an auxiliary loss instead: the squared residual of the
   row after the unit alone is added to its reconstruction, revive ||e - h_j V_j||^2 / 2 for the
   row's residual e. Its derivative by h_j, times the row's weight, is revive (dH_j + weight h_j
   ||V_j||^2). The first term alone would let the unit's weights grow for ever. */
ALWAYS_INLINE void penalised_backward_column(strip *s, int64_t column, int64_t width, int64_t left,
                                             activation_derivative *derivative,
                                             curvature_function *curvature)
{
    const code_view *code = s->code;
    vec zero = {0}, sum = zero, squares = zero, kept = zero, scale = vec_set(code->scale);
    vec mean_slope = code->mean_slope ? vec_load_n(code->mean_slope + column, left) : zero,
        norms = code->norms ? vec_load_n(code->norms + column, left) : zero;
    vec revive = code->revive ? vec_load_n(code->revive + column, left) : zero;
    vec pull = code->revive ? revive * vec_load_n(code->decoder_norms + column, left) : zero,
        bend = (real)2 * code->contraction * norms;
    real *d = s->values + column;
    const real *h_at = s->operand + column, *used = code->used ? code->used + column : 0;
    for (int64_t i = 0; i < s->n_rows; ++i, d += s->ld, h_at += s->operand_ld) {
        vec h = vec_load_n(h_at, width), weight = vec_set(s->weight[i]), slope = derivative(h),
            share = vec_set(1), auxiliary = zero;
        if (used) {
            ivec dropped = (ivec)vec_load_n(used + i * s->operand_ld, width) ==
                           (ivec)vec_set((real)-0.0);
            share = vec_select(dropped, revive, scale);
            auxiliary = vec_select(dropped, weight * h * pull, zero);
            kept += vec_select(dropped, zero, weight);
        }
        vec pull_back = mean_slope, penalty = zero;
        if (code->penalty) {
            vec of_code;
            penalty = code->penalty_weight * code->penalty(h, &of_code);
            pull_back = code->penalty_weight * of_code;
        }
        vec dh = vec_fma(vec_load_n(d, width), share, vec_fma(weight, pull_back, auxiliary));
        vec da = vec_first_n(slope * vec_fma(weight * bend, curvature(h, slope), dh), left);
        squares = vec_fma(weight * slope, slope, squares);
        s->loss +=
            vec_sum(vec_first_n(weight * vec_fma((real)0.5 * bend * slope, slope, penalty), left));
        sum += da;
        vec_store_n(d, da, width);
    }
    store_as_double(s->column_sums + column, sum, left);
    if (code->norms)
        store_as_double(code->square_sums + column, squares, left);
    if (used)
        store_as_double(code->kept_weights + column, kept, left);
}

#define ACTIVATION(name, exponential)                                                              \
    ALWAYS_INLINE void name##_forward_column(strip *s, int64_t j, int64_t width, int64_t left)     \
    {                                                                                              \
        forward_column(s, j, width, left, exponential, name);                                      \
    }                                                                                              \
    ALWAYS_INLINE void name##_backward_column(strip *s, int64_t j, int64_t width, int64_t left)    \
    {                                                                                              \
        backward_column(s, j, width, left, name##_derivative);                                     \
    }                                                                                              \
    ALWAYS_INLINE void name##_penalised_column(strip *s, int64_t j, int64_t width, int64_t left)   \
    {                                                                                              \
        penalised_backward_column(s, j, width, left, name##_derivative, name##_curvature);         \
    }                                                                                              \
    static void name##_forward(strip *s) { for_each_vector(s, name##_forward_column); }            \
    static void name##_backward(strip *s)                                                          \
    {                                                                                              \
        if (s->code)                                                                               \
            for_each_masked_vector(s, name##_penalised_column);                                    \
        else                                                                                       \
            for_each_vector(s, name##_backward_column);                                            \
    }

/* sigmoid: h = 1 / (1 + exp(-a)), dh/da = h (1 - h) */
ALWAYS_INLINE vec sigmoid(vec a, vec e) { return sigmoid_of(a, e); }
ALWAYS_INLINE vec sigmoid_derivative(vec h) { return h * ((real)1 - h); }
ALWAYS_INLINE vec sigmoid_curvature(vec h, vec slope) { return slope * ((real)1 - h - h); }
ACTIVATION(sigmoid, exp_minus_abs)
/* In training h is off by up to 3 ULP in float32 and 5 in float64 for |a| < 12, by more where it is
   nearer 0 (see exp_normal_quick), and not below the least normal number. */
ALWAYS_INLINE void trained_sigmoid_column(strip *s, int64_t column, int64_t width, int64_t left)
{
    vec bias = vec_load_n(s->bias + column, left), e[PASS_ROWS];
    real *a = s->values + column;
    for (int64_t first = 0, ld = s->ld; first < s->n_rows;
         first += PASS_ROWS, a += PASS_ROWS * ld) {
        int64_t n = min_i64(PASS_ROWS, s->n_rows - first);
        normal_exponentials(n, a, ld, width, bias, normal_minus, e);
        UNROLL_BY(1)
        for (int64_t i = 0; i < n; ++i)
            vec_store_n(a + i * ld, vec_first_n((real)1 / (e[i] + (real)1), left), width);
    }
}
static void trained_sigmoid_forward(strip *s) { for_each_vector(s, trained_sigmoid_column); }

/* tanh: dh/da = 1 - h^2 */
ALWAYS_INLINE vec hyperbolic_tangent(vec a, vec e) { return tanh_of(a, e); }
ALWAYS_INLINE vec hyperbolic_tangent_derivative(vec h) { return vec_fma(-h, h, vec_set(1)); }
ALWAYS_INLINE vec hyperbolic_tangent_curvature(vec h, vec slope) { return (real)-2 * h * slope; }
ACTIVATION(hyperbolic_tangent, exp_minus_twice_abs)

/* relu: h = max(a, 0), dh/da = 1 where h > 0 and 0 elsewhere */
ALWAYS_INLINE vec relu(vec a, vec e) { return (void)e, vec_max(vec_set(0), a); } /* NaN passes */
ALWAYS_INLINE vec relu_derivative(vec h)
{
    return vec_select(h > vec_set(0), vec_set(1), vec_set(0));
}
ALWAYS_INLINE vec relu_curvature(vec h, vec slope) { return (void)h, (void)slope, (vec){0}; }
ACTIVATION(relu, 0)

/* softplus: h = log(1 + exp(a)), dh/da = sigmoid(a) = 1 - exp(-h) */
ALWAYS_INLINE vec softplus(vec a, vec e) { return (void)e, vec_softplus(a); }
ALWAYS_INLINE vec softplus_derivative(vec h) { return vec_minus_expm1_minus(h); }
ALWAYS_INLINE vec softplus_curvature(vec h, vec slope)
{
    return (void)h, slope * ((real)1 - slope);
}
ACTIVATION(softplus, 0)

/* elu (Clevert, Unterthiner & Hochreiter 2016): h = a where a > 0 and exp(a) - 1 elsewhere;
   dh/da = 1 where a > 0 and h + 1 elsewhere */
ALWAYS_INLINE vec elu(vec a, vec e)
{
    (void)e;
    vec zero = vec_set(0);
    return vec_select(a > zero, a,
                      zero - vec_minus_expm1_minus(vec_max(zero, -a))); /* NaN passes */
}
ALWAYS_INLINE vec elu_derivative(vec h)
{
    return vec_select(h > vec_set(0), vec_set(1), h + (real)1);
}
ALWAYS_INLINE vec elu_curvature(vec h, vec slope)
{
    return vec_select(h > vec_set(0), vec_set(0), slope);
}
ACTIVATION(elu, 0)

/* linear: h = a */
ALWAYS_INLINE vec linear(vec a, vec e) { return (void)e, a; }
ALWAYS_INLINE vec linear_derivative(vec h)
{
    (void)h;
    return vec_set(1);
}
ALWAYS_INLINE vec linear_curvature(vec h, vec slope) { return (void)h, (void)slope, (vec){0}; }
ACTIVATION(linear, 0)

/* weight_scale is 4 for the sigmoid, whose slope is at most 1/4 (Glorot & Bengio 2010). */
static const activation_entry activations[] = {
    {.info =
         {.name = "sigmoid", .low = 0, .high = 1, .at_zero = 0.5, .slope = 0.25, .weight_scale = 4},
     .forward = sigmoid_forward,
     .forward_in_training = trained_sigmoid_forward,
     .backward = sigmoid_backward},
    {.info = {.name = "tanh", .low = -1, .high = 1, .slope = 1, .weight_scale = 1},
     .forward = hyperbolic_tangent_forward,
     .backward = hyperbolic_tangent_backward},
    {.info = {.name = "relu",
              .low = 0,
              .high = INFINITY,
              .slope = 1,
              .one_sided = 1,
              .weight_scale = 1},
     .forward = relu_forward,
     .backward = relu_backward},
    {.info = {.name = "softplus",
              .low = 0,
              .high = INFINITY,
              .at_zero = 0.69314718055994530942,
              .slope = 1,
              .one_sided = 1,
              .linear_from = 4,
              .weight_scale = 1},
     .forward = softplus_forward,
     .backward = softplus_backward},
    {.info = {.name = "elu",
              .low = -1,
              .high = INFINITY,
              .slope = 1,
              .one_sided = 1,
              .weight_scale = 1},
     .forward = elu_forward,
     .backward = elu_backward},
    {.info = {.name = "linear", .low = -INFINITY, .high = INFINITY, .slope = 1, .weight_scale = 1},
     .forward = linear_forward,
     .backward = linear_backward},
};

/* Replace values a - bias by h in a training step. */
static inline void activate(int activation, strip *s)
{
    const activation_entry *entry = &activations[activation];
    (entry->forward_in_training ? entry->forward_in_training : entry->forward)(s);
}

#endif
