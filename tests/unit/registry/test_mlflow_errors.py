"""What MLflow's errors come to in words."""

from types import SimpleNamespace

import pytest

from router.control.mlflow_errors import UNKNOWN_USER, of_client, reason, refusal


def error(code="", status=None):
    made = OSError("failed")
    made.error_code = code
    made.response = SimpleNamespace(status_code=status) if status is not None else None
    return made


@pytest.mark.parametrize("refused", [error("PERMISSION_DENIED"), error(status=403)])
def test_a_permission_that_is_missing_is_named(refused):
    assert refusal(refused, "EDIT on the registered model late").endswith("needs EDIT on the registered model late")


@pytest.mark.parametrize("refused", [error("UNAUTHENTICATED"), error(status=401)])
def test_who_is_not_known_is_told_what_is_expected(refused):
    assert refusal(refused, "READ") == UNKNOWN_USER


@pytest.mark.parametrize("other", [error(), error("INTERNAL_ERROR"), error(status=500), ValueError("x")])
def test_anything_else_is_no_refusal(other):
    assert refusal(other, "READ") is None


@pytest.mark.parametrize(
    ("method", "arguments", "needed"),
    [
        ("get_registered_model", ("late",), "READ on the registered model late"),
        ("set_registered_model_alias", ("late", "champion", "2"), "EDIT on the registered model late"),
        ("delete_registered_model_alias", ("late", "challenger"), "MANAGE on the registered model late, to delete"),
        ("get_run", ("abc",), "READ on the experiment of run abc"),
        ("get_logged_model", ("m-1",), "READ on the experiment of the logged model m-1"),
    ],
)
def test_each_method_needs_its_own(method, arguments, needed):
    assert of_client(method, *arguments).startswith(needed)


def test_credentials_are_not_repeated():
    told = reason(ValueError("no http://ann:hush@host/x, password=hush&more\nsecond line"))
    assert told == "ValueError: no http://***@host/x, password=***&more"
    assert reason(ValueError()) == "ValueError: "


@pytest.mark.parametrize(
    "text",
    [
        "no http://ann:12/SECRET@h/x",
        "no http://ann:1@SECRET@h/x",
        "HTTPConnectionPool(host='ann', port=12): Max retries exceeded with url: /SECRET@h/x (Caused by X",
        "no postgresql://h/x?password='SE SECRET'",
        "no http://h/x?token=SECRET&more",
    ],
)
def test_credentials_of_any_form_are_not_repeated(text):
    assert "SECRET" not in reason(ValueError(text))
