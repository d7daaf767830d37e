"""Arguments of calls and entries of dictionaries, added in the layout of what stands there."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst


def argument(call: cst.Call, keyword: str) -> cst.Arg | None:
    return next((arg for arg in call.args if arg.keyword is not None and arg.keyword.value == keyword), None)


def with_argument(call: cst.Call, keyword: str, value: cst.BaseExpression) -> cst.Call:
    """The call with ``keyword=value`` in the place of an argument of that name, else at the end."""
    given = argument(call, keyword)
    if given is not None:
        return call.with_changes(args=[arg.with_changes(value=value) if arg is given else arg for arg in call.args])
    plain = cst.AssignEqual(whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace(""))
    added = cst.Arg(keyword=cst.Name(keyword), value=value, equal=plain)
    *before, last = call.args or [added]
    if not call.args or not isinstance(last.comma, cst.Comma):
        return call.with_changes(args=[*call.args, added])
    opening = _between(before) or call.whitespace_before_args
    after_last, closing = _added_line(opening, last.comma.whitespace_after)
    last = last.with_changes(comma=cst.Comma(whitespace_after=after_last))
    return call.with_changes(args=[*before, last, added.with_changes(comma=cst.Comma(whitespace_after=closing))])


def with_entry(given: cst.Dict, key: str, value: cst.BaseExpression) -> cst.Dict:
    """The dictionary with one more entry, laid out like the others."""
    added = cst.DictElement(key=cst.SimpleString(f'"{key}"'), value=value)
    *before, last = given.elements or [added]
    if not given.elements or not isinstance(last.comma, cst.Comma):
        return given.with_changes(elements=[*given.elements, added])
    opening = _between(before) or given.lbrace.whitespace_after
    after_last, closing = _added_line(opening, given.rbrace.whitespace_before)
    last = last.with_changes(comma=cst.Comma(whitespace_after=after_last))
    return given.with_changes(
        elements=[*before, last, added.with_changes(comma=cst.Comma())],
        rbrace=given.rbrace.with_changes(whitespace_before=closing),
    )


def _between(before: Sequence[cst.Arg | cst.BaseDictElement]) -> cst.BaseParenthesizableWhitespace | None:
    comma = before[-1].comma if before else None
    return comma.whitespace_after if isinstance(comma, cst.Comma) else None


def _added_line(
    opening: cst.BaseParenthesizableWhitespace, closing: cst.BaseParenthesizableWhitespace
) -> tuple[cst.BaseParenthesizableWhitespace, cst.BaseParenthesizableWhitespace]:
    """White space before and after one more item: a comment that followed the last item still does."""
    if isinstance(opening, cst.ParenthesizedWhitespace) and isinstance(closing, cst.ParenthesizedWhitespace):
        before = closing.with_changes(indent=opening.indent, last_line=opening.last_line)
        return before, closing.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[])
    return opening, closing
