"""Wrong flags, configuration and input: exit 2, one line that names the setting, and nothing written."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import user_code
from reading import refuse
from running import CHECKOUT

pytestmark = pytest.mark.process

MINE = "--gin_file=digits.gin"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--gin_fle=digits.gin", "--run_dir=x"], ["gin_fle", "Did you mean: gin_file"]),
        (["digits.gin", "--run_dir=x"], ["'digits.gin'", "--gin_file=digits.gin"]),
        (["--gin_file=digits.gin"], ["--run_dir"]),
        (["--run_dir=x"], ["--gin_file"]),
        (["--gin_file=digits.gin", "--run_dir=x", "--mode=trian"], ["mode", "<train|evaluate|predict"]),
        (["--gin_file=digits.gin", "--run_dir=x", "--launcher=rey"], ["launcher", "local"]),
    ],
)
def test_flags(convoy, arguments, says, tmp_path, folder):
    result = convoy(*arguments)
    assert result.code == 2 and len(result.err.splitlines()) == 1, result.err
    for text in ["error: ", *says]:
        assert text in result.err
    assert not (folder / "x").exists()


def test_help(convoy):
    for flag in ("--help", "--helpfull"):
        result = convoy(flag)
        assert result.code == 0 and not result.err
        assert "--run_dir" in result.out and "--gin_param" in result.out


PARAMS = {
    "a macro that is misspelt": (["EPOCH = 3"], ["EPOCH", "did you mean EPOCHS?"]),
    "a parameter that is misspelt": (["experiment.run.sed = 3"], ["sed", "did you mean seed?"]),
    "steps as a word": (["experiment.run.steps = 'ten'"], ["run.steps", "'ten'", "int"]),
    "batch size 0": (["BATCH_SIZE = 0"], ["batch_size = 0", "from 1 to"]),
    "batch size as a word": (["BATCH_SIZE = 'many'"], ["BATCH_SIZE", "batch_size", "int"]),
    "epochs 0": (["EPOCHS = 0"], ["epochs = 0", "from 1 to"]),
    "epochs and steps": (["experiment.run.steps = 10"], ["epochs", "steps", "one of"]),
    "neither epochs nor steps": (["experiment.run.epochs = None"], ["epochs", "steps", "one of"]),
    "no shards": (["SHARDS = 0"], ["shards = 0", "at least 1"]),
    "more shards than examples": (["SHARDS = 33"], ["shards = 33", "batch_size = 32"]),
    "a period of 0": (["CHECKPOINT_EVERY = 0"], ["Checkpoint.every = 0", "from 1 to"]),
    "a period beyond the run": (["EVALUATE_EVERY = 1000000"], ["Evaluate.every = 1000000", "the whole run"]),
    "an unknown split": (["evaluate.Evaluate.split = 'x'"], ["Evaluate.split = 'x'", "test"]),
    "a negative seed": (["SEED = -1"], ["seed = -1", "from 0 to 4,294,967,295"]),
    "no end of steps": (
        ["experiment.run.epochs = None", "experiment.run.steps = 100000000000000000000"],
        ["steps = 1000", "from 1 to"],
    ),
    "a rate that Keras refuses": (["LEARNING_RATE = None"], ["the task cannot be made", "Error"]),
    "a loss that is a sum": (
        ["keras.losses.SparseCategoricalCrossentropy.reduction = 'sum'"],
        ["Supervised.loss", "reduction = 'sum'"],
    ),
    "a loader that fails": (["digits.train.examples = '7'"], ["digits.train.examples", "int"]),
    "a data file that is missing": (["arrays.splits.train = @digits.missing"], ["FileNotFoundError", "digits.py:"]),
    "a monitor that is not there": (
        [
            "experiment.run.more_actions = [@early_stopping.EarlyStopping]",
            "early_stopping.EarlyStopping.monitor = 'test/los'",
        ],
        ["monitor = 'test/los'", "there are: test/loss, test/accuracy"],
    ),
    "a monitor that nobody evaluates": (
        [
            "experiment.run.more_actions = [@early_stopping.EarlyStopping]",
            "early_stopping.EarlyStopping.monitor = 'validation/loss'",
            "arrays.splits.validation = @digits.held_out",
        ],
        ["monitor = 'validation/loss'", "no action evaluates the split 'validation'", "Evaluate.split"],
    ),
    "nothing kept": (["checkpoints.Checkpoints.keep = 0"], ["Checkpoints.keep = 0"]),
    "labels outside": (["arrays.splits.train = @digits.labels_outside"], ["labels 'y'", "10", "0 to 9"]),
    "test labels outside": (["arrays.splits.test = @digits.labels_outside"], ["labels 'y'", "10", "0 to 9"]),
    "unequal lengths": (["arrays.splits.train = @digits.unequal"], ["unequal length", "'x' 40", "'y' 39"]),
    "no examples": (["arrays.splits.train = @digits.empty"], ["the train data is empty"]),
    "no examples to test": (["arrays.splits.test = @digits.empty"], ["the test data is empty"]),
    "NaN": (
        ["arrays.splits.train = @digits.with_nan", "arrays.splits.check_finite = True"],
        ["'x'", "NaN", "index 7", "check_finite"],
    ),
    "a reserved name": (
        ["arrays.splits.train = @digits.reserved", "arrays.splits.test = @digits.reserved"],
        ["'valid'", "rename"],
    ),
    "other fields to test": (["arrays.splits.train = @digits.reserved"], ["the test data", "'valid'"]),
    "a module that is not there": (["experiment.run.data = @digit.load"], ["digit", "did you mean digits?"]),
}


@pytest.mark.parametrize("name", PARAMS)
def test_values_and_data(convoy, tmp_path, name):
    params, says = PARAMS[name]
    refuse(convoy, MINE, *(f"--gin_param={param}" for param in params), says=says, run_dir=tmp_path / "run")


def test_gin_files(convoy, tmp_path):
    run_dir = tmp_path / "run"
    refuse(convoy, "--gin_file=digts.gin", run_dir=run_dir,
           says=["digts.gin", str(CHECKOUT / "gin"), "did you mean digits.gin?"])  # fmt: skip
    wrong = tmp_path / "wrong.gin"
    wrong.write_text("from __gin__ import dynamic_registration\nfrom trainer import experiment\n\n"
                     "include 'digits.gin'\nexperiment.run.batch_sise = 3\n")  # fmt: skip
    refuse(convoy, f"--gin_file={wrong}", run_dir=run_dir, says=[f"{wrong}:5", "batch_sise", "batch_size?"])
    refuse(convoy, MINE, "--model=cmn", run_dir=run_dir, says=["--model=cmn", "cnn", "mlp"])
    refuse(convoy, MINE, "--strategy=miror", run_dir=run_dir, says=["--strategy=miror", "default", "mirro"])


def test_places_that_cannot_be_written_to(convoy, tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    for run_dir in (file, file / "below", Path("/proc/convoy")):
        before = file.read_text()
        result = convoy(*user_code.SHORT, f"--run_dir={run_dir}")
        assert result.code == 2 and len(result.err.splitlines()) == 1, result.err
        assert f"--run_dir={run_dir}" in result.err and "cannot be written to" in result.err
        assert file.read_text() == before


@pytest.mark.parametrize("mode", [0o555, 0o700], ids=["read only", "not even searchable"])
def test_a_folder_of_somebody_else(convoy, mode):
    user = 65534 if os.getuid() == 0 else None  # nothing is closed to root
    if user is None and mode == 0o700:
        pytest.skip("needs root, to be somebody else")
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, mode)
        for run_dir in (Path(place), Path(place) / "run"):
            result = convoy("--gin_file=runs/mnist_small.gin", f"--run_dir={run_dir}", cwd="/", user=user)
            assert result.code == 2 and len(result.err.splitlines()) == 1, result.err
            assert f"--run_dir={run_dir}" in result.err and "cannot be written to" in result.err
        os.chmod(place, 0o755)
        assert os.listdir(place) == []


def test_a_keras_data_set_that_is_not_there(start, tmp_path):
    nobody = "http://127.0.0.1:9"
    run = start("--gin_file=runs/mnist_mlp.gin", f"--run_dir={tmp_path / 'run'}",
                KERAS_HOME=str(tmp_path / "keras"), https_proxy=nobody, http_proxy=nobody)  # fmt: skip
    assert run.wait() == 2, run.output
    assert len(run.err) == 1 and run.err[0].startswith("error: keras.datasets.mnist"), run.err
    assert str(tmp_path / "keras" / "datasets") in run.err[0], "where it looked"
    assert not (tmp_path / "run").exists()


def test_modes_that_need_a_checkpoint(convoy, tmp_path):
    run_dir = tmp_path / "run"
    for mode in ("--mode=evaluate", "--mode=predict"):
        refuse(convoy, mode, run_dir=run_dir, says=["--gin_file", str(run_dir / "config.gin"), "or the --run_dir"])
        refuse(convoy, mode, MINE, run_dir=run_dir, says=[f"--run_dir={run_dir}", "no checkpoint", "train"])


def test_what_predict_cannot_read(convoy, finished, tmp_path):
    wrong_shape = tmp_path / "wrong_shape.npz"
    np.savez(wrong_shape, x=np.zeros((3, 14, 14), np.uint8))
    wrong_type = tmp_path / "wrong_type.npz"
    np.savez(wrong_type, x=np.zeros((3, 28, 28)))
    wrong_name = tmp_path / "wrong_name.npz"
    np.savez(wrong_name, image=np.zeros((3, 28, 28), np.uint8))
    too_large = tmp_path / "too_large.npz"
    np.savez(too_large, x=np.full((3, 28, 28), 300, np.uint16))
    for path, says in (
        (tmp_path / "none.npz", ["none.npz"]),
        (too_large, ["'x' has numbers from 300 to 300", "uint8"]),
        (wrong_shape, ["'x'", "[14, 14]", "[28, 28]"]),
        (wrong_type, ["'x'", "float64", "uint8"]),
        (wrong_name, ["--input", "'x'", "image"]),
    ):
        refuse(convoy, "--mode=predict", f"--input={path}", run_dir=finished, says=says)
    for mode in ("--mode=predict", "--mode=evaluate"):
        suffix = {"--mode=predict": ".npz", "--mode=evaluate": ".json"}[mode]
        folder = tmp_path / f"folder{suffix}"
        folder.mkdir()
        for output in (tmp_path / "no such folder" / f"output{suffix}", folder):
            refuse(convoy, mode, f"--output={output}", run_dir=finished, says=[f"--output={output}", "name a file in"])
        refuse(convoy, mode, f"--output={tmp_path / 'out.txt'}", run_dir=finished, says=[f"ends with {suffix}"])
    refuse(convoy, *user_code.SHORT, "--output=x", run_dir=finished, says=["--output has no effect with --mode=train"])
