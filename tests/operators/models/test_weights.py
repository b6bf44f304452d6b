import os
import pickle
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from torch import nn

from operators.errors import ModelError
from operators.models import weights


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_folders_of_the_variable_come_first_in_order_and_then_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HYPERCON_WEIGHTS", os.pathsep.join(("/a", "", "/b")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert weights.search_folders() == [Path("/a"), Path("/b"), tmp_path / "hypercon"]


def test_without_the_variables_only_the_cache_in_home_is_searched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HYPERCON_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert weights.search_folders() == [tmp_path / ".cache" / "hypercon"]


def test_an_earlier_folder_beats_a_better_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("HYPERCON_WEIGHTS", os.pathsep.join((str(first), str(second))))
    write(second / "best.pkl")
    names = ("best.pkl", "net/flownet.pkl")

    assert weights.find(names) == second / "best.pkl"
    other = write(first / "net" / "flownet.pkl")
    assert weights.find(names) == other
    best = write(first / "best.pkl")
    assert weights.find(names) == best


def test_a_given_file_is_taken_whatever_its_name_and_a_given_folder_is_searched_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HYPERCON_WEIGHTS", str(tmp_path / "listed"))
    write(tmp_path / "listed" / "net.pkl")
    odd = write(tmp_path / "given" / "odd.bin")

    assert weights.find(("net.pkl",), odd) == odd
    assert weights.find(("net.pkl",), tmp_path / "given") is None
    assert weights.find(("net.pkl",), tmp_path / "listed") == tmp_path / "listed" / "net.pkl"


def test_a_safetensors_file_of_the_same_stem_is_found(tmp_path: Path) -> None:
    file = write(tmp_path / "net-4.6.safetensors")

    assert weights.find(("net-4.6.pkl",), tmp_path) == file


def test_missing_weights_say_what_from_where_and_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HYPERCON_WEIGHTS", "/folder/of/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    message = str(weights.missing("net", ("net.pkl",), "https://example.org/net", None))

    parts = ("'net'", "net.pkl", "https://example.org/net", "/folder/of/weights", str(tmp_path))
    assert message.endswith("hypercon models get net)")
    assert all(part in message for part in parts)
    assert "\n" not in message


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    file = write(tmp_path / "abc", b"abc")

    # The first example of FIPS 180-2.
    assert weights.sha256_of(file) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "params"])
def test_a_state_dict_is_read_with_and_without_its_wrapper(
    tmp_path: Path, network: nn.Module, wrapper: str | None
) -> None:
    state = network.state_dict()
    content = state if wrapper is None else {wrapper: state, "epoch": 3}
    torch.save(content, tmp_path / "net.pth")

    found = weights.read_state(tmp_path / "net.pth")

    assert list(found) == list(state)
    assert all(torch.equal(found[key], state[key]) for key in state)


class Opens:
    """A pickle that would create a file if it were trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Opens(trace)))
    archived = tmp_path / "archived.pkl"
    torch.save({"weight": Opens(trace)}, archived)

    for file in (plain, archived):
        with pytest.raises(ModelError, match="must be a readable weight file") as refusal:
            weights.read_state(file)
        assert str(refusal.value).startswith(str(file))
        assert "\n" not in str(refusal.value)
    assert not trace.exists()


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_damaged_file_is_named_in_one_line(
    tmp_path: Path, network: nn.Module, kept: float
) -> None:
    file = tmp_path / "net.pkl"
    torch.save(network.state_dict(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])

    with pytest.raises(ModelError, match="must be a readable weight file") as refusal:
        weights.read_state(file)

    assert str(refusal.value).startswith(str(file))
    assert "\n" not in str(refusal.value)


def test_what_is_not_a_state_dict_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.pkl"
    torch.save([torch.zeros(1)], file)
    with pytest.raises(ModelError, match="must hold a state dict, got list"):
        weights.read_state(file)
    torch.save({"loss": [0.5], "epoch": 3}, file)
    with pytest.raises(ModelError, match="must hold a state dict, got loss, epoch"):
        weights.read_state(file)
    torch.save({}, file)
    with pytest.raises(ModelError, match="must hold a state dict, got nothing"):
        weights.read_state(file)


def test_the_log_of_a_training_run_is_left_out(tmp_path: Path, network: nn.Module) -> None:
    file = tmp_path / "net.ckpt"
    log = {"epoch": 3, "timestamp": datetime.now(UTC), "loss": [[0.5]], "note": "good", "x": None}
    torch.save({**log, **network.state_dict()}, file)

    assert weights.read_state(file).keys() == network.state_dict().keys()


def test_a_checkpoint_of_several_networks_gives_each(tmp_path: Path, network: nn.Module) -> None:
    file = tmp_path / "net.ckpt"
    state = network.state_dict()
    optimizer = {"state": {}, "param_groups": []}
    torch.save(
        {
            "Detail": "two networks",
            "timestamp": datetime.now(UTC),
            "state_dictFC": state,
            "state_dictAT": {"other": torch.ones(2)},
            "optimizer": optimizer,
        },
        file,
    )

    found = weights.read_state(file)

    assert list(found) == ["state_dictFC", "state_dictAT"]
    assert found["state_dictFC"].keys() == state.keys()
    assert torch.equal(found["state_dictAT"]["other"], torch.ones(2))


def install(folder: Path, name: str, version: str, member: str) -> Path:
    """What pip leaves of a package, as far as it matters here."""
    facts = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return write(folder / member)


def test_a_file_of_an_installed_package_is_found_in_the_pinned_version_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = install(tmp_path, "made-up-weights", "1.2", "made_up_weights/net.pkl")

    assert weights.installed("made-up-weights==1.2", "made_up_weights/net.pkl") == file
    assert weights.installed("made-up-weights==1.3", "made_up_weights/net.pkl") is None
    assert weights.installed("made-up-weights==1.2", "made_up_weights/other.pkl") is None
    assert weights.installed("not-there-at-all==1.2", "made_up_weights/net.pkl") is None


def test_safetensors_without_its_package_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    file = write(tmp_path / "net.safetensors")

    with pytest.raises(ModelError, match="needs the package 'safetensors'"):
        weights.read_state(file)


def test_safetensors_are_read(tmp_path: Path, network: nn.Module) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    state = network.state_dict()
    safetensors.save_file(state, tmp_path / "net.safetensors")

    found = weights.read_state(tmp_path / "net.safetensors")

    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_filling_copies_every_tensor(tmp_path: Path, network: nn.Module) -> None:
    state = {key: torch.rand_like(value) for key, value in network.state_dict().items()}

    weights.fill(network, state, name="net", place=str(tmp_path))

    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_the_first_wrong_key_is_named(network: nn.Module) -> None:
    path = Path("folder/net.pkl")
    state = network.state_dict()
    missing = {key: value for key, value in state.items() if key not in ("0.bias", "1.bias")}
    reshaped = {**state, "0.weight": torch.zeros(4, 2), "1.weight": torch.zeros(9)}
    unexpected = {**state, "extra.weight": torch.zeros(1), "more": torch.zeros(1)}

    with pytest.raises(ModelError, match=r"^folder/net\.pkl: .*'0\.bias', which is missing"):
        weights.fill(network, missing, name="net", place=str(path))
    with pytest.raises(ModelError, match=r"'0\.weight'.* \(3, 2\), got \(4, 2\)"):
        weights.fill(network, reshaped, name="net", place=str(path))
    with pytest.raises(ModelError, match=r"only its own keys, got 'extra\.weight'"):
        weights.fill(network, unexpected, name="net", place=str(path))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (torch.zeros(3, 2).to_sparse(), "be a dense tensor, got torch.sparse_coo"),
        (torch.zeros(3, 2, device="meta"), "be a dense tensor, got torch.strided"),
        ({"inner": torch.zeros(3, 2)}, "be a dense tensor, got dict"),
        (torch.zeros(3, 2, dtype=torch.complex64), "hold floating point numbers, got torch.compl"),
        (torch.zeros(3, 2, dtype=torch.int32), "hold floating point numbers, got torch.int32"),
        (torch.full((3, 2), torch.nan), "hold finite numbers, got one that is not"),
        (torch.full((3, 2), torch.inf), "hold finite numbers, got one that is not"),
    ],
)
def test_an_entry_that_holds_no_weights_is_named(
    network: nn.Module, given: object, fault: str
) -> None:
    state = {**network.state_dict(), "0.weight": given}

    with pytest.raises(ModelError, match=rf"^a\.pkl: key '0\.weight' of 'net' must {fault}"):
        weights.fill(network, state, name="net", place="a.pkl")


def test_a_mismatch_is_named_as_the_file_names_it(network: nn.Module) -> None:
    wrong, extra = torch.zeros(4, 2), torch.zeros(1)
    state = network.state_dict()
    published = {"module.first.weight": wrong, "second": {"more": extra}}

    for changed, said in (
        ({"0.weight": wrong}, "key 'module.first.weight' .* got \\(4, 2\\)"),
        ({"extra": extra}, "only its own keys, got 'second.more'"),
    ):
        with pytest.raises(ModelError, match=said):
            weights.fill(
                network, {**state, **changed}, name="net", place="a.pkl", published=published
            )


def test_prefixes_are_removed_only_in_front() -> None:
    state = {"module.a": torch.zeros(1), "b.module.c": torch.zeros(1)}

    assert list(weights.strip_prefix(state)) == ["a", "b.module.c"]
    assert list(weights.without(state, ("b.", "x"))) == ["module.a"]
