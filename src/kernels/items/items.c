/* Instances of the kernels of items.h. */
#include "kernels/items/items.h"

#include "kernels/items/gram.h"
#include "kernels/items/inverse.h"
#include "kernels/items/ranking.h"
#include "kernels/items/refit.h"

const items_kernels INSTANCE(items) = {
    .gram_bytes = gram_bytes,
    .gram = gram,
    .inverse_bytes = inverse_bytes,
    .inverse_blocks = inverse_blocks,
    .inverse_items = inverse_items,
    .inverse = inverse,
    .refit_bytes = refit_bytes,
    .refit = refit,
    .ranking_bytes = ranking_bytes,
    .ranking = ranking,
};
