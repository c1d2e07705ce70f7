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

ALWAYS_INLINE void forward_strip(strip *s, activation_function *forward)
{
    ivec bad = {0};
    for (int64_t i = 0; i < s->n_rows; ++i) {
        real *a = s->values + i * s->ld;
        for (int64_t j = 0; j < s->n_columns; j += LANES) {
            int64_t left = s->n_columns - j;
            vec h = forward(vec_load_n(a + j, left) + vec_load_n(s->bias + j, left));
            bad |= not_finite_lanes(h);
            vec_store_n(a + j, h, left);
        }
    }
    s->not_finite |= any_lane(bad);
}

ALWAYS_INLINE void backward_strip(strip *s, activation_function *derivative)
{
    column_accumulator acc = {{0}};
    for (int64_t i = 0; i < s->n_rows; ++i) {
        real *d = s->values + i * s->ld;
        const real *h = s->operand + i * s->operand_ld;
        for (int64_t j = 0; j < s->n_columns; j += LANES) {
            int64_t left = s->n_columns - j;
            vec da = vec_load_n(d + j, left) * derivative(vec_load_n(h + j, left));
            vec_store_n(d + j, da, left);
            accumulate(&acc, j, da, left);
        }
    }
    for (int64_t j = 0; j < s->n_columns; ++j)
        s->column_sums[j] = (double)acc.sum[j];
}

#define ACTIVATION(name)                                                                    \
    static void name##_forward(strip *s) { forward_strip(s, name); }                        \
    static void name##_backward(strip *s) { backward_strip(s, name##_derivative); }

/* sigmoid: h = 1 / (1 + exp(-a)), dh/da = h (1 - h) */
ALWAYS_INLINE vec sigmoid(vec a) { return vec_sigmoid(a); }
ALWAYS_INLINE vec sigmoid_derivative(vec h) { return h * ((real)1 - h); }
ACTIVATION(sigmoid)

static const activation_entry activations[] = {
    {"sigmoid", sigmoid_forward, sigmoid_backward},
};

#endif
