"""Tables for the terminal, as Markdown, for the page on performance; files and pictures."""

import os
import textwrap
from importlib.util import find_spec
from pathlib import Path

WIDTH = 100  # columns of prose in pages
HEADINGS = (
    "d x k, n",
    "rival",
    "µs a step",
    "spread",
    "of peak",
    "rival / aefast",
    "quickest quarter: µs",
    "of peak",
    "rival / aefast",
)


def write_text(path, text):
    """Write beside the target, then rename into place."""
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def format_microseconds(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def format_fraction(value):
    return f"{100 * value:.1f} %" if value is not None else ""


def format_row(label, name, row):
    """Return the cells of one rival at one shape."""
    if row["status"] != "ok":
        return (label, name, row["status"], *[""] * (len(HEADINGS) - 3))
    ratio = quick_ratio = ""
    if "ratio" in row and name != "aefast":
        ratio, quick_ratio = f"{row['ratio']:.2f}", f"{row['quick_ratio']:.2f}"
        if row["n_repeats"] > 1:
            ratio += f" ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
    return (
        label,
        name,
        format_microseconds(row["microseconds"]),
        f"{100 * row['spread']:.0f} %" if row["n_repeats"] > 1 else "",
        format_fraction(row["fraction_of_peak"]),
        ratio,
        format_microseconds(row["quick_microseconds"]),
        format_fraction(row["quick_fraction"]),
        quick_ratio,
    )


def table_rows(table, missing):
    for shape in table["shapes"]:
        label = shape["label"]
        for name, row in shape["peers"].items():
            yield format_row(label, name, row)
            label = ""  # only the first row of a shape names it
    for name in missing:
        yield ("", name, "not installed", *[""] * (len(HEADINGS) - 3))


def text_table(table, missing):
    rows = [HEADINGS, *table_rows(table, missing)]
    # A failure is reported in the third column, at any length.
    widths = [max(len(r[i]) for r in rows if i != 2 or r[3]) for i in range(len(HEADINGS))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        if row[0] and lines:
            lines.append("")
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_lines(headings, rows):
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "|".join("---" if i < 1 else "--:" for i in range(len(headings))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def markdown_table(table, missing):
    return "\n".join(markdown_lines(HEADINGS, table_rows(table, missing)))


def solver_name(table):
    return {"sgd": "plain SGD", "adam": "Adam"}[table["solver"]]


def headline(table):
    peak = table["peak_gflops"]
    parts = (
        "training steps" if table["measure"] == "step" else "epochs",
        f"tied, sigmoid, cross-entropy, {table['precision']}",
        solver_name(table),
        f"{table['threads']} thread" + "s" * (table["threads"] > 1),
        f"FMA peak {peak:.0f} GFLOP/s" if peak else "FMA peak not measured",
        f"pixels of {Path(table['data']).name}" if table["data"] else "random data",
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


def detail_lines(table):
    """Yield the facts that rivals report about themselves at the first shape."""
    for name, row in table["shapes"][0]["peers"].items():
        if row.get("details"):
            facts = ", ".join(f"{key} {value}" for key, value in row["details"].items())
            yield f"{name}: {facts}"


def notes(peers):
    return [f"{peer.name}: {peer.note}" for peer in peers if peer.note]


def failures(tables):
    """Return a line for each rival and shape without a result."""
    return [
        f"{shape['name']}, {table['solver']}, {name}: {row['status']}"
        for table in tables
        for shape in table["shapes"]
        for name, row in shape["peers"].items()
        if row["status"] != "ok"
    ]


def text(tables, machine, peers, missing):
    """Return the text for the terminal."""
    parts = ["\n".join(machine_lines(machine))]
    for table in tables:
        parts += [headline(table), text_table(table, missing)]
    parts.append("\n".join(notes(peers)))
    return "\n\n".join(part for part in parts if part)


def markdown(tables, machine, peers, missing, pictures):
    facts = [*machine_lines(machine), *detail_lines(tables[0]), *notes(peers)]
    parts = ["\n".join(f"* {fact}" for fact in facts)]
    for table in tables:
        parts += [f"## {headline(table)}", markdown_table(table, missing)]
    parts += [f"![{roofline_text(table)}]({picture.name})" for table, picture in pictures]
    return "\n\n".join(parts) + "\n"


def roofline_text(table):
    return f"GFLOP/s of a training step over its operations, {solver_name(table)}"


# ---- files ----


def draw_pictures(folder, tables, machine):
    """Draw a picture for each solver, precision and data; return ``[(table, path)]``.

    The table of a picture is the one with the most threads. Without matplotlib there are no
    pictures.
    """
    if find_spec("matplotlib") is None:
        return []
    from . import roofline

    groups = {}
    for table in tables:
        if any(row["status"] == "ok" for s in table["shapes"] for row in s["peers"].values()):
            key = table["measure"], table["solver"], table["precision"], table["data"]
            groups.setdefault(key, []).append(table)
    pictures = []
    for (measure, solver, precision, data), group in groups.items():
        group.sort(key=lambda table: -table["threads"])
        name = f"{measure}s-{solver}" + "-pixels" * bool(data)
        path = folder / (name + f"-{precision}" * (precision != "float32") + ".png")
        subtitle = "\n".join([headline(group[0]), machine_lines(machine)[0]])
        roofline.draw(group, subtitle, path)
        pictures.append((group[0], path))
    return pictures


def write_files(folder, tables, machine, peers, missing):
    """Write ``tables.md`` and pictures; return the paths."""
    pictures = draw_pictures(folder, tables, machine)
    path = folder / "tables.md"
    write_text(path, markdown(tables, machine, peers, missing, pictures))
    return [path, *(picture for _, picture in pictures)]


NO_BREAK = "\N{NO-BREAK SPACE}"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def page_rows(table, rivals):
    """Yield rows of aefast's times and the ratios of the rivals' times to them."""
    for shape in table["shapes"]:
        row = shape["peers"].get("aefast")
        if row is None or row["status"] != "ok":
            continue
        fraction, quick = row["fraction_of_peak"], row["quick_fraction"]
        cells = [
            f"{shape['d']} × {shape['k']}".replace(" ", NO_BREAK) + f", {shape['n']}",
            format_microseconds(row["microseconds"]),
            f"{100 * fraction:.0f} % ({100 * quick:.0f} %)" if fraction else "",
        ]
        for name in rivals:
            ratio = shape["peers"].get(name, {}).get("ratio")
            cells.append(f"{ratio:.2f} ×" if ratio else "")
        yield cells


def page_part(tables, machine):
    """Return the tables of steps with the most threads, one for each solver."""
    most = max((table["threads"] for table in tables), default=0)
    parts = []
    for table in (table for table in tables if table["threads"] == most):
        names = {name: None for shape in table["shapes"] for name in shape["peers"]}
        rivals = [name for name in names if name != "aefast"]
        headings = ["d × k, n", "aefast, µs a step", "of the FMA peak (quickest quarter)", *rivals]
        words = headline(table)
        parts += [
            f"{textwrap.fill(words[0].upper() + words[1:], WIDTH - 1)}:",
            "\n".join(markdown_lines(headings, page_rows(table, rivals))),
        ]
    where = f"Measured on {machine_lines(machine)[0]}; each library alone in its process."
    parts.append(textwrap.fill(where, WIDTH))
    return "\n\n".join(parts)


def write_page(root, tables, machine):
    """Replace the text between the two marks of docs/performance.md and the pictures beside it.

    Only steps on random data are shown. The result is the list of paths.
    """
    tables = [table for table in tables if table["measure"] == "step" and not table["data"]]
    pictures = draw_pictures(root / "docs", tables, machine)
    path = root / "docs" / "performance.md"
    page = path.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"{path}: expected one {BEGIN} and one {END}")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    images = "\n\n".join(f"![{roofline_text(t)}]({p.name})" for t, p in pictures)
    part = "\n\n".join([BEGIN, page_part(tables, machine), images, END])
    write_text(path, before + part + after)
    return [path, *(picture for _, picture in pictures)]
