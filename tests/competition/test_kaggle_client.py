from __future__ import annotations

import enum
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kaggle_salt.competition import kaggle_client
from kaggle_salt.errors import DataError, NetworkError
from tests.makers import put

FILES = {"train.zip": b"zipped tiles", "train.csv": b"id,rle_mask\n", "more/notes.txt": b"notes"}
SUBMITTED = SimpleNamespace(message="Successfully submitted", ref=7)


class Status(enum.Enum):
    PENDING = 0
    COMPLETE = 1
    ERROR = 2


def entry(ref: int, status: Status, public: str = "", private: str = "") -> SimpleNamespace:
    return SimpleNamespace(
        ref=ref,
        file_name="one.csv",
        status=status,
        public_score=public,
        private_score=private,
        error_description="row 3 is no RLE" if status is Status.ERROR else "",
    )


class StandIn:
    """A client that answers from lists; ``listings`` are the answers at each look."""

    def __init__(
        self,
        *,
        listings: list[Any] | None = None,
        answer: Any = None,
        error: BaseException | None = None,
        bundle: bytes | None = None,
    ) -> None:
        self.listings = list(listings or [])
        self.answer = answer
        self.error = error
        self.bundle = bundle
        self.submitted: list[tuple[str, str, str]] = []

    def competition_download_files(
        self, competition: str, path: str, force: bool = False, quiet: bool = True
    ) -> None:
        print("the client talks")
        if self.error:
            raise self.error
        bundle = Path(path) / f"{competition}.zip"
        if self.bundle is not None:
            bundle.write_bytes(self.bundle)
            return
        with zipfile.ZipFile(bundle, "w") as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)

    def competition_submit(
        self, file_name: str, message: str, competition: str, quiet: bool = False
    ) -> Any:
        print("the client talks")
        if self.error:
            raise self.error
        self.submitted.append((file_name, message, competition))
        return self.answer

    def competition_submissions(self, competition: str) -> Any:
        listing = self.listings.pop(0)
        if isinstance(listing, BaseException):
            raise listing
        return listing


class HttpError(Exception):
    """Shaped like ``requests.HTTPError``."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} from Kaggle")
        self.response = SimpleNamespace(status_code=status)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock: sleeping takes no time but moves it on."""
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(kaggle_client, "time", clock)
    return slept


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "one.csv"
    path.write_text("id,rle_mask\n", encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_download_unpacks_one_level_and_removes_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    files = kaggle_client.download("salt-2", folder, client=StandIn())
    assert files == [folder / "more" / "notes.txt", folder / "train.csv", folder / "train.zip"]
    assert contents(folder) == FILES
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "the client talks" in printed.err


def test_what_a_killed_download_left_is_cleared(tmp_path: Path) -> None:
    put(tmp_path / ".unpack/tmpkilled/train.zip", b"half")
    kaggle_client.download("salt-2", tmp_path, client=StandIn())
    assert contents(tmp_path) == FILES
    assert not (tmp_path / ".unpack").exists()


def test_download_replaces_files_of_the_same_name_only(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"old")
    (tmp_path / "mine.csv").write_bytes(b"mine")
    kaggle_client.download("salt-2", tmp_path, client=StandIn())
    assert contents(tmp_path) == FILES | {"mine.csv": b"mine"}


@pytest.mark.parametrize("damaged", [b"", b"PK\x03\x04 cut short"])
def test_a_damaged_bundle_changes_nothing(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "train.csv").write_bytes(b"old")
    with pytest.raises(NetworkError, match=r"whole salt-2\.zip (.|\n)*by hand:\n  1\."):
        kaggle_client.download("salt-2", tmp_path, client=StandIn(bundle=damaged))
    assert contents(tmp_path) == {"train.csv": b"old"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (HttpError(401), r"refuses the token(.|\n)*settings/api"),
        (HttpError(403), r"next: accept the rules at https://www.kaggle.com/c/salt-2/rules"),
        (HttpError(404), r"knows no competition 'salt-2'(.|\n)*tgs-salt-identification-challenge"),
        (HttpError(500), r"HttpError: 500 from Kaggle"),
        (ConnectionError("no route"), r"cannot be reached .*ConnectionError: no route"),
        (SystemExit(1), r"no valid token(.|\n)*~/.kaggle/access_token(.|\n)*KAGGLE_API_TOKEN"),
    ],
)
def test_what_the_client_raises_is_explained(
    tmp_path: Path, error: BaseException, message: str
) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        kaggle_client.download("salt-2", tmp_path, client=StandIn(error=error))
    assert caught.value.next_step.endswith(kaggle_client.manual_steps("salt-2", tmp_path))
    assert caught.value.exit_code == 4


def test_an_interrupt_stays_an_interrupt(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        kaggle_client.download(
            "salt-2", tmp_path, client=StandIn(error=KeyboardInterrupt("by the user"))
        )


def test_manual_steps_name_the_pages_and_the_folder() -> None:
    steps = kaggle_client.manual_steps("salt-2", Path("data"))
    assert "https://www.kaggle.com/c/salt-2/rules" in steps
    assert "https://www.kaggle.com/c/salt-2/data" in steps
    assert "salt-2.zip into data" in steps


def test_without_the_package_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kaggle", None)
    with pytest.raises(NetworkError, match=r"pip install 'kaggle-salt\[kaggle\]'") as caught:
        kaggle_client.download("salt-2", tmp_path)
    assert caught.value.next_step.endswith(kaggle_client.manual_steps("salt-2", tmp_path))


def install_package(monkeypatch: pytest.MonkeyPatch, authenticate: Callable[[], None]) -> None:
    """Let ``from kaggle.api.kaggle_api_extended import KaggleApi`` find a stand-in."""

    class KaggleApi(StandIn):
        def authenticate(self) -> None:
            authenticate()

    module = ModuleType("kaggle.api.kaggle_api_extended")
    module.KaggleApi = KaggleApi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kaggle", ModuleType("kaggle"))
    monkeypatch.setitem(sys.modules, "kaggle.api", ModuleType("kaggle.api"))
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", module)


def test_without_a_token_it_says_where_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exit_like_the_client() -> None:
        print("Authentication required")
        sys.exit(1)

    install_package(monkeypatch, exit_like_the_client)
    with pytest.raises(NetworkError, match=r"~/\.kaggle/access_token"):
        kaggle_client.download("salt-2", tmp_path)
    assert capsys.readouterr().out == ""


def test_the_installed_package_is_signed_in_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_in: list[bool] = []
    install_package(monkeypatch, lambda: signed_in.append(True))
    kaggle_client.download("salt-2", tmp_path)
    assert signed_in == [True]
    assert contents(tmp_path) == FILES


def test_upload_waits_for_the_score_of_its_own_submission(
    csv: Path, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    old = entry(6, Status.COMPLETE, "0.5", "0.6")
    client = StandIn(
        answer=SUBMITTED,
        listings=[
            [old],
            [old],
            [entry(7, Status.PENDING), old],
            [entry(7, Status.COMPLETE, "0.81", "0.83"), old],
        ],
    )
    result = kaggle_client.upload(csv, "quick", "salt-2", client=client)
    assert result == {"status": "complete", "public_score": 0.81, "private_score": 0.83}
    assert client.submitted == [(str(csv), "quick", "salt-2")]
    assert naps == [5, 5]
    assert capsys.readouterr().out == ""


def test_a_submission_without_a_number_is_the_new_one_of_that_name(
    csv: Path, naps: list[float]
) -> None:
    old = entry(6, Status.COMPLETE, "0.5")
    other = entry(8, Status.COMPLETE, "0.4")
    other.file_name = "other.csv"
    client = StandIn(
        answer=SimpleNamespace(message="Successfully submitted", ref=0),
        listings=[[old], [other, old], [other, entry(7, Status.COMPLETE, "0.81"), old]],
    )
    result = kaggle_client.upload(csv, "quick", "salt-2", client=client)
    assert result == {"status": "complete", "public_score": 0.81, "private_score": None}
    assert naps == [5]


def test_upload_gives_up_waiting_in_time(csv: Path, naps: list[float]) -> None:
    pending: list[Any] = [entry(7, Status.PENDING)]
    client = StandIn(answer=SUBMITTED, listings=[None, pending, pending, pending])
    result = kaggle_client.upload(csv, "quick", "salt-2", client=client, wait=10, poll=5)
    assert result == {"status": "pending", "public_score": None, "private_score": None}
    assert naps == [5, 5]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (SimpleNamespace(message="Could not submit to competition", ref=0), "Could not submit"),
        (None, "client says: nothing"),
    ],
)
def test_an_upload_that_failed_silently_is_an_error(csv: Path, answer: Any, message: str) -> None:
    client = StandIn(answer=answer, listings=[[]])
    with pytest.raises(NetworkError, match=rf"one\.csv was not submitted; .*{message}") as caught:
        kaggle_client.upload(csv, "quick", "salt-2", client=client)
    steps = kaggle_client.manual_upload_steps("salt-2", csv)
    assert caught.value.next_step.endswith(steps)


def test_a_submission_that_kaggle_cannot_score_is_an_error(csv: Path, naps: list[float]) -> None:
    client = StandIn(answer=SUBMITTED, listings=[[], [entry(7, Status.ERROR)]])
    with pytest.raises(DataError, match="could not score the submission: row 3 is no RLE"):
        kaggle_client.upload(csv, "quick", "salt-2", client=client)


def test_a_lost_connection_after_the_upload_does_not_ask_for_another(
    csv: Path, naps: list[float]
) -> None:
    client = StandIn(answer=SUBMITTED, listings=[[], ConnectionError("cut")])
    message = r"one\.csv was submitted, but (.|\n)*do not send it again"
    with pytest.raises(NetworkError, match=message) as caught:
        kaggle_client.upload(csv, "quick", "salt-2", client=client)
    assert "by hand" not in str(caught.value)


def test_a_missing_csv_is_not_sent(tmp_path: Path) -> None:
    client = StandIn()
    with pytest.raises(DataError, match=r"none\.csv does not exist(.|\n)*salt submit"):
        kaggle_client.upload(tmp_path / "none.csv", "quick", "salt-2", client=client)
    assert client.submitted == []
