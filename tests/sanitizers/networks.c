/* Networks with any output, activation and layout, and rows for them. */
#include "networks.h"

#include <pthread.h>

const autoencoder_kernels *network_kernels(void) { return autoencoder_tables[0][is_double]; }

int activation_named(const char *name)
{
    activation_info info;
    for (int i = 0; i < network_kernels()->n_activations; ++i) {
        network_kernels()->activation_info(i, &info);
        if (!strcmp(info.name, name))
            return i;
    }
    exit(2);
}

int output_named(const char *name)
{
    output_info info;
    for (int i = 0; i < network_kernels()->n_outputs; ++i) {
        network_kernels()->output_info(i, &info);
        if (!strcmp(info.name, name))
            return i;
    }
    exit(2);
}

int solver_named(const char *name)
{
    solver_info info;
    for (int i = 0; i < network_kernels()->n_solvers; ++i) {
        network_kernels()->solver_info(i, &info);
        if (!strcmp(info.name, name))
            return i;
    }
    exit(2);
}

network_case draw_case(int64_t n, int64_t d, int64_t k)
{
    const autoencoder_kernels *kernels = network_kernels();
    network_case c = {.n = n, .d = d, .k = k, .tied = random_below(2)};
    c.activation = random_below(kernels->n_activations);
    c.n_segments = d < MOST_SEGMENTS ? 1 : 1 + random_below(MOST_SEGMENTS);
    for (int q = 0; q < c.n_segments; ++q)
        c.outputs[q] = random_below(kernels->n_outputs);
    c.top_k = random_below(4) == 0 ? 1 + random_below((int)k) : 0;
    c.kind = random_below(3), c.form = random_below(8);
    c.missing = c.kind != ROWS_UINT8 && random_below(3) == 0;
    c.weighted = random_below(2);
    c.gain = !c.top_k && random_below(2);
    c.logarithms = random_below(3) == 0, c.scaled = random_below(3) == 0;
    c.zeros = random_below(3) == 0;
    return c;
}

int custom_gaussian(void *context, int segment, int64_t n, const void *eta, const void *x,
                    void *result, void *losses)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    const network *net = context;
    pthread_mutex_lock(&one_at_a_time);
    for (int64_t i = 0; i < n * net->layers[0].segments[segment].n_columns; ++i) {
        double difference = get(eta, i) - (x ? get(x, i) : 0);
        put(result, i, difference);
        if (x)
            put(losses, i, difference * difference / 2);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return 0;
}

/* Divide the columns among the segments in turn. */
static void make_segments(const network_case *c, autoencoder_model *layer)
{
    output_segment *segments = memory(c->n_segments * (int64_t)sizeof *segments);
    int custom = output_named("custom");
    uint16_t *owner = memory(c->d * (int64_t)sizeof *owner);
    layer->n_segments = c->n_segments;
    layer->segments = segments;
    layer->segment_of_column = c->n_segments == 1 ? 0 : owner;
    for (int q = 0; q < c->n_segments; ++q) {
        output_info info;
        network_kernels()->output_info(c->outputs[q], &info);
        int64_t *columns = memory(c->d * 8), n_columns = 0;
        for (int64_t j = q; j < c->d; j += c->n_segments) {
            columns[n_columns++] = j;
            owner[j] = (uint16_t)q;
        }
        int is_custom = c->outputs[q] == custom,
            has_default = info.default_option == info.default_option;
        segments[q] = (output_segment){.output = c->outputs[q],
                                       .is_group = info.is_group,
                                       .is_custom = is_custom,
                                       .learned = info.parameter != 0,
                                       .constant = info.option && has_default ? info.default_option
                                                                              : 0,
                                       .n_columns = n_columns,
                                       .columns = columns};
        layer->has_groups |= info.is_group || is_custom;
        layer->has_custom |= is_custom;
    }
}

static int has_theta(const autoencoder_model *layer)
{
    int any = 0;
    for (int q = 0; q < layer->n_segments; ++q)
        any |= layer->segments[q].learned;
    return any;
}

static int64_t n_parameters_of(const autoencoder_model *layer, int has_gain)
{
    int64_t d = layer->n_features, k = layer->n_components;
    return (layer->tied ? 1 : 2) * k * d + k + d + (has_theta(layer) ? d : 0) + (has_gain ? k : 0);
}

void set_reading(const network_case *c, rows_view *rows, input_view *inputs)
{
    void *fill = reals(c->d), *offset = reals(c->d), *centre = reals(c->d);
    double *shift = doubles(c->d), *factor = doubles(c->d);
    for (int64_t j = 0; j < c->d; ++j) {
        put(fill, j, 0.5), put(offset, j, j % 3 ? 1 : 0), put(centre, j, j % 3 ? 0.25 : 0);
        shift[j] = 0, factor[j] = 1; /* entries stay in the domains of their distributions */
    }
    inputs->fill = c->missing ? fill : 0, rows->missing = c->missing;
    if (c->logarithms)
        inputs->log_offset = offset, inputs->log_centre = centre;
    if (c->scaled)
        rows->shift = shift, rows->factor = factor;
}

void place_parameters(network *net, void *flat)
{
    char *at = flat;
    for (int l = 0; l <= MOST_UPPER && net->layers[l].n_components; ++l) {
        autoencoder_model *layer = &net->layers[l];
        int64_t d = layer->n_features, k = layer->n_components, size = real_bytes();
        layer->W = at;
        layer->V = layer->tied ? at : at + k * d * size;
        at += (layer->tied ? 1 : 2) * k * d * size;
        layer->b = at;
        layer->c = at + k * size;
        layer->theta = has_theta(layer) ? at + (k + d) * size : 0;
        at += (k + d + (has_theta(layer) ? d : 0)) * size;
        layer->gain = net->has_gain ? at : 0;
        at += (net->has_gain ? k : 0) * size;
    }
    autoencoder_model *head = &net->head;
    int64_t d = head->n_features, k = head->n_components, size = real_bytes();
    head->W = head->V = at;
    head->c = at + k * d * size;
    head->theta = has_theta(head) ? at + (k + 1) * d * size : 0;
}

/* Give the code of a network a head with any distribution but a custom one. */
static void add_head(network *net, int64_t k)
{
    network_case plain = {.d = 3, .n_segments = 1};
    do
        plain.outputs[0] = random_below(network_kernels()->n_outputs);
    while (plain.outputs[0] == output_named("custom"));
    autoencoder_model *head = &net->head;
    make_segments(&plain, head);
    head->n_features = plain.d, head->n_components = k, head->tied = 1;
    net->n_parameters += (k + 1 + has_theta(head)) * plain.d;
}

network make_network(const network_case *c)
{
    network net;
    memset(&net, 0, sizeof net);
    net.custom.function = custom_gaussian;
    net.has_gain = c->gain;
    int64_t d = c->d, k = c->k;
    for (int l = 0; l <= c->n_upper; ++l, d = k, k = k > 2 ? k / 2 : k) {
        autoencoder_model *layer = &net.layers[l];
        network_case plain = {.d = d, .n_segments = 1, .outputs = {output_named("gaussian")}};
        make_segments(l ? &plain : c, layer);
        layer->n_features = d, layer->n_components = k;
        layer->tied = c->tied;
        layer->activation = c->activation;
        layer->top_k = l < c->n_upper ? 0 : c->top_k < k ? c->top_k : (int)k;
        net.n_parameters += n_parameters_of(layer, c->gain);
    }
    if (c->head)
        add_head(&net, net.layers[c->n_upper].n_components);
    net.flat = reals(net.n_parameters);
    double width = 1 / sqrt((double)c->d + 4);
    fill_uniform(net.flat, net.n_parameters, -width, width);
    return net;
}

/* An entry that is not of a group. */
static double number_in(const output_info *info, int kind)
{
    if (info->low < 0)
        return kind == ROWS_UINT8 ? random_below(3) : random_number() * 2 - 1;
    if (info->high == 1)
        return kind == ROWS_UINT8 ? random_below(2) : random_number();
    return 1 + random_below(4); /* a count, and positive */
}

table make_rows(const network_case *c, const network *net)
{
    double *X = doubles(c->n * c->d);
    const autoencoder_model *layer = &net->layers[0];
    for (int64_t i = 0; i < c->n; ++i)
        for (int q = 0; q < layer->n_segments; ++q) {
            const output_segment *segment = &layer->segments[q];
            output_info info;
            network_kernels()->output_info(segment->output, &info);
            int64_t chosen = random_below((int)segment->n_columns);
            for (int64_t j = 0; j < segment->n_columns; ++j) {
                double *x = &X[i * c->d + segment->columns[j]];
                if (!info.is_group)
                    *x = number_in(&info, c->kind);
                else
                    *x = info.row_total == 1 ? j == chosen : random_below(3);
                if (c->missing && !info.is_group && !segment->is_custom && random_below(5) == 0)
                    *x = NAN;
            }
        }
    int first = layer->segments[0].output,
        holds_zeros = layer->n_segments == 1 &&
                      (first == output_named("gaussian") || first == output_named("bernoulli"));
    for (int64_t i = 0; c->zeros && holds_zeros && i < c->n * c->d; ++i)
        if (i % c->d % 3 > 0 && i / c->d / 12 % 2 == 0) /* in blocks of rows */
            X[i] = 0;
    return make_table(X, c->n, c->d, c->kind, c->form);
}

table make_targets(const network_case *c, const network *net)
{
    network targets = {.layers = {net->head}};
    network_case plain = {.n = c->n, .d = net->head.n_features, .kind = ROWS_FLOAT64};
    plain.missing = random_below(2);
    return make_rows(&plain, &targets);
}

double *make_weights(const network_case *c)
{
    if (!c->weighted)
        return 0;
    double *weight = doubles(c->n), sum = 0;
    for (int64_t i = 0; i < c->n; ++i)
        sum += weight[i] = 0.5 + random_number();
    for (int64_t i = 0; i < c->n; ++i)
        weight[i] /= sum;
    return weight;
}

void plain_product(int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, const void *a,
                   int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc)
{
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t p = 0; p < k; ++p)
                sum += get(a, transpose_a ? p * lda + i : i * lda + p) *
                       get(b, transpose_b ? j * ldb + p : p * ldb + j);
            put(c, i * ldc + j, beta == 0 ? sum : sum + beta * get(c, i * ldc + j));
        }
}
