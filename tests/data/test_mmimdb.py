"""MM-IMDb from its published folder: splits, labels, texts, and what is said when something is missing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.archives import DAMAGES, encoded, mmimdb_ids, write_json, write_mmimdb

from raymoe.config import load_preset
from raymoe.data import prepare
from raymoe.data.mmimdb import contiguous_split
from raymoe.errors import InputError, ParentError
from raymoe.project import Project, artifacts
from raymoe.project.tables import metadata_of
from raymoe.project.workspace import Workspace

IDS = mmimdb_ids(26)
GENRES = load_preset("mmimdb").data.classes


def project(tmp_path, source, *settings):
    preset = load_preset("mmimdb", list(settings), source and str(source))
    return Project(preset, Workspace(tmp_path / "ws"), "mmimdb", settings, source and str(source))


def prepared(project):
    return artifacts.SAMPLES.of(project).read()


def warnings_of(project):
    return "\n".join(metadata_of(prepared(project).schema)["warnings"])


def change(path, **fields):
    write_json(path, json.loads(path.read_text()) | fields)


def test_the_published_folder_becomes_the_samples_table(tmp_path):
    archive = write_mmimdb(tmp_path)
    p = project(tmp_path, archive)
    result = prepare(p)
    table = prepared(p)
    assert result.skipped == ()
    assert table["sample_id"].to_pylist() == IDS
    assert table["split"].to_pylist() == ["train"] * 16 + ["val"] * 2 + ["test"] * 8
    assert [GENRES[k] for k in table["labels"][2].as_py()] == ["sci-fi", "short", "film-noir"]
    assert table["labels"][3].as_py() == [GENRES.index("documentary")]  # news is no class
    plots = [json.loads((archive / "dataset" / f"{i}.json").read_text())["plot"] for i in IDS]
    assert table["text"].to_pylist() == [plot[0].strip() for plot in plots]
    assert table["image"].to_pylist() == [encoded(i) for i in range(len(IDS))]
    assert "26 movies, not 25,959" in warnings_of(p)
    assert "(16 / 2 / 8)" in warnings_of(p)
    assert "news 6" in warnings_of(p)


def test_all_movies_split_as_published():
    split = contiguous_split([f"{i:07d}" for i in range(25_959)])
    found = list(split.values())
    assert [found.count(name) for name in ("train", "val", "test")] == [15_552, 2_608, 7_799]
    assert found[15_551:15_553] == ["train", "val"]
    assert found[18_159:18_161] == ["val", "test"]


@given(st.integers(0, 3000))
def test_fewer_movies_split_in_the_same_proportions_without_gaps(count):
    found = list(contiguous_split([str(i) for i in range(count)]).values())
    train, val = found.count("train"), found.count("val")
    assert found == ["train"] * train + ["val"] * val + ["test"] * (count - train - val)
    assert abs(train - count * 15_552 / 25_959) <= 0.5
    assert abs(val - count * 2_608 / 25_959) <= 1


@pytest.mark.parametrize("depth", ["archive", "dataset", "parent"])
def test_the_archive_its_dataset_or_its_parent_can_be_given(tmp_path, depth):
    archive = write_mmimdb(tmp_path)
    source = {"archive": archive, "dataset": archive / "dataset", "parent": tmp_path}[depth]
    p = project(tmp_path, source)
    prepare(p)
    assert prepared(p)["sample_id"].to_pylist() == IDS


def test_the_archives_own_split_on_request(tmp_path):
    archive = write_mmimdb(tmp_path)
    p = project(tmp_path, archive, "data.split=archive")
    prepare(p)
    own = json.loads((archive / "split.json").read_text())
    found = dict(zip(*(prepared(p)[c].to_pylist() for c in ("sample_id", "split")), strict=True))
    assert found == {i: "val" if name == "dev" else name for name, part in own.items() for i in part}
    assert "not 25,959" not in warnings_of(p)
    with pytest.raises(ParentError, match="split: archive there, contiguous now"):
        prepare(project(tmp_path, archive))


@pytest.mark.parametrize("damage", DAMAGES)
def test_movies_without_a_usable_poster_are_left_out_and_listed(tmp_path, damage):
    archive = write_mmimdb(tmp_path)
    spoil, reason = DAMAGES[damage]
    for i in (3, 20):
        spoil(archive / "dataset" / f"{IDS[i]}.jpeg")
    p = project(tmp_path, archive)
    skipped = prepare(p).skipped
    assert [s["sample_id"] for s in skipped] == [IDS[3], IDS[20]]
    assert all(reason in s["reason"] for s in skipped)
    assert prepared(p)["sample_id"].to_pylist() == [i for i in IDS if i not in (IDS[3], IDS[20])]
    assert prepared(p)["split"].to_pylist().count("train") == 15  # the others stay where they were
    if damage == "missing":
        assert f"posters missing in {archive / 'dataset'}: 2 of 26 ({IDS[3]}.jpeg, {IDS[20]}.jpeg)" in (
            warnings_of(p)
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"plot": ["A man', "cut short"),
        ("<html><body>Not found</body></html>", "HTML page"),
        ("[]", "not an object"),
        ('{"plot": [3], "genres": ["Drama"]}', "plot is not a list of texts"),
        ('{"plot": ["A man."], "genres": "Drama"}', "genres is not a list"),
    ],
)
def test_a_damaged_json_file_leaves_its_movie_out(tmp_path, text, reason):
    archive = write_mmimdb(tmp_path)
    (archive / "dataset" / f"{IDS[5]}.json").write_text(text)
    p = project(tmp_path, archive)
    (skipped,) = prepare(p).skipped
    assert skipped["sample_id"] == IDS[5]
    assert skipped["row"] is None
    assert reason in skipped["reason"]
    assert len(prepared(p)) == 25


def test_a_half_extracted_archive_says_how_much_is_missing(tmp_path):
    archive = write_mmimdb(tmp_path)
    for sample_id in IDS[12:]:
        (archive / "dataset" / f"{sample_id}.json").unlink()
        if sample_id != IDS[13]:
            (archive / "dataset" / f"{sample_id}.jpeg").unlink()
    p = project(tmp_path, archive)
    prepare(p)
    said = warnings_of(p)
    assert f"movies missing in {archive / 'dataset'}: 14 of 26 ({IDS[12]}.json, {IDS[13]}.json" in said
    assert "half extracted" in said
    assert "12 movies, not 25,959" in said
    assert f"posters without a JSON file: 1 ({IDS[13]})" in said


def test_an_archive_without_any_poster_stops_it(tmp_path):
    archive = write_mmimdb(tmp_path)
    for poster in (archive / "dataset").glob("*.jpeg"):
        poster.unlink()
    with pytest.raises(InputError, match=r"none of the posters in it, such as dataset/0000005\.jpeg"):
        prepare(project(tmp_path, archive))


def test_with_the_archives_split_missing_and_further_movies_are_listed(tmp_path):
    archive = write_mmimdb(tmp_path)
    (archive / "dataset" / f"{IDS[4]}.json").unlink()
    own = json.loads((archive / "split.json").read_text())
    write_json(archive / "split.json", {k: [i for i in v if i != IDS[9]] for k, v in own.items()})
    skipped = prepare(project(tmp_path, archive, "data.split=archive")).skipped
    assert {s["sample_id"]: s["reason"] for s in skipped} == {
        IDS[4]: "there is no JSON file of it",
        IDS[9]: "it is not in split.json",
    }


def test_ids_in_two_splits_stop_it(tmp_path):
    archive = write_mmimdb(tmp_path)
    own = json.loads((archive / "split.json").read_text())
    own["test"] += own["train"][:7]
    write_json(archive / "split.json", own)
    p = project(tmp_path, archive, "data.split=archive")
    with pytest.raises(InputError, match=r"ids in both train and test: 7 \(") as caught:
        prepare(p)
    assert f"{own['train'][0]}, {own['train'][1]}" in caught.value.message
    assert "split.json" in caught.value.message
    assert not artifacts.SAMPLES.of(p).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no split.json"),
        ('{"train": ["00', "cut short"),
        ('{"train": [], "test": []}', "no lists train, dev, test"),
        ('{"train": {}, "dev": [], "test": []}', "train is not a list of ids"),
    ],
)
def test_a_split_that_is_asked_for_must_be_there(tmp_path, content, message):
    archive = write_mmimdb(tmp_path)
    (archive / "split.json").unlink()
    if content is not None:
        (archive / "split.json").write_text(content)
    with pytest.raises(InputError, match=message):
        prepare(project(tmp_path, archive, "data.split=archive"))


def test_unknown_genres_stop_it_by_name(tmp_path):
    archive = write_mmimdb(tmp_path)
    for i in (2, 7):
        change(archive / "dataset" / f"{IDS[i]}.json", genres=["Drama", "Vlog"])
    with pytest.raises(InputError, match=r"'vlog' in 2 \(") as caught:
        prepare(project(tmp_path, archive))
    assert f"{IDS[2]}.json, {IDS[7]}.json" in caught.value.message


def test_empty_plots_and_movies_without_genre_are_kept_and_counted(tmp_path):
    archive = write_mmimdb(tmp_path)
    change(archive / "dataset" / f"{IDS[0]}.json", plot=[])
    change(archive / "dataset" / f"{IDS[1]}.json", plot=["  "], genres=["News"])
    p = project(tmp_path, archive)
    assert prepare(p).skipped == ()
    assert prepared(p)["text"].to_pylist()[:2] == ["", ""]
    assert prepared(p)["labels"][1].as_py() == []
    assert "empty plots: 2; those movies are kept, with only the special tokens" in warnings_of(p)
    assert "movies with none of the 23 genres: 1" in warnings_of(p)
    skipping = project(tmp_path / "b", archive, "data.empty_text=skip")
    assert [s["sample_id"] for s in prepare(skipping).skipped] == IDS[:2]


@pytest.mark.parametrize(
    ("content", "message", "remedy"),
    [
        ("multimodal_imdb.hdf5", "HDF5", "Get mmimdb.tar.gz instead"),
        ("mmimdb.tar.gz", "isn't extracted", "tar -xf"),
        ("readme.txt", "no movie in it", "Extract the archive"),
        (None, "no such folder", "Extract the archive"),
    ],
)
@pytest.mark.parametrize("direct", [False, True])
def test_other_things_than_the_folder_are_recognised(tmp_path, content, message, remedy, direct):
    source = tmp_path / "data"
    if content is not None:
        source.mkdir()
        (source / content).write_bytes(b"\x89HDF\r\n")
        source = source / content if direct else source
    with pytest.raises(InputError, match=message) as caught:
        prepare(project(tmp_path, source))
    assert remedy in caught.value.remedy
    assert "dataset/0000005.json" in caught.value.message


def test_later_commands_need_no_source(tmp_path):
    archive = write_mmimdb(tmp_path)
    with pytest.raises(InputError, match="no --source says where the archive is") as caught:
        prepare(project(tmp_path, None))
    assert "lisi1.unal.edu.co/mmimdb" in caught.value.message
    assert f"raymoe prepare mmimdb --workspace {tmp_path / 'ws'} --source DIR" in caught.value.remedy
    made = prepare(project(tmp_path, archive))
    again = prepare(project(tmp_path, None))
    assert (made.ran, again.ran) == (True, False)
    assert (again.fingerprint, again.skipped) == (made.fingerprint, made.skipped)
    with pytest.raises(ParentError, match="split: contiguous there, archive now"):
        prepare(project(tmp_path, None, "data.split=archive"))
    with pytest.raises(InputError, match="is to be made again"):
        prepare(project(tmp_path, None), overwrite=True)


def test_what_is_read_from_the_files_counts_not_where_they_lie(tmp_path):
    archive = write_mmimdb(tmp_path)
    p = project(tmp_path, archive)
    first = prepare(p)
    moved = tmp_path / "elsewhere"
    archive.rename(moved)
    assert prepare(project(tmp_path, moved)).fingerprint == first.fingerprint
    change(moved / "dataset" / f"{IDS[0]}.json", plot=["A changed plot."])
    with pytest.raises(ParentError, match="the source it was made from"):
        prepare(project(tmp_path, moved))


def test_a_file_of_ones_own_can_take_other_encoders(tmp_path):
    write_mmimdb(tmp_path)
    path = tmp_path / "small.toml"
    path.write_text(
        f"""
[data]
format = "mmimdb"
source = "mmimdb"
split = "archive"
task = "multilabel"
classes = {json.dumps(GENRES)}
empty_text = "keep"
modalities = [
  {{name = "text", kind = "text", columns = ["plot"], encoder = {{source = "hf:some/model"}}}},
  {{name = "image", kind = "image", columns = ["poster"], encoder = {{source = "hf:other/model"}}}},
]
"""
    )
    p = Project(load_preset(str(path)), Workspace(tmp_path / "ws"), str(path))
    prepare(p)
    assert prepared(p)["sample_id"].to_pylist() == IDS
    path.write_text(path.read_text().replace('"plot"', '"summary"'))
    with pytest.raises(InputError, match="format mmimdb has no column summary") as caught:
        prepare(Project(load_preset(str(path)), Workspace(tmp_path / "ws"), str(path)))
    assert "plot, poster" in caught.value.remedy
