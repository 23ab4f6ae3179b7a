"""What a worker needs of its machine: a folder that it can write to, and an address to listen at.

Looked at before the worker starts, so that a mistake is one sentence with the setting's name.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence

from streams.settings import store_folder
from streams.settings.table import Settings

#: Options of ``faust worker`` that put its web server elsewhere than the settings say.
_WEB_OPTIONS = ("--web", "--without-web", "-p", "-b", "-h")

_LONGEST = 120  # characters of a value that are shown


def unmet(settings: Settings, arguments: Sequence[str] = ()) -> list[str]:
    """Return what this machine does not give a worker: a sentence each, with the setting's name.

    Args:
        settings: of the worker.
        arguments: of ``faust worker``.
    """
    found = [*_folder(settings)] if settings.store == "rocksdb" else []
    if not any(each.startswith(_WEB_OPTIONS) for each in arguments):
        found += _address(settings.web_host, settings.web_port)
    return found


def _folder(settings: Settings) -> Iterator[str]:
    name = f"STREAMS_STORE_FOLDER={str(settings.store_folder)[:_LONGEST]}"
    try:
        folder = settings.store_folder.expanduser()  # as Faust does
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        if (folder / store_folder.LOCK).exists():
            os.close(store_folder.lock(folder))
    except store_folder.FolderInUse as error:
        yield str(error)
    except RuntimeError:
        yield f"{name}: this user has no home folder, so name one without ~"
        return
    except OSError as error:
        yield f"{name} cannot be written ({error.strerror}); with STREAMS_STORE=memory no folder is needed"
        return
    # RocksDB's library encodes names as UTF-8, whatever the locale does.
    if str(folder).encode(errors="backslashreplace") != os.fsencode(folder):
        encoding = sys.getfilesystemencoding()
        yield f"{name}: in a locale of {encoding}, a folder's name may have letters of ASCII only"


def _address(host: str, port: int) -> Iterator[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        yield f"STREAMS_WEB_HOST={host} is no address of this machine: its name is not known here"
        return
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as tried:
                # As the web server does: a closed connection's rest does not count, IPv6 is IPv6 only.
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind(address)
                tried.listen()
        except OSError as error:
            yield _why(host, port, error)
            return


def _why(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"STREAMS_WEB_PORT={port} is in use at {host}: another worker or program listens there"
        case errno.EACCES | errno.EPERM:
            return f"STREAMS_WEB_PORT={port} may not be used by this user: ports from 1024 on may"
        case _:
            return f"STREAMS_WEB_HOST={host} is no address that this machine can listen at ({error.strerror})"
