"""Command lines that are refused in Chinese: one Chinese line, with the exit code of the English one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chinese_text import english_words
from refusals import refused

MNIST = Path(__file__).parents[2] / "viz_diffusion" / "assets" / "mnist"
LINES = """
2 paint
2 reprot
2 report --unheard-of
2 report --digit five
2 report --digit 12
2 report five
2 report --audience pupils
2 report --label owl
2 report --lessons guess,gide
3 report --trajectory nowhere
2 deck --trajectory s3://bucket/digits.zarr
3 report --trajectory broken
2 report --index 3
3 report --run nowhere
3 report --run half
3 report --run odd
4 report --out file/report.html
2 lesson
2 lesson gide
2 lesson guidance --trajectories x.zarr
2 trajectory --steps 0
2 trajectory --steps 1001
2 trajectory --sampler lms
2 trajectory --guidance nan
2 trajectory --eta 0.5
2 trajectory --frames 5,0
2 trajectory --frames few
2 trajectory --prompt owl
2 trajectory --shard 9/8 --out a.zarr
4 trajectory --out file/out
3 trajectory --from file
2 intervene
2 intervene --switch 8
2 intervene --clock frozen
2 intervene --guide-within 700:600
2 intervene --drop-label --switch 8@500
2 record
3 record nowhere
2 forward --schedule zero-snr
2 forward --dataset cifar
3 forward --data-dir nowhere
3 forward --data-dir empty
3 forward --data-dir cut
2 embeddings --out x.txt
2 live --out x.txt
3 live --run half
2 deck --size 1
2 deck --format odp
2 deck --minutes 30
2 deck --slides nothing
2 deck --template file --format folder
3 deck --template broken.pptx --format pptx
2 worksheet --steps 3
2 worksheet --variance learned
2 export
2 export --figure stips
2 export --figure steps --format bmp
2 export --figure snr --dpi 5
2 export --figure snr --format gif
2 export --figure learning --seed 5
2 sample
2 sample --out x.txt
2 sample --out x.png --count 0
2 sample --digit ten --out x.png
2 sample --seed 1 --seeds 1-5 --out a.zarr
2 sample --seeds 5-1 --out a.zarr
2 evaluate --count 3
2 evaluate --out x.txt
3 evaluate --run broken
2 train --minutes 0
2 train --steps 5 --minutes 1
2 train --steps 1.5
2 train --set width
2 train --set widht=3
2 train --set batch_size=many
2 train --space latent-3d
2 train --conditioning text --dataset kmnist
2 train --force
3 train --resume nowhere
3 train --steps 1 --out half
2 train --device abacus --steps 1
2 train-classifier
2 compare bundled
2 compare bundled bundled
2 compare bundled bundled-text --count 1
2 data cut --out x.txt
3 data nowhere
2 data cut --transpose
3 data cut --save empty
2 info --json=1
4 forward --out mine.png
"""


@pytest.fixture
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with things that no command can use."""
    (tmp_path / "file").write_text("a file")
    (tmp_path / "mine.png").write_bytes(b"somebody's")
    (tmp_path / "broken.pptx").write_bytes(b"no presentation")
    (tmp_path / "empty").mkdir()
    for name, text in (("half", '{"format_version": 99}'), ("odd", "[1"), ("broken", '{"a": ')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
        (tmp_path / name / "zarr.json").write_text(text)
    shutil.copytree(MNIST, tmp_path / "cut")
    images = next((tmp_path / "cut").glob("train-images*"))
    images.write_bytes(images.read_bytes()[:1000])
    monkeypatch.chdir(tmp_path)


def cases() -> Iterator[tuple[int, str]]:
    for line in LINES.strip().splitlines():
        code, _, words = line.partition(" ")
        yield int(code), words


@pytest.mark.usefixtures("_in_a_folder")
@pytest.mark.parametrize(("code", "line"), list(cases()))
def test_a_refused_command_speaks_chinese(code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    english = refused(capsys, code, *line.split())
    chinese = refused(capsys, code, *line.split(), "--lang", "zh")
    assert chinese.startswith("vizdiff 出错：")
    assert not english_words(chinese), chinese
    assert len(re.findall("[\u4e00-\u9fff]", chinese)) >= 7
    assert not re.search("[\u4e00-\u9fff]", english)


def test_control_english_is_found() -> None:
    assert english_words("vizdiff 出错：--digit must lie in 0..9") == ["must lie"]
    assert not english_words("--size 必须是 360p, 480p 之一；参见 vizdiff deck --help")
    assert len(list(cases())) >= 40
    assert len({line.split()[0] for _, line in cases()}) >= 19
