"""Small archives in the layouts that the benchmarks' authors publish, of real drawings and real titles."""

import csv
import functools
import io
import json
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from raymoe.config import load_preset


@functools.cache
def drawings(count):
    """Titles, descriptions and encoded pictures."""
    table = pq.read_table(
        str(files("raymoe.data") / "embedded" / "openclipart.parquet"),
        columns=["title", "description", "image"],
    )
    return table.slice(0, count).to_pylist()


@functools.cache
def encoded(number, form="JPEG"):
    """A drawing as another kind of file."""
    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(drawings(number + 1)[number]["image"])).convert("RGB")
    picture.resize((96, 128)).save(buffer, form)
    return buffer.getvalue()


def write_json(path: Path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def mmimdb_ids(movies):
    """Ids as IMDb writes them, seven digits with gaps."""
    return [f"{5 + 37 * i:07d}" for i in range(movies)]


def write_mmimdb(folder: Path, movies=26) -> Path:
    """``mmimdb/dataset/ID.json``, ``ID.jpeg`` and ``mmimdb/split.json``; returns the folder mmimdb."""
    dataset = folder / "mmimdb" / "dataset"
    dataset.mkdir(parents=True)
    genres = [["Drama"], ["Comedy", "Romance"], ["Sci-Fi", "Film-Noir", "Short"], ["Documentary", "News"]]
    for i, sample_id in enumerate(mmimdb_ids(movies)):
        drawing = drawings(movies)[i]
        movie = {
            "title": drawing["title"],
            "plot": [f"{drawing['title']}: {drawing['description']}", "Another plot, not taken."],
            "genres": genres[i % len(genres)],
            "year": 1990 + i,
            "cast": [{"long imdb name": "Someone"}],
        }
        write_json(dataset / f"{sample_id}.json", movie)
        (dataset / f"{sample_id}.jpeg").write_bytes(encoded(i))
    ids = mmimdb_ids(movies)[::-1]
    split = {"train": ids[::2], "dev": ids[1::4], "test": ids[3::4]}
    write_json(folder / "mmimdb" / "split.json", split)
    return folder / "mmimdb"


def enrico_ids(screens):
    """Ids of screens; the ninth and tenth are those whose wireframes are broken."""
    return [("50105", "50109")[i - 8] if i in (8, 9) else str(1000 + 53 * i) for i in range(screens)]


def write_enrico(folder: Path, screens=42) -> Path:
    """``design_topics.csv``, ``screenshots/ID.jpg`` and ``wireframes/ID.png``; returns their folder."""
    folder = folder / "enrico"
    for name in ("screenshots", "wireframes"):
        (folder / name).mkdir(parents=True)
    topics = load_preset("enrico").data.classes
    with (folder / "design_topics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["screen_id", "topic"])
        for i, screen_id in enumerate(enrico_ids(screens)):
            writer.writerow([screen_id, topics[(7 * i) % 20]])
            (folder / "screenshots" / f"{screen_id}.jpg").write_bytes(encoded(i))
            if screen_id not in ("50105", "50109"):
                (folder / "wireframes" / f"{screen_id}.png").write_bytes(encoded(i + screens, "PNG"))
    return folder


def tweet_ids(tweets):
    """Ids as Twitter gives them."""
    return [str(1114679353714016256 + 1_000_003 * i) for i in range(tweets)]


def write_mmhs150k(folder: Path, tweets=30) -> Path:
    """``MMHS150K_GT.json``, ``splits``, ``img_resized`` and, for every third tweet, ``img_txt``."""
    folder = folder / "MMHS150K"
    for name in ("splits", "img_resized", "img_txt"):
        (folder / name).mkdir(parents=True)
    names = ("NotHate", "Racist", "Sexist", "Homophobe", "Religion", "OtherHate")
    votes = [[0, 0, 0], [0, 0, 4], [0, 1, 5], [1, 2, 3]]  # not, not, hate, hate
    ids, truth = tweet_ids(tweets), {}
    for i, tweet_id in enumerate(ids):
        labels = votes[i % len(votes)]
        truth[tweet_id] = {
            "img_url": f"http://pbs.twimg.com/media/{i}.jpg",
            "labels": labels,
            "tweet_url": f"https://twitter.com/user/status/{tweet_id}",
            "tweet_text": f"@user {drawings(tweets)[i]['title']} https://t.co/x{i}",
            "labels_str": [names[label] for label in labels],
        }
        (folder / "img_resized" / f"{tweet_id}.jpg").write_bytes(encoded(i))
        if i % 3 == 0:
            write_json(folder / "img_txt" / f"{tweet_id}.json", {"img_text": f"words in picture {i}"})
    write_json(folder / "MMHS150K_GT.json", truth)
    for name, part in (("train", ids[: tweets // 2]), ("val", ids[tweets // 2 : -8]), ("test", ids[-8:])):
        (folder / "splits" / f"{name}_ids.txt").write_text("\n".join(part) + "\n")
    return folder


# Each makes a picture unusable; with a word of the reason that is given.
DAMAGES = {
    "missing": (lambda path: path.unlink(), "there is no picture"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-600]), "decoded"),
    "html": (
        lambda path: path.write_bytes(b"\n<!DOCTYPE html>\n<html><title>404</title></html>"),
        "an HTML page, as a failed download leaves it",
    ),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 9), "of no known format"),
}
