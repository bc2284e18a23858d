# SPDX-License-Identifier: Apache-2.0
"""A relay that damages what it passes on, to see that somebody notices."""
import select
import socket
import threading

BLOCK = 65536
FIRST = 20000  # position of the one damage to a tunnel, from here on


class Silence(Exception):
    """Raised by a damage: from here on the tunnel is not served, but stays open."""


class Tamper:
    """A relay between clients and one backend. `damage(data)`, called once in each tunnel that comes
    so far, in direction 1 or, from the client, 0, gives what is sent in place of data; None ends the
    connection."""

    def __init__(self, scene, backend, damage, direction=1):
        self.backend, self.damage, self.direction = backend, damage, direction
        self.damaged = 0
        self.sock = socket.socket()
        self.sock.bind((scene.host, 0))
        self.sock.listen(128)
        self.address = self.sock.getsockname()
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()
        scene.later(self.stop)

    def accept(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            server = socket.create_connection(self.backend.address)
            self.open += [client, server]
            threading.Thread(target=self.relay, args=((client, server),), daemon=True).start()

    def relay(self, pair):
        """Direction d reads sides[d] and writes the other."""
        sides = list(pair)
        passed, done = [0, 0], False
        for side in sides:
            side.setblocking(False)
        pending = [b"", b""]
        ended = [False, False]
        try:
            while not (all(ended) and not any(pending)):
                reads = [side for d, side in enumerate(sides) if not ended[d] and not pending[d]]
                writes = [sides[1 - d] for d in (0, 1) if pending[d]]
                readable, writable, _ = select.select(reads, writes, [])
                for side in readable:
                    d = sides.index(side)
                    data = side.recv(BLOCK)
                    if not data:
                        ended[d] = True
                        sides[1 - d].shutdown(socket.SHUT_WR)
                        continue
                    passed[d] += len(data)
                    if d == self.direction and not done and passed[d] > FIRST:
                        done = True
                        self.damaged += 1
                        data = self.damage(data)
                        if data is None:
                            raise ConnectionError
                    pending[d] = data
                for side in writable:
                    d = 1 - sides.index(side)
                    pending[d] = pending[d][side.send(pending[d]):]
        except Silence:
            return
        except (OSError, ValueError):
            pass  # ws-load resets what it calls damaged; stop() has closed a socket
        for side in sides:
            side.close()

    def stop(self):
        self.sock.close()
        for side in self.open:
            side.close()
