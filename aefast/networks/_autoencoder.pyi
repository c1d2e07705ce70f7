from typing import Any

import numpy as np
from numpy.typing import NDArray

N_LAYERS_AT_MOST: int
N_PARAMETER_ARRAYS: int
NOT_FINITE: int
BAD_ROWS: int
ACTIVATIONS: list[str]
UNIT_ACTIVATIONS: list[str]
BOUNDED_ACTIVATIONS: list[str]
OUTPUT_TABLE: list[dict[str, Any]]
OUTPUTS: list[str]
CORRUPTIONS: dict[str, int]
PENALTIES: dict[str, dict[str, Any]]
SOLVERS: list[str]
SCHEDULES: list[str]

def activation_table() -> list[dict[str, Any]]: ...
def output_table() -> list[dict[str, Any]]: ...
def penalty_table() -> list[dict[str, Any]]: ...
def solver_table() -> list[dict[str, Any]]: ...
def output_link(output: str, means: NDArray[np.float64]) -> NDArray[np.float64]: ...
def output_log_base(
    output: str, x: NDArray[np.float64], constant: float
) -> NDArray[np.float64]: ...
def output_sample(
    output: str,
    eta: NDArray[np.float64],
    theta: NDArray[np.float64] | None,
    constant: float,
    n_draws: NDArray[np.float64] | None,
    random: np.random.Generator,
) -> NDArray[np.float64]: ...

class Trainer:
    learning_rate: float
    schedule: tuple[int, int]
    n_threads: int
    @property
    def variant(self) -> Any: ...
    @property
    def solver(self) -> str: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def n_rows_done(self) -> int: ...
    @property
    def loss_sum(self) -> float: ...
    @property
    def rate(self) -> float: ...
    def __init__(
        self,
        network: Any,
        X: Any,
        flat: NDArray[Any],
        state: NDArray[Any],
        hyperparameters: Any,
        *,
        batch_size: int,
        n_threads: int,
        n_steps: int,
        variant: Any,
        n_rows_seen: int = 0,
        sample_weight: NDArray[np.float64] | None = None,
        bfloat16: bool = False,
        schedule_step: int = 0,
        schedule_steps: int = 1,
        stores_gradient: bool = False,
        rate_factors: NDArray[np.float64] | None = None,
        head: Any = None,
    ) -> None: ...
    def read_from(
        self, X: NDArray[Any], sample_weight: NDArray[np.float64] | None = None
    ) -> None: ...
    def values(self) -> tuple[NDArray[Any], NDArray[Any], int]: ...
    def moving_parameters(self) -> NDArray[Any]: ...
    def reread(self) -> None: ...
    def restore(self, flat: NDArray[Any], state: NDArray[Any], n_steps: int) -> None: ...
    def go_on_from(self, n_rows_done: int, loss_sum: float, rate: float) -> None: ...
    def advance(
        self,
        flat: NDArray[Any],
        state: NDArray[Any],
        n_steps: int,
        n_rows: int,
        loss_sum: float,
        rate: float,
        place: tuple[int, int],
        unused: NDArray[np.int64] | None = None,
    ) -> None: ...
    def step(
        self,
        gradient: NDArray[np.float64],
        loss: float,
        n_rows: int,
        loss_sum: float,
        unused: NDArray[np.int64] | None = None,
    ) -> tuple[float, int]: ...
    def run(self, order: NDArray[np.int64], loss_sum: float) -> tuple[float, int]: ...

PROGRESS: np.dtype[Any]
STOPPING_RULES: dict[str, int]

class EnsembleTrainer:
    n_threads: int
    def __init__(
        self,
        network: Any,
        X: NDArray[Any],
        rows: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
        columns: NDArray[np.int64] | None,
        values: NDArray[Any],
        kept: NDArray[Any],
        progress: NDArray[Any],
        losses: NDArray[np.float64],
        hyperparameters: Any,
        *,
        variant: Any,
        seeds: NDArray[np.uint64],
        batch_size: int,
        n_threads: int,
        shuffles: bool,
        stop: tuple[str, float, int, bool],
        rate_factors: NDArray[np.float64] | None = None,
    ) -> None: ...
    def run(self, first: int, last: int, slice_rows: int) -> int: ...

def survey(
    X: NDArray[Any],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    domain: Any,
    real_example: NDArray[Any],
    n_threads: int,
    *,
    missing: bool = False,
    covariances: bool = True,
    scatter_rows: int = 4096,
) -> tuple[int, dict[str, Any]]: ...

class FactoredKernel:
    learning_rate: float
    schedule: tuple[int, int]
    n_steps: int
    @property
    def factors(self) -> Any: ...
    @property
    def encoder_scale(self) -> tuple[float, float]: ...
    @property
    def is_due(self) -> bool: ...
    def hold(self, factors: Any, encoder_scale: tuple[float, float], is_due: bool) -> None: ...
    @property
    def n_rows_done(self) -> int: ...
    @property
    def loss_sum(self) -> float: ...
    @property
    def rate(self) -> float: ...
    def go_on_from(self, n_rows_done: int, loss_sum: float, rate: float) -> None: ...
    def __init__(
        self,
        network: Any,
        X: Any,
        flat: NDArray[Any],
        hyperparameters: Any,
        *,
        batch_size: int,
        n_steps: int,
        variant: Any,
        n_rows_seen: int,
        sample_weight: NDArray[np.float64] | None,
        schedule_step: int,
        schedule_steps: int,
        limit: float,
        n_threads: int,
    ) -> None: ...
    def run(
        self, order: NDArray[np.int64], last_step: int, loss_sum: float
    ) -> tuple[float, int, int]: ...
    def renew(
        self,
        directions: NDArray[np.float64] | None,
        changes: NDArray[np.float64] | None,
        new_F: NDArray[np.float64],
        new_F_inverse: NDArray[np.float64],
        *,
        is_last: bool,
    ) -> None: ...

def loss_and_gradients(
    network: Any,
    X: NDArray[Any],
    parameters: Any,
    weight: NDArray[np.float64] | None,
    domain: Any,
    batch_size: int,
    n_threads: int,
    variant: Any,
    memory: dict[str, NDArray[np.uint8]] | None = None,
    head: Any = None,
) -> tuple[float, NDArray[np.float64], int]: ...
def one_pass(
    layer: Any,
    rows: NDArray[Any],
    parameters: Any,
    order: NDArray[np.int64] | None,
    domain: Any,
    block_rows: int,
    n_threads: int,
    many_rows: bool,
    *,
    from_codes: bool = False,
    codes: NDArray[Any] | None = None,
    reconstructions: NDArray[Any] | None = None,
    row_losses: NDArray[np.float64] | None = None,
    feature_losses: NDArray[np.float64] | None = None,
    whole_losses: bool = False,
    targets: tuple[NDArray[Any], NDArray[np.int64] | None] | None = None,
    variant: Any = None,
) -> int: ...
def apply(name: str, x: NDArray[Any], out: NDArray[Any], n_threads: int) -> None: ...
