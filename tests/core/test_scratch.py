"""Scratch folders: found again by their key, and the only folders that are ever removed."""

import pytest

from cnnvis_lab.core import FileError, scratch


def test_only_marked_folders_of_the_purpose_are_removed(tmp_path):
    ours, kept = scratch.make(tmp_path, "work"), scratch.make(tmp_path, "work", "key")
    other = scratch.make(tmp_path, "another")
    unmarked, linked = tmp_path / ".cnnvis-work-mine", tmp_path / ".cnnvis-work-link"
    unmarked.mkdir()
    (unmarked / "thesis.txt").write_text("mine")
    linked.symlink_to(other, target_is_directory=True)
    forged = tmp_path / ".cnnvis-work-forged"
    forged.mkdir()
    (forged / scratch.MARK).write_text("another")
    (ours / "part").mkdir()
    (ours / "part" / "file").write_text("half")
    scratch.remove_all(tmp_path, "work", keep=kept)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {kept.name, other.name, unmarked.name, linked.name, forged.name}
    assert (unmarked / "thesis.txt").read_text() == "mine" and other.is_dir()


def test_a_folder_is_found_by_its_key_and_never_taken_from_somebody_else(tmp_path):
    first = scratch.make(tmp_path, "work", "key")
    (first / "checkpoint").write_text("half")
    assert scratch.make(tmp_path, "work", "key") == first
    assert (first / "checkpoint").read_text() == "half"
    assert scratch.make(tmp_path, "work") != scratch.make(tmp_path, "work")
    (tmp_path / ".cnnvis-work-taken").mkdir()
    with pytest.raises(FileError, match="was not made by this program"):
        scratch.make(tmp_path, "work", "taken")
    with pytest.raises(FileError, match="cannot write to"):
        scratch.make(tmp_path / "missing", "work")


def test_links_inside_are_removed_but_not_what_they_lead_to(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("mine")
    folder = scratch.make(tmp_path, "work")
    (folder / "link").symlink_to(theirs, target_is_directory=True)
    scratch.remove(folder)
    assert not folder.exists() and (theirs / "file").read_text() == "mine"


def test_an_interrupted_removal_keeps_the_mark(tmp_path, monkeypatch):
    folder = scratch.make(tmp_path, "work")
    (folder / "part").mkdir()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scratch.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scratch.remove(folder)
    monkeypatch.undo()
    scratch.remove_all(tmp_path, "work")
    assert not folder.exists()
