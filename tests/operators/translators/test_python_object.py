from pathlib import Path

import pytest

from operators.errors import ModelError
from operators.translators.python_object import PythonObject


def test_a_module_of_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lies_in_the_working_directory.py").write_text("class Net:\n    answer = 42\n")
    monkeypatch.chdir(tmp_path)

    assert PythonObject("lies_in_the_working_directory", "Net.answer").resolve() == 42


def test_a_file_runs_once_in_a_process(tmp_path: Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text(
        "from pathlib import Path\nPath(__file__).with_suffix('.log').touch(exist_ok=False)\n"
    )

    first, again = (PythonObject(str(path), "Path").resolve() for _ in range(2))

    assert first is again is Path


def test_a_module_that_is_there_is_told_from_one_that_is_not_without_importing_it() -> None:
    assert PythonObject("antigravity", "geohash").is_there()
    assert not PythonObject("no_such_module_at_all", "net").is_there()
    assert not PythonObject("./odd", "net").is_there()


def test_a_missing_attribute_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ModelError, match=r"no 'PurePat' in 'pathlib'; did you mean 'PurePath'\?"):
        PythonObject("pathlib", "PurePat").resolve()
