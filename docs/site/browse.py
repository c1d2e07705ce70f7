"""Look at every page of the built site in a headless Chromium.

``python docs/site/browse.py build/site`` loads each page at 1280 and at 400 pixels. It is an error
if a page is wider than its window, logs an error, lacks a picture or shows one at less than 0.4 of
its size, or has a formula without size.
With ``--pictures FOLDER --pages PAGE ...`` it writes screenshots instead. The status is 77 where
there is no Chromium.
"""

import argparse
import base64
import sys
from pathlib import Path

from chromium import Chromium, find

WIDTHS = (1280, 400)
# what a page has that it should not have, at the present width
LOOK = """
(async () => {
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const wide = document.documentElement.scrollWidth - window.innerWidth;
    const shown = element => element.getClientRects().length > 0;
    const clips = element => {
        for (let e = element.parentElement; e && e !== document.body; e = e.parentElement)
            if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX))
                return true;
        return false;
    };
    const found = [];
    if (wide > 0) {
        const beyond = [...document.querySelectorAll('main *')].filter(
            e => shown(e) && !clips(e) && e.getBoundingClientRect().right > window.innerWidth + 1);
        const names = beyond.slice(-3).map(e => e.tagName + ' ' + e.textContent.slice(0, 40));
        found.push(`${wide} pixels too wide: ` + names.join(' | '));
    }
    for (const image of document.images)
        if (image.complete && !image.naturalWidth && image.loading !== 'lazy')
            found.push('no picture: ' + image.src);
    for (const image of document.images)
        if (shown(image) && image.naturalWidth && !image.closest('.sphx-glr-thumbcontainer')
                && image.getBoundingClientRect().width < 0.4 * image.naturalWidth)
            found.push('a picture too small to read: ' + image.src.split('/').pop());
    for (const formula of document.querySelectorAll('math'))
        if (shown(formula) && !(formula.getBoundingClientRect().height > 5))
            found.push('a formula of no size: ' + formula.textContent);
    if (document.querySelector('.formula') && !document.querySelector('.formula math'))
        found.push('a formula that is not drawn');
    return found;
})()
"""


def errors(events):
    """Yield what the page has logged."""
    for event in events:
        said = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            yield said["exceptionDetails"].get("exception", {}).get("description", "an exception")
        elif event["method"] == "Runtime.consoleAPICalled" and said["type"] == "error":
            yield " ".join(str(argument.get("value")) for argument in said["args"])
        elif event["method"] == "Log.entryAdded" and said["entry"]["level"] == "error":
            yield f"{said['entry']['text']} {said['entry'].get('url', '')}"


def faults(browser, root):
    """Yield a line for each fault of each page."""
    for path in sorted(root.rglob("*.html")):
        if "_static" in path.parts or path == root / "index.html":
            continue  # parts of the theme; a page that goes on to another one
        browser.resize(WIDTHS[0])
        browser.load(path.as_uri())
        for width in WIDTHS:
            browser.resize(width)
            for fault in browser.evaluate(LOOK):
                yield f"{path.relative_to(root)} at {width}: {fault}"
        for error in errors(browser.events):
            yield f"{path.relative_to(root)}: {error}"


def take_pictures(browser, root, folder, pages):
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        for width in WIDTHS:
            browser.resize(width, 1000)
            browser.load((root / page).as_uri())
            image = browser.call("Page.captureScreenshot")["data"]
            name = f"{page.removesuffix('.html').replace('/', '-')}-{width}.png"
            (folder / name).write_bytes(base64.b64decode(image))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("site", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--pages", nargs="*", default=["docs/index.html"])
    given = parser.parse_args()
    path, root = find(), given.site.resolve()
    if path is None:
        print("no Chromium here: the pages have not been looked at", file=sys.stderr)
        return 77
    with Chromium(path) as browser:
        if given.pictures:
            take_pictures(browser, root, given.pictures, given.pages)
            return 0
        lines = list(faults(browser, root))
    print("\n".join(lines) or "every page is well at " + " and ".join(map(str, WIDTHS)))
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
