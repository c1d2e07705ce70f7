/* A job on items whose members take items one after another, each with reals of its own. */
#ifndef AEFAST_ITEMS_MEMBERS_H
#define AEFAST_ITEMS_MEMBERS_H

#include "kernels/base/real.h"
#include "kernels/base/workspace.h"
#include "kernels/items/items.h"

typedef struct {
    void *job;
    share *shares;
    /* Memory of the first member, and the distance to that of each next one. */
    char *memory;
    int64_t stride;
} item_pass;

/* Lay out the workspace of a job; *bytes <- its size. With NULL, only the size is meaningful. */
static item_pass carve_item_pass(void *job, int n_threads, int64_t size, void *workspace,
                                 int64_t *bytes)
{
    arena a = arena_at(workspace);
    item_pass pass = {.job = job};
    pass.shares = CARVE(&a, share, n_threads);
    for (int i = 0; i < n_threads; ++i) {
        int64_t before = a.used;
        char *memory = CARVE(&a, char, size);
        pass.memory = i == 0 ? memory : pass.memory;
        pass.stride = a.used - before;
    }
    *bytes = arena_bytes(&a);
    return pass;
}

static int64_t item_pass_bytes(int n_threads, int64_t size)
{
    int64_t bytes;
    carve_item_pass(0, n_threads, size, 0, &bytes);
    return bytes;
}

/* Run a team over items; the function gets an item_pass. */
static void run_item_pass(void *job, int n_threads, int64_t size, void *workspace,
                          void (*function)(void *, member))
{
    int64_t bytes;
    item_pass pass = carve_item_pass(job, n_threads, size, workspace, &bytes);
    memset(pass.shares, 0, (size_t)n_threads * sizeof *pass.shares);
    team_run(n_threads, FLOAT_MODE_IEEE, function, &pass);
}

static void *memory_of_member(const item_pass *pass, member m)
{
    return pass->memory + m.index * pass->stride;
}

#endif
