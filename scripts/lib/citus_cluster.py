"""A Citus cluster on this machine, its databases, and conn-log's program on them.

Results go to the standard output, and to the file that CITUS_CHECK_SUMMARY names, for the summary of
`scripts/citus-check`."""

import json
import os
import pwd
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

EVENTS = "/api/v1/device_app_connection_log/"


def note_result(what, result, begun):
    """Tells the result of a part that began at that `time.monotonic()`."""
    line = f"{what:42} {result:24} {time.monotonic() - begun:6.0f} s"
    print(f"= {line}", flush=True)
    if path := os.environ.get("CITUS_CHECK_SUMMARY"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def psql(url, *commands):
    """The answer to the last command, as text."""
    arguments = [part for command in commands for part in ("-c", command)]
    done = subprocess.run(["psql", "-XAtq", url, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.strip().rsplit("\n", 1)[-1]


def as_owner(path, *command):
    """Runs a program of PostgreSQL as the owner of its data."""
    binary = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
    owner = pwd.getpwuid(os.stat(path).st_uid).pw_name
    run_as = ["runuser", "-u", owner, "--"] if os.geteuid() == 0 else []
    subprocess.run([*run_as, f"{binary}/{command[0]}", *command[1:]], cwd="/", check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Node:
    """A node of the cluster."""

    def __init__(self, coordinator, address):
        self.coordinator, self.address = coordinator, address
        self.url = self.database("postgres")
        self.host, self.port = address.rsplit(":", 1)
        self.data = psql(self.url, "SHOW data_directory")

    def database(self, name):
        """The URL of a database of that name on the node."""
        netloc = f"{self.coordinator.username}@{self.address}"
        return self.coordinator._replace(netloc=netloc, path=f"/{name}").geturl()

    def processes(self):
        with open(f"{self.data}/postmaster.pid", encoding="utf-8") as file:
            pid = int(file.readline())
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
        return [pid, *map(int, children.stdout.split())]

    def send(self, number):
        processes = self.processes()
        for pid in processes:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return processes

    def kill(self):
        processes = self.send(signal.SIGKILL)
        while any(os.path.exists(f"/proc/{pid}") for pid in processes):
            time.sleep(0.02)

    def start(self):
        as_owner(self.data, "pg_ctl", "start", "-w", "-s", "-D", self.data, "-o", f"-p {self.port}",
                 "-l", f"{self.data}/../started-again.log")

    def stop(self):
        as_owner(self.data, "pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", self.data)

    def configure(self, *settings):
        """Changes settings of the node, and has them read."""
        psql(self.url, *(f"ALTER SYSTEM {setting}" for setting in settings), "SELECT pg_reload_conf()")


class Cluster:
    """The nodes, the coordinator first."""

    def __init__(self, url):
        coordinator = urlsplit(url)
        addresses = psql(url, "SELECT string_agg(nodename || ':' || nodeport, ' ' ORDER BY groupid) "
                              "FROM pg_dist_node WHERE noderole = 'primary'")
        self.nodes = [Node(coordinator, address) for address in addresses.split()]

    def make(self, database, extension=True, workers=True):
        """Makes a database anew on every node. Returns its URL on the coordinator."""
        for node in self.nodes:
            psql(node.url, f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"CREATE DATABASE {database}")
            if extension:
                psql(node.database(database), "CREATE EXTENSION citus")
        url = self.nodes[0].database(database)
        if workers:
            first = self.nodes[0]
            psql(url, f"SELECT citus_set_coordinator_host('{first.host}', {first.port})")
            for node in self.nodes[1:]:
                psql(url, f"SELECT citus_add_node('{node.host}', {node.port})")
        return url

    def drop(self, database):
        for node in self.nodes:
            psql(node.url, f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


class Program:
    """The program, on a database."""

    def __init__(self, path, url):
        self.path, self.url = path, url

    def run(self, *arguments, check=True):
        environment = {**os.environ, "CONN_LOG_DATABASE_URL": self.url}
        return subprocess.run([self.path, *arguments], env=environment, check=check, capture_output=True, text=True)

    def serve(self, port, time_max=120):
        """Starts a server, and waits until it answers."""
        begun = time.monotonic()
        with open(f"/tmp/citus-check-{port}.log", "w", encoding="utf-8") as log:
            server = subprocess.Popen([self.path, "serve"], stderr=log, env={
                **os.environ, "CONN_LOG_DATABASE_URL": self.url, "CONN_LOG_LISTEN": f"127.0.0.1:{port}",
                "CONN_LOG_WEBHOOK_ALLOW": "127.0.0.0/8"})
        while request(port, "none", path="/readyz")[0] == 0:
            if server.poll() is not None:
                raise RuntimeError(f"the server has ended: see {log.name}")
            if time.monotonic() - begun > time_max:
                server.kill()
                raise RuntimeError(f"the server does not answer within {time_max} s: see {log.name}")
            time.sleep(0.1)
        return server

    def token(self, tenant="default", scopes=("write", "read")):
        scopes = [part for scope in scopes for part in ("--scope", scope)]
        made = self.run("token", "create", "--name", "check", *scopes, "--tenant", tenant)
        return made.stdout.strip()


def event(name, **others):
    return {"device_id": "kills", "application_id": "app", "connection_type": "established", "status": "success",
            "timestamp": "2024-01-15T10:30:00Z", "event_id": name, **others}


def request(port, token, body=None, path=EVENTS, time_max=60):
    """The status, 0 without an answer, and the answer."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"})
    if body is not None:
        asked.data = json.dumps(body).encode()
        asked.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=time_max) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None
    except (OSError, ValueError):
        return 0, None


def whole_log(port, token):
    """The ids and names of a log, by the feed."""
    found, after = [], 0
    while True:
        status, page = request(port, token, path=f"{EVENTS}?order=id&after={after}&limit=1000")
        if status != 200:
            time.sleep(0.2)
            continue
        found += [(record["id"], record.get("event_id")) for record in page["results"]]
        if len(page["results"]) < 1000:
            return found
        after = found[-1][0]
