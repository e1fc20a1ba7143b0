"""What every depth source must do, the files it reads, the models it runs."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import get_cfg
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.depth import DEPTH_SOURCES, DepthSource, FilesDepth, GridDepth, HubDepth, build_depth
from unseg_d2.depth.files import FilesDepthSettings
from unseg_d2.depth.registry import KINDS
from unseg_d2.errors import UnsegError
from unseg_d2.structures import DepthKind

HEIGHT, WIDTH = 48, 64
RAMP = np.tile(np.linspace(1000, 4000, WIDTH), (HEIGHT, 1)).astype(np.uint16)  # mm


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A folder with ``images/sub/a.jpg`` (no file is read) and ``depth/sub/a.png``."""
    (tmp_path / "depth" / "sub").mkdir(parents=True)
    assert cv2.imwrite(str(tmp_path / "depth" / "sub" / "a.png"), RAMP)
    return tmp_path


def file(root: Path, name: str = "sub/a.jpg") -> ImageFile:
    return ImageFile(root / "images" / name, name)


def settings(*options: str) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_list(list(options))
    return cfg


def tiny_zoedepth(transformers) -> torch.nn.Module:
    backbone = transformers.BeitConfig(
        image_size=32, num_hidden_layers=4, hidden_size=16, intermediate_size=16, num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone, neck_hidden_sizes=[16, 16, 16, 16], fusion_hidden_size=16, bottleneck_features=16,
        num_relative_features=16, bin_embedding_dim=16, num_attractors=[4, 4, 2, 1],
        bin_configurations=[{"n_bins": 8, "min_depth": 0.1, "max_depth": 10.0, "name": "nyu"}],
    )  # fmt: skip
    return transformers.ZoeDepthForDepthEstimation(config)


def tiny_depth_anything(transformers, estimation: str) -> torch.nn.Module:
    backbone = transformers.Dinov2Config(
        image_size=28, patch_size=14, num_hidden_layers=4, hidden_size=16, num_attention_heads=2, intermediate_size=16,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=16, neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16, head_hidden_size=8, depth_estimation_type=estimation, max_depth=20,
    )  # fmt: skip
    return transformers.DepthAnythingForDepthEstimation(config)


MODELS = {"zoedepth": "metric", "depth_anything_relative": "inverse", "depth_anything_metric": "metric"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of models with random weights, saved as the hub stores them."""
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    size = {"height": 32, "width": 32}
    for name in MODELS:
        if name == "zoedepth":
            model, processor = tiny_zoedepth(transformers), transformers.ZoeDepthImageProcessor(size=size)
        else:
            model = tiny_depth_anything(transformers, name.rsplit("_", 1)[1])
            processor = transformers.DPTImageProcessor(size={"height": 28, "width": 28})
        model.save_pretrained(root / name)
        processor.save_pretrained(root / name)
    return root


NEEDS = {"files": ("DEPTH.KIND", "metric", "DEPTH.FILES.SCALE", "0.001")}
"""What a source cannot be made without."""


@pytest.fixture(params=[*(name for name in DEPTH_SOURCES.names() if name not in ("hub", "marigold")), *MODELS])
def source(request: pytest.FixtureRequest, scenes: Path) -> DepthSource:
    """Every registered source, hub once per kind of model; test_marigold.py has the one whose model is a stand-in."""
    if request.param in MODELS:
        folder = request.getfixturevalue("models") / request.param
        return build_depth(settings("DEPTH.SOURCE", "hub", "DEPTH.HUB.MODEL", str(folder)))
    return build_depth(settings("DEPTH.SOURCE", request.param, *NEEDS.get(request.param, ())))


class TestEverySource:
    def test_follows_the_protocol(self, source: DepthSource, scenes: Path) -> None:
        assert isinstance(source, DepthSource) and source([], []) == []
        assert source.name and source.kind in KINDS and isinstance(source.predicts, bool)
        (depth,) = source([image()], [file(scenes)])
        assert depth.depth.ndim == 2 and depth.depth.dtype == torch.float32
        height, width = depth.depth.shape
        assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.05)
        assert depth.kind == source.kind and torch.isfinite(depth.depth).all()

    def test_fits_the_patch_grid(self, source: DepthSource, scenes: Path) -> None:
        (depth,) = GridDepth(source)([image()], [file(scenes)], (6, 8))
        assert depth.depth.shape == (6, 8) and torch.isfinite(depth.depth).all()

    def test_leaves_the_images_alone(self, source: DepthSource, scenes: Path) -> None:
        picture = image()
        source([picture], [file(scenes)])
        np.testing.assert_array_equal(picture, image())

    def test_repeats_itself_whatever_the_batch(self, source: DepthSource, scenes: Path) -> None:
        images, files = [image(0), image(1)], [file(scenes), file(scenes)]
        together = source(images, files)
        alone = [source([one], [each])[0] for one, each in zip(images, files)]
        assert all(torch.equal(a.depth, b.depth) for a, b in zip(together, alone))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_type_of_a_model_tells_its_kind(models: Path, name: str) -> None:
    assert HubDepth(str(models / name)).kind == MODELS[name]
    assert HubDepth(str(models / name), "relative").kind == "relative"


def test_zoedepth_is_unpadded(models: Path) -> None:
    """Without the size of the image before padding, the picture would shrink towards its centre."""
    transformers = pytest.importorskip("transformers")
    ours = HubDepth(str(models / "zoedepth"))([image()], [file(Path("."))])[0].depth
    theirs = transformers.pipeline("depth-estimation", str(models / "zoedepth"), device="cpu")
    from PIL import Image

    expected = theirs(Image.fromarray(image()))["predicted_depth"]
    torch.testing.assert_close(ours, expected.reshape(HEIGHT, WIDTH).clamp(min=1e-3), atol=1e-4, rtol=1e-4)


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs transformers")
    with pytest.raises(UnsegError, match=r"cannot be loaded .*DEPTH\.HUB\.MODEL"):
        build_depth(settings("DEPTH.SOURCE", "hub", "DEPTH.HUB.MODEL", str(tmp_path)))


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.npy", "a.npz", "colour.png"])
def test_files_of_every_format_are_scaled(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "colour.png":  # three equal channels, as some programs write grey
        cv2.imwrite(str(path), np.repeat(RAMP[..., None], 3, 2))
    elif path.suffix.lower() == ".png":
        cv2.imwrite(str(path), RAMP)
    elif path.suffix == ".npy":
        np.save(path, RAMP[None])
    else:
        np.savez(path, depth=RAMP.astype(np.float64), other=np.zeros(3))
    source = FilesDepth("metric", FilesDepthSettings(str(tmp_path), scale=0.001))
    (depth,) = source([image()], [ImageFile(Path(f"{path.stem}.jpg"), f"{path.stem}.jpg")])
    np.testing.assert_allclose(depth.depth.numpy(), RAMP / 1000, rtol=1e-6)


def test_the_suffix_belongs_to_the_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a_zoedepth.npy", RAMP)
    source = FilesDepth("metric", FilesDepthSettings(str(tmp_path), suffix="_zoedepth"))
    assert source([image()], [file(tmp_path, "a.jpg")])[0].depth[0, 0] == 1000


def test_zero_is_a_hole_or_far(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", [[0.0, 2.0, 10.0]])
    for zero, expected in (("hole", [0, 2, 10]), ("far", [11, 2, 10])):
        (depth,) = FilesDepth("metric", FilesDepthSettings(str(tmp_path), zero=zero))(
            [image()], [file(tmp_path, "a.jpg")]
        )
        np.testing.assert_allclose(depth.depth[0], expected, rtol=1e-6)


def test_of_two_files_none_is_taken(scenes: Path) -> None:
    np.save(scenes / "depth" / "sub" / "a.npy", RAMP)
    with pytest.raises(ImageProblem, match=r"more than one depth file, a\.npy and a\.png: .* in .*depth/sub"):
        FilesDepth("metric")([image()], [file(scenes)])


def test_a_missing_file_is_named(scenes: Path) -> None:
    with pytest.raises(ImageProblem, match=r"it has no depth file: there is no .*depth/b\{\.npy,\.npz,\.png\}"):
        FilesDepth("metric")([image()], [file(scenes, "b.jpg")])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", b""),
        ("a.png", b"\x89PNG broken"),
        ("a.npy", b"text"),
        ("a.npz", b"PK"),
        ("a.npy", np.zeros((4, 5, 6))),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes | np.ndarray) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(ImageProblem, match=f"the depth file {path} cannot be read"):
        FilesDepth("metric", FilesDepthSettings(str(tmp_path)))([image()], [file(tmp_path, "a.jpg")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("DEPTH.SOURCE", "file"), "Did you mean 'files'"),
        (("DEPTH.SOURCE", "files"), "set DEPTH.KIND"),
        (("DEPTH.SOURCE", "files", "DEPTH.KIND", "inverted"), "DEPTH .*kind must be .*Did you mean 'inverse'"),
        (("DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "DEPTH.FILES.ROOT", "/nowhere"), "no folder /nowhere"),
        (
            ("DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "DEPTH.FILES.SCALE", "0.0"),
            "scale must be a number above 0",
        ),
        (
            ("DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "DEPTH.FILES.ZERO", "sky"),
            "zero must be one of 'hole', 'far'",
        ),
        (("DEPTH.SOURCE", "marigold", "DEPTH.KIND", "metric"), "Marigold's depth is relative"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        build_depth(settings(*options))


def test_no_source() -> None:
    assert build_depth(get_cfg()) is None


@pytest.mark.parametrize("kind", ["metric", "relative", "inverse"])
def test_files_say_what_they_were_declared_to_be(scenes: Path, kind: DepthKind) -> None:
    assert FilesDepth(kind)([image()], [file(scenes)])[0].kind == kind


def archive_with(change: bytes, at: int) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, depth=np.arange(600, dtype=np.float32).reshape(20, 30))
    content = bytearray(stream.getvalue())
    content[at : at + len(change)] = change
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("0.npy", b""),
        ("0.npz", b""),
        ("0.png", b""),
        ("0.npy", b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 99),
        ("0.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 10**9), }"),
        ("0.npz", archive_with(b"\x00" * 40, at=120)),
        ("0.npz", archive_with(b"", at=0)[:-30]),
    ],
)
def test_every_damage_is_a_problem_of_the_image(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / name).write_bytes(content)
    source = FilesDepth("relative", FilesDepthSettings(root=str(tmp_path / "depth")))
    with pytest.raises(ImageProblem, match=f"{name} cannot be read: .") as caught:
        source([np.zeros((20, 30, 3), np.uint8)], [ImageFile(tmp_path / "0.jpg", "0.jpg")])
    assert "\n" not in str(caught.value)
