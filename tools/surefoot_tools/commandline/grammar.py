"""A command line as a shell reads it: the simple commands in it, wherever they stand.

Parsed by tree-sitter's grammar of bash. A node that is not named here, and text that the grammar
and bash may read differently, is `Unclear`: never skipped.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, cast

from surefoot_tools.commandline.pieces import Node, text_of, word_of
from surefoot_tools.commandline.words import ANY, UNKNOWN, Piece, Word

LONGEST = 1 << 18
"""Bytes of a command that is looked into."""
MOST_NODES = 5000
"""Nodes of one that is looked into; some 25 ms."""
DEEPEST = 100
"""How deep in each other they may be."""
WRITES_TO = ">"
"""The name of the command that a redirection to a file counts as; its argument is the file."""
SETS = "="
"""The name of the command that an assignment counts as; its argument is `NAME=value`."""


class ParserMissing(Exception):
    """The parser is not installed: pip install 'surefoot[policy]'."""


@dataclass(frozen=True, slots=True)
class Simple:
    """A program and its arguments."""

    words: tuple[Word, ...]
    """At least one."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Something runs here of which the text does not tell what it is."""

    why: str


Part = Simple | Unclear


@cache
def _parser() -> Any:
    try:
        import tree_sitter
        import tree_sitter_bash
    except ImportError as e:
        raise ParserMissing("pip install 'surefoot[policy]' brings the parser of commands") from e
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def load() -> None:
    """Load the parser; some 30 ms.

    Raises:
        ParserMissing: it is not installed.
    """
    _parser()


def parts_of(line: str) -> list[Part]:
    """The simple commands of a line, and what is unclear in it.

    Raises:
        ParserMissing: the parser is not installed.
    """
    parser = _parser()
    try:
        source = line.encode()
    except UnicodeEncodeError:
        return [Unclear("it is no text")]
    if len(source) > LONGEST:
        return [Unclear("it is too long to look into")]
    if _ODD.search(line):
        return [Unclear("it has control characters, odd spaces, or a word on two lines")]
    root = cast("Node", parser.parse(source).root_node)
    if root.has_error:
        return [Unclear("it cannot be parsed")]
    if root.descendant_count > MOST_NODES:
        return [Unclear("it is too long to look into")]
    found = _Walk(source)
    found.walk(root, 0)
    return found.parts


_ODD = re.compile(r"[^\S \t\n]|[\x00-\x08\x0e-\x1f\x7f\x85]|(^|[^ \t\\])(\\\\)*\\\n")
"""Space to the grammar, but not to bash; what no shell takes; a line that goes on inside a word."""
_SUBSTITUTES = re.compile(rb"(?<!\\)(?:\\\\)*(?:`|\$[({])")
"""Begins a substitution, unless it is in single quotes."""
_APART = frozenset({b"", b" ", b"\t", b"\n", b";", b"&", b"|", b"(", b")", b"{", b"}"})
"""What may stand before a word."""
_NEW_LINE = re.compile(rb"(?<!\\)(?:\\\\)*\n")
_HEREDOC_NAME = re.compile(rb"(['\"]?)([A-Za-z0-9_]+)\1")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMANDS = _names("command declaration_command unset_command")
_INSIDE = _names(
    "program list pipeline subshell compound_statement if_statement elif_clause else_clause"
    " while_statement do_group case_statement case_item negated_command redirected_statement"
    " function_definition command_substitution process_substitution string concatenation"
    " expansion simple_expansion arithmetic_expansion array subscript herestring_redirect"
    " heredoc_body c_style_for_statement command_name"
)
"""Nodes that are looked into."""
_JOINS = _names(
    "concatenation string translated_string expansion simple_expansion variable_assignment"
    " arithmetic_expansion subscript heredoc_body heredoc_redirect command_substitution"
    " process_substitution postfix_expression unary_expression binary_expression regex"
)
"""Nodes whose parts may stand side by side."""
_WHOLE = _names("concatenation simple_expansion variable_assignment")
"""Nodes whose parts must."""
_CALCULATES = _names(
    "test_command binary_expression unary_expression parenthesized_expression postfix_expression"
    " ternary_expression variable_assignments"
)
"""Likewise; in them bash calculates, and so may run what stands there in quotes."""
_NOTHING = _names(
    "word number raw_string ansi_c_string string_content comment variable_name regex"
    " special_variable_name extglob_pattern test_operator file_descriptor heredoc_start"
    " heredoc_content heredoc_end brace_expression"
)
"""Nodes that run nothing."""
_QUOTED = _names("raw_string comment heredoc_content")
"""Of these, those in which no substitution begins; `_heredoc` looks at here-documents."""
_SHELL_RUNS = re.compile(r"(PS[04]|PROMPT_COMMAND|BASH_ENV|ENV|SHELLOPTS|BASHOPTS|BASH_FUNC_.*)=")
"""Variables whose value the shell itself runs."""


def assignment(word: Word) -> list[Part]:
    """What `NAME=value` counts as."""
    first = word.pieces[0]
    if isinstance(first, str) and _SHELL_RUNS.match(first):
        return [Unclear(f"a shell runs what {first.partition('=')[0]} says")]
    return [Simple((Word.of(SETS), word))]


class _Walk:
    """Collects what a tree runs."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self.parts: list[Part] = []

    def unclear(self, why: str) -> None:
        self.parts.append(Unclear(why))

    def walk(self, node: Node, depth: int) -> None:
        """A node and all below it."""
        if node.is_missing or depth > DEEPEST:
            self.unclear("it cannot be parsed" if node.is_missing else "it is too deep")
        elif node.type == "``" or _old_style(node):
            self.unclear("a substitution that cannot be parsed")
        elif _misread(node) or (node.type == "file_descriptor" and self._in_word(node)):
            self.unclear("it has words that run together")
        elif node.is_named and self._looks_into(node):
            for child in node.children:
                self.walk(child, depth + 1)

    def _looks_into(self, node: Node) -> bool:
        """See to a node itself; whether there may be something to see below it."""
        kind = node.type
        if kind in _NOTHING:
            before = self._source[max(0, node.start_byte - 2) : node.start_byte]
            if kind == "comment" and b"\\" in before:
                self.unclear("it has a comment that may be none")
            if kind not in _QUOTED and _hides(node):
                self.unclear("it has text that cannot be parsed")
            return False
        match kind:
            case _ if kind in _COMMANDS:
                self._command(node)
            case "redirected_statement":
                self._behind_redirects(node)
            case "variable_assignment":
                self._assignment(node)
            case "for_statement":
                self._sets(node.child_by_field_name("variable"), None)
            case "file_redirect":
                self._redirect(node)
            case "heredoc_redirect":
                self._heredoc(node)
            case _ if kind in _CALCULATES:
                self._calculation(node)
            case _ if kind not in _INSIDE:
                self.unclear(f"it has a part that is not looked into ({kind})")
                return False
            case _:
                pass
        return True

    def _in_word(self, node: Node) -> bool:
        """Whether what looks like the number of a file is the end of a word."""
        before = self._source[node.start_byte - 1 : node.start_byte] if node.start_byte else b""
        return not text_of(node).isdigit() or before not in _APART

    def _calculation(self, node: Node) -> None:
        quoted = (each.text or b"" for each in node.children if each.type == "raw_string")
        if any(b"`" in text or b"$(" in text for text in quoted):
            self.unclear("a calculation with a command in quotes")

    def _behind_redirects(self, node: Node) -> None:
        """Words behind a redirection are the command's own: `git > log push`."""
        body, more = node.child_by_field_name("body"), list[Node]()
        for redirect in node.children_by_field_name("redirect"):
            kind = "argument" if redirect.type == "heredoc_redirect" else "destination"
            more += redirect.children_by_field_name(kind)[kind == "destination" :]
        if not more:
            return
        if body is not None and body.type in _COMMANDS:
            self.parts.append(Simple((*_words(body), *map(word_of, more))))
        else:
            self.unclear("it has words behind a redirection")

    def _command(self, node: Node) -> None:
        words = _words(node)
        if words:
            self.parts.append(Simple(tuple(words)))
        self._check_redirects(node)

    def _check_redirects(self, node: Node) -> None:
        """See that redirections have no more words, where those are not known to be whose."""
        inside = (each for each in node.children if each.type == "file_redirect")
        if any(len(each.children_by_field_name("destination")) > 1 for each in inside):
            self.unclear("it has words behind a redirection")

    def _assignment(self, node: Node) -> None:
        value = node.child_by_field_name("value")
        known = "" if value is None else word_of(value).text
        self._sets(node.child_by_field_name("name"), known)

    def _sets(self, node: Node | None, value: str | None) -> None:
        name = "" if node is None else text_of(node)
        pieces: tuple[Piece, ...] = (f"{name}=", ANY) if value is None else (f"{name}={value}",)
        self.parts += assignment(Word(pieces))

    def _redirect(self, node: Node) -> None:
        operator = next((each.type for each in node.children if not each.is_named), "")
        if operator == "<":
            return
        target = node.child_by_field_name("destination")
        word = UNKNOWN if target is None else word_of(target)
        duplicates = operator in (">&", "<&", ">&-", "<&-")
        text = word.text
        if text == "/dev/null" or (duplicates and (target is None or (text or "").isdigit())):
            return
        self.parts.append(Simple((Word.of(WRITES_TO), word)))

    def _heredoc(self, node: Node) -> None:
        """See that bash finds its end in the same place."""
        self._check_redirects(node)
        start = next((each for each in node.children if each.type == "heredoc_start"), None)
        body = next((each for each in node.children if each.type == "heredoc_body"), None)
        end = next((each for each in node.children if each.type == "heredoc_end"), None)
        if start is None or body is None or end is None:
            self.unclear("a here-document that cannot be parsed")
            return
        name = _HEREDOC_NAME.fullmatch(start.text or b"")
        text = self._source[body.start_byte : end.start_byte]
        tabs = b"\t" if any(each.type == "<<-" for each in node.children) else b""
        lines = [line.lstrip(tabs) if tabs else line for line in text.split(b"\n")]
        first = self._source.rfind(b"\n", 0, body.start_byte) + 1
        follows = self._source[end.end_byte : end.end_byte + 1]
        if (
            name is None
            or end.text != name[2]
            or name[2] in lines
            or lines[-1].strip(b"\t" if tabs else b"") != b""
            or follows not in (b"", b"\n")
            or self._source[first : body.start_byte].strip(tabs) != b""
        ):
            self.unclear("a here-document whose end is not plain")
        elif not name[1] and _hidden_in_body(body):
            self.unclear("a substitution that cannot be parsed")


def _words(node: Node) -> list[Word]:
    """The words of a command, as far as they stand before its redirections."""
    words: list[Word] = []
    for child in node.children:
        if child.type == "variable_assignment":
            if words:  # of declare, export and their like
                words.append(word_of(child))
        elif child.type == "command_name":
            words += [word_of(each) for each in child.children]
        elif not child.type.endswith("_redirect"):
            words.append(word_of(child))
    return words


def _misread(node: Node) -> bool:
    """Whether the grammar cuts words otherwise than bash does."""
    if not node.is_named:
        return (node.text or b"").strip() != node.type.encode().strip()
    if node.type in _WHOLE:
        return any(one.end_byte != other.start_byte for one, other in pairwise(node.children))
    # Two words with nothing between them are one to bash.
    return node.type not in _JOINS and any(
        one.end_byte == other.start_byte and one.is_named and other.is_named
        for one, other in pairwise(node.children)
        if not other.type.endswith("_redirect")
    )


def _old_style(node: Node) -> bool:
    """Whether it is in backticks, with backslashes, which mean something else in there."""
    text = node.text or b""
    return node.type == "command_substitution" and text[:1] == b"`" and b"\\" in text


def _hides(node: Node) -> bool:
    """Whether what the grammar takes for text may run something in bash."""
    text = node.text or b""
    if node.type not in ("string_content", "ansi_c_string") and _NEW_LINE.search(text):
        return True  # some words begin on the line before, to the grammar
    return _SUBSTITUTES.search(text) is not None


def _hidden_in_body(body: Node) -> bool:
    """Whether a here-document has substitutions that the grammar did not see."""
    text, at = b"", body.start_byte
    for child in body.children:
        if child.type not in ("heredoc_content", "heredoc_end"):
            text += (body.text or b"")[at - body.start_byte : child.start_byte - body.start_byte]
            at = child.end_byte
    text += (body.text or b"")[at - body.start_byte :]
    return _SUBSTITUTES.search(text) is not None
