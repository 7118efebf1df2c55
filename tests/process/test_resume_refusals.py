"""What a resume may change, and what is refused: it lists the differing values and touches nothing."""

import json
import shutil

import numpy as np
import pytest
import reading
import user_code
from reading import refuse

pytestmark = pytest.mark.process


@pytest.fixture
def copy(finished, tmp_path):
    """A finished run of three steps to go on with."""
    return shutil.copytree(finished, tmp_path / "copy")


def test_another_configuration(convoy, finished):
    for changes, says in (
        (["--gin_param=SEED = 2"], ["seed: was 1, is now 2"]),
        (["--gin_param=LEARNING_RATE = 0.5", "--gin_param=BATCH_SIZE = 16"],
         ["learning_rate: was 0.001, is now 0.5", "batch_size: was 32, is now 16"]),
    ):  # fmt: skip
        refuse(convoy, *user_code.SHORT, *changes, run_dir=finished, lines=2 + len(says),
               says=[str(finished), *says, "--allow_config_change"])  # fmt: skip
    refuse(convoy, *user_code.SHORT, "--model=mlp", run_dir=finished, lines=None,
           says=["Supervised.model: was @digits.network, is now @trainer.models.mlp.mlp"])  # fmt: skip


def test_what_an_action_does_to_the_learning_rate(convoy, folder, tmp_path):
    """Other actions may come and go, but this one alters the arithmetic."""
    plateau = folder / "plateau.gin"
    plateau.write_text(
        "from __gin__ import dynamic_registration\nfrom trainer import experiment\n"
        "from trainer.actions import reduce_on_plateau\ninclude 'digits.gin'\n"
        "experiment.run.more_actions = [@reduce_on_plateau.ReduceOnPlateau]\n"
        "reduce_on_plateau.ReduceOnPlateau.monitor = 'test/loss'\n"
    )
    command = (f"--gin_file={plateau}", *user_code.SHORT[1:], f"--run_dir={tmp_path / 'run'}")
    assert convoy(*command).code == 0
    refuse(convoy, *command[:-1], "--gin_param=reduce_on_plateau.ReduceOnPlateau.factor = 0.5",
           run_dir=tmp_path / "run", lines=3, says=["factor: was 0.1, is now 0.5"])  # fmt: skip
    refuse(convoy, *command[:-1], "--gin_param=EVALUATE_EVERY = 2", run_dir=tmp_path / "run", lines=3,
           says=["Evaluate.every: was None, is now 2"])  # fmt: skip
    refuse(convoy, *command[:-1], "--gin_param=experiment.run.more_actions = []", run_dir=tmp_path / "run", lines=4,
           says=["more_actions: was [@trainer.actions.reduce_on_plateau.ReduceOnPlateau], is now []"])  # fmt: skip


def test_allow_config_change(convoy, copy):
    command = (*user_code.SHORT, "--gin_param=LEARNING_RATE = 0.5", "--gin_param=EPOCHS = 2")
    refuse(convoy, *command, run_dir=copy, lines=3, says=["learning_rate"])
    allowed = convoy(*command, "--allow_config_change", f"--run_dir={copy}")
    assert allowed.code == 0, allowed.err
    assert "goes on from step 3," in allowed.out
    assert reading.report(copy)["step"] == 6
    rates = dict(reading.scalars(copy, "train")["learning_rate"])
    assert rates[6] == pytest.approx(0.5)
    # From now on that is the run's configuration.
    assert "LEARNING_RATE = 0.5" in (copy / "config.gin").read_text()
    assert convoy(*command, f"--run_dir={copy}").code == 0


def test_what_was_there_and_is_gone(convoy, copy):
    (copy / "config.gin").rename(copy / "aside")
    refuse(convoy, *user_code.SHORT, run_dir=copy, says=["config.gin is missing", "--allow_config_change"])
    (copy / "aside").rename(copy / "config.gin")
    shutil.rmtree(copy / "checkpoints")
    refuse(convoy, *user_code.SHORT, "--gin_param=EPOCHS = 2", run_dir=copy,
           says=["holds no checkpoint", "had come to step 3", "another run_dir"])  # fmt: skip


def test_a_compiler_that_was_asked_for_is_used(convoy, copy):
    command = (*user_code.SHORT, "--gin_param=trainer.step.arithmetic.Arithmetic.xla = True", "--gin_param=EPOCHS = 2")
    refuse(convoy, *command, run_dir=copy, lines=3, says=["xla: was None, is now True"])
    assert convoy(*command, "--allow_config_change", f"--run_dir={copy}").code == 0
    manifests = {step: json.loads((copy / f"checkpoints/step_{step:08d}/manifest.json").read_text()) for step in (3, 6)}
    assert [manifests[step]["notes"]["xla"] for step in (3, 6)] == [False, True]


def test_what_alters_neither_arithmetic_nor_order_may_change(convoy, copy):
    free = [
        "CHECKPOINT_EVERY = 1", "EVALUATE_EVERY = 2", "STEPS_PER_LOOP = 1", "EPOCHS = 2", "log.Log.every = 1",
        "checkpoints.Checkpoints.keep = 2",
    ]  # fmt: skip
    changed = convoy(*user_code.SHORT, *(f"--gin_param={param}" for param in free), "--strategy=default",
                     f"--run_dir={copy}")  # fmt: skip
    assert changed.code == 0, changed.err
    assert reading.checkpoints(copy) == [5, 6]
    assert [step for step, _ in reading.scalars(copy, "eval")["loss"]] == [3, 4, 6]


def test_the_checkpoint_of_another_model(convoy, copy):
    wider = (*user_code.SHORT, "--gin_param=digits.network.filters = 8", "--gin_param=EPOCHS = 2")
    refuse(convoy, *wider, "--allow_config_change", run_dir=copy,
           says=["conv2d/kernel", "[3, 3, 1, 16]", "[3, 3, 1, 8]"])  # fmt: skip
    refuse(convoy, *user_code.SHORT, "--model=mlp", "--allow_config_change", run_dir=copy,
           says=["in the checkpoint: models/model/network", "in this run: models/model/mlp"])  # fmt: skip


def test_other_data(convoy, tmp_path, folder):
    def write(examples, held_out=96, of=lambda y, places: y):
        with np.load(folder / "digits.npz") as file:
            x, y = file["x"], of(file["y"], 1)
        np.savez(tmp_path / "data.npz", x_train=x[:examples], y_train=y[:examples], x_test=x[:held_out],
                 y_test=y[:held_out])  # fmt: skip

    command = ("--gin_file=digits.gin", "--gin_param=experiment.run.data = @arrays.npz",
               f"--gin_param=arrays.npz.path = '{tmp_path / 'data.npz'}'")  # fmt: skip
    write(96)
    assert convoy(*command, f"--run_dir={tmp_path / 'run'}").code == 0
    write(128)
    refuse(convoy, *command, run_dir=tmp_path / "run", says=["128", "96", "data"])
    write(96, held_out=97)  # whoever cuts data that has grown cuts it otherwise
    refuse(convoy, *command, run_dir=tmp_path / "run", says=["the test data has 97 examples", "had 96"])
    write(96, of=np.roll)
    refuse(
        convoy,
        *command,
        run_dir=tmp_path / "run",
        says=["the t", "data holds other values", "in y", "--allow_config_change"],
    )
    changed = convoy(*command, "--allow_config_change", f"--run_dir={tmp_path / 'run'}")
    assert changed.code == 0 and "this run is finished" in changed.out, changed.err
    other = convoy(*command, "--mode=evaluate", f"--run_dir={tmp_path / 'run'}")
    assert other.code == 0, other.err
