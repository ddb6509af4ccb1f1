"""Make the two fonts that handouts embed, from Debian's Droid Sans Fallback and matplotlib's DejaVu Sans.

Run it again when a catalogue uses a character that no font has (tests/deck/test_lettering.py says so):

    apt-get install fonts-droid-fallback
    pip install fonttools
    python scripts/subset_font.py

DejaVu Sans keeps Latin, Greek, punctuation and mathematics; Droid Sans Fallback keeps the characters of
all catalogues and the 3,755 commonest Chinese ones (level 1 of GB 2312), so that the next edit of a
catalogue seldom needs a new font.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
from fontTools import subset
from fontTools.ttLib import TTFont

from viz_diffusion.files import atomic_write, sha256_file
from viz_diffusion.text.catalogue import languages, load_texts

FOLDER = Path(__file__).parents[1] / "viz_diffusion" / "assets" / "fonts"
DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
DROID = Path("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf")
LATIN = [
    (0x20, 0x7E),
    (0xA0, 0x17F),
    (0x2B0, 0x2FF),
    (0x300, 0x308),
    (0x370, 0x3FF),
    (0x2010, 0x2027),
    (0x2030, 0x203A),
    (0x2070, 0x209C),
    (0x20AC, 0x20AC),
    (0x2100, 0x214F),
    (0x2190, 0x21FF),
    (0x2200, 0x22FF),
    (0x2308, 0x230B),
    (0x25A0, 0x25FF),
    (0x27E8, 0x27E9),
]


def han() -> set[int]:
    """Return the code points of GB 2312's level 1."""
    rows = (bytes([0xA0 + row, 0xA0 + cell]) for row in range(16, 56) for cell in range(1, 95))
    return {ord(c) for code in rows for c in code.decode("gb2312", errors="ignore")}


def catalogued() -> set[int]:
    """Return the code points that the catalogues use."""
    return {ord(c) for lang in languages() for text in load_texts(lang).values() for c in text if c.isprintable()}


def write_subset(source: Path, wanted: set[int], name: str, to: Path) -> None:
    """Write the glyphs of ``wanted`` that ``source`` has, under another name, without hints or features."""
    options = subset.Options(hinting=False, layout_features=[], notdef_outline=True, name_IDs=[0, 7, 13, 14])
    font = TTFont(source, recalcTimestamp=False)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=wanted)
    cutter.subset(font)
    for number, text in ((1, name), (2, "Regular"), (3, name), (4, name), (6, name)):
        font["name"].setName(text, number, 3, 1, 0x409)
    with atomic_write(to) as handle:
        font.save(handle)
    print(f"{sha256_file(to)}  {to.name}  {len(font.getBestCmap())} characters, {to.stat().st_size:,} bytes")


def main() -> None:
    """Write both fonts and print their SHA-256, for the NOTICE beside them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--droid", type=Path, default=DROID)
    parser.add_argument("--dejavu", type=Path, default=DEJAVU)
    args = parser.parse_args()
    wide = {code for code in catalogued() | han() if code >= 0x2E80}
    wide |= set(range(0x3000, 0x3020)) | set(range(0xFF01, 0xFF5F))
    latin = {code for first, last in LATIN for code in range(first, last + 1)} | catalogued()
    write_subset(args.dejavu, latin - wide, "VizdiffSans", FOLDER / "vizdiff-sans.ttf")
    write_subset(args.droid, wide, "VizdiffHan", FOLDER / "vizdiff-han.ttf")


if __name__ == "__main__":
    main()
