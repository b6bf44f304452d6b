"""Files, ``--set`` and options: which one wins, and what is said about mistakes."""

from pathlib import Path

import pytest

from pipeline.config import Config, dump
from pipeline.errors import UsageError
from pipeline.settings import Layer, option_layer, read_layer, resolve, set_layer


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_later_layers_win_key_by_key(tmp_path: Path) -> None:
    file = written(tmp_path, "run.toml", "[aggregate]\nradius = 5\ndilation = 5\nstrength = 0.5\n")

    config = resolve(
        read_layer(file),
        set_layer(["aggregate.radius=6", "aggregate.dilation=6"]),
        option_layer({"aggregate.radius": ("--radius", "7")}),
    )

    assert config.aggregate.radius == 7
    assert config.aggregate.dilation == 6
    assert config.aggregate.strength == 0.5
    assert config.interpolate.insert == 3


def test_encoder_options_of_several_layers_come_together(tmp_path: Path) -> None:
    file = written(tmp_path, "run.yaml", "output: {options: {tune: film, g: 12}}")

    config = resolve(
        read_layer(file),
        set_layer(["output.options.bf=0"]),
        option_layer({"output.options": ("-e", {"tune": "grain"})}),
    )

    assert config.output.options == {"tune": "grain", "g": "12", "bf": "0"}


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.toml"])
def test_both_formats_say_the_same(tmp_path: Path, name: str) -> None:
    toml = 'method = "framewise"\n[source]\nframes = 3\n'
    yaml = "method: framewise\nsource:\n  frames: 3\n"

    config = resolve(read_layer(written(tmp_path, name, toml if name == "a.toml" else yaml)))

    assert config == Config.model_validate({"method": "framewise", "source": {"frames": 3}})


def test_reading_a_dump_gives_the_same_configuration(tmp_path: Path) -> None:
    config = resolve(set_layer(["mask.path=m.png", "source.rate=30000/1001", "source.size=4x6"]))

    assert resolve(read_layer(written(tmp_path, "dump.yaml", dump(config)))) == config


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert resolve(read_layer(written(tmp_path, "empty.yaml", "# nothing\n"))) == Config()


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2), ("0x2", 2), (" 2", 2)],
)
def test_set_reads_yaml_values(text: str, value: int) -> None:
    assert resolve(set_layer([f"aggregate.radius={text}"])).aggregate.radius == value


def test_set_can_take_a_value_back() -> None:
    file = Layer("run.yaml", {"source": {"frames": 10}})

    assert resolve(file, set_layer(["source.frames=null"])).source.frames is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[translate]\nmodle = 'x'",
            "run.toml: unknown key 'translate.modle'; did you mean 'translate.model'?",
        ),
        ("radius = 1", "run.toml: unknown key 'radius'; did you mean 'aggregate.radius'?"),
        ("[agregate]\nradius = 1", "run.toml: unknown key 'agregate'; did you mean 'aggregate'?"),
        ("zzz = 1", "run.toml: unknown key 'zzz'"),
        ("[aggregate]\nradius = -1", "run.toml: aggregate.radius must be at least 0, got -1"),
        ("[aggregate]\nradius = 1.5", "run.toml: aggregate.radius must be a whole number, got 1.5"),
        (
            "[aggregate]\nradius = 'two'",
            "run.toml: aggregate.radius must be a whole number, got 'two'",
        ),
        ("[aggregate]\nradius = true", "run.toml: aggregate.radius must be a number, got True"),
        ("[aggregate]\nstrength = 2", "run.toml: aggregate.strength must be at most 1, got 2"),
        ("aggregate = 3", "run.toml: aggregate must hold keys and values, got 3"),
        (
            "method = 'x'",
            (
                "run.toml: method must be 'hypercon', 'framewise', 'blind-consistency' or 'vinet', "
                "got 'x'"
            ),
        ),
        ("[mask]\ninvert = 'x'", "run.toml: mask.invert must be true or false, got 'x'"),
        ("[run]\nweights = 3", "run.toml: run.weights must be a path, got 3"),
        ("[output]\noptions = 3", "run.toml: output.options must be keys and values, got 3"),
        (
            "[translate]\nvalue_range = 0",
            "run.toml: translate.value_range must be more than 0, got 0",
        ),
        ("[translate]\nmodel = ''", "run.toml: translate.model must be text, got ''"),
        (
            "[source]\nsize = '12'",
            "run.toml: source.size must be HEIGHTxWIDTH in pixels, like 480x854, got '12'",
        ),
        (
            "[source]\nrate = 0",
            (
                "run.toml: source.rate must be a positive number of frames per second, "
                "like 25 or 30000/1001, got 0"
            ),
        ),
        (
            "[run]\ndevice = 'gpu'",
            "run.toml: run.device must be auto, cpu, cuda or cuda:N, got 'gpu'",
        ),
        ("version = 2", "run.toml: version must be 1, got 2"),
    ],
)
def test_mistakes_in_a_file_are_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    layer = read_layer(written(tmp_path, "run.toml", text))

    with pytest.raises(UsageError) as caught:
        resolve(layer)

    assert str(caught.value) == message


def test_the_layer_that_won_is_blamed() -> None:
    layers = [
        Layer("run.yaml", {"aggregate": {"radius": 1, "dilation": 0}}),
        set_layer(["aggregate.radius=-1"]),
    ]

    with pytest.raises(UsageError, match=r"^--set: aggregate\.radius must be at least 0, got -1$"):
        resolve(*layers)
    with pytest.raises(UsageError, match=r"^run\.yaml: aggregate\.dilation must be at least 1"):
        resolve(*layers, option_layer({"aggregate.radius": ("--radius", "1")}))


def test_an_option_is_blamed_by_its_own_name() -> None:
    with pytest.raises(UsageError, match=r"^--radius must be at least 0, got -1$"):
        resolve(option_layer({"aggregate.radius": ("--radius", "-1")}))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("radius", "--set must be KEY=VALUE, like aggregate.radius=2, got 'radius'"),
        ("=1", "--set must be KEY=VALUE, like aggregate.radius=2, got '=1'"),
        ("a..b=1", "--set must be KEY=VALUE, like aggregate.radius=2, got 'a..b=1'"),
        ("aggregate.radius=[", "--set: aggregate.radius must be a YAML value, got '['"),
    ],
)
def test_assignments_that_cannot_be_read_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_layer([assignment])

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{}", r"configuration file must end in \.yaml, \.yml or \.toml, got .*a\.json"),
        (
            "a.toml",
            "a = x",
            r"a\.toml: must be valid TOML, got Invalid value .at line 1, column 5.",
        ),
        ("a.yaml", "a: [", r"a\.yaml: must be valid YAML, got .* at line 1, column 5"),
        ("a.yaml", "- 1", r"a\.yaml: must hold keys and values, got \[1\]"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        read_layer(written(tmp_path, name, text))


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(UsageError, match=r"must be readable, got .*absent\.yaml: No such file"):
        read_layer(tmp_path / "absent.yaml")
    with pytest.raises(UsageError, match=r"must be readable, got .*binary\.yaml: not UTF-8 text"):
        read_layer(binary)
