"""The table, for the terminal and as Markdown, and the files."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

HEADINGS = ("d x k, n", "rival", "µs a step", "spread", "GFLOP/s", "of peak", "rival / aefast")


def write_text(path, text):
    """Write beside the target, then rename into place."""
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def format_microseconds(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def format_row(label, name, row):
    """The cells of one rival at one shape."""
    if row["status"] != "ok":
        return (label, name, row["status"], "", "", "", "")
    fraction = row["fraction_of_peak"]
    ratio = ""
    if "ratio" in row and name != "aefast":
        ratio = f"{row['ratio']:.2f}"
        if row["n_repeats"] > 1:
            ratio += f" ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
    return (
        label,
        name,
        format_microseconds(row["microseconds"]),
        f"{100 * row['spread']:.0f} %" if row["n_repeats"] > 1 else "",
        f"{row['gflops']:.3g}",
        f"{100 * fraction:.1f} %" if fraction is not None else "",
        ratio,
    )


def table_rows(summary, missing):
    for shape in summary["shapes"]:
        label = shape["label"]
        for name, row in shape["peers"].items():
            yield format_row(label, name, row)
            label = ""  # named once
    for name in missing:
        yield ("", name, "not installed", "", "", "", "")


def text_table(summary, missing):
    rows = [HEADINGS, *table_rows(summary, missing)]
    # what failed says so in the third column, at any length
    widths = [max(len(r[i]) for r in rows if i != 2 or r[3]) for i in range(len(HEADINGS))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        if row[0] and lines:
            lines.append("")
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(summary, missing):
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|--:|--:|--:|--:|--:|"]
    lines += ["| " + " | ".join(row) + " |" for row in table_rows(summary, missing)]
    return "\n".join(lines)


def headline(settings, summary):
    peak = summary["peak_gflops"]
    parts = (
        "training steps" if settings["measure"] == "step" else "epochs",
        "tied, sigmoid, cross-entropy, float32",
        settings["solver"],
        f"{settings['threads']} thread" + "s" * (settings["threads"] > 1),
        f"FMA peak {peak:.0f} GFLOP/s" if peak else "FMA peak not measured",
        f"{settings['repeats']} repeat" + "s" * (settings["repeats"] > 1),
    )
    return ", ".join(parts)


def machine_lines(machine):
    cores = f"{machine['usable cores']} usable cores"
    versions = (f"{name} {version}" for name, version in machine["versions"].items())
    return [
        ", ".join([machine["processor"], cores, *machine["vector extensions"]]),
        machine["system"],
        ", ".join(versions),
        f"commit {machine['commit']}",
    ]


def detail_lines(summary):
    """What the rivals said about themselves at the first shape."""
    for name, row in summary["shapes"][0]["peers"].items():
        if row.get("details"):
            facts = ", ".join(f"{key} {value}" for key, value in row["details"].items())
            yield f"{name}: {facts}"


def notes(peers):
    return [f"{peer.name}: {peer.note}" for peer in peers if peer.note]


def failures(summary):
    """A line for each rival and shape without figures."""
    return [
        f"{shape['name']}, {name}: {row['status']}"
        for shape in summary["shapes"]
        for name, row in shape["peers"].items()
        if row["status"] != "ok"
    ]


def text(content, peers, missing):
    """What the terminal shows."""
    summary = content["summary"]
    head = [headline(content["settings"], summary), *machine_lines(content["machine"])]
    parts = ["\n".join(head), text_table(summary, missing), "\n".join(notes(peers))]
    return "\n\n".join(part for part in parts if part)


def markdown(content, peers, missing, picture):
    summary = content["summary"]
    facts = [*machine_lines(content["machine"]), *detail_lines(summary), *notes(peers)]
    parts = [
        f"# {headline(content['settings'], summary)}",
        "\n".join(f"* {fact}" for fact in facts),
        markdown_table(summary, missing),
    ]
    if picture:
        parts.append(f"![GFLOP/s over operations a step, one line a rival]({picture})")
    return "\n\n".join(parts) + "\n"


def write_files(stem, content, peers, missing):
    """Write ``stem.json``, ``stem.md`` and, with matplotlib, ``stem.png``; return the paths.

    ``content`` holds settings, machine, summary, records and peaks: all there is to know of a run.
    """
    summary = content["summary"]
    json_path, markdown_path, picture_path = (
        stem.with_name(stem.name + suffix) for suffix in (".json", ".md", ".png")
    )
    paths = [json_path, markdown_path]
    measured = any(row["status"] == "ok" for s in summary["shapes"] for row in s["peers"].values())
    if measured and find_spec("matplotlib") is not None:
        from . import roofline

        subtitle = "\n".join(
            [headline(content["settings"], summary), machine_lines(content["machine"])[0]]
        )
        roofline.draw(summary, subtitle, picture_path)
        paths.append(picture_path)
    write_text(json_path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    picture = picture_path.name if picture_path in paths else None
    write_text(markdown_path, markdown(content, peers, missing, picture))
    return paths
