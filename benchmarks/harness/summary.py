"""Summaries of the workers' records: medians, ratios, fractions of the peak."""

from statistics import median, quantiles

from benchmarks.harness.problems import parse_shape

SETTING = ("measure", "solver", "threads", "precision", "data")


def seconds_per_step(result):
    """Return the median of the samples of one process."""
    return median(result["seconds"]) / result["n_steps"]


def quickest_quarter(results):
    """Return the lower quartile of all samples.

    If the load of a shared machine varies within a minute, it is close to the time on a quiet one.
    """
    samples = [seconds / result["n_steps"] for result in results for seconds in result["seconds"]]
    return quantiles(samples, n=4, method="inclusive")[0] if len(samples) > 1 else samples[0]


def ratios(rival_results, aefast_results):
    """Return ratios of the rival's time to aefast's, in pairs measured within a minute."""
    return [
        seconds_per_step(result) / seconds_per_step(aefast_results[turn])
        for turn, result in rival_results.items()
        if turn in aefast_results
    ]


def summarise_peer(shape, records, aefast_results, peak):
    """Return the row of a table: medians over turns of the medians within a process.

    Names with ``quick`` refer to the quickest quarter of all samples. ``aefast_results`` maps turns
    to results; ``peak`` is in flop/s, or None where it is unknown.
    """
    results = {record["turn"]: record["result"] for record in records if "result" in record}
    if not results:
        return {"status": f"failed: {records[-1]['error']}"}
    seconds = [seconds_per_step(result) for result in results.values()]
    typical, quick = median(seconds), quickest_quarter(results.values())
    last = list(results.values())[-1]
    row = {
        "status": "ok",
        "n_repeats": len(results),
        "microseconds": 1e6 * typical,
        "spread": (max(seconds) - min(seconds)) / typical,
        "quick_microseconds": 1e6 * quick,
        "gflops": shape.flop_per_step / typical / 1e9,
        "fraction_of_peak": shape.flop_per_step / typical / peak if peak else None,
        "quick_fraction": shape.flop_per_step / quick / peak if peak else None,
        "versions": last["versions"],
        "details": last["details"],
    }
    if paired := ratios(results, aefast_results):
        row |= {"ratio": median(paired), "ratio_min": min(paired), "ratio_max": max(paired)}
        row["quick_ratio"] = quick / quickest_quarter(aefast_results.values())
    return row


def in_order(values):
    """Return the distinct values in the order of first appearance."""
    return list(dict.fromkeys(values))


def summarise_shape(name, records, peak):
    shape = parse_shape(name)
    by_peer = {peer: [] for peer in in_order(record["peer"] for record in records)}
    for record in records:
        by_peer[record["peer"]].append(record)
    aefast = {r["turn"]: r["result"] for r in by_peer.get("aefast", ()) if "result" in r}
    return {
        "name": shape.name,
        "label": shape.label,
        "d": shape.n_features,
        "k": shape.n_components,
        "n": shape.n_samples,
        "flop_per_step": shape.flop_per_step,
        "peers": {
            peer: summarise_peer(shape, found, aefast, peak) for peer, found in by_peer.items()
        },
    }


def summarise(records):
    """Make a table for each setting.

    A table is ``{measure, solver, threads, precision, data, peak_gflops, shapes: [{name, …, peers:
    {name: row}}]}``. The peak is the highest rate measured with as many threads.
    """
    tables = []
    for setting in in_order(tuple(record[name] for name in SETTING) for record in records):
        chosen = [r for r in records if tuple(r[name] for name in SETTING) == setting]
        where = dict(zip(SETTING, setting, strict=True))
        peaks = [
            record["result"]["flops"]
            for record in records
            if record["peer"] == "peak"
            and all(record[name] == where[name] for name in ("threads", "precision"))
        ]
        measured = [record for record in chosen if record["peer"] != "peak"]
        peak = max(peaks, default=None)
        shapes = sorted(
            in_order(record["shape"] for record in measured),
            key=lambda name: parse_shape(name).flop_per_step,
        )
        tables.append(
            {
                **where,
                "peak_gflops": peak / 1e9 if peak else None,
                "lowest_peak_gflops": min(peaks) / 1e9 if peaks else None,
                "shapes": [
                    summarise_shape(name, [r for r in measured if r["shape"] == name], peak)
                    for name in shapes
                ],
            }
        )
    return tables
