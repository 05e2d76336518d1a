"""Kills, freezes and moves nodes of a Citus cluster under load, and looks whether events were lost or doubled.

Usage: citus_kills.py COORDINATOR_URL PROGRAM [TRIAL …]

`citus_hung` has the trials beside a worker that hangs. The cluster must be on this machine: nodes are killed by their process ids, and started again from
their data directories. `scripts/citus-check` calls it. Without the names of trials it runs all but
`unreachable`, which drops packets of the loopback device: it needs root, `tc`, and a network
namespace of its own (`unshare -n`) with the cluster in it.
"""

import shutil
import signal
import subprocess
import sys
import threading
import time

import citus_hung
from citus_cluster import (Cluster, Node, Program, as_owner, event, free_port, note_result, psql, request,
                           whole_log)

PORTS = (free_port(), free_port())
DATABASE = "conn_log_kills"
# Seconds until a server has seen where a tenant's rows are.
LANES_AFTER = 11
TENANTS = [f"tenant_{number}" for number in range(1, 7)]


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


class Trial:
    """Two servers, six tenants, and the nodes."""

    def __init__(self, url, path):
        self.cluster, self.ports = Cluster(url), PORTS
        self.nodes = self.cluster.nodes
        self.url = self.cluster.make(DATABASE)
        self.program = Program(path, self.url)
        self.program.run("migrate", "--citus")
        self.tokens = {}
        for tenant in TENANTS:
            self.program.run("tenant", "create", tenant)
            self.tokens[tenant] = self.program.token(tenant)
        self.place_tenants()
        self.servers = [self.program.serve(port) for port in PORTS]
        self.faults = 0

    def place_tenants(self):
        self.node_of = {tenant: self.placement(index) for index, tenant in enumerate(TENANTS)}

    def placement(self, index):
        """The node of the tenant with that index."""
        return psql(self.url, f"SELECT nodename || ':' || nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid) WHERE shardid = {self.shard(index)}")

    def shard(self, index):
        # The first tenant is `default`.
        return psql(self.url, f"SELECT get_shard_id_for_distribution_column('heads', {index + 2})")

    def under_load(self, what, disturb, batch=1):
        """Runs clients of every tenant while `disturb` does something to a node, and looks at the logs."""
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
        self.check_logs(what, clients)
        self.report(what, hit, clients)
        self.place_tenants()

    def check_logs(self, what, clients):
        for tenant, token in self.tokens.items():
            log = whole_log(PORTS[0], token)
            ids = [number for number, _ in log]
            self.expect(ids == list(range(1, len(ids) + 1)), f"{what}: {tenant} has a gap")
            names = {}
            for number, name in log:
                self.expect(name not in names, f"{what}: {tenant} has {name} twice")
                names[name] = number
            for client in clients:
                if client.tenant == tenant:
                    for name, number in client.acknowledged.items():
                        self.expect(names.get(name) == number, f"{what}: {tenant} lost {name}")

    def report(self, what, hit, clients):
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
        acknowledged = sum(len(client.acknowledged) for client in clients)
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

    def shut_down(self, node):
        """Ends the sessions of a node as an upgrade does, and starts it again."""
        def disturb():
            node.stop()
            time.sleep(1)
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

    def unreachable(self, node, seconds):
        """Drops the packets to and from a node, as a network that breaks does."""
        def tc(*arguments):
            subprocess.run(["tc", *arguments], check=True)

        # IPv4 and TCP, with the port as source (byte 34) or destination (byte 36): dropped.
        port = node.port
        program = (f"10,40 0 0 12,21 0 7 2048,48 0 0 23,21 0 5 6,40 0 0 34,21 2 0 {port},"
                   f"40 0 0 36,21 0 1 {port},6 0 0 2,6 0 0 0")

        def disturb():
            tc("qdisc", "add", "dev", "lo", "clsact")
            tc("filter", "add", "dev", "lo", "ingress", "protocol", "ip", "bpf", "direct-action", "bytecode", program)
            time.sleep(seconds)
            tc("qdisc", "del", "dev", "lo", "clsact")
            return node.address
        return disturb

    def in_two_phases(self, node):
        """Kills a node between PREPARE TRANSACTION and COMMIT PREPARED."""
        def disturb():
            # The coordinator's own commit comes between the two, and waits for a standby that is not there.
            self.nodes[0].configure("SET synchronous_standby_names = 'nobody'")
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

    def moved(self):
        """Moves the rows of the first tenant to another worker."""
        here = self.placement(0)
        source = next(node for node in self.nodes if node.address == here)
        target = next(node for node in self.nodes[1:] if node is not source)

        def disturb():
            begun = time.monotonic()
            psql(self.url, f"SELECT citus_move_shard_placement({self.shard(0)}, '{source.host}', {source.port}, "
                           f"'{target.host}', {target.port}, shard_transfer_mode => 'force_logical')")
            print(f"shard moved: in {time.monotonic() - begun:.1f} s", flush=True)
            self.expect(self.placement(0) == target.address, "the shard has not moved")
            # Until then its tenants are in the lane of the former node.
            time.sleep(LANES_AFTER)
            return source.address
        return disturb

    def away_at_start(self, node):
        """Starts a server while a node is away: it serves the tenants of the other nodes."""
        def status(tenant):
            return request(PORTS[1], self.tokens[tenant], event(f"start-{time.monotonic()}"))[0]
        self.servers[1].terminate()
        self.servers[1].wait()
        node.kill()
        begun = time.monotonic()
        self.servers[1] = self.program.serve(PORTS[1])
        print(f"away at start: the server answers after {time.monotonic() - begun:.1f} s", flush=True)
        for tenant in TENANTS:
            wanted = 503 if self.node_of[tenant] == node.address else 201
            got = status(tenant)
            self.expect(got == wanted, f"away at start: {tenant} gets {got} and not {wanted}")
        self.expect(request(PORTS[1], "none", path="/readyz")[0] == 200, "away at start: it is not ready")
        node.start()
        begun = time.monotonic()
        theirs = [tenant for tenant in TENANTS if self.node_of[tenant] == node.address]
        while not all(status(tenant) == 201 for tenant in theirs):
            if time.monotonic() - begun > 60:
                self.expect(False, "away at start: its tenants get no 201")
                break
            time.sleep(0.1)
        print(f"away at start: its tenants get 201 after {time.monotonic() - begun:.1f} s", flush=True)

    def failed_over(self, node):
        """Has a standby take the place of a worker that is killed. The last trial: the worker stays away."""
        data = f"{node.data}-standby"
        shutil.rmtree(data, ignore_errors=True)
        port = str(free_port())
        as_owner(node.data, "pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast",
                 "-d", f"host={node.host} port={node.port} user=postgres application_name=standby")
        as_owner(data, "pg_ctl", "start", "-w", "-s", "-D", data, "-o", f"-p {port}", "-l", f"{data}.log")
        # Without it the last events would be lost with the worker.
        node.configure("SET synchronous_standby_names = 'standby'")
        number = psql(self.url, f"SELECT nodeid FROM pg_dist_node WHERE nodeport = {node.port}")

        def disturb():
            node.kill()
            begun = time.monotonic()
            as_owner(data, "pg_ctl", "promote", "-w", "-s", "-D", data)
            psql(self.url, f"SELECT citus_update_node({number}, '{node.host}', {port}, force => true)")
            print(f"failover: {time.monotonic() - begun:.1f} s from the kill to the new address", flush=True)
            return node.address
        try:
            self.under_load("worker failed over", disturb)
        finally:
            for server in self.servers:
                server.terminate()
            standby = Node(node.coordinator, f"{node.host}:{port}")
            standby.kill()
            node.start()
            psql(node.url, "SET synchronous_commit = local", "ALTER SYSTEM RESET synchronous_standby_names",
                 "SELECT pg_reload_conf()")
            shutil.rmtree(data, ignore_errors=True)

    def run(self, name, work):
        """Runs a trial, and tells its result."""
        before, begun, result = self.faults, time.monotonic(), "broken off"
        try:
            work()
            faults = self.faults - before
            result = f"{faults} faults" if faults else "ok"
        finally:
            note_result(f"trial: {name}", result, begun)

    def close(self):
        for server in self.servers:
            server.terminate()
        for server in self.servers:
            server.wait()
        self.cluster.drop(DATABASE)


def pairs(entries):
    return zip(entries, entries[1:])


def main():
    trial = Trial(sys.argv[1], sys.argv[2])
    coordinator, worker, other = trial.nodes[0], trial.nodes[1], trial.nodes[-1]
    trials = {
        "coordinator": lambda: trial.under_load("coordinator killed", trial.killed(coordinator)),
        "killed": lambda: [trial.under_load(f"worker {node.port} killed", trial.killed(node)) for node in trial.nodes[1:]],
        "shut-down": lambda: trial.under_load("worker shut down", trial.shut_down(worker)),
        "frozen": lambda: trial.under_load("worker frozen 15 s", trial.frozen(worker, 15)),
        "two-phases": lambda: trial.under_load("two phases", trial.in_two_phases(worker), batch=30),
        "start": lambda: trial.away_at_start(worker),
        "frozen-start": lambda: citus_hung.frozen_at_start(trial, worker),
        "webhooks": lambda: citus_hung.deliveries_beside(trial, worker),
        "move": lambda: [trial.under_load(f"shard moved, {number}", trial.moved()) for number in (1, 2, 3)],
        "failover": lambda: trial.failed_over(other),
        "unreachable": lambda: trial.under_load("worker unreachable 30 s", trial.unreachable(worker, 30)),
    }
    try:
        for name in sys.argv[3:] or [name for name in trials if name != "unreachable"]:
            trial.run(name, trials[name])
    finally:
        trial.close()
    sys.exit(1 if trial.faults else 0)


main()
