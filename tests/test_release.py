"""What a release promises: one version everywhere, and type information in the package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

import unseg_d2

REPOSITORY = Path(__file__).resolve().parents[1]


def test_citation_and_changelog_name_the_version_and_its_date():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d\S*) - (\S+)$", changelog, re.M)
    assert newest.groups() == (unseg_d2.__version__, str(citation["date-released"]))
    assert citation["version"] == unseg_d2.__version__


def test_only_the_package_states_its_version():
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == unseg_d2.__version__
    assert f'"{unseg_d2.__version__}"' not in (REPOSITORY / "setup.py").read_text(encoding="utf-8")


def test_the_package_carries_its_type_information():
    """In the list of files that setuptools would copy into a wheel; nothing is built."""
    script = (
        "import setuptools, distutils.core\n"
        "build = distutils.core.run_setup('setup.py', stop_after='init').get_command_obj('build_py')\n"
        "build.ensure_finalized()\n"
        "print([files for package, _, _, files in build.data_files if package == 'unseg_d2'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "[['py.typed']]"
