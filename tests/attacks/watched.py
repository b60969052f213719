"""Put into an agent's process as `sitecustomize`: notes what it runs, writes and starts.

The notes go to the file that REIDSCOPE_WATCH names, one JSON line each. Nothing is forbidden here:
what must not happen is looked for afterwards.
"""

import json
import os
import sys

_file = os.open(os.environ["REIDSCOPE_WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _note(event: str, arguments: tuple[object, ...]) -> None:
    what: object
    if event == "exec":
        what = getattr(arguments[0], "co_filename", "")
    elif event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
            isinstance(flags, int) and flags & _WRITES
        )
        if not writes:
            return
        what = path if isinstance(path, str) else repr(path)
    elif event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork"} or (
        event in {"os.rename", "os.mkdir", "os.link", "os.symlink", "sqlite3.connect"}
    ):
        what = repr(arguments[0]) if arguments else ""
    else:
        return
    os.write(_file, (json.dumps([event, what], default=repr) + "\n").encode())


sys.addaudithook(_note)
