"""What `make release` checks: here on files made by hand, and on those of this checkout."""

import email
import tarfile
import zipfile

import pytest
import release
from stamp import ROOT

import vae_tf

README = (ROOT / "README.md").read_text(encoding="utf-8")
GOOD = f"Name: vae-tf\nVersion: {vae_tf.__version__}\nLicense-Expression: MIT\n"
ASKS = "Requires-Python: >=3.11\nRequires-Dist: keras\n\n# Title\n"


@pytest.mark.parametrize(
    "text, fault",
    [
        (GOOD + ASKS, ""),
        (GOOD.replace("MIT", "BSD") + ASKS, "expected MIT, received BSD"),
        (GOOD.replace(vae_tf.__version__, "9.9") + ASKS, "received 9.9"),
        (GOOD + ASKS.replace("Title", "Another"), "not README.md"),
        (GOOD + "\n# Title\n", "requires"),
    ],
)
def test_metadata(text, fault):
    text = text.replace("# Title", "# Tïtle \N{MINUS SIGN}1")
    found = release.faults_of_metadata(email.message_from_bytes(text.encode()), "# Tïtle \u22121\n")
    assert len(found) == bool(fault) and fault in "".join(found)


def test_what_is_missing_and_what_does_not_belong():
    found = release.faults_of_contents({"a.py", "x/__pycache__/a.pyc"}, ["a.py", "b.py"])
    assert found == ["Missing: b.py.", "Unwanted: x/__pycache__/a.pyc."]


def test_names_inside_an_archive_and_a_wheel(tmp_path):
    (tmp_path / "a.py").write_text("")
    with tarfile.open(tmp_path / "one.tar.gz", "w:gz") as file:
        file.add(tmp_path / "a.py", "one-0/x/a.py")
    with zipfile.ZipFile(tmp_path / "one.whl", "w") as file:
        file.writestr("x/a.py", "")
    assert (
        release.names(tmp_path / "one.tar.gz") == release.names(tmp_path / "one.whl") == {"x/a.py"}
    )


def test_the_readme_shows_a_program_and_what_it_prints():
    code, said = release.twelve_lines(README)
    assert len(code.strip().splitlines()) - code.count("\n\n") == 12
    assert release.alike(said, said)
    assert not release.alike(said.replace("ELBO", "elbo"), said)
    assert not release.alike(release.NUMBER.sub("-1.0", said), said)


def test_a_tag_of_another_version_is_refused(capsys):
    with pytest.raises(SystemExit):
        release.main(["--tag", "v9.9.9"])
    assert f"Expected the tag v{vae_tf.__version__}" in capsys.readouterr().err


def test_everything_that_an_archive_must_hold_is_here():
    assert all((ROOT / name).is_file() for name in [*release.NEEDED, *release.package()])
