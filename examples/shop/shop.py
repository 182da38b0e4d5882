#!/usr/bin/env python3
"""A shop with a cart, small enough to read. Python's standard library alone.

    shop.py NAME PORT memory                    carts live in this process
    shop.py NAME PORT replicate PORT[,PORT…]    … and a copy of each in the other servers
    shop.py NAME PORT redis PORT                carts live in Redis, none here

GET /add?item=X puts X in the cart and GET /cart shows it, one item a line. The cookie CART names the cart.
"""
import http.client
import secrets
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Memory:
    """Carts of this process."""

    def __init__(self):
        self.carts = {}
        self.lock = threading.Lock()

    def add(self, cart, item):
        with self.lock:
            self.carts.setdefault(cart, []).append(item)
            return list(self.carts[cart])

    def get(self, cart):
        with self.lock:
            return list(self.carts.get(cart, []))

    def put(self, cart, items):
        with self.lock:
            self.carts[cart] = items


class Replicated(Memory):
    """Each change goes to all other servers, so that no copy is ever old; one that begins anew asks them."""

    def __init__(self, others):
        super().__init__()
        self.others = others
        self.kept = threading.local()

    def add(self, cart, item):
        self.get(cart)
        items = super().add(cart, item)
        for port in self.others:
            self.ask(port, "PUT", cart, "\n".join(items))
        return items

    def get(self, cart):
        items = super().get(cart)
        if items:
            return items
        for port in self.others:
            copy = self.ask(port, "GET", cart)
            if copy:
                self.put(cart, copy.split("\n"))
                break
        return super().get(cart)

    def ask(self, port, method, cart, body=None):
        """The other server's answer over a connection that is kept; None if it is gone."""
        connections = self.kept.__dict__.setdefault("connections", {})
        for _ in range(2):  # a kept connection may be dead
            known = port in connections
            connection = connections.setdefault(
                port, http.client.HTTPConnection("127.0.0.1", port, timeout=1))
            try:
                connection.request(method, "/copy/" + cart, body)
                return connection.getresponse().read().decode()
            except OSError:
                connections.pop(port).close()
                if not known:
                    return None
            except http.client.HTTPException:
                connections.pop(port).close()
        return None


class Redis:
    """Carts as lists in Redis, which speaks a protocol of lines."""

    def __init__(self, port):
        self.port = port
        self.kept = threading.local()

    def call(self, *words):
        text = b"*%d\r\n" % len(words)
        for word in words:
            word = word.encode()
            text += b"$%d\r\n%s\r\n" % (len(word), word)
        for attempt in range(2):
            try:
                if attempt or not hasattr(self.kept, "file"):
                    self.kept.socket = socket.create_connection(("127.0.0.1", self.port), 1)
                    self.kept.file = self.kept.socket.makefile("rb")
                self.kept.socket.sendall(text)
                return self.answer()
            except OSError:
                if attempt:
                    raise
        return None

    def answer(self):
        line = self.kept.file.readline()
        if not line:
            raise OSError("Redis closed the connection")
        kind, rest = line[:1], int(line[1:]) if line[:1] in b":$*" else 0
        if kind == b"*":
            return [self.answer() for _ in range(rest)]
        if kind == b"$":
            return self.kept.file.read(rest + 2)[:-2].decode()
        return rest

    def add(self, cart, item):
        self.call("RPUSH", cart, item)
        return self.get(cart)

    def get(self, cart):
        return self.call("LRANGE", cart, "0", "-1")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    carts = name = None

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path.startswith("/copy/"):
            return self.reply("\n".join(Memory.get(self.carts, url.path[6:])))
        cart = self.cookie("CART")
        fresh = cart is None
        cart = cart or secrets.token_hex(8)
        if url.path == "/add":
            items = self.carts.add(cart, parse_qs(url.query).get("item", ["?"])[0])
        else:
            items = self.carts.get(cart)
        self.reply("\n".join(items), cart if fresh else None)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.carts.put(self.path[6:], body.split("\n"))
        self.reply("")

    def cookie(self, name):
        for part in (self.headers["Cookie"] or "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return None

    def reply(self, body, cart=None):
        body = body.encode()
        self.send_response(200)
        self.send_header("X-Server", self.name)
        self.send_header("Content-Length", str(len(body)))
        if cart:
            self.send_header("Set-Cookie", f"CART={cart}; Path=/; HttpOnly; SameSite=Lax")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main(name, port, kind, others=""):
    ports = [int(other) for other in others.split(",") if other]
    Handler.name = name
    Handler.carts = {
        "memory": Memory,
        "replicate": lambda: Replicated(ports),
        "redis": lambda: Redis(ports[0]),
    }[kind]()
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
