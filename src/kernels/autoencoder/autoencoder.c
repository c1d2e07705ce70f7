/* The kernels of the autoencoder: one instance exports one table of them. */
#include "kernels/autoencoder/autoencoder.h"

#include "kernels/autoencoder/step/training.h"

#ifdef AEFAST_BFLOAT16

const autoencoder_kernels INSTANCE(autoencoder) = {
    .training_workspace_bytes = training_workspace_bytes,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .unpack = unpack,
    .train = train,
};

#else

#include "kernels/autoencoder/factored.h"
#include "kernels/autoencoder/factored_renewal.h"
#include "kernels/autoencoder/likelihoods.h"
#include "kernels/autoencoder/one_pass.h"
#include "kernels/autoencoder/step/ensemble_training.h"
#include "kernels/autoencoder/survey.h"

#define LENGTH(array) ((int)(sizeof(array) / sizeof *(array)))

static void get_activation_info(int i, activation_info *info) { *info = activations[i].info; }
static void get_output_info(int i, output_info *info) { *info = outputs[i].info; }
static void get_penalty_info(int i, penalty_info *info) { *info = penalties[i].info; }
static int penalty_is_of_means(int i) { return penalties[i].of_mean != 0; }
static void get_solver_info(int i, solver_info *info) { *info = solvers[i].info; }
static const char *schedule_name(int i) { return schedules[i].name; }
static double output_link(int i, double mean) { return outputs[i].link(mean); }
static int output_has_base(int i) { return outputs[i].base || outputs[i].group_base; }

const autoencoder_kernels INSTANCE(autoencoder) = {
    .n_activations = LENGTH(activations),
    .n_outputs = LENGTH(outputs),
    .n_penalties = LENGTH(penalties),
    .n_solvers = LENGTH(solvers),
    .n_schedules = LENGTH(schedules),
    .activation_info = get_activation_info,
    .output_info = get_output_info,
    .penalty_info = get_penalty_info,
    .penalty_is_of_means = penalty_is_of_means,
    .solver_info = get_solver_info,
    .schedule_name = schedule_name,
    .output_link = output_link,
    .output_has_base = output_has_base,
    .output_log_base = output_log_base,
    .output_sample = output_sample,
    .training_workspace_bytes = training_workspace_bytes,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .unpack = unpack,
    .train = train,
    .ensemble_workspace_bytes = ensemble_workspace_bytes,
    .train_ensemble = train_ensemble,
    .survey = survey,
    .factored_workspace_bytes = factored_workspace_bytes,
    .factored_train = factored_train,
    .factored_renew = factored_renew,
    .one_pass_workspace_bytes = one_pass_workspace_bytes,
    .one_pass = one_pass,
    .sigmoid = map_sigmoid,
    .softplus = map_softplus,
};

#endif
