"""From the workers' results to the figures of the table."""

from statistics import median


def seconds_per_step(result):
    """The median within a process."""
    return median(result["seconds"]) / result["n_steps"]


def ratios(rival_results, aefast_results):
    """Time of the rival over time of aefast, paired by repeat: measured within the same minute."""
    pairs = zip(rival_results, aefast_results, strict=False)
    return [seconds_per_step(rival) / seconds_per_step(aefast) for rival, aefast in pairs]


def summarise_peer(shape, results, aefast_results, peak):
    """One row: medians over repeats of the medians within a process.

    ``results`` is a list of a worker's results or the message of a failure; ``peak`` is in flop/s,
    or None where it is unknown.
    """
    if isinstance(results, str):
        return {"status": f"failed: {results}"}
    if not results:
        return {"status": "not measured"}
    seconds = [seconds_per_step(result) for result in results]
    typical = median(seconds)
    row = {
        "status": "ok",
        "n_repeats": len(results),
        "microseconds": 1e6 * typical,
        "spread": (max(seconds) - min(seconds)) / typical,
        "gflops": shape.flop_per_step / typical / 1e9,
        "fraction_of_peak": shape.flop_per_step / typical / peak if peak else None,
        "versions": results[0]["versions"],
        "details": results[0]["details"],
    }
    if aefast_results and isinstance(aefast_results, list):
        paired = ratios(results, aefast_results)
        row |= {"ratio": median(paired), "ratio_min": min(paired), "ratio_max": max(paired)}
    return row


def summarise(records, shapes, peaks):
    """``{"peak_gflops": …, "shapes": [{"name", "label", …, "peers": {name: row}}]}``.

    The peak is the highest seen in the run: a ceiling is what was reached at best.
    """
    peak = max(peaks, default=None)
    table = []
    for shape in shapes:
        by_peer = records[shape.name]
        aefast_results = by_peer.get("aefast")
        rows = {
            name: summarise_peer(shape, results, aefast_results, peak)
            for name, results in by_peer.items()
        }
        sizes = {"d": shape.n_features, "k": shape.n_components, "n": shape.n_samples}
        entry = {
            "name": shape.name,
            "label": shape.label,
            **sizes,
            "flop_per_step": shape.flop_per_step,
        }
        table.append({**entry, "peers": rows})
    return {
        "peak_gflops": peak / 1e9 if peak else None,
        "lowest_peak_gflops": min(peaks) / 1e9 if peaks else None,
        "shapes": table,
    }
