import pytest

from kaggle_salt.errors import (
    ConfigError,
    DataError,
    NetworkError,
    RleError,
    SaltError,
    TrainingError,
    nearest,
)


def test_message_says_what_was_found_expected_and_what_to_do() -> None:
    error = DataError("no folds.csv", expected="a fold table", next_step="salt make-folds")
    assert str(error) == "no folds.csv\nexpected: a fold table\nnext: salt make-folds"
    assert (error.found, error.expected, error.next_step) == (
        "no folds.csv",
        "a fold table",
        "salt make-folds",
    )


def test_what_is_not_known_is_left_out() -> None:
    assert str(SaltError("found")) == "found"
    assert str(SaltError("found", next_step="do")) == "found\nnext: do"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (SaltError, 1),
        (TrainingError, 1),
        (ConfigError, 2),
        (DataError, 3),
        (RleError, 3),
        (NetworkError, 4),
    ],
)
def test_exit_codes(kind: type[SaltError], code: int) -> None:
    assert issubclass(kind, SaltError)
    assert kind.exit_code == code


def test_nearest_offers_the_name_that_was_meant() -> None:
    assert nearest("resnet43", ["resnet34", "unet", "quick"]) == "did you mean 'resnet34'?"


def test_nearest_lists_the_names_where_none_is_close() -> None:
    assert nearest("zzz", ["unet", "quick"]) == "one of quick, unet"


def test_nearest_reads_any_iterable_once() -> None:
    assert nearest("zzz", (name for name in ["b", "a"])) == "one of a, b"
