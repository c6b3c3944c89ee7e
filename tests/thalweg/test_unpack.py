"""Archives: what is unpacked, and what hostile or damaged ones say."""

import io
import stat
import tarfile
import zipfile

import pytest

from thalweg.errors import ArchiveError
from thalweg.unpack import unpack

ROOM = 10_000


def make_zip(path, members: dict[str, bytes], mode: int = 0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def make_tar(path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("make", "pack"), [(make_zip, "zip"), (make_tar, "tar")])
def test_all_files_are_unpacked(tmp_path, make, pack):
    members = {"a/b.txt": b"bb", "c.txt": b"c" * 3000}
    assert unpack(make(tmp_path / "x", members), pack, tmp_path / "out", ROOM) == 3002
    assert files(tmp_path / "out") == members


@pytest.mark.parametrize(("make", "pack"), [(make_zip, "zip"), (make_tar, "tar")])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "a\\..\\..\\evil"])
def test_members_that_leave_the_folder(tmp_path, make, pack, name):
    path = make(tmp_path / "x", {"good.txt": b"g", name: b"e"})
    with pytest.raises(ArchiveError, match=r"its member .*evil.* leaves the folder it is unpacked into; nothing was"):
        unpack(path, pack, tmp_path / "deep/out", ROOM)
    assert not files(tmp_path / "deep")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(tmp_path, kind):
    path = make_tar(tmp_path / "x", {"way": b""}, kind)
    with pytest.raises(ArchiveError, match=r"its member way is a link or device, not a file; nothing was unpacked"):
        unpack(path, "tar", tmp_path / "out", ROOM)


def test_links_in_a_zip(tmp_path):
    path = make_zip(tmp_path / "x", {"way": b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    with pytest.raises(ArchiveError, match=r"its member way is a link or device"):
        unpack(path, "zip", tmp_path / "out", ROOM)


def test_a_bomb_is_not_unpacked(tmp_path):
    path = make_zip(tmp_path / "x", {"zeros": bytes(ROOM + 1)})
    with pytest.raises(ArchiveError, match=r"unpacks to 10001 bytes, but there is room for 10000; free some disk"):
        unpack(path, "zip", tmp_path / "out", ROOM)


@pytest.mark.parametrize(("make", "pack"), [(make_zip, "zip"), (make_tar, "tar")])
def test_truncated_archives(tmp_path, make, pack):
    path = make(tmp_path / "x", {"a": bytes(range(256)) * 30})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ArchiveError, match=rf"x is not a whole {pack} archive .*fetched again"):
        unpack(path, pack, tmp_path / "out", ROOM)


def test_t39_a_flipped_byte_in_a_zip(tmp_path):
    path = tmp_path / "x"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a", b"a" * 2000)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"is not a whole zip archive \(Bad CRC-32 for file 'a'\)"):
        unpack(path, "zip", tmp_path / "out", ROOM)


def test_two_archives_do_not_overwrite_each_other(tmp_path):
    unpack(make_zip(tmp_path / "x", {"a": b"1"}), "zip", tmp_path / "out", ROOM)
    with pytest.raises(ArchiveError, match=r"its member a would overwrite a file of another archive; give the two"):
        unpack(make_zip(tmp_path / "y", {"a": b"2"}), "zip", tmp_path / "out", ROOM)


def test_what_is_not_packed_is_not_unpacked(tmp_path):
    with pytest.raises(ArchiveError, match="x is not packed; take it as it is"):
        unpack(tmp_path / "x", "none", tmp_path / "out", ROOM)


def test_a_member_that_is_a_file_and_a_folder(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"1", "a/b": b"2"})
    with pytest.raises(ArchiveError, match="is not a whole zip archive"):
        unpack(archive, "zip", tmp_path / "out", ROOM)
