"""Trials beside a worker that hangs: what is of the other workers' tenants goes on.

`citus_kills.py` calls them, with its servers, tenants and nodes.
"""

import queue
import signal
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from citus_cluster import event, request

# The least seconds for which a worker hangs: longer than the server's own limits for a hung node.
HUNG_FOR = 15
# Seconds after which something that does not happen is a fault.
HAPPENS_WITHIN = 60
RULE = {"name": "Denied", "kind": "match", "filter": {"status": "denied"}, "severity": "critical",
        "group_by": ["device_id"], "cooldown_seconds": 600}


class Receiver:
    """Takes deliveries, and tells the devices of their alerts by tenant."""

    def __init__(self, tenants):
        self.bodies = {tenant: queue.Queue() for tenant in tenants}
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                bodies[self.path.strip("/")].put(body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, tenant):
        return f"http://127.0.0.1:{self.server.server_port}/{tenant}"

    def has(self, tenant, device):
        """Waits for the delivery about a device's event. Returns whether it came."""
        end = time.monotonic() + HAPPENS_WITHIN
        while (left := end - time.monotonic()) > 0:
            try:
                if f'"{device}"' in self.bodies[tenant].get(timeout=left):
                    return True
            except queue.Empty:
                break
        return False


@contextmanager
def hung(node):
    node.send(signal.SIGSTOP)
    try:
        yield
    finally:
        node.send(signal.SIGCONT)


def of_node(trial, node):
    """The tenants of a node, and the others."""
    theirs = [tenant for tenant, address in trial.node_of.items() if address == node.address]
    return theirs, [tenant for tenant in trial.node_of if tenant not in theirs]


def until_stored(port, token, body):
    """Registers an event until it is acknowledged. Returns the seconds that this took."""
    begun = time.monotonic()
    while request(port, token, body)[0] != 201:
        time.sleep(0.05)
    return time.monotonic() - begun


def deliveries_beside(trial, node):
    """Alerts of a tenant reach its webhook while the worker of another tenant hangs."""
    ports = trial.ports
    (theirs, *_), (other, *_) = of_node(trial, node)
    receiver = Receiver((theirs, other))
    tokens = {}
    for tenant in (theirs, other):
        tokens[tenant] = trial.program.token(tenant, ("write", "read", "admin"))
        for path, body in (("alert_rules", RULE), ("webhooks", {"url": receiver.url(tenant)})):
            status, _ = request(ports[0], tokens[tenant], body, f"/api/v1/{path}/")
            trial.expect(status == 201, f"webhooks: {tenant} gets {status} for {path}")

    def deny(tenant, device, port):
        body = event(f"{device}-{time.monotonic()}", status="denied", connection_type="attempted", device_id=device)
        return until_stored(port, tokens[tenant], body)
    for tenant in (theirs, other):
        deny(tenant, "before", ports[0])
        trial.expect(receiver.has(tenant, "before"), f"webhooks: {tenant} is not told before")
    stored, told, count = 0, 0, 0
    with hung(node):
        begun = time.monotonic()
        waits = threading.Thread(target=deny, args=(theirs, "meanwhile", ports[0]))
        waits.start()
        while time.monotonic() - begun < HUNG_FOR:
            device = f"device-{count}"
            stored = max(stored, deny(other, device, ports[count % 2]))
            acknowledged = time.monotonic()
            if not receiver.has(other, device):
                trial.expect(False, f"webhooks: {other} is not told of {device}")
                break
            told = max(told, time.monotonic() - acknowledged)
            count += 1
    begun = time.monotonic()
    waits.join()
    trial.expect(receiver.has(theirs, "meanwhile"), f"webhooks: {theirs} is not told afterwards")
    print(f"webhooks: {count} deliveries of another worker's tenant, longest 2xx {stored:.1f} s, then longest wait for "
          f"the delivery {told:.1f} s; the hung worker's tenant is told {time.monotonic() - begun:.1f} s after it goes on",
          flush=True)
    receiver.server.shutdown()


def frozen_at_start(trial, node):
    """A server that starts beside a worker that hangs serves the tenants of the others."""
    port = trial.ports[1]
    theirs, others = of_node(trial, node)

    def status(tenant):
        return request(port, trial.tokens[tenant], event(f"frozen-start-{time.monotonic()}"))[0]
    trial.servers[1].terminate()
    trial.servers[1].wait()
    seen = {}
    with hung(node):
        begun = time.monotonic()
        trial.servers[1] = trial.program.serve(port)
        answers = time.monotonic() - begun
        waiting = [threading.Thread(target=lambda tenant=tenant: seen.update({tenant: status(tenant)}))
                   for tenant in theirs]
        for thread in waiting:
            thread.start()
        longest = 0
        for tenant in others:
            begun = time.monotonic()
            got = status(tenant)
            longest = max(longest, time.monotonic() - begun)
            trial.expect(got == 201, f"frozen at start: {tenant} gets {got}")
        trial.expect(request(port, "none", path="/readyz")[0] == 200, "frozen at start: it is not ready")
    begun = time.monotonic()
    for thread in waiting:
        thread.join()
    for tenant in theirs:
        trial.expect(seen[tenant] in (201, 503), f"frozen at start: {tenant} gets {seen[tenant]}")
    while not all(status(tenant) == 201 for tenant in theirs):
        if time.monotonic() - begun > HAPPENS_WITHIN:
            trial.expect(False, "frozen at start: the worker's tenants get no 201")
            break
        time.sleep(0.1)
    print(f"frozen at start: the server answers after {answers:.1f} s, other tenants get 201 within {longest:.1f} s, the "
          f"worker's tenants {sorted(seen.values())}, and 201 {time.monotonic() - begun:.1f} s after it goes on", flush=True)
