#!/usr/bin/env python3
"""A model server that follows a script: OpenAI's chat completions, one scripted tool call per answer.

usage: server.py SESSION.json [NAME=VALUE ...]

Prints the port it listens on (127.0.0.1) and serves until its standard input closes. `@NAME@` in a scripted command
becomes VALUE. The script's hijack begins only when its line stands in something that the agent has read.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def steps_for(session, messages):
    """Every step of the conversation that `messages` belong to."""
    hijack = session["hijack"]
    read = [str(message.get("content")) for message in messages if message["role"] == "tool"]
    hijacked = any(hijack["line"] in text for text in read)
    return session["work"] + (hijack["steps"] if hijacked else []) + [session["finish"]]


def answer(session, request):
    """The chat completion that follows `request`."""
    messages = request["messages"]
    taken = sum(message["role"] == "assistant" for message in messages)
    steps = steps_for(session, messages)
    step = steps[min(taken, len(steps) - 1)]
    call = {
        "id": f"call_{taken}",
        "type": "function",
        "function": {"name": "bash", "arguments": json.dumps({"command": step["run"]})},
    }
    message = {"role": "assistant", "content": step["say"], "tool_calls": [call]}
    return {
        "id": f"chatcmpl-{taken}",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def handler_for(session):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.endswith("/chat/completions"):
                self.send_error(404)
                return
            reply = json.dumps(answer(session, json.loads(body))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    return Handler


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    for assignment in sys.argv[2:]:
        name, value = assignment.split("=", 1)
        text = text.replace(f"@{name}@", value)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(json.loads(text)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
