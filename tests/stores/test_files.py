"""Values as files of a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farms import until
from oche.errors import ConfigError, StoreError, StoreFull, ValueLost
from oche.stores import files
from oche.stores.files import FileStore
from oche.stores.opening import open_store
from oche.testing.store_rig import Process
from oche.testing.store_suite import Rig, StoreSuite


def leave(folder: Path) -> str:
    """A value whose owner is killed."""
    with Process(f"files://{folder}") as other:
        name: str = eval(other("store.put(b'theirs')"))
        other.kill()
    return name


class TestFileStore(StoreSuite):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return Rig(open=lambda: FileStore(str(tmp_path)), left=lambda: os.listdir(tmp_path))


# URLs


def test_the_url_leads_others_to_the_folder(tmp_path: Path) -> None:
    for letters in ("plain", "a b", "50%", "a?b#c", "ä", os.fsdecode(b"\xff"), "[x]", "a\nb"):
        folder = tmp_path / letters
        folder.mkdir()
        with FileStore(str(folder)) as store, open_store(store.url) as other:
            name = store.put(b"x")
            assert other.get(name) == b"x"
            assert other.url == store.url
            assert store.url.isascii()
            assert store.url.isprintable()
            assert len(os.listdir(folder)) == 1


@pytest.mark.parametrize("url", ["files://", "files:x", "files:/x", "files://host/x", "files:///tmp?x", "files:///tmp#x",
                                 "files:///tmp%00", "Files:///tmp"])  # fmt: skip
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match="say 'files:///folder'"):
        FileStore.open(url)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "typo", tmp_path / "file"):
        with pytest.raises(ConfigError, match="create it, or mount it"):
            FileStore.open(f"files://{path}")
    assert os.listdir(tmp_path) == ["file"]


def test_without_a_folder_it_is_a_private_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_store("files:") as store:
        name = store.put(b"x")
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert store.url == f"files://{folder}"
        with Process(store.url) as other:  # whose temporary directory is another
            assert other(f"bytes(store.get({name!r}))") == "b'x'"
        with open_store("files:") as again:
            assert again.get(name) == b"x"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("trap", ["open", "link", "file"])
def test_a_temporary_folder_that_others_can_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"oche-values-{os.geteuid()}"
    if trap == "open":
        folder.mkdir()
        folder.chmod(0o755)
    elif trap == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.touch(0o600)
    with pytest.raises(StoreError, match="remove it"):
        open_store("files:")


def test_values_are_private(tmp_path: Path) -> None:
    with FileStore(str(tmp_path)) as store:
        store.put(b"x")
        (home,) = tmp_path.iterdir()
        assert home.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in home.iterdir()} == {0o600}


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "values").mkdir()
    with FileStore(str(tmp_path / "values")) as store:
        name = store.put(b"x")
        home, number = name.rsplit(".", 1)
        (tmp_path / "values" / home / "7").symlink_to(tmp_path / "secret")
        for wrong in (f"{home}.7", f"{home}.owner", f"{home}/..{number}", f"../secret.{number}", f"{home}./../0"):
            for verb in (store.get, store.take, lambda name: store.write(name, 0, b"")):
                with pytest.raises(StoreError):
                    verb(wrong)
            store.delete(wrong)
    assert (tmp_path / "secret").read_text() == "secret"


# Sweeping


def test_what_the_dead_left_goes_when_the_next_store_is_opened(tmp_path: Path) -> None:
    leave(tmp_path)
    assert len(os.listdir(tmp_path)) == 1
    with FileStore(str(tmp_path)):
        assert os.listdir(tmp_path) == []


def test_only_what_is_ours_is_swept(tmp_path: Path) -> None:
    """Not what others put there, and not what stores of other machines did: a free lock there may mean nothing."""
    with FileStore(str(tmp_path)) as store:
        name = store.put(b"x")
    node, boot = files._machine()
    assert node in name
    theirs = ["oche-values", f"oche-{node}", "notes.txt", "oche-elsewhere-0123abcd-0123456789abcdef"]
    for other in theirs:
        (tmp_path / other).mkdir()
        (tmp_path / other / "owner").touch()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "owner").touch()
    (tmp_path / f"oche-{node}-{boot}-fedcba9876543210").symlink_to(tmp_path / "target")
    ours = [
        f"oche-{node}-{boot}-0123456789abcdef",
        f"oche-{node}-00000000-0123456789abcdef",  # before the machine was started again
        f"oche-elsewhere-{boot}-0123456789abcdef",  # a container
    ]
    for dead in ours:
        (tmp_path / dead).mkdir()
        (tmp_path / dead / "owner").touch()
        (tmp_path / dead / "0").write_bytes(b"x")
    (tmp_path / f"oche-{node}-{boot}-aaaaaaaaaaaaaaaa").mkdir()  # killed as it began
    nearly = tmp_path / f"oche-{node}-{boot}-bbbbbbbbbbbbbbbb"  # what a file system over a network still has in use
    nearly.mkdir()
    (nearly / ".nfs1").touch()
    FileStore(str(tmp_path)).close()
    left = set(os.listdir(tmp_path))
    assert left == {*theirs, "target", f"oche-{node}-{boot}-fedcba9876543210", nearly.name}
    assert os.listdir(tmp_path / "target") == ["owner"]


def test_where_the_kernel_does_not_tell_its_life_names_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_machine", lambda: ("here", ""))
    for node in ("here", "there"):
        (tmp_path / f"oche-{node}--0123456789abcdef").mkdir()
    with FileStore(str(tmp_path)) as store:
        assert os.listdir(tmp_path) == ["oche-there--0123456789abcdef"]
        assert store.get(store.put(b"x")) == b"x"


def test_a_home_that_is_swept_as_it_begins_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of the moments at which it is not locked yet."""
    lock, mkdir, begun = files._locked, os.mkdir, []

    def swept_after_mkdir(path: str, mode: int = 0o777) -> None:
        mkdir(path, mode)
        begun.append(path)
        if len(begun) == 1:
            files._sweep(str(tmp_path))

    def swept_before_lock(fd: int) -> bool:
        if len(begun) == 2:
            files._sweep(str(tmp_path))
        if len(begun) == 3:
            with open(os.path.join(begun[-1], "owner")) as rival:
                assert lock(rival.fileno())  # who sweeps was faster
                return lock(fd)
        return lock(fd)

    monkeypatch.setattr(os, "mkdir", swept_after_mkdir)
    monkeypatch.setattr(files, "_locked", swept_before_lock)
    with FileStore(str(tmp_path)) as store:
        assert store.get(store.put(b"x")) == b"x"
        assert len(begun) == 4
    files._sweep(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_forked_child_does_not_keep_a_dead_owner_alive(tmp_path: Path) -> None:
    with Process(f"files://{tmp_path}") as other:
        name = eval(other("store.put(b'x')"))
        child = other.fork()
        try:
            with FileStore(str(tmp_path)) as store:
                assert store.get(name) == b"x"
            other.kill()
            until(lambda: [FileStore(str(tmp_path)).close(), os.listdir(tmp_path)][1] == [], "what was left is swept")
            with FileStore(str(tmp_path)) as store, pytest.raises(ValueLost):
                store.get(name)
        finally:
            os.kill(child, 9)


# Disks


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of its own of so many bytes; skips the test where we may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk, FileStore(str(disk)) as store:
        kept = store.put(b"x" * (1 << 19))
        with pytest.raises(StoreFull, match="1,000,000 bytes does not fit the 5"):
            store.put(b"y" * 1_000_000)
        # Room that is promised to two: the second finds none.
        created = [store.create(400_000), store.create(400_000)]
        store.write(created[0], 0, b"z" * 400_000)
        with pytest.raises(StoreFull, match=r"cannot write to the value .*: No space left on device; make room"):
            store.write(created[1], 0, b"z" * 400_000)
        for name in created:
            store.delete(name)
        assert store.get(kept) == b"x" * (1 << 19)
        assert store.get(store.put(b"y" * 400_000)) == b"y" * 400_000


def test_a_disk_that_fills_amid_a_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk, FileStore(str(disk)) as store:
        store.put(b"x")
        statvfs = os.statvfs(tmp_path)
        monkeypatch.setattr(os, "statvfs", lambda _: statvfs)  # another took the room after the look
        with pytest.raises(StoreFull, match="cannot keep a value of 2,000,000 bytes"):
            store.put(b"y" * 2_000_000)
        (home,) = disk.iterdir()
        assert sorted(os.listdir(home)) == ["0", "owner"]


def test_a_disk_that_is_read_only_and_files_that_are_not_ours(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with FileStore(str(disk)) as store, pytest.raises(StoreError, match=r"Read-only.*; give user 0 rights there"):
            store.put(b"x")


def test_a_folder_that_we_may_not_write(tmp_path: Path) -> None:
    """As another user: root may do anything."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        folder.chmod(0o755)
        with FileStore(str(folder)) as store:
            name = store.put(b"x")
            program = (
                "import os, sys, importlib.metadata, oche.stores.files\n"
                "from oche.stores.opening import open_store\n"
                "os.setuid(65534)\n"
                "store = open_store(sys.argv[1])\n"
                "for verb in (lambda: store.put(b''), lambda: store.get(sys.argv[2])):\n"
                "  try: verb()\n"
                "  except Exception as error: print(type(error).__name__, error)"
            )
            command = [sys.executable, "-c", program, store.url, name]
            lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["StoreError", "StoreError"]
        assert all("Permission denied; give user 65534 rights there, or run all workers as one user" in line
                   for line in lines)  # fmt: skip
    finally:
        folder.rmdir()


def test_where_there_are_no_locks_everybody_lives(tmp_path: Path) -> None:
    """A descriptor that only names a file stands for a file system that knows no locks."""
    (tmp_path / "owner").touch()
    fd = os.open(tmp_path / "owner", os.O_PATH)
    try:
        assert files._locked(fd)
    finally:
        os.close(fd)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "values"
    folder.mkdir()
    with FileStore(str(folder)) as store:
        name = store.put(b"x")
        shutil.rmtree(folder)
        with pytest.raises(ValueLost):
            store.get(name)
        with pytest.raises(StoreError, match="look at the folder"):
            store.put(b"y")
        store.delete(name)
