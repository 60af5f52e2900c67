"""Documents of `byline apply`: YAML, variables, secrets, kustomizations, and faults with lines."""

from datetime import datetime, timezone
from pathlib import Path

import pytest
from byline_client.apply.applying import read_wanted
from byline_client.apply.documents import Wanted
from byline_client.apply.models import CredentialDocument, RunnerDocument
from byline_client.errors import Misused

NOW = datetime.now(timezone.utc)
CREDENTIAL = """\
kind: Credential
name: tracker
provider: jira
token: {env: TRACKER}
url: https://acme.atlassian.net
email: ci@acme.example
readers: [{runner: trainer}]
"""
RUNNER = "kind: Runner\nname: trainer\nclient: warehouse\n"


def read(path: Path, text: str, **environ: str) -> "list[Wanted]":
    """The documents of a file with this text."""
    (path / "team.yaml").write_text(text)
    return read_wanted([str(path / "team.yaml")], "", environ, project="research")


def faults(path: Path, text: str, **environ: str) -> "list[str]":
    """The faults that are reported for a text, without the folder of the file."""
    with pytest.raises(Misused) as error:
        read(path, text, **environ)
    return [line.replace(f"{path}/", "") for line in str(error.value).splitlines()]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("audince: x", "team.yaml:4: Unknown field `audince`. Fields: "),
        ("isolated: yes", "team.yaml:4: `isolated` must be true or false."),
        ("audience: 12", "team.yaml:4: `audience` must be a text. Put it in quotes."),
        ("scope: ${SCOPE}", "team.yaml:4: The variable SCOPE is not set."),
        ("scope: ${", "team.yaml:4: `${` begins no variable."),
        ("name: other", "team.yaml:4: `name` is there twice."),
        ("scope: !!str x", "team.yaml:4: Tags (`!…`) are not supported."),
        ("scope: *x", "team.yaml:4: Aliases (`*x`) are not supported."),
        ("scope: [", "team.yaml:5: This is not YAML: "),
        ("project: No", "team.yaml:4: `project` has a character or a form"),
    ],
)
def test_fault_is_reported_with_its_line(tmp_path: Path, line: str, fault: str) -> None:
    """A person who made a mistake is told in which line, before anything is written."""
    assert any(each.startswith(fault) for each in faults(tmp_path, f"{RUNNER}{line}\n"))


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    """Nobody has to mend one fault to see the next."""
    found = faults(
        tmp_path, "kind: Rnner\n---\nkind: Runner\n---\nkind: Agent\nname: a\nroles: []\n"
    )
    assert [each.partition(": ")[0] for each in found[1:]] == [
        "team.yaml:1",
        "team.yaml:3",
        "team.yaml:3",
        "team.yaml:7",
    ]


def test_document_is_there_once(tmp_path: Path) -> None:
    """Two documents of one thing are a fault that names both places."""
    [_, fault] = faults(tmp_path, f"{RUNNER}---\n{RUNNER}")
    assert fault == "team.yaml:5: Runner research/trainer is at team.yaml:1 already."


@pytest.mark.parametrize("end", ["2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"])
def test_end_that_the_service_refuses_is_a_fault(tmp_path: Path, end: str) -> None:
    """A time that has passed, or is more than 366 days ahead, is found before any write."""
    found = faults(tmp_path, f"kind: Agent\nname: a\nexpires_at: {end}\n")
    assert found[1] == "team.yaml:3: `expires_at` must be in the future, at most 366 days ahead."


def test_variables_are_expanded_in_texts(tmp_path: Path) -> None:
    """`${NAME}` is the value of the variable, and `$${NAME}` is `${NAME}` itself."""
    [found] = read(tmp_path, f"{RUNNER}audience: a-${{X}}-$${{X}}-$X\n", X="b: {c}")
    assert isinstance(found.document, RunnerDocument)
    assert found.document.audience == "a-b: {c}-${X}-$X"


def test_words_and_numbers_stay_texts_in_quotes(tmp_path: Path) -> None:
    """Only true, false, null and integers without quotes are not texts, so `no` is a name."""
    [found] = read(tmp_path, 'kind: Runner\nname: no\nclient: "12"\nscope: "true"\naudience: 1e3\n')
    assert isinstance(found.document, RunnerDocument)
    assert (found.document.name, found.document.client) == ("no", "12")
    assert (found.document.scope, found.document.audience) == ("true", "1e3")


def test_secret_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    """A secret is read where the document says, a file without its last line end."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "tracker").write_text("from-the-file\n")
    [by_variable] = read(tmp_path, CREDENTIAL, TRACKER="from-the-variable")
    [by_file] = read(tmp_path, CREDENTIAL.replace("env: TRACKER", "file: secrets/tracker"))
    assert by_variable.secret is not None
    assert by_file.secret is not None
    assert by_variable.secret.reveal() == "from-the-variable"
    assert by_file.secret.reveal() == "from-the-file"
    assert "from-the" not in repr(by_variable) + repr(by_file)


@pytest.mark.parametrize(
    ("token", "fault"),
    [
        ("ghp_secret", "`token` must be the place of the secret"),
        ("${TRACKER}", "`token` must be the place of the secret"),
        ("{env: MISSING}", "The variable MISSING is not set."),
        ("{env: EMPTY}", "The variable EMPTY is empty."),
        ("{file: missing}", "missing: No such file or directory."),
        ("{file: /proc/self/environ}", "must be a path in the folder of the document."),
        ("{file: ../secret}", "must be a path in the folder of the document."),
        ("{file: link}", "must be a path in the folder of the document."),
        ('{file: "a\\0b"}', "No file has such a path."),
        ("{env: BYTES}", "The variable BYTES is not UTF-8 text."),
        ("{env: TRACKER, file: x}", "`token` must be the place of the secret"),
    ],
)
def test_secret_without_a_place_is_a_fault(tmp_path: Path, token: str, fault: str) -> None:
    """A secret in the document itself is refused, and the fault does not show it."""
    text = CREDENTIAL.replace("{env: TRACKER}", token)
    (tmp_path / "link").symlink_to("/proc/self/environ")
    found = faults(tmp_path, text, TRACKER="ghp_secret", EMPTY="", BYTES="\udcff")
    assert found[1].startswith("team.yaml:4: ")
    assert fault in found[1]
    assert "ghp_secret" not in "".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "kind: ${LEAK}\nname: a\n",
        "kind: Agent\nname: ${LEAK}\nissuer: 1\n",
        "kind: Agent\nname: a\nproject: ${LEAK}-\n",
        "kind: Agent\nname: a\nexpires_at: ${LEAK}\n",
        "kind: Agent\nname: ${LEAK}\n---\nkind: Agent\nname: ${LEAK}\n",
        "kind: Runner\nname: ${LEAK}\nproject: ${LEAK}\nclient: ${LEAK}-\n",
        'kind: Agent\nname: a\nroles: ["${LEAK}", 1]\n',
        CREDENTIAL.replace("env: TRACKER", 'env: "${LEAK}"'),
        CREDENTIAL.replace("env: TRACKER", 'file: "${LEAK}"'),
        CREDENTIAL.replace("env: TRACKER", 'file: "${LEAK}/../../x"'),
        CREDENTIAL.replace("jira", "${LEAK}"),
    ],
)
def test_fault_does_not_show_the_value_of_a_variable(tmp_path: Path, text: str) -> None:
    """A log with the faults of a stranger's document has no secret of the environment."""
    found = faults(tmp_path, text, LEAK="ghp0secret", TRACKER="x")
    assert "ghp0secret" not in "".join(found)


def test_documents_are_ordered_by_dependency(tmp_path: Path) -> None:
    """Role bindings are written first, so that rights exist; runners last."""
    kinds = ("Runner", "Credential", "Agent", "RoleBinding")
    binding = "kind: RoleBinding\nname: ada\nrole: project:viewer\nsubject: ada\n"
    text = "---\n".join([RUNNER, CREDENTIAL, "kind: Agent\nname: planner\n", binding])
    found = read(tmp_path, text, TRACKER="x")
    assert [each.document.kind for each in found] == [*reversed(kinds)]


def overlay(tmp_path: Path, patch: str, *, base: str = CREDENTIAL) -> "list[Wanted]":
    """The documents of an overlay with one patch of a base with one file."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base/team.yaml").write_text(base)
    (tmp_path / "base/kustomization.yaml").write_text("resources: [team.yaml]\n")
    (tmp_path / "prod").mkdir()
    (tmp_path / "prod/kustomization.yaml").write_text("resources: [../base]\npatches: [p.yaml]\n")
    (tmp_path / "prod/p.yaml").write_text(patch)
    return read_wanted([], str(tmp_path / "prod"), {"TRACKER": "x", "PROD": "y"}, project="p")


def test_patch_keeps_every_other_member(tmp_path: Path) -> None:
    """An overlay that changes the address keeps provider, token, e-mail address and readers."""
    url = "https://prod.atlassian.net"
    [found] = overlay(tmp_path, f"kind: Credential\nname: tracker\nurl: {url}\n")
    assert isinstance(found.document, CredentialDocument)
    assert found.secret is not None
    assert found.secret.reveal() == "x"
    assert found.document.model_dump(mode="json", exclude_none=True) == {
        "kind": "Credential",
        "name": "tracker",
        "provider": "jira",
        "token": {"env": "TRACKER"},
        "url": url,
        "email": "ci@acme.example",
        "readers": [{"runner": "trainer", "run_labels": {}}],
    }


def test_patch_replaces_the_place_of_a_secret(tmp_path: Path) -> None:
    """An overlay takes the secret from elsewhere, in place of where the base takes it."""
    patch = "kind: Credential\nname: tracker\ntoken: {env: PROD}\n"
    [found] = overlay(tmp_path, patch, base=CREDENTIAL.replace("env: TRACKER", "file: t"))
    assert found.secret is not None
    assert found.secret.reveal() == "y"


def test_patch_removes_members_and_documents(tmp_path: Path) -> None:
    """Null removes a member, and `$patch: delete` a document."""
    patch = "kind: Credential\nname: tracker\nreaders: null\n---\n"
    patch += "kind: Runner\nname: trainer\n$patch: delete\n"
    [found] = overlay(tmp_path, patch, base=f"{CREDENTIAL}---\n{RUNNER}")
    assert isinstance(found.document, CredentialDocument)
    assert found.document.readers is None


def test_patch_without_its_document_is_a_fault(tmp_path: Path) -> None:
    """A patch with a mistyped name changes nothing silently."""
    with pytest.raises(Misused, match=r"p\.yaml:1: The patch is for no document: Credential `x`"):
        overlay(tmp_path, "kind: Credential\nname: x\n")


@pytest.mark.parametrize(
    ("resource", "fault"),
    [
        ("https://example.com/base", "must be a path relative to the kustomization"),
        ("git@example.com:base", "must be a path relative to the kustomization"),
        ("/etc", "must be a path relative to the kustomization"),
        ("missing", "`missing` does not exist."),
        (".", "includes itself."),
        ("inner", "includes itself."),
    ],
)
def test_resource_is_a_path_without_a_cycle(tmp_path: Path, resource: str, fault: str) -> None:
    """A kustomization reads files of this machine only, and comes to an end."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/kustomization.yaml").write_text("resources: [..]\n")
    (tmp_path / "kustomization.yaml").write_text(f"resources:\n- {resource!r}\n")
    with pytest.raises(Misused) as error:
        read_wanted([], str(tmp_path), {}, project="p")
    assert fault in str(error.value)
    assert ":2: " in str(error.value) or "inner/kustomization.yaml:1: " in str(error.value)


def test_folder_is_read_without_its_folders(tmp_path: Path) -> None:
    """`-f DIR` reads the YAML files of the folder."""
    (tmp_path / "runner.yml").write_text(RUNNER)
    (tmp_path / "notes.txt").write_text("{")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/x.yaml").write_text("{")
    [found] = read_wanted([str(tmp_path)], "", {}, project="p")
    assert found.document.name == "trainer"
    (tmp_path / "inner/x.yaml").unlink()
    with pytest.raises(Misused, match=r"no file \*\.yaml"):
        read_wanted([str(tmp_path / "inner")], "", {}, project="p")


def test_deep_nesting_is_a_fault(tmp_path: Path) -> None:
    """A hostile file ends with a sentence."""
    found = faults(tmp_path, "[" * 5000)
    assert "nested too deeply" in found[0]
