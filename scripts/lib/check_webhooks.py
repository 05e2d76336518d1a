"""What scripts/check-webhooks does once the libraries are installed: PROGRAM FOLDER."""

import json
import queue
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PROGRAM, FOLDER = sys.argv[1:]
DATABASE = f"{FOLDER}/data/log.db"
VERIFY_IN_NODE = """
const { Webhook } = require("standardwebhooks");
const [secret, body, headers] = JSON.parse(require("fs").readFileSync(0, "utf8"));
new Webhook(secret).verify(body, headers);
let refused = false;
try { new Webhook(secret).verify(body + " ", headers); } catch { refused = true; }
if (!refused) process.exit(3);
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Receiver:
    """Keeps what is posted to it, by path."""

    def __init__(self, certificate=None):
        outer, self.posted = self, {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                outer.of(self.path).put((body, dict(self.headers.items())))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A client that does not trust it ends the connection.
        self.server.handle_error = lambda *_: None
        self.scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, path):
        return self.posted.setdefault(path, queue.Queue())

    def url(self, path, host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.server.server_port}{path}"


def wait_for(what, look):
    """Looks again and again, up to 20 s, until there is something."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within 20 s")


def certificate(name, host):
    """Makes a certificate of a host, signed by itself. Returns its file and its key's."""
    files = f"{FOLDER}/{name}.pem", f"{FOLDER}/{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", f"/CN={host}", "-addext",
                    f"subjectAltName=DNS:{host}", "-out", files[0], "-keyout", files[1]],
                   check=True, stderr=subprocess.DEVNULL)
    return files


class Log:
    def __init__(self, roots):
        self.base = f"http://127.0.0.1:{free_port()}"
        address = self.base.removeprefix("http://")
        command = [PROGRAM, "serve", "--database-url", f"sqlite://{DATABASE}", "--listen", address,
                   "--webhook-allow", "127.0.0.0/8"]
        environment = {**os.environ, "SSL_CERT_FILE": roots, "HTTPS_PROXY": "http://127.0.0.1:1",
                       "HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for line in self.process.stderr:
            if line.strip().startswith("clog_"):
                self.token = line.strip()
            if "listens on" in line:
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        wait_for("the server", lambda: urllib.request.urlopen(f"{self.base}/readyz"))

    def send(self, method, path, body=None):
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        url = path if path.startswith("http") else self.base + path
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def deny(self, device):
        """Registers an event that the rule finds."""
        self.send("POST", "/api/v1/device_app_connection_log/", {
            "device_id": device, "application_id": "app", "connection_type": "attempted",
            "status": "denied", "metadata": {"line-no": 3},
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})

    def alert(self, device):
        """The id of a device's alert, once there is one."""
        look = lambda: [alert["id"] for alert in self.send("GET", "/api/v1/alerts/")["results"]
                        if alert["group"]["device_id"] == device]
        return wait_for(f"the alert of {device}", look)[0]


RULE = {"name": "Denied", "kind": "match", "filter": {"status": "denied"}, "severity": "critical",
        "group_by": ["device_id", "metadata.line-no"], "cooldown_seconds": 600}


def verified(secret, body, headers):
    headers = {name.lower(): value for name, value in headers.items()}
    Webhook(secret).verify(body, headers)
    try:
        Webhook(secret).verify(body + " ", headers)
    except WebhookVerificationError:
        pass
    else:
        raise AssertionError("a changed body was verified")
    subprocess.run(["node", "-e", VERIFY_IN_NODE], cwd=f"{FOLDER}/node", text=True, check=True,
                   input=json.dumps([secret, body, headers]))


def check_signatures(log, receiver):
    hook = log.send("POST", "/api/v1/webhooks/", {"url": receiver.url("/standard")})
    path = f"/api/v1/webhooks/{hook['id']}/"
    device = 'dév "1" 💡'
    log.deny(device)
    body, headers = receiver.of("/standard").get(timeout=20)
    told = json.loads(body)
    assert told["type"] == "alert.opened", told
    assert told["data"]["alert"]["group"]["device_id"] == device, told
    assert [event["device_id"] for event in told["data"]["events"]] == [device], told
    verified(hook["secret"], body, headers)
    new = log.send("POST", f"{path}rotate_secret/", {})["secret"]
    log.send("POST", f"{path}test/", {})
    body, headers = receiver.of("/standard").get(timeout=20)
    verified(hook["secret"], body, headers)
    verified(new, body, headers)
    print("Python's and Node's standardwebhooks verify: one secret, and two while one is replaced")


def check_tls(log, trusted, others):
    """The trusted certificate is taken for its own name, and no other is."""
    wanted = {trusted.url("/tls", "localhost"): 204, trusted.url("/tls"): None}
    wanted.update({other.url("/tls", "localhost"): None for other in others})
    hooks = {url: log.send("POST", "/api/v1/webhooks/", {"url": url}) for url in wanted}
    for url, hook in hooks.items():
        path = f"/api/v1/webhooks/{hook['id']}/"
        log.send("POST", f"{path}test/", {})
        look = lambda: log.send("GET", f"{path}deliveries/1/")["last_attempt"]
        attempt = wait_for("the attempt", look)
        assert attempt["status"] == wanted[url], (url, attempt)
        assert attempt["status"] or "certificate" in attempt["error"].lower(), attempt
    print("TLS: only a certificate that is trusted, of the name that is called")


ALERTMANAGER = """
global: {resolve_timeout: 1h}
route: {receiver: there, group_by: [alertname], group_wait: 0s, group_interval: 1s}
receivers: [{name: there, webhook_configs: [{url: "%s", send_resolved: true}]}]
"""


def check_alertmanager(log, receiver):
    with open(f"{FOLDER}/alertmanager.yml", "w") as file:
        file.write(ALERTMANAGER % receiver.url("/notified"))
    base = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        ["prometheus-alertmanager", f"--config.file={FOLDER}/alertmanager.yml",
         f"--storage.path={FOLDER}/alertmanager", "--cluster.listen-address=",
         f"--web.listen-address={base.removeprefix('http://')}"],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for("Alertmanager", lambda: urllib.request.urlopen(f"{base}/-/ready"))
        url = f"{base}/api/v2/alerts"
        hook = log.send("POST", "/api/v1/webhooks/", {"url": url, "format": "alertmanager"})
        log.deny("dev_2")
        log.deny("dev_3")
        look = lambda: [found for found in log.send("GET", url) if len(found) > 0]
        found = wait_for("two alerts", lambda: len(look()) == 2 and look())
        for one in found:
            assert one["labels"]["metadata_line_no"] == "3", one
            assert one["status"]["state"] == "active", one
        notified = wait_for("one group of two", lambda: group(receiver, "firing", 2))
        assert notified["groupLabels"] == {"alertname": "Denied"}, notified
        log.deny("dev_2")
        path = f"/api/v1/webhooks/{hook['id']}/deliveries/"
        kinds = lambda: [one["type"] for one in log.send("GET", path)["results"]]
        wait_for("it grows", lambda: "alert.extended" in kinds())
        log.send("POST", f"/api/v1/alerts/{log.alert('dev_2')}/resolve/", {"note": "known"})
        wait_for("one that is over", lambda: len(look()) == 1)
        resolved = wait_for("it is told", lambda: group(receiver, None, 2, "dev_2"))
        states = {one["labels"]["device_id"]: one["status"] for one in resolved["alerts"]}
        assert states == {"dev_2": "resolved", "dev_3": "firing"}, states
        log.send("POST", f"/api/v1/alerts/{log.alert('dev_3')}/acknowledge/", {})
        log.send("POST", f"/api/v1/alerts/{log.alert('dev_3')}/resolve/", {})
        wait_for("none left", lambda: look() == [])
        states = [one["state"] for one in log.send("GET", path)["results"]]
        assert states == ["delivered"] * 6, states
        log.send("POST", f"/api/v1/webhooks/{hook['id']}/test/", {})
        found = wait_for("the test", look)
        assert found[0]["labels"]["alertname"] == "Test", found
    finally:
        process.terminate()
        process.wait()
    print("Alertmanager takes, groups and resolves")


def group(receiver, status, count, resolved=None):
    """The next notification of Alertmanager with that many alerts, if one has come."""
    try:
        body, _ = receiver.of("/notified").get_nowait()
    except queue.Empty:
        return None
    told = json.loads(body)
    if len(told["alerts"]) != count or status not in (None, told["status"]):
        return None
    is_over = [one["labels"]["device_id"] for one in told["alerts"] if one["status"] == "resolved"]
    return told if resolved is None or resolved in is_over else None


def main():
    trusted = certificate("trusted", "localhost")
    others = [certificate("unknown", "localhost"), certificate("other", "example.com")]
    receiver, log = Receiver(), Log(trusted[0])
    try:
        log.send("POST", "/api/v1/alert_rules/", RULE)
        check_tls(log, Receiver(trusted), [Receiver(other) for other in others])
        check_signatures(log, receiver)
        check_alertmanager(log, receiver)
    finally:
        log.process.terminate()
        code = log.process.wait()
    assert code == 0, f"the server ended with {code}"


main()
