"""A small inference server that does what it is told, right and wrong."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

type Reply = tuple[int, Any]


def completion(text: str | None, finish: str = "stop", **fields: Any) -> Reply:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return 200, {"object": "chat.completion", "choices": [choice], **fields}


class FaultyServer:
    """What it answers and what it was asked; change it at any moment."""

    def __init__(self) -> None:
        # Names of its models; None for a server that knows no such list.
        self.models: list[str] | None = ["m"]
        self.model_fields: dict[str, Any] = {}
        self.key = ""
        # Types of `response_format` that bind, and that are refused; the others are ignored.
        self.binding: set[str] = {"json_schema"}
        self.refused: set[str] = set()
        self.refuses_template_options = False
        # What the model says where the trial's schema does not bind it.
        self.trial_text = "Blue."
        # The answer to whatever is not a trial: a text, a whole reply, or a function of the request.
        self.answer: str | Reply | Callable[[dict[str, Any]], Reply] = '{"entities": []}'
        # Status of every request.
        self.status = 0
        # What GET and POST of other paths answer.
        self.others: dict[str, Reply] = {}
        # Whether an answer comes as events where that is asked for; a list of events in place of the right ones; and
        # seconds between two of them. Else "stream" is ignored, or refused.
        self.streams = False
        self.events: list[bytes] | None = None
        self.event_pause_s = 0.0
        self.refuses_streams = False
        # Events that were written, and whether somebody hung up before the last.
        self.n_events = 0
        self.was_hung_up = False
        # Set to let requests wait until it is cleared, and to have connections dropped.
        self.held: threading.Event | None = None
        self.drops = False
        self.requests: list[dict[str, Any]] = []
        self.url = ""

    def reply(self, method: str, path: str, body: dict[str, Any], key: str) -> Reply:
        """The answer to a request."""
        if self.status:
            return self.status, {"error": {"message": json.dumps(body), "code": self.status}}
        if self.key and key != f"Bearer {self.key}":
            return 401, {"error": "no"}
        if path in self.others:
            return self.others[path]
        if path == "/v1/models" and self.models is not None:
            return 200, {"object": "list", "data": [{"id": name, **self.model_fields} for name in self.models]}
        if path == "/v1/chat/completions":
            self.requests.append(body)
            return self._chat(body)
        return 404, {"error": "not here"}

    def asked(self) -> list[dict[str, Any]]:
        """Requests that were no trials."""
        return [body for body in self.requests if not _is_trial(body)]

    def _chat(self, body: dict[str, Any]) -> Reply:
        form = body.get("response_format", {})
        if self.refuses_streams and body.get("stream"):
            return 400, {"error": {"message": "stream is not supported"}}
        if self.refuses_template_options and "chat_template_kwargs" in body:
            return 400, {"error": {"message": "unknown field"}}
        if form.get("type") in self.refused or (form.get("schema") and "json_object" in self.refused):
            return 422, {"error": {"message": "unknown response_format"}}
        if _is_trial(body):
            schema = form.get("schema") or form.get("json_schema", {}).get("schema")
            binds = schema and form["type"] in self.binding
            return completion(json.dumps({"answer": _only(schema)}) if binds else self.trial_text)
        if callable(self.answer):
            return self.answer(body)
        return completion(self.answer) if isinstance(self.answer, str) else self.answer


@contextmanager
def faulty_server(port: int = 0, state: FaultyServer | None = None) -> Iterator[FaultyServer]:
    """The server at its `url`, on loopback."""
    state = state or FaultyServer()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else every answer waits 40 ms for an acknowledgement.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_arguments: object) -> None:
            """Nothing."""

        def _answer(self, body: dict[str, Any]) -> None:
            if state.held is not None and "chat" in self.path:
                state.held.wait(20)
            if ended.is_set():  # a connection that was kept alive outlives its server here
                self.close_connection = True
                return
            status, said = state.reply(self.command, self.path, body, self.headers.get("Authorization", ""))
            if state.streams and body.get("stream") and status == 200:
                self._stream(said)
                return
            raw = said if isinstance(said, bytes) else json.dumps(said).encode()
            try:
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:9/v1/models")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw[: len(raw) // 2] if state.drops else raw)
            except OSError:  # whoever asked has gone
                self.close_connection = True
            self.close_connection = self.close_connection or state.drops

        def _stream(self, said: Any) -> None:
            """Ends with the connection."""
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.end_headers()
            try:
                for event in events_of(said) if state.events is None else state.events:
                    self.wfile.write(event)
                    self.wfile.flush()
                    state.n_events += 1
                    if ended.wait(state.event_pause_s):
                        return
            except OSError:
                state.was_hung_up = True

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            if state.held is not None:
                state.held.set()
            ended.set()
            server.shutdown()
            thread.join()


def event(**fields: Any) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps(fields)}\r\n\r\n".encode()


def delta(text: str | None, finish: str | None = None) -> bytes:
    """An event with a piece of an answer."""
    return event(choices=[{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}])


DONE = b"data: [DONE]\n\n"


def events_of(said: dict[str, Any]) -> list[bytes]:
    """A completion as it is streamed: three characters at a time."""
    (choice,) = said["choices"]
    text = choice["message"]["content"]
    pieces = [delta(text[at : at + 3]) for at in range(0, len(text), 3)]
    usage = event(choices=[], usage={"prompt_tokens": 21, "completion_tokens": len(pieces)})
    return [b": hello\n\n", *pieces, delta(None, choice["finish_reason"]), usage, DONE]


def _is_trial(body: dict[str, Any]) -> bool:
    return "Name a colour" in body["messages"][-1]["content"]


def _only(schema: dict[str, Any]) -> str:
    return str(schema["properties"]["answer"]["enum"][0])
