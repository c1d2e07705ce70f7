/* The activations of the hidden layer: h = forward(a), and dh/da in terms of h.

   To add one: two functions on vectors, an ACTIVATION line, a line of the table; and its twin in tests/reference.py. */
#ifndef AEFAST_ACTIVATIONS_H
#define AEFAST_ACTIVATIONS_H

#include "strip.h"

typedef vec activation_function(vec);

typedef struct {
    const char *name;
    void (*forward)(strip *);  /* values a - bias -> h */
    void (*backward)(strip *); /* values dH -> dA = dH o dh/da, with operand h; column sums -> db */
} activation_entry;

ALWAYS_INLINE void forward_column(strip *s, int64_t column, int64_t width, int64_t left, activation_function *forward)
{
    vec bias = vec_load_n(s->bias + column, left);
    ivec bad = {0};
    real *a = s->values + column;
    for (int64_t i = 0, n = s->n_rows, ld = s->ld; i < n; ++i, a += ld) {
        vec h = forward(vec_load_n(a, width) + bias);
        bad |= not_finite_lanes(h);
        vec_store_n(a, h, width);
    }
    s->not_finite |= any_lane(bad);
}

ALWAYS_INLINE void backward_column(strip *s, int64_t column, int64_t width, int64_t left, activation_function *derivative)
{
    vec sum = {0};
    real *d = s->values + column;
    const real *h = s->operand + column;
    for (int64_t i = 0, n = s->n_rows, ld = s->ld, h_ld = s->operand_ld; i < n; ++i, d += ld, h += h_ld) {
        vec da = vec_load_n(d, width) * derivative(vec_load_n(h, width));
        sum += da;
        vec_store_n(d, da, width);
    }
    store_as_double(s->column_sums + column, sum, left);
}

#define ACTIVATION(name)                                                                                                                        \
    ALWAYS_INLINE void name##_forward_column(strip *s, int64_t j, int64_t width, int64_t left) { forward_column(s, j, width, left, name); }      \
    ALWAYS_INLINE void name##_backward_column(strip *s, int64_t j, int64_t width, int64_t left)                                                 \
    {                                                                                                                                           \
        backward_column(s, j, width, left, name##_derivative);                                                                                  \
    }                                                                                                                                           \
    static void name##_forward(strip *s) { for_each_vector(s, name##_forward_column); }                                                         \
    static void name##_backward(strip *s) { for_each_vector(s, name##_backward_column); }

/* sigmoid: h = 1 / (1 + exp(-a)), dh/da = h (1 - h) */
ALWAYS_INLINE vec sigmoid(vec a) { return vec_sigmoid(a); }
ALWAYS_INLINE vec sigmoid_derivative(vec h) { return h * ((real)1 - h); }
ACTIVATION(sigmoid)

static const activation_entry activations[] = {
    {"sigmoid", sigmoid_forward, sigmoid_backward},
};

#endif
