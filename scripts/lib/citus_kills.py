"""Kills the nodes of a Citus cluster under load, and looks whether events were lost or doubled.

Usage: citus_kills.py COORDINATOR_URL PROGRAM

The cluster must be on this machine: nodes are killed by their process ids, and started again from
their data directories. `scripts/citus-check` calls it.
"""

import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

EVENTS = "/api/v1/device_app_connection_log/"
PORTS = (27191, 27192)
DATABASE = "conn_log_kills"
TENANTS = [f"tenant_{number}" for number in range(1, 7)]


def psql(url, *commands):
    """The answer to the last command, as text."""
    arguments = [part for command in commands for part in ("-c", command)]
    done = subprocess.run(["psql", "-XAtq", url, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Node:
    """A node of the cluster."""

    def __init__(self, coordinator, address):
        self.url = coordinator._replace(netloc=f"{coordinator.username}@{address}", path="/postgres").geturl()
        self.address = address
        self.data = psql(self.url, "SHOW data_directory")
        self.port = address.rsplit(":", 1)[1]
        self.folder = psql(self.url, "SHOW unix_socket_directories")

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
        binary = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        command = [f"{binary}/pg_ctl", "start", "-w", "-s", "-D", self.data, "-o", f"-p {self.port}",
                   "-l", f"{self.data}/../started-again.log"]
        owner = pwd.getpwuid(os.stat(self.data).st_uid).pw_name
        if os.geteuid() == 0:
            command = ["runuser", "-u", owner, "--", *command]
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Client(threading.Thread):
    """Registers one event, or a batch, after the other, each until it is acknowledged."""

    def __init__(self, tenant, token, number, ends, batch=1):
        super().__init__(daemon=True)
        self.tenant, self.token, self.number, self.ends, self.batch = tenant, token, number, ends, batch
        self.acknowledged, self.statuses, self.log = {}, {}, []

    def run(self):
        count = 0
        while not self.ends.is_set():
            names = [f"{self.number}-{count + index}" for index in range(self.batch)]
            count += self.batch
            events = [event(name) for name in names]
            while True:
                begun = time.monotonic()
                status, answer = request(PORTS[count % 2], self.token, events if self.batch > 1 else events[0])
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self.log.append((begun, status, time.monotonic() - begun))
                if status in (200, 201):
                    break
                if self.ends.is_set():
                    return
                time.sleep(0.05)
            records = answer["results"] if self.batch > 1 else [answer]
            for name, record in zip(names, records):
                self.acknowledged[name] = (record.get("record") or record)["id"]


def event(name):
    return {"device_id": "kills", "application_id": "app", "connection_type": "established", "status": "success",
            "timestamp": "2024-01-15T10:30:00Z", "event_id": name}


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


def whole_log(token):
    """The ids and names of a log, by the feed."""
    found, after = [], 0
    while True:
        status, page = request(PORTS[0], token, path=f"{EVENTS}?order=id&after={after}&limit=1000")
        if status != 200:
            time.sleep(0.2)
            continue
        found += [(record["id"], record.get("event_id")) for record in page["results"]]
        if len(page["results"]) < 1000:
            return found
        after = found[-1][0]


class Trial:
    """Two servers, six tenants, and the nodes."""

    def __init__(self, url, program):
        coordinator = urlsplit(url)
        addresses = psql(url, "SELECT nodename || ':' || nodeport FROM pg_dist_node WHERE noderole = 'primary' ORDER BY groupid")
        self.nodes = [Node(coordinator, address) for address in addresses.split()]
        self.program = program
        for node in self.nodes:
            psql(node.url, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}")
            psql(urlsplit(node.url)._replace(path=f"/{DATABASE}").geturl(), "CREATE EXTENSION citus")
        self.url = coordinator._replace(path=f"/{DATABASE}").geturl()
        host, port = self.nodes[0].address.rsplit(":", 1)
        psql(self.url, f"SELECT citus_set_coordinator_host('{host}', {port})")
        for node in self.nodes[1:]:
            host, port = node.address.rsplit(":", 1)
            psql(self.url, f"SELECT citus_add_node('{host}', {port})")
        self.run("migrate", "--citus")
        self.tokens = {}
        for tenant in TENANTS:
            self.run("tenant", "create", tenant)
            made = self.run("token", "create", "--name", "kills", "--scope", "write", "--scope", "read", "--tenant", tenant)
            self.tokens[tenant] = made.stdout.strip()
        self.node_of = {}
        for index, tenant in enumerate(TENANTS):
            self.node_of[tenant] = psql(self.url, f"SELECT nodename || ':' || nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid) WHERE shardid = get_shard_id_for_distribution_column('heads', {index + 2})")
        self.servers = [self.serve(port) for port in PORTS]
        self.faults = 0

    def run(self, *arguments):
        return subprocess.run([self.program, *arguments], env={**os.environ, "CONN_LOG_DATABASE_URL": self.url},
                              check=True, capture_output=True, text=True)

    def serve(self, port):
        log = open(f"/tmp/citus-kills-{port}.log", "w", encoding="utf-8")
        server = subprocess.Popen([self.program, "serve"], stderr=log, env={
            **os.environ, "CONN_LOG_DATABASE_URL": self.url, "CONN_LOG_LISTEN": f"127.0.0.1:{port}"})
        while request(port, "none", path="/readyz")[0] == 0:
            time.sleep(0.1)
        return server

    def under_load(self, what, disturb, batch=1):
        """Runs clients of every tenant while `disturb` does something to a node, and looks at the logs."""
        before = {tenant: len(whole_log(token)) for tenant, token in self.tokens.items()}
        ends = threading.Event()
        clients = [Client(tenant, token, f"{what}-{index}", ends, batch)
                   for tenant, token in self.tokens.items() for index in range(2)]
        for client in clients:
            client.start()
        time.sleep(1)
        hit = disturb()
        time.sleep(2)
        ends.set()
        for client in clients:
            client.join()
        acknowledged = 0
        for tenant, token in self.tokens.items():
            log = whole_log(token)
            ids = [number for number, _ in log]
            self.expect(ids == list(range(1, len(ids) + 1)), f"{what}: {tenant} has a gap")
            names = {}
            for number, name in log:
                self.expect(name not in names, f"{what}: {tenant} has {name} twice")
                names[name] = number
            for client in clients:
                if client.tenant == tenant:
                    acknowledged += len(client.acknowledged)
                    for name, number in client.acknowledged.items():
                        self.expect(names.get(name) == number, f"{what}: {tenant} lost {name}")
        del before
        self.report(what, hit, clients, acknowledged)

    def report(self, what, hit, clients, acknowledged):
        """What the clients saw: those of the node that was hit, and the others."""
        for is_hit, whose in ((True, "its tenants"), (False, "other tenants")):
            those = [client for client in clients if (self.node_of[client.tenant] == hit) == is_hit]
            statuses = {}
            for client in those:
                for status, count in client.statuses.items():
                    statuses[status] = statuses.get(status, 0) + count
            longest = max((seconds for client in those for _, _, seconds in client.log), default=0)
            gap = max((later[0] - sooner[0] for client in those
                       for sooner, later in pairs([entry for entry in client.log if entry[1] in (200, 201)])), default=0)
            print(f"{what:24} {whose:13} statuses {dict(sorted(statuses.items()))}, longest answer {longest:.1f} s, "
                  f"longest time between two 2xx {gap:.1f} s")
        print(f"{what:24} {acknowledged} events acknowledged, all there once, ids without a gap" if not self.faults
              else f"{what:24} FAULTS: {self.faults}", flush=True)

    def expect(self, holds, fault):
        if not holds:
            self.faults += 1
            print(f"FAULT: {fault}", flush=True)

    def killed(self, node):
        def disturb():
            node.kill()
            time.sleep(3)
            node.start()
            return node.address
        return disturb

    def frozen(self, node, seconds):
        def disturb():
            node.send(signal.SIGSTOP)
            time.sleep(seconds)
            node.send(signal.SIGCONT)
            return node.address
        return disturb

    def in_two_phases(self, node):
        """Kills a node between PREPARE TRANSACTION and COMMIT PREPARED."""
        def disturb():
            # The coordinator's own commit comes between the two, and waits for a standby that is not there.
            psql(self.nodes[0].url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
            prepared = "SELECT count(*) FROM pg_prepared_xacts"
            while psql(node.url, prepared) == "0":
                time.sleep(0.02)
            count = psql(node.url, prepared)
            node.kill()
            psql(self.nodes[0].url, "SET synchronous_commit = local", "ALTER SYSTEM RESET synchronous_standby_names",
                 "SELECT pg_reload_conf()")
            time.sleep(2)
            node.start()
            begun = time.monotonic()
            print(f"two phases: {count} prepared when killed, {psql(node.url, prepared)} after the start", flush=True)
            while psql(node.url, prepared) != "0" and time.monotonic() - begun < 150:
                time.sleep(0.2)
            print(f"two phases: none is left after {time.monotonic() - begun:.1f} s", flush=True)
            return node.address
        return disturb

    def close(self):
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait()


def pairs(entries):
    return zip(entries, entries[1:])


def main():
    trial = Trial(sys.argv[1], sys.argv[2])
    try:
        for node in trial.nodes:
            name = "coordinator" if node is trial.nodes[0] else f"worker {node.port}"
            trial.under_load(f"{name} killed", trial.killed(node))
        trial.under_load("worker frozen 15 s", trial.frozen(trial.nodes[1], 15))
        trial.under_load("two phases", trial.in_two_phases(trial.nodes[1]), batch=30)
    finally:
        trial.close()
    sys.exit(1 if trial.faults else 0)


main()
