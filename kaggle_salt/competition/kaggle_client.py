"""Kaggle's own client, made polite: files in, a submission out, errors one can act on.

The ``kaggle`` package (an extra) authenticates and prints when it is imported, ends the
process without a token, and answers a failed upload with a message instead of an error.
It is therefore imported only when needed, what it prints goes to stderr, and every answer
is checked. Checked against kaggle 2.2.4.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

from kaggle_salt.competition.archive import ZIP_FAULTS
from kaggle_salt.errors import DataError, NetworkError, salt_command
from kaggle_salt.storage.lease import hold

DEFAULT_COMPETITION = "tgs-salt-identification-challenge"

_TOKEN_STEPS = (
    "make a token at https://www.kaggle.com/settings/api and save it as "
    "~/.kaggle/access_token, or set KAGGLE_API_TOKEN to it"
)


class KaggleClient(Protocol):
    """The part of ``kaggle.api.kaggle_api_extended.KaggleApi`` that is used here."""

    def competition_download_files(
        self, competition: str, path: str, force: bool = False, quiet: bool = True
    ) -> None: ...

    def competition_submit(
        self, file_name: str, message: str, competition: str, quiet: bool = False
    ) -> Any: ...

    def competition_submissions(self, competition: str) -> Sequence[Any] | None: ...


class UploadResult(TypedDict):
    """What is known of a submission: ``status`` is ``complete`` or ``pending``."""

    status: str
    public_score: float | None
    private_score: float | None


_PENDING: UploadResult = {"status": "pending", "public_score": None, "private_score": None}


def download(competition: str, folder: Path, *, client: KaggleClient | None = None) -> list[Path]:
    """Fetch a competition's files.

    Kaggle delivers one zip; it is unpacked one level and removed, so that ``train.zip``,
    ``train.csv`` and the others lie in ``folder``, replacing files of the same names. An
    interrupted download is taken up again by the next call.

    Args:
        competition: The name in the competition's address.
        folder: Where the files go; made when missing.
        client: Stand-in for the real client.

    Returns:
        The files, sorted.

    Raises:
        NetworkError: No client, no token, rules not accepted, or the transfer failed; the
            message ends with the steps to do it by hand.
    """
    by_hand = manual_steps(competition, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _polite(competition, by_hand):
        client = client or _connect()
        client.competition_download_files(competition, path=str(folder), quiet=False)
    return _unpack(folder / f"{competition}.zip", folder, by_hand)


def upload(
    csv: Path,
    message: str,
    competition: str,
    *,
    client: KaggleClient | None = None,
    wait: float = 300.0,
    poll: float = 5.0,
) -> UploadResult:
    """Submit a CSV and wait for its score.

    Args:
        csv: The submission.
        message: Its description on Kaggle.
        competition: The name in the competition's address.
        client: Stand-in for the real client.
        wait: Longest time to wait for the score, in seconds.
        poll: Time between two looks, in seconds.

    Returns:
        Status and scores; ``pending`` without scores when the time ran out first. The private
        score is None while Kaggle does not show it.

    Raises:
        NetworkError: No client, no token, rules not accepted, or the transfer failed.
        DataError: There is no such file, or Kaggle took it but could not score it.
    """
    if not csv.is_file():
        write = salt_command("submit", "--name", csv.stem, "--out", csv.parent)
        raise DataError(f"{csv} does not exist", expected="a CSV", next_step=write)
    with _polite(competition, manual_upload_steps(competition, csv)):
        client = client or _connect()
        earlier = {entry.ref for entry in _submissions(client, competition)}
        answer = client.competition_submit(str(csv), message, competition, quiet=False)
    _refuse_failed_upload(answer, competition, csv)

    deadline = time.monotonic() + wait
    while True:
        entries = _submissions_after_upload(client, competition, csv)
        result = _result(_own_entry(entries, answer, earlier, csv), competition)
        if result["status"] == "complete" or time.monotonic() + poll > deadline:
            return result
        time.sleep(poll)


def manual_steps(competition: str, folder: Path) -> str:
    """How to fetch a competition's files without the client."""
    return (
        "by hand:\n"
        f"  1. sign in and accept the rules at https://www.kaggle.com/c/{competition}/rules\n"
        f"  2. 'Download All' at https://www.kaggle.com/c/{competition}/data\n"
        f"  3. unpack {competition}.zip into {folder} (the zips inside it may stay zipped)"
    )


def manual_upload_steps(competition: str, csv: Path) -> str:
    """How to submit a CSV without the client."""
    return (
        "by hand:\n"
        f"  1. sign in and accept the rules at https://www.kaggle.com/c/{competition}/rules\n"
        f"  2. 'Late Submission' at {_submissions_page(competition)}\n"
        f"  3. choose {csv}"
    )


def _submissions_page(competition: str) -> str:
    return f"https://www.kaggle.com/c/{competition}/submissions"


def _connect() -> KaggleClient:
    """Import the client and sign in.

    Importing already tries to sign in and prints help when that fails; the second, explicit
    attempt says the same again, so the first is not shown.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        from kaggle.api.kaggle_api_extended import KaggleApi
    api = KaggleApi()
    api.authenticate()
    client: KaggleClient = api
    return client


@contextlib.contextmanager
def _polite(competition: str, by_hand: str) -> Iterator[None]:
    """Keep the client off stdout and turn whatever it raises into a :class:`NetworkError`."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except ImportError as error:
        raise NetworkError(
            f"Kaggle's client is not installed ({error})",
            expected="the packages kaggle and six",
            next_step=f"pip install 'kaggle-salt[kaggle]', or {by_hand}",
        ) from error
    except SystemExit as error:  # the client's answer to missing credentials
        raise NetworkError(
            "Kaggle's client found no valid token",
            expected="a token in ~/.kaggle/access_token or KAGGLE_API_TOKEN",
            next_step=f"{_TOKEN_STEPS}, or {by_hand}",
        ) from error
    except Exception as error:  # the client lets through its own, requests' and urllib3's errors
        raise _network_error(error, competition, by_hand) from error


def _network_error(error: Exception, competition: str, by_hand: str) -> NetworkError:
    """Say what an error of the client means and what to do about it."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return NetworkError(
            f"Kaggle refuses the token ({error})", next_step=f"{_TOKEN_STEPS}, or {by_hand}"
        )
    if status == 403:
        rules = f"https://www.kaggle.com/c/{competition}/rules"
        return NetworkError(
            f"Kaggle does not allow this account to use {competition} ({error})",
            expected="an account that has accepted the competition's rules",
            next_step=f"accept the rules at {rules} and try again, or {by_hand}",
        )
    if status == 404:
        return NetworkError(
            f"Kaggle knows no competition '{competition}' ({error})",
            expected=f"the name in its address, for example {DEFAULT_COMPETITION}",
            next_step=by_hand,
        )
    return NetworkError(
        f"Kaggle cannot be reached or did not answer as expected: {type(error).__name__}: {error}",
        next_step=f"try again, or {by_hand}",
    )


def _unpack(bundle: Path, folder: Path, by_hand: str) -> list[Path]:
    """Unpack the bundle whole before a file of it takes its place, then remove the bundle."""
    with hold(folder / ".unpack"), tempfile.TemporaryDirectory(dir=folder / ".unpack") as name:
        unpacked = Path(name)
        for left in {*unpacked.parent.glob("tmp*")} - {unpacked}:  # by a process that was killed
            shutil.rmtree(left)
        try:
            with zipfile.ZipFile(bundle) as archive:
                archive.extractall(unpacked)
        except (FileNotFoundError, *ZIP_FAULTS) as error:
            bundle.unlink(missing_ok=True)  # a damaged one would be taken for complete
            found = f"the download did not bring a whole {bundle.name} ({error})"
            raise NetworkError(found, next_step=f"try again, or {by_hand}") from error
        files = sorted(path for path in unpacked.rglob("*") if path.is_file())
        targets = [folder / path.relative_to(unpacked) for path in files]
        for path, target in zip(files, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    bundle.unlink()
    return targets


def _refuse_failed_upload(answer: Any, competition: str, csv: Path) -> None:
    """Refuse an answer that neither numbers the submission nor reports success."""
    message = getattr(answer, "message", "") or ""
    if getattr(answer, "ref", 0) or message.startswith("Successfully"):
        return
    raise NetworkError(
        f"{csv.name} was not submitted; Kaggle's client says: {message or 'nothing'}",
        next_step=f"try again, or {manual_upload_steps(competition, csv)}",
    )


def _submissions(client: KaggleClient, competition: str) -> list[Any]:
    """The account's latest submissions, newest first."""
    return list(client.competition_submissions(competition) or [])


def _submissions_after_upload(client: KaggleClient, competition: str, csv: Path) -> list[Any]:
    """The latest submissions; an error says that the file itself has arrived."""
    try:
        with _polite(competition, by_hand=""):
            return _submissions(client, competition)
    except NetworkError as error:
        raise NetworkError(
            f"{csv.name} was submitted, but its score cannot be read: {error.found}",
            next_step=f"do not send it again; see {_submissions_page(competition)}",
        ) from error


def _own_entry(entries: Sequence[Any], answer: Any, earlier: set[int], csv: Path) -> Any | None:
    """The submission just made: by its number, or else the new one with the file's name."""
    number = getattr(answer, "ref", 0)
    for entry in entries:
        is_new = entry.ref not in earlier and entry.file_name == csv.name
        if entry.ref == number or (not number and is_new):
            return entry
    return None


def _result(entry: Any | None, competition: str) -> UploadResult:
    if entry is None:  # not listed yet
        return _PENDING
    # SubmissionStatus.COMPLETE in kaggle 2, plain "complete" before
    status = getattr(entry.status, "name", str(entry.status)).lower()
    if status == "error":
        reason = entry.error_description or "no reason given"
        raise DataError(
            f"Kaggle could not score the submission: {reason}",
            expected="a CSV as salt submit writes it",
            next_step=f"see {_submissions_page(competition)}",
        )
    if status != "complete":
        return _PENDING
    return {
        "status": status,
        "public_score": _score(entry.public_score),
        "private_score": _score(entry.private_score),
    }


def _score(text: str | None) -> float | None:
    return float(text) if text else None
