"""Models of keras.io's kinds, out of tree: they train, the check agrees, and evaluation is Keras's own."""

import shutil

import keras
import keras_io
import pytest
import reading

pytestmark = pytest.mark.process

# One of each kind of input and output.
SAMPLE = {"seq2seq", "unet", "vit"}
GIN = """
from __gin__ import dynamic_registration

import keras_io
from trainer import experiment
from trainer.data.sources import arrays
from trainer.tasks import supervised

BATCH_SIZE = 16
EPOCHS = 8
SEED = 1
LEARNING_RATE = 0.003

include 'base.gin'
include 'classifier.gin'

experiment.run:
    data = @arrays.splits
    epochs = %EPOCHS
arrays.splits:
    train = @train/keras_io.{data}
    test = @test/keras_io.{data}
train/keras_io.{data}.examples = 200
test/keras_io.{data}.examples = 50
supervised.Supervised:
    model = @keras_io.{model}
    loss = @keras_io.loss()
    metrics = []
    x = {x!r}
    y = {y!r}
keras_io.loss.name = '{name}'
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras_io")
    shutil.copy(keras_io.__file__, folder)
    for name, (model, data, x, y, _) in keras_io.MODELS.items():
        text = GIN.format(name=name, model=model.__name__, data=data.__name__, x=x, y=y)
        (folder / f"{name}.gin").write_text(text)
    return folder


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in keras_io.MODELS]
)
def test_a_model_trains_as_it_is(convoy, place, tmp_path, name):
    done = convoy(f"--gin_file={name}.gin", f"--run_dir={tmp_path / 'run'}", cwd=place)
    assert done.code == 0, done.out + done.err
    losses = [loss for _, loss in reading.scalars(tmp_path / "run", "eval")["loss"]]
    assert losses[-1] < 0.97 * losses[0], losses

    # Keras's own evaluation, of the weights that were saved.
    make, data, x, y, _ = keras_io.MODELS[name]
    keras.utils.clear_session()  # names are counted from the beginning, as in a process of its own
    held_out, model = data(50), make()
    inputs = held_out[x] if isinstance(x, str) else {each: held_out[each] for each in x}
    model(inputs)
    saved = reading.tensors(tmp_path / "run")
    kept = {key.removeprefix("models/model/"): value for key, value in saved.items() if key.startswith("models/model/")}
    own = [variable for variable in model.variables if "seed_generator" not in variable.path]
    assert len(kept) == len(own)
    for variable in own:
        variable.assign(kept[variable.path])
    model.compile(loss=keras_io.loss(name))
    expected = model.evaluate(inputs, held_out[y], batch_size=50, verbose=0)
    assert reading.report(tmp_path / "run")["metrics"]["test/loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", keras_io.MODELS)
def test_the_check_agrees(convoy, place, name):
    done = convoy("--mode=check", f"--gin_file={name}.gin", cwd=place)
    assert done.code == 0, done.out + done.err
