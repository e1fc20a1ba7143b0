"""The splitter of long lists, compared with the json module, in parts of a few bytes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unseg_d2.data.annotations.entries import EntryReader, Irregular
from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError

TEXTS = st.text(alphabet='ab"\\[]{}:,\n é', max_size=8)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=6)
OTHERS = st.dictionaries(TEXTS.filter(lambda key: key not in ("images", "annotations")), VALUES, max_size=3)


def by_lines(content):
    """Write a file as this package does: an entry per line."""
    if isinstance(content, list):
        return "[\n" + ",\n".join(map(json.dumps, content)) + "\n]\n"
    lists = {key: by_lines(value) if isinstance(value, list) else json.dumps(value) for key, value in content.items()}
    return "{" + ",\n".join(f"{json.dumps(key)}:{value}" for key, value in lists.items()) + "}\n"


FORMS = [json.dumps, by_lines, lambda content: json.dumps(content, indent=2, ensure_ascii=False)]


def split(path, keys, chunk):
    reader, lists, data = EntryReader(path, keys, chunk), {}, path.read_bytes()
    for block in reader:
        for text, start, end in zip(block.texts(), block.starts, block.ends):
            assert data[block.offset + start : block.offset + end] == text
            lists.setdefault(block.key, []).append(json.loads(text))
    return lists, json.loads(reader.skeleton)


@pytest.mark.parametrize("form", FORMS, ids=["one line", "by lines", "indented"])
@given(images=ENTRIES, annotations=ENTRIES, others=OTHERS, chunk=st.integers(1, 200), mark=st.booleans())
@settings(max_examples=25, deadline=None)
def test_entries_and_skeleton_are_those_of_the_file(tmp_path_factory, form, images, annotations, others, chunk, mark):
    path = tmp_path_factory.getbasetemp() / "split.json"
    content = {**others, "images": images, "annotations": annotations}
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + form(content).encode())
    lists, skeleton = split(path, ("images", "annotations"), max(chunk, 3))
    assert lists == {key: content[key] for key in ("images", "annotations") if content[key]}
    assert skeleton == {**content, "images": [], "annotations": []}


@pytest.mark.parametrize("form", FORMS, ids=["one line", "by lines", "indented"])
@given(entries=ENTRIES, chunk=st.integers(1, 200))
@settings(max_examples=15, deadline=None)
def test_a_file_that_is_a_list(tmp_path_factory, form, entries, chunk):
    path = tmp_path_factory.getbasetemp() / "list.json"
    path.write_text(form(entries))
    assert split(path, (), chunk) == ({"": entries} if entries else {}, [])


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [{"id": 1}, 2]}',
        '{"images": [{"id": 1} {"id": 2}]}',
        '{"images": [{"id": 1},, {"id": 2}]}',
        '{"images": [\n{"id": 1},\n]}',
        '{"images": [{"id": 1}',
        '{"images": [], "images": []}',
    ],
)
def test_what_cannot_be_split_is_said(tmp_path, text):
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(Irregular):
        list(EntryReader(path, ("images",)))


def test_utf_16_is_left_to_others(tmp_path):
    path = tmp_path / "utf16.json"
    path.write_text('{"images": []}', encoding="utf-16")
    with pytest.raises(Irregular, match="UTF-16"):
        list(EntryReader(path, ("images",)))


def test_objects_over_several_lines_and_several_on_one_are_read_right(tmp_path):
    """Three lines that look like an entry each, and three entries, but not one per line."""
    box = '"bbox":[0,0,4,3],"area":12'
    lines = [
        f'{{"id":1,"image_id":1,{box},"keypoints":[{{"x":1}},',
        '{"x":2}]},',
        f'{{"id":2,"image_id":1,{box}}},{{"id":3,"image_id":2,{box}}},',
        f'{{"id":4,"image_id":2,{box}}}',
    ]
    images = '{"id":1,"file_name":"a.png","height":9,"width":9},\n{"id":2,"file_name":"b.png","height":9,"width":9}'
    path = tmp_path / "labels.json"
    path.write_text('{"images":[\n' + images + '\n],\n"annotations":[\n' + "\n".join(lines) + "\n]}")
    blocks = [block for block in EntryReader(path, ("images", "annotations")) if block.key == "annotations"]
    assert sum(len(block.starts) for block in blocks) == 4 and blocks[0].may_share_lines()
    assert [(item["id"], item["image_id"]) for item in read_coco(path).annotations] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_lines_of_this_package_hold_one_entry_each(tmp_path):
    path = tmp_path / "labels.json"
    mask = {"size": [9, 9], "counts": "1}{,\\"}
    entries = [{"id": 1, "segmentation": mask, "confidence": {"data": "}"}}, {"id": 2, "segmentation": mask}, {"id": 3}]
    texts = [json.dumps(entry, separators=(",", ":")) for entry in entries]
    path.write_text('{"annotations":[\n' + ",\n".join(texts) + "\n]}\n")
    assert not next(iter(EntryReader(path, ("annotations",)))).may_share_lines()


@pytest.mark.parametrize("size", ["[9]", "[9,9,9]", '"9x9"', "[-1,9]"])
def test_run_lengths_that_are_passed_over_have_a_size_that_is_checked(tmp_path, size):
    path = tmp_path / "labels.json"
    image = '{"id":1,"file_name":"a.png","height":9,"width":9}'
    text = '{"id":7,"image_id":1,"bbox":[0,0,4,3],"segmentation":{"size":%s,"counts":"1Q1"}}'
    path.write_text('{"images":[\n' + image + '\n],\n"annotations":[\n' + text % size + "\n]}")
    with pytest.raises(UnsegError, match=r'"segmentation" of annotation 7'):
        read_coco(path)
