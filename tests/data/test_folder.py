"""Images in class folders, on disk and in archives."""

from __future__ import annotations

import io
import os
import re
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tests.data.writers import class_images, png_bytes, write_files

import perturblearn.data.folder as folder_module
from perturblearn.config import DataConfig, Keys, resolve_config
from perturblearn.data import data_fingerprint, depends_on_seed, load_dataset
from perturblearn.data.folder import read_folder
from perturblearn.data.images import decode_image
from perturblearn.errors import ConfigError, DataError

FORMS = ["folder", "zip", "tar", "tar.gz", "tar.xz", "tar.bz2"]


@pytest.mark.parametrize("form", FORMS)
def test_with_a_split(tmp_path: Path, form: str) -> None:
    path = write_files(tmp_path / "set", class_images(split=True), form)
    config = DataConfig(name=f"folder:{path}", centre=False, flatten=False)
    data = load_dataset(config)
    assert data.inputs.shape == (5, 3, 4, 6)
    assert data.class_names == ("ant", "bee")
    assert data.labels.tolist() == data.heldout_labels.tolist() == [1, 1, 1, -1, -1]
    assert (data.inputs[:, 0, 0, 0] * 255).tolist() == [0, 1, 2, 0, 1]
    assert not depends_on_seed(config)


@pytest.mark.parametrize("wrapped", ["", "outer/", "outer/train/"])
@pytest.mark.parametrize("form", FORMS)
def test_without_a_split_and_wrapped(tmp_path: Path, form: str, wrapped: str) -> None:
    path = write_files(tmp_path / "set", class_images(split=False, colour=False, wrapped=wrapped), form)
    raw = read_folder(path)
    assert raw.inputs[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1]
    assert raw.inputs.shape == (5, 1, 4, 6)
    assert raw.heldout_inputs is None
    # Pixels 0, 1, 2, 0, 1: exact up to one rounding of a double.
    assert raw.mean == pytest.approx(4 / 5 / 255, rel=1e-15)
    config = DataConfig(name=f"folder:{path}")
    data = load_dataset(config)
    assert (data.n_samples, data.n_heldout) == (3, 2)
    assert depends_on_seed(config)


@pytest.mark.parametrize("heldout", ["test", "val", "valid", "validation", "Test"])
def test_names_of_the_split(tmp_path: Path, heldout: str) -> None:
    files = {name.replace("test/", f"{heldout}/"): content for name, content in class_images(split=True).items()}
    assert read_folder(write_files(tmp_path / "set", files, "folder")).heldout_inputs is not None


def test_of_test_and_validation_the_test_folder_is_taken(tmp_path: Path) -> None:
    files = class_images(split=True)
    files |= {f"val/ant/{index}.png": png_bytes(np.full((4, 6, 3), 9, np.uint8)) for index in range(9)}
    raw = read_folder(write_files(tmp_path / "set", files, "zip"))
    assert raw.heldout_labels is not None
    assert len(raw.heldout_labels) == 5


def test_other_classes_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**class_images(split=False), "cow/0.png": b"broken", "dog/0.png": png_bytes(np.zeros((9, 9), np.uint8))}
    decoded: list[str] = []
    real = folder_module.decode_image

    def note(encoded: bytes, *, name: str) -> object:
        decoded.append(name)
        return real(encoded, name=name)

    monkeypatch.setattr(folder_module, "decode_image", note)
    path = write_files(tmp_path / "set", files, "tar.gz")
    data = load_dataset(DataConfig(name=f"folder:{path}", classes=("1", "ant")))
    assert data.class_names == ("bee", "ant")
    assert len(decoded) == 5
    assert all(name.startswith(("ant/", "bee/")) for name in decoded)
    with pytest.raises(DataError, match=r"no class 'eel' .*choose among ant \(0\), bee \(1\), cow \(2\), dog \(3\)"):
        load_dataset(DataConfig(name=f"folder:{path}", classes=("ant", "eel")))


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_hidden_and_other_files_are_ignored(tmp_path: Path, form: str) -> None:
    files = class_images(split=False)
    extra = {
        "README.txt": b"hi",
        ".hidden/x.png": b"",
        "ant/.thumb.png": b"",
        "ant/notes.csv": b"1",
        "__MACOSX/ant/0.png": b"",
    }
    assert len(read_folder(write_files(tmp_path / "set", {**files, **extra}, form)).labels) == 5


def test_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    files = {**class_images(split=False), "ant/more/5.png": png_bytes(np.full((4, 6, 3), 5, np.uint8))}
    raw = read_folder(write_files(tmp_path / "set", files, "folder"))
    assert raw.inputs[:, 0, 0, 0].tolist() == [0, 1, 2, 5, 0, 1]
    assert raw.labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    path = write_files(tmp_path / "set", class_images(split=False), "folder")
    (path / "ant" / "loop").symlink_to(path)
    (path / "cow").symlink_to(path / "bee")
    assert read_folder(path).labels.tolist() == [0, 0, 0, 1, 1, 2, 2]


def pixels_of(tmp_path: Path, **images: bytes) -> NDArray[np.uint8]:
    tmp_path.mkdir(exist_ok=True)
    files = {
        **{f"a/{name}": content for name, content in images.items()},
        "b/0.png": png_bytes(np.zeros((2, 2), np.uint8)),
    }
    return read_folder(write_files(tmp_path / "set", files, "zip")).inputs.numpy()[:-1]


def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path) -> None:
    wide = np.array([[0, 128], [129, 65535]], dtype=np.uint16)
    # 65535 / 257 = 255; 128 / 257 rounds to 0, 129 / 257 to 1.
    pixels = pixels_of(tmp_path, **{"0.png": png_bytes(wide), "1.tif": png_bytes(wide, kind="TIFF")})
    assert pixels.shape == (2, 1, 2, 2)
    assert (pixels == [[[0, 0], [1, 255]]]).all()


def test_palettes_black_and_white_and_transparency(tmp_path: Path) -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    grey = np.array([[0, 255], [255, 0]], np.uint8)
    assert pixels_of(tmp_path / "1", **{"0.gif": png_bytes(red, "P", "GIF")})[0, :, 0, 0].tolist() == [255, 0, 0]
    assert pixels_of(tmp_path / "2", **{"0.png": png_bytes(grey, "P")}).tolist() == [[grey.tolist()]]
    assert pixels_of(tmp_path / "3", **{"0.png": png_bytes(grey, "1")}).tolist() == [[grey.tolist()]]
    assert pixels_of(tmp_path / "4", **{"0.png": png_bytes(red, "RGBA")})[0, :, 1, 1].tolist() == [255, 0, 0]
    assert pixels_of(tmp_path / "5", **{"0.JPG": png_bytes(grey, "CMYK", "JPEG")}).shape == (1, 3, 2, 2)


@pytest.mark.parametrize("first", ["grey", "colour"])
def test_grey_among_colours_becomes_three_equal_channels(tmp_path: Path, first: str) -> None:
    grey, colour = png_bytes(np.full((2, 2), 7, np.uint8)), png_bytes(np.full((2, 2, 3), (1, 2, 3), np.uint8))
    pair = (grey, colour) if first == "grey" else (colour, grey)
    pixels = pixels_of(tmp_path, **{"0.png": pair[0], "1.png": pair[1]})
    rows = [pixels[0, :, 0, 0].tolist(), pixels[1, :, 0, 0].tolist()]
    assert sorted(rows) == [[1, 2, 3], [7, 7, 7]]


def test_a_grey_held_out_part_gets_the_channels_of_the_training_part(tmp_path: Path) -> None:
    files = {f"train/{name}": content for name, content in class_images(split=False).items()}
    files |= {f"test/{name}": content for name, content in class_images(split=False, colour=False).items()}
    raw = read_folder(write_files(tmp_path / "set", files, "folder"))
    assert raw.heldout_inputs is not None
    assert raw.inputs.shape == raw.heldout_inputs.shape == (5, 3, 4, 6)


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        (
            {"bee/9.png": png_bytes(np.zeros((5, 6), np.uint8))},
            r"bee/9.png in .* has 6 x 5 pixels but ant/0.png has 6 x 4; resize",
        ),
        (
            {"bee/9.png": b"no image"},
            r"bee/9.png in .* is not a readable image; .* skip unreadable images with --data.skip_bad true$",
        ),
        ({"bee/9.png": class_images(split=False)["bee/0.png"][:40]}, r"bee/9.png in .* is not a readable image"),
        ({"bee/9.tif": png_bytes(np.zeros((4, 6), np.float32), kind="TIFF")}, r"bee/9.tif in .* floating-point pixels"),
        (
            {"bee/9.tif": png_bytes(np.full((4, 6), 70000, np.int32), kind="TIFF")},
            r"bee/9.tif in .* up to 70000, beyond 16",
        ),
        ({"cow/notes.txt": b""}, r"the class folder cow in .* contains no images"),
        ({"stray.png": b""}, r"stray.png in .* is not in a class folder; move it into one or remove it"),
        (
            {"stray.png": b"", "other.png": b"", "third.png": b""},
            r"other.png and 2 more in .* are not in a class folder, so they have no label; put the images of each",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
def test_what_does_not_fit_is_named(tmp_path: Path, form: str, extra: dict[str, bytes], complaint: str) -> None:
    files = dict(sorted({**class_images(split=False), **extra}.items()))
    path = write_files(tmp_path / "set", files, form)
    with pytest.raises(DataError, match=complaint):
        read_folder(path)


def test_empty_and_one_class(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there are no images in .*empty; put them into one subfolder per class"):
        read_folder(tmp_path / "empty")
    ants = {name: content for name, content in class_images(split=False).items() if name.startswith("ant")}
    with pytest.raises(DataError, match=r"only one class \(ant\)"):
        read_folder(write_files(tmp_path / "one", ants, "folder"))
    with pytest.raises(DataError, match="is not in a class folder"):
        read_folder(write_files(tmp_path / "flat", {"0.png": ants["ant/0.png"]}, "folder"))


def test_an_empty_class_folder_on_disk(tmp_path: Path) -> None:
    path = write_files(tmp_path / "set", class_images(split=True), "folder")
    (path / "train" / "cow").mkdir()
    with pytest.raises(DataError, match=r"class folder train/cow in .* contains no images"):
        read_folder(path)


def test_a_held_out_class_without_training_images(tmp_path: Path) -> None:
    files = {**class_images(split=True), "test/cow/0.png": b""}
    with pytest.raises(DataError, match="held-out images of the class cow, but no training images"):
        read_folder(write_files(tmp_path / "set", files, "folder"))


def test_paths_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere, which data.name.* does not exist"):
        load_dataset(DataConfig(name=f"folder:{tmp_path}/nowhere"))
    (tmp_path / "notes.txt").write_text("no archive")
    with pytest.raises(DataError, match=r"is neither a folder nor a .zip or .tar archive"):
        read_folder(tmp_path / "notes.txt")


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_damaged_archive_is_named(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    noise = {
        f"{name}/{index}.png": png_bytes(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8))
        for name in "ab"
        for index in range(5)
    }
    path = write_files(tmp_path / "set", noise, form)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle])
    with pytest.raises(DataError, match=str(path)):
        read_folder(path)
    path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    if form != "tar":  # has no checksum over contents: at most an image is unreadable
        with pytest.raises(DataError, match=str(path)):
            read_folder(path)


def test_links_in_a_tar_file_and_members_outside(tmp_path: Path) -> None:
    path = write_files(
        tmp_path / "set", {**class_images(split=False), "../../evil/0.png": b"", "/abs/0.png": b""}, "tar"
    )
    with pytest.raises(DataError, match=r"abs/0.png in .* is not a readable image"):
        read_folder(path)
    assert sorted(os.listdir(tmp_path)) == ["set.tar"]  # nothing was extracted
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("ant/0.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"contains the link ant/0.png"):
        read_folder(path)


def test_an_encrypted_zip_member(tmp_path: Path) -> None:
    path = write_files(tmp_path / "set", class_images(split=False), "zip")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.index(signature)
        content[place + offset] |= 1
    path.write_bytes(content)
    assert zipfile.is_zipfile(path)
    with pytest.raises(DataError, match=r"cannot be read .*encrypted"):
        read_folder(path)


def test_identity_is_that_of_names_and_contents(tmp_path: Path) -> None:
    files = class_images(split=False)

    def hash_of(place: str, content: dict[str, bytes]) -> str | None:
        return data_fingerprint(DataConfig(name=f"folder:{write_files(tmp_path / place, content, 'folder')}"))

    renamed = {name.replace("bee", "cow"): content for name, content in files.items()}
    other = {**files, "ant/0.png": files["ant/1.png"]}
    hashes = [
        hash_of("a", files),
        hash_of("b", {**files, "README.txt": b""}),
        hash_of("c", renamed),
        hash_of("d", other),
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    for place in ("e", "f"):
        (tmp_path / place).mkdir()
    archives = [write_files(tmp_path / place / "set", files, "tar") for place in ("e", "f")]
    assert data_fingerprint(DataConfig(name=f"folder:{archives[0]}")) == data_fingerprint(
        DataConfig(name=f"folder:{archives[1]}")
    )


def test_provenance_has_no_path(tmp_path: Path) -> None:
    path = write_files(tmp_path / "set", class_images(split=True), "zip")
    data = load_dataset(DataConfig(name=f"folder:{path}"))
    assert data.provenance["name"] == "folder:set.zip"
    assert str(tmp_path) not in repr(dict(data.provenance))


def grouped_images(part: str = "", first: int = 0) -> dict[str, bytes]:
    """Three images of ants (two on grass, one on sand) and two of bees (one each), numbered in the order of paths."""
    names = ["ant/grass/0.png", "ant/grass/1.png", "ant/sand/0.png", "bee/grass/0.png", "bee/sand/0.png"]
    return {f"{part}{name}": png_bytes(np.full((4, 6), first + index, np.uint8)) for index, name in enumerate(names)}


@pytest.mark.parametrize("wrapped", ["", "outer/"])
@pytest.mark.parametrize("form", FORMS)
def test_the_second_level_of_folders_is_the_group(tmp_path: Path, form: str, wrapped: str) -> None:
    raw = read_folder(write_files(tmp_path / "set", grouped_images(wrapped), form))
    assert raw.group_names == ("grass", "sand")
    assert raw.groups is not None
    assert raw.groups.tolist() == [0, 0, 1, 0, 1]
    assert raw.heldout_groups is None
    assert raw.inputs[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert raw.labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("form", ["folder", "tar.gz"])
def test_groups_within_a_split(tmp_path: Path, form: str) -> None:
    files = {**grouped_images("train/"), "test/bee/air/7.png": png_bytes(np.full((4, 6), 7, np.uint8))}
    # Validation images are left out beside test images, and decide nothing.
    files["val/ant/loose.png"] = png_bytes(np.zeros((4, 6), np.uint8))
    path = write_files(tmp_path / "set", files, form)
    data = load_dataset(DataConfig(name=f"folder:{path}"))
    assert data.group_names == ("air", "grass", "sand")
    assert data.groups is not None
    assert data.heldout_groups is not None
    assert (data.groups.tolist(), data.heldout_groups.tolist()) == ([1, 1, 2, 1, 2], [0])


@pytest.mark.parametrize(
    "extra",
    ["ant/5.png", "ant/grass/deep/5.png", "cow/5.png"],
)
def test_folders_that_do_not_name_every_image_s_group_are_looked_through(tmp_path: Path, extra: str) -> None:
    files = {**grouped_images(), extra: png_bytes(np.full((4, 6), 5, np.uint8))}
    path = write_files(tmp_path / "set", files, "folder")
    raw = read_folder(path)
    assert (raw.groups, raw.heldout_groups, raw.group_names) == (None, None, ())
    assert len(raw.labels) == 6
    # Only the images of the chosen classes count.
    assert (read_folder(path, ["ant", "bee"]).groups is None) == extra.startswith("ant")


def test_a_held_out_part_without_groups_leaves_none(tmp_path: Path) -> None:
    files = {**grouped_images("train/"), "test/bee/7.png": png_bytes(np.full((4, 6), 7, np.uint8))}
    raw = read_folder(write_files(tmp_path / "set", files, "zip"))
    assert (raw.groups, raw.heldout_groups) == (None, None)


def test_one_folder_name_within_all_classes_is_no_group(tmp_path: Path) -> None:
    files = {
        name.replace("grass", "images").replace("sand/0", "images/2"): content
        for name, content in grouped_images().items()
    }
    raw = read_folder(write_files(tmp_path / "set", files, "folder"))
    assert (raw.groups, raw.group_names, len(raw.labels)) == (None, (), 5)


@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz"])
def test_unreadable_images_are_left_out_counted_and_named(tmp_path: Path, form: str) -> None:
    files = dict(sorted({**grouped_images("train/"), **grouped_images("test/", first=10)}.items()))
    bad = ["test/ant/grass/1.png", "train/ant/grass/0.png", "train/bee/sand/0.png"]
    files |= {bad[0]: b"", bad[1]: files["train/ant/grass/0.png"][:40]}
    files |= {bad[2]: png_bytes(np.zeros((4, 6), np.float32), kind="TIFF")}
    path = write_files(tmp_path / "set", files, form)
    config = DataConfig(name=f"folder:{path}", skip_bad=True, centre=False)
    with pytest.warns(
        UserWarning,
        match=rf"^skipped 3 unreadable images in {path}: test/ant/grass/1.png, train/ant/grass/0.png and 1 more$",
    ):
        data = load_dataset(config)
    assert data.provenance["skipped"] == bad
    assert (data.inputs[:, 0] * 255).round().tolist() == [1, 2, 3]
    assert data.labels.tolist() == [1, 1, -1]
    assert (data.heldout_inputs[:, 0] * 255).round().tolist() == [10, 12, 13, 14]
    assert data.heldout_labels.tolist() == [1, 1, -1, -1]
    assert data.groups is not None
    assert data.heldout_groups is not None
    assert (data.groups.tolist(), data.heldout_groups.tolist()) == ([0, 1, 0], [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"is not a readable image; replace or remove it, or skip unreadable"):
        load_dataset(config.model_copy(update={"skip_bad": False}))


def test_a_folder_without_unreadable_images_loses_none(tmp_path: Path) -> None:
    path = write_files(tmp_path / "set", class_images(split=True), "folder")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_dataset(DataConfig(name=f"folder:{path}", skip_bad=True))
    assert data.provenance["skipped"] == []
    plain = load_dataset(DataConfig(name=f"folder:{path}"))
    assert plain.content_hash() == data.content_hash()
    assert "skipped" not in plain.provenance


def test_an_unreadable_image_elsewhere_does_not_hide_groups(tmp_path: Path) -> None:
    path = write_files(tmp_path / "set", {**grouped_images(), "ant/loose.png": b""}, "folder")
    with pytest.warns(UserWarning, match=r"^skipped 1 unreadable image in .*: ant/loose.png$"):
        assert read_folder(path, skip_bad=True).group_names == ("grass", "sand")


@pytest.mark.parametrize(("split", "part"), [(False, ""), (True, "training ")])
def test_a_class_of_unreadable_images_only(tmp_path: Path, split: bool, part: str) -> None:
    top = "train/" if split else ""
    files = {**class_images(split=split), f"{top}cow/1.png": b"", f"{top}cow/0.png": b"x"}
    path = write_files(tmp_path / "set", files, "folder")
    with pytest.raises(
        DataError,
        match=rf"every {part}image of the class cow in .* is unreadable, the first being {top}cow/0.png; replace them",
    ):
        read_folder(path, skip_bad=True)
    assert read_folder(path, ["ant", "bee"], skip_bad=True).skipped == ()


def test_a_held_out_part_of_unreadable_images_only(tmp_path: Path) -> None:
    files = {name: b"" if name.startswith("test") else content for name, content in class_images(split=True).items()}
    path = write_files(tmp_path / "set", files, "folder")
    with (
        pytest.warns(UserWarning, match="skipped 5 unreadable images"),
        pytest.raises(DataError, match="the held-out part has no samples of the classes ant, bee"),
    ):
        load_dataset(DataConfig(name=f"folder:{path}", skip_bad=True))


def test_an_image_of_another_size_or_a_damaged_archive_is_never_left_out(tmp_path: Path) -> None:
    files = {**class_images(split=False), "bee/9.png": png_bytes(np.zeros((5, 6), np.uint8))}
    with pytest.raises(DataError, match=r"bee/9.png in .* has 6 x 5 pixels but ant/0.png has 6 x 4"):
        read_folder(write_files(tmp_path / "sizes", files, "folder"), skip_bad=True)
    path = write_files(tmp_path / "set", class_images(split=False), "zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"IHDR") + 4] ^= 1  # the first image no longer has its checksum in the archive
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set.zip cannot be read .*CRC"):
        read_folder(path, skip_bad=True)


def test_one_image_per_class(tmp_path: Path) -> None:
    files = {name: content for name, content in class_images(split=False).items() if name.endswith("/0.png")}
    path = write_files(tmp_path / "set", files, "folder")
    with pytest.raises(DataError, match=r"single sample, so none can be held out; give at least two .* held-out"):
        load_dataset(DataConfig(name=f"folder:{path}"))
    data = load_dataset(DataConfig(name=f"folder:{write_files(path, class_images(split=False), 'folder')}"))
    assert (data.n_samples, data.n_heldout) == (3, 2)


@pytest.mark.parametrize("name", ["features.h5", "ant/notes.hdf", "bee/winds.grib", "bufr.bufr", "ant/list.txt"])
def test_files_of_other_kinds_are_ignored(tmp_path: Path, name: str) -> None:
    files = {**class_images(split=False), name: b"\x89HDF\r\n\x1a\n" + bytes(100)}
    with_it = write_files(tmp_path / "with", files, "folder")
    without = write_files(tmp_path / "without", class_images(split=False), "folder")
    assert torch.equal(read_folder(with_it).inputs, read_folder(without).inputs)
    assert data_fingerprint(DataConfig(name=f"folder:{with_it}")) == data_fingerprint(
        DataConfig(name=f"folder:{without}")
    )


def photo(width: int, height: int, *, turned: int | None = None) -> bytes:
    """White in its left half, black in the right; turned as EXIF counts."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = 255
    buffer = io.BytesIO()
    exif = Image.Exif()
    if turned is not None:
        exif[ExifTags.Base.Orientation] = turned
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


PHOTOS = {
    f"{name}/{number}.png": photo(*size) for number, size in enumerate([(8, 8), (16, 8), (8, 24)]) for name in "ab"
}


def test_photos_of_different_sizes_need_one(tmp_path: Path) -> None:
    path = write_files(tmp_path / "set", PHOTOS, "folder")
    with pytest.raises(
        DataError, match=r"a/1.png in .* has 16 x 8 pixels but a/0.png has 8 x 8; .* --data.image_size 8"
    ):
        load_dataset(DataConfig(name=f"folder:{path}"))


@pytest.mark.parametrize("how", ["crop", "squash", "pad", None])
def test_photos_are_brought_to_one_size(tmp_path: Path, how: str | None) -> None:
    path = write_files(tmp_path / "set", PHOTOS, "zip")
    raw = read_folder(path, image_size=8, resize=how or "crop")  # pyright: ignore[reportArgumentType]
    assert raw.inputs.shape == (6, 3, 8, 8)
    square, wide, high = (raw.inputs[number, 0] for number in range(3))
    left, right = torch.full((8, 4), 255, dtype=torch.uint8), torch.zeros(8, 4, dtype=torch.uint8)
    assert torch.equal(square, torch.cat((left, right), dim=1))
    if how == "pad":
        assert torch.equal(wide[2:6] > 127, square[2:6] > 127)
        assert not wide[:2].any()
        assert not wide[6:].any()
        assert not high[:, :2].any()
        assert bool((high[:, 2] > 200).all())
    else:
        assert int(wide[:, :3].min()) == 255
        assert int(wide[:, 5:].max()) == 0
        assert torch.equal(high, square)
    config = DataConfig(name=f"folder:{path}", image_size=8, resize=how)
    assert load_dataset(config).image_shape == (3, 8, 8)
    # The default is no part of the identity, so naming it changes nothing.
    assert (config.model_dump(exclude_none=True).get("resize") is None) is (how in ("crop", None))


@pytest.mark.parametrize(("turned", "expected"), [(None, "left"), (1, "left"), (3, "right"), (6, "top"), (8, "bottom")])
def test_photos_are_turned_as_their_camera_was_held(turned: int | None, expected: str) -> None:
    pixels = torch.from_numpy(decode_image(photo(8, 8, turned=turned), name="photo")[0].copy())
    halves = {"left": pixels[:, :4], "right": pixels[:, 4:], "top": pixels[:4], "bottom": pixels[4:]}
    assert [name for name, half in halves.items() if bool((half == 255).all())] == [expected]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB"])
def test_transparent_pixels_are_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (40, 40, 40, 0))
    buffer = io.BytesIO()
    if mode in ("L", "RGB"):
        image.convert(mode).save(buffer, "PNG", transparency=40 if mode == "L" else (40, 40, 40))
    else:
        made = image.convert("P" if mode == "PA" else mode)
        made.save(buffer, "PNG", **({"transparency": made.getpixel((1, 0))} if mode in ("P", "PA") else {}))
    pixels = decode_image(buffer.getvalue(), name="image")
    assert pixels.shape == (3 if mode.startswith("RGB") else 1, 1, 2)
    assert pixels[:, 0].tolist() == [[0, 255]] * len(pixels)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resize": "pad"}, "resize says how images are brought to image_size; set image_size too"),
        ({"image_size": 0}, "data.image_size = 0, but it must be at least 1"),
        ({"image_size": 8, "resize": "zoom"}, "data.resize = 'zoom', but it must be 'crop', 'squash' or 'pad'"),
    ],
)
def test_sizes_that_cannot_be_meant(keys: Keys, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve_config({"data": {"name": "folder:photos", **keys}})
