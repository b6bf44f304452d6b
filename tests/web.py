"""A web server on this machine, for tests that fetch."""

import http.server
import threading
from pathlib import Path


class Server:
    """A local web server of one folder that understands ranges and can break off."""

    def __init__(self, folder: Path) -> None:
        self.break_after: int | None = None
        self.takes_ranges = True
        self.asked: list[str | None] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers["Range"] if server.takes_ranges else None
                server.asked.append(self.headers["Range"])
                file = folder / self.path.lstrip("/").partition("?")[0]
                if not file.is_file():
                    self.send_error(404)
                    return
                content = file.read_bytes()
                begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                if begin >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(content) - begin))
                self.end_headers()
                self.wfile.write(content[begin:][: server.break_after])

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
