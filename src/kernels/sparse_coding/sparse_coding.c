/* The kernels of sparse coding and dictionary learning. Each instance exports one table of them. */
#include "kernels/sparse_coding/sparse_coding.h"

#include "kernels/sparse_coding/code_rows.h"
#include "kernels/sparse_coding/dictionary.h"

static void get_algorithm_info(int i, algorithm_info *info) { *info = algorithms[i].info; }

const sparse_coding_kernels INSTANCE(sparse_coding) = {
    .n_algorithms = (int)(sizeof algorithms / sizeof *algorithms),
    .algorithm_info = get_algorithm_info,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .coding_workspace_bytes = coding_workspace_bytes,
    .code = code,
    .accumulate = accumulate_codes,
    .update_workspace_bytes = update_workspace_bytes,
    .update = update_dictionary,
};
