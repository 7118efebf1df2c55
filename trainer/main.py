"""python -m trainer.main: the command line of Convoy. What it does is in launch/cli.py."""

import sys

from launch import cli
from trainer.lifecycle.process_exit import guarded

if __name__ == "__main__":
    guarded(lambda: cli.main(sys.argv))
