"""The environment of a command: a small clean one, and what a call may add to it."""

import re
from collections.abc import Mapping

from surefoot_tools.errors import Code, ToolError

_KEPT = frozenset({"PATH", "HOME", "LANG", "TERM", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ"})
_LOADS_CODE = re.compile(
    r"LD_.*|DYLD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|HOSTALIASES|OPENSSL_CONF"
    r"|BASH_ENV|ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|IFS|ZDOTDIR|FPATH"
    r"|PYTHON(?!UNBUFFERED$|DONTWRITEBYTECODE$|HASHSEED$|UTF8$|IOENCODING$|FAULTHANDLER$).*"
    r"|PERL5?(LIB|OPT|DB|5LIB|5OPT|5DB)|RUBY(OPT|LIB)|GEM_(HOME|PATH)|BUNDLE_.*"
    r"|NODE_(OPTIONS|PATH|REPL_EXTERNAL_MODULE)|ELECTRON_RUN_AS_NODE|BUN_.*|npm_config_.*"
    r"|(JAVA_TOOL|_JAVA|JDK_JAVA)_OPTIONS|CLASSPATH|MAVEN_OPTS|GRADLE_OPTS|SBT_OPTS"
    r"|DOTNET_STARTUP_HOOKS|DOTNET_ADDITIONAL_DEPS|CORECLR_.*|COR_.*|COMPLUS_.*"
    r"|LUA_(INIT|PATH|CPATH).*|PHPRC|PHP_INI_SCAN_DIR|R_PROFILE.*|R_ENVIRON.*|ERL_.*|ELIXIR_.*"
    r"|RUSTC.*|RUSTFLAGS|CARGO_(BUILD_RUSTC|TARGET).*|GOFLAGS|MAKEFLAGS|GNUMAKEFLAGS|MAKEFILES"
    r"|GIT_(?!AUTHOR_|COMMITTER_|TERMINAL_PROMPT$|TRACE$|OPTIONAL_LOCKS$).*|SSH_ASKPASS.*|SUDO_.*"
    r"|PAGER|MANPAGER|GIT_PAGER|EDITOR|VISUAL|BROWSER|LESSOPEN|LESSCLOSE|LESSKEY.*|INPUTRC|VIMINIT"
    r"|EXINIT|TERMINFO.*|TERMCAP",
    re.IGNORECASE,
)
"""Names by which a program loads or runs what it was not asked to. Advice, as every list of names
is: the boundary is the sandbox. Most of them come from sudo's and OpenSSH's lists."""

_HARMLESS = {
    *((name, "cat") for name in ("PAGER", "GIT_PAGER", "MANPAGER")),
    *((name, "true") for name in ("EDITOR", "VISUAL", "GIT_EDITOR")),
}
"""What people set to have no pager and no editor."""


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """What commands see of the server's own environment."""
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or name.startswith("LC_")
    }


def refuse_code(env: Mapping[str, str]) -> None:
    """See that what a call adds only sets values.

    Raises:
        ToolError: a name is one that makes programs load code.
    """
    found = sorted(
        name
        for name, value in env.items()
        if _LOADS_CODE.fullmatch(name) and (name, value) not in _HARMLESS
    )
    if found:
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"env: programs load or run other code by {', '.join(found)}",
            hint="Leave it out; what it was to do, the command can say itself.",
        )
