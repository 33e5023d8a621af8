"""What is known for a secret: by its name, in URLs, by the shapes of tokens."""

import re

MASK = "[redacted]"
"""What stands in its place."""

NAMES = r"pass(?:word|wd|phrase)|secret|token|api[_-]?key|credential|private[_-]?key"
"""Part of the name of what holds one."""
_SECRET_SHAPES = re.compile(
    "|".join(
        (
            r"(?:AKIA|ASIA)[0-9A-Z]{16}",  # AWS access key id
            r"gh[pousr]_[A-Za-z0-9]{20,}",  # GitHub tokens
            r"github_pat_[A-Za-z0-9_]{20,}",
            r"glpat-[A-Za-z0-9_-]{16,}",  # GitLab
            r"sk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic and others
            r"xox[abprs]-[A-Za-z0-9-]{10,}",  # Slack
            r"AIza[0-9A-Za-z_-]{30,}",  # Google
            r"sft_[A-Za-z0-9_-]{43}[0-9a-f]{8}",  # our own, see `surefoot token`
            # JSON Web Token; the look-behind keeps 'eyJeyJeyJ...' from being tried at each 'eyJ'.
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        )
    )
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")


def redact_text(text: str) -> str:
    """The text without passwords in URLs and without tokens of known shapes."""
    return _SECRET_SHAPES.sub(MASK, _URL_PASSWORD.sub(rf"\1:{MASK}@", text))
