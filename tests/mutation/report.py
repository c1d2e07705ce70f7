"""How mutants and their outcomes are printed."""


def describe(name, text, mutant):
    """Return where a mutant is and the lines it changes, before and after."""
    first = text.rfind("\n", 0, mutant.start) + 1
    last = text.find("\n", mutant.end)
    before = text[first:last]
    after = text[first : mutant.start] + mutant.replacement + text[mutant.end : last]
    return {
        "place": f"{name}:{text.count(chr(10), 0, mutant.start) + 1}",
        "kind": mutant.kind,
        "change": f"    - {' '.join(before.split())}\n    + {' '.join(after.split())}",
    }


def heading(record):
    return f"{record['number']:3d} {record['place']} [{record['kind']}]"


def table(records):
    """Return the outcomes by folder, as a table in Markdown, and the survivors."""
    folders = sorted({_folder(record) for record in records})
    rows = [("folder", "mutants", "default tier", "whole alone", "neither", "seconds, default")]
    rows += [_row(name, [r for r in records if _folder(r) == name]) for name in folders]
    rows.append(_row("all", records))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    hows = [r["default"]["how"] for r in records if r["default"]["noticed"]]
    counts = ", ".join(f"{hows.count(how)} by {how}" for how in sorted(set(hows)))
    survivors = [f"{heading(r)}\n{r['change']}" for r in records if not noticed(r)]
    return "\n".join([*lines, "", f"noticed by the default tier: {counts or 'none'}", *survivors])


def _folder(record):
    return "/".join(record["place"].split("/")[2:-1])


def noticed(record):
    return record["default"]["noticed"] or bool(record["whole"] and record["whole"]["noticed"])


def _row(name, records):
    by_default = sum(r["default"]["noticed"] for r in records)
    by_any = sum(noticed(r) for r in records)
    seconds = round(sum(r["default"]["seconds"] for r in records))
    return name, len(records), by_default, by_any - by_default, len(records) - by_any, seconds
