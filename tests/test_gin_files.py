"""Every .gin file that is shipped: it parses, and every run file checks with each overlay, model and strategy."""

from pathlib import Path

import pytest

from benchmarks import tutorial
from launch.prepare import CLUSTER, GIVEN, ROOT
from trainer.config import diff, parse, validation
from trainer.config.configuration import Reference

GIN = Path(__file__).resolve().parent.parent / "gin"
FILES = sorted(str(path.relative_to(GIN)) for path in GIN.rglob("*.gin"))
RUNS = [file for file in FILES if file.startswith("runs/")]
MODELS, STRATEGIES = ([path.stem for path in sorted(GIN.glob(f"{kind}/*.gin"))] for kind in ("models", "strategies"))
# Same names in every run file; the first five are up to the run.
MACROS = {"BATCH_SIZE", "LEARNING_RATE", "SEED", "SHARDS", "STEPS_PER_LOOP", "CHECKPOINT_EVERY", "EVALUATE_EVERY"}


def checked(*arguments, **options):
    """The checked configuration, and what a later choice made irrelevant."""
    return validation.check(parse.read(*arguments, **options), ROOT, GIVEN, (CLUSTER,))


def fits(model, run):
    """Whether a run's model can be replaced by this one: it is put in the same place."""
    placed = [s.key for s in parse.read([f"models/{model}.gin"]).statements if isinstance(s.value, Reference)]
    return set(placed) <= parse.read([run]).final.keys()


def test_there_are_files():
    assert all(fits(model, "runs/mnist_small.gin") for model in MODELS)
    assert "runs/mnist_small.gin" in RUNS and "mlp" in MODELS and {"default", "mirrored"} <= set(STRATEGIES)


@pytest.mark.parametrize("file", FILES)
def test_every_file_parses(file):
    assert parse.read([file]).statements
    assert (GIN / file).read_text().startswith("# ")  # says what it is for


@pytest.mark.parametrize("run", RUNS)
def test_every_run_checks_as_it_stands(run):
    configuration, dropped = checked([run])
    assert dropped == []
    assert configuration.macros.keys() >= MACROS
    assert len({"EPOCHS", "STEPS"} & configuration.macros.keys()) == 1


@pytest.mark.parametrize("run", RUNS)
def test_every_run_checks_with_the_tiny_overlay(run):
    configuration, dropped = checked([run, "overlays/tiny.gin"])
    values = {key.parameter: s.value for key, s in configuration.final.items() if key.selector == ROOT}
    assert values["steps"] == 6 and values["batch_size"] == 8
    assert all("BATCH_SIZE" in line or "EPOCHS" in line or "STEPS" in line for line in dropped)


@pytest.mark.parametrize("run", RUNS)
def test_a_failure_can_be_added_to_every_run(run):
    plain, _ = checked([run])
    faulty, dropped = checked([run, "overlays/fault.gin"], params=["FAULT = 'stop'", "FAULT_RANK = 1"])
    assert dropped == []
    values = {key.parameter: s.value for key, s in faulty.final.items() if key.selector == ROOT}
    assert [reference.selector for reference in values["faults"]] == ["trainer.actions.fault.Fault"]
    assert diff.differences(plain, faulty, diff.FREE) == []


@pytest.mark.parametrize("overlays", [[], ["overlays/tiny.gin"]])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("run", RUNS)
def test_every_run_checks_with_every_strategy_and_each_model_that_fits(run, strategy, overlays):
    # A run whose networks have other parts, like a VAE's, has no place for any of them.
    for model in [model for model in MODELS if fits(model, run)] or [None]:
        configuration, _ = checked([run, *overlays], model=model, strategy=strategy)
        values = {key.parameter: s.value for key, s in configuration.final.items() if key.selector == ROOT}
        assert values["strategy"].selector == f"trainer.distributed.strategies.{strategy}"


def test_every_program_of_the_tutorial_has_a_row_and_a_place_in_the_document():
    names = [program.name for program in tutorial.PROGRAMS]
    assert sorted([*names, "mnist_small"]) == [Path(run).stem for run in RUNS]
    said = (GIN.parent / "docs" / "tutorial.md").read_text()
    assert [name for name in names if f"| {name} |" not in said] == []


def test_configurations_are_found_by_short_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checked(["runs/mnist_small.gin"])[0].statements
