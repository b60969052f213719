"""A person's signature over a decision, made with an OpenSSH key (FIDO2 keys too).

    reidscope-site approve STUDY --role ROLE --to-sign FILE
    ssh-keygen -Y sign -f KEY -n reidscope FILE
    reidscope-site approve STUDY --role ROLE --signature FILE.sig

The text names the study's digest, package, policy, index and the number of the decision that it
follows: it can be used once. Checked by `ssh-keygen -Y verify` with the policy's own keys.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reidscope_protocols.errors import BadSignatureError, UnsupportedError
from reidscope_protocols.vocabulary import Sha256, Verdict

NAMESPACE = "reidscope"
_SECONDS = 20
_PRINCIPAL = "role"
_LARGEST = 16_384  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionText:
    """What a person signs.

    Attributes
    ----------
    after : int
        Number of the last decision about this study, 0 where nobody decided.
    """

    verdict: Verdict
    role: str
    site: str
    study_sha256: Sha256
    package_sha256: Sha256
    policy_sha256: Sha256
    snapshot_digest: str
    after: int

    def __str__(self) -> str:
        """Return the lines as they are signed."""
        return (
            f"reidscope decision 1\nverdict {self.verdict}\nrole {self.role}\nsite {self.site}\n"
            f"study {self.study_sha256}\npackage {self.package_sha256}\n"
            f"policy {self.policy_sha256}\nindex {self.snapshot_digest or 'none'}\n"
            f"after {self.after}\n"
        )


def check_signature(text: DecisionText, signature: str, keys: Sequence[str]) -> str:
    """Return which of `keys` made `signature` over `text`.

    Raises
    ------
    BadSignatureError
        None of them.
    UnsupportedError
        This machine has no `ssh-keygen`.
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        raise UnsupportedError(
            "signature",
            got="a machine without ssh-keygen",
            expected="OpenSSH 8.1 or newer",
            do="install openssh-client",
        )
    if len(signature) <= _LARGEST:
        with tempfile.TemporaryDirectory(prefix="reidscope-") as folder:
            for key in keys:
                if _signed_by(program, Path(folder), key, str(text), signature):
                    return key
    raise BadSignatureError(
        "signature",
        got="one that no key of this role made over this decision",
        expected=f"one over the text of --to-sign as it is now, in the namespace {NAMESPACE}",
        do="write the text again with --to-sign, then sign that file",
    )


def _signed_by(program: str, folder: Path, key: str, text: str, signature: str) -> bool:
    allowed, signed = folder / "allowed", folder / "signature"
    allowed.write_text(f'{_PRINCIPAL} namespaces="{NAMESPACE}" {key}\n')
    signed.write_text(signature)
    words = ["-Y", "verify", "-f", str(allowed), "-I", _PRINCIPAL, "-n", NAMESPACE]
    try:
        done = subprocess.run(  # noqa: S603  # a fixed program and words of ours: the rest are files
            [program, *words, "-s", str(signed)],
            input=text.encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError):
        return False
    return done.returncode == 0
