"""The query of a request: parameters that are known, given once, and in their range.

`handlers` reads every query with it. A misspelled parameter is an error, as a misspelled option of
a command is. Of this package only `limits` is imported.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request

from alexnet.serving.limits import RefusedRequest


class RequestQuery:
    """The parameters of a request's query, each at most once. Others than `known` are refused."""

    def __init__(self, request: Request, *known: str) -> None:
        self.values: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name not in known or name in self.values:
                allowed = f"it takes {', '.join(known)}" if known else "it takes none"
                problem = "is there twice" if name in known else "is unknown here"
                raise _make_bad_query(f"the parameter {name[:40]!r} {problem}; {allowed}")
            self.values[name] = value

    def read_number(
        self, name: str, default: int, allowed: range | tuple[int, ...], clip: bool = False
    ) -> int:
        """Return a whole number. With `clip`, one above the largest allowed becomes that."""
        text = self.values.get(name, str(default))
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
        if clip and number > allowed[-1]:
            return allowed[-1]
        if number not in allowed:
            wanted = (
                f"from {allowed[0]} to {allowed[-1]}"
                if isinstance(allowed, range)
                else f"one of {', '.join(map(str, allowed))}"
            )
            raise _make_bad_query(f"{name} is {text[:40]!r}, but must be {wanted}")
        return number

    def read_word(self, name: str, default: str, allowed: Collection[str]) -> str:
        """Return one of the allowed words."""
        word = self.values.get(name, default)
        if word not in allowed:
            raise _make_bad_query(
                f"{name} is {word[:40]!r}, but must be one of {', '.join(allowed)}"
            )
        return word


def _make_bad_query(detail: str) -> RefusedRequest:
    return RefusedRequest(400, "query", detail)
