"""What a user asks for, as plain data: made by the command line, a sweep or a Python caller, for the launchers.

A Command that contradicts itself cannot be made. Reads no flags, and no configuration: launch/prepare.py does.
"""

import dataclasses
from typing import Any, NamedTuple

from trainer.base.errors import UsageError

MODES = ("train", "evaluate", "predict", "check")
LAUNCHERS = ("local", "ray")
WORKERS = "give a number of workers, or MIN:MAX, each at least 1"
# The files that a command may name, and the modes that use them.
_FILES = {"input": ("predict",), "output": ("predict", "evaluate")}


class ConfigurationSource(NamedTuple):
    """What a configuration is made of; if two parts set the same value, the later one wins.

    gin_files: looked up as given, then in gin/.  model: includes gin/models/NAME.gin after the files.
    strategy: includes gin/strategies/NAME.gin after the model.  gin_params: 'NAME = VALUE' each, applied last.
    """

    gin_files: tuple[str, ...] = ()
    model: str | None = None
    strategy: str | None = None
    gin_params: tuple[str, ...] = ()


class Permissions(NamedTuple):
    """What may be done; each has a flag --allow_NAME.

    config_change: resume although values differ that alter the arithmetic or the order of the examples.
    unfenced: train in an object store that does not keep out a second writer.
    """

    config_change: bool = False
    unfenced: bool = False


_NOTHING = Permissions()


@dataclasses.dataclass(frozen=True)
class Command:
    """One command. Messages name its fields by their flags.

    Args:
      source: what the configuration is made of.
      run_dir: the run's directory; '' if the mode needs none (check).
      mode: one of MODES.
      launcher: one of LAUNCHERS.
      workers: the least and the most of them.
      permissions: what is done only if the user allows it.
      input: of predict, a file.
      output: of predict and evaluate, a file.

    Raises:
      UsageError: a value is not one of those, has no effect, or contradicts another one.
    """

    source: ConfigurationSource
    run_dir: str = ""
    mode: str = "train"
    launcher: str = "local"
    workers: tuple[int, int] = (1, 1)
    permissions: Permissions = _NOTHING
    input: str | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        for flag, value, known in (("mode", self.mode, MODES), ("launcher", self.launcher, LAUNCHERS)):
            if value not in known:
                raise UsageError(f"flag --{flag}={value}: value should be one of <{'|'.join(known)}>")
        for flag, modes in _FILES.items():
            if getattr(self, flag) is not None and self.mode not in modes:
                raise UsageError(
                    f"--{flag} has no effect with --mode={self.mode}, only with {' or '.join(modes)}: drop it"
                )
        if not self.run_dir and self.mode != "check":
            raise UsageError("--run_dir is required: name a directory for the run")
        if self.permissions.unfenced and "://" not in self.run_dir:
            raise UsageError(
                f"--allow_unfenced has no effect with --run_dir={self.run_dir}, only on an object store: drop it"
            )
        if not 1 <= self.workers[0] <= self.workers[1]:
            raise UsageError(f"--num_workers={self.num_workers}: {WORKERS}")
        if self.launcher == "local" and self.workers != (1, 1):
            raise UsageError(f"--num_workers={self.num_workers} has no effect without --launcher=ray: add that")
        if self.launcher == "ray" and self.mode != "train":
            raise UsageError(f"--mode={self.mode} runs in one process: drop --launcher=ray")

    @property
    def num_workers(self) -> str:
        """The number of workers as its flag takes it: 'N' or 'MIN:MAX'."""
        least, most = self.workers
        return f"{least}" if least == most else f"{least}:{most}"

    @property
    def options(self) -> dict[str, Any]:
        """What a mode takes of the command beside the configuration: the options of an Invocation."""
        return {"input": self.input, "output": self.output, "allow_config_change": self.permissions.config_change}

    def flags(self) -> list[str]:
        """The flags that ask for this command: launch/cli.py makes an equal one of them."""
        single = {
            "model": self.source.model,
            "strategy": self.source.strategy,
            "run_dir": self.run_dir or None,
            "mode": self.mode,
            "launcher": self.launcher,
            "num_workers": self.num_workers,
            "input": self.input,
            "output": self.output,
        }
        return [
            *(f"--gin_file={file}" for file in self.source.gin_files),
            *(f"--gin_param={param}" for param in self.source.gin_params),
            *(f"--{name}={value}" for name, value in single.items() if value is not None),
            *(f"--allow_{name}" for name, allowed in self.permissions._asdict().items() if allowed),
        ]

    def with_param(self, param: str) -> "Command":
        """The same command with one more 'NAME = VALUE'."""
        source = self.source._replace(gin_params=(*self.source.gin_params, param))
        return dataclasses.replace(self, source=source)
