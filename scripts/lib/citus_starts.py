"""Tries `conn-log migrate --citus`, and the starts that are refused, on a Citus cluster.

Usage: citus_starts.py COORDINATOR_URL PROGRAM

`scripts/citus-check` calls it. It makes and removes a database on every node, and changes a setting
of a worker for a moment.
"""

import subprocess
import sys
import time

from citus_cluster import Cluster, Program, event, free_port, note_result, psql, request, whole_log

DATABASE = "conn_log_starts"
PORT = free_port()
# Seconds to wait for what a server notices by itself within ten.
NOTICED_MAX = 60


class Checks:
    """What was found not to hold."""

    def __init__(self, path, cluster):
        self.path, self.cluster, self.faults, self.count = path, cluster, 0, 0

    def program(self, url):
        return Program(self.path, url)

    def expect(self, what, holds, seen):
        self.count += 1
        print(f"{'ok   ' if holds else 'FAULT'} {what}", flush=True)
        if not holds:
            self.faults += 1
            print(seen, flush=True)

    def refuses(self, what, program, words, *arguments):
        """The program ends with an error that has these words."""
        try:
            done = subprocess.run([program.path, *arguments, "--database-url", program.url], capture_output=True,
                                  text=True, timeout=30, check=False)
            said = done.stdout + done.stderr
            self.expect(what, done.returncode != 0 and words in said, said)
        except subprocess.TimeoutExpired:
            self.expect(what, False, "it does not end")


def refusals_to_migrate(checks):
    cluster = checks.cluster
    url = cluster.make(DATABASE, extension=False, workers=False)
    checks.refuses("a database without the extension", checks.program(url), "no extension citus", "migrate", "--citus")
    url = cluster.make(DATABASE, workers=False)
    checks.refuses("a coordinator that the workers do not know", checks.program(url),
                   "citus_set_coordinator_host", "migrate", "--citus")
    first = cluster.nodes[0]
    psql(url, f"SELECT citus_set_coordinator_host('{first.host}', {first.port})")
    checks.refuses("a cluster without a worker", checks.program(url), "citus_add_node", "migrate", "--citus")
    url = cluster.make(DATABASE)
    on_worker = checks.program(cluster.nodes[1].database(DATABASE))
    checks.refuses("a worker's URL", on_worker, "this is a worker", "migrate", "--citus")


def log_with_events(checks):
    """A log that had events before it was distributed."""
    program = checks.program(checks.cluster.make(DATABASE))
    program.run("migrate")
    token = program.token()
    names = [f"before-{number}" for number in range(30)]
    with_server(program, lambda: request(PORT, token, [event(name) for name in names]))
    said = program.run("migrate", "--citus").stderr
    checks.expect("the first run says what it did",
                  "events is distributed by tenant" in said and "hidden copy of events" in said, said)
    left = psql(program.url, "SELECT count(*) FROM pg_dist_partition WHERE partmethod = 'h' AND "
                             "logicalrelid IN ('heads'::regclass, 'events'::regclass)")
    checks.expect("heads and events are distributed", left == "2", left)
    said = program.run("migrate", "--citus").stderr
    checks.expect("the second run does nothing", "distributed" not in said and "emptied" not in said, said)

    def go_on():
        status, record = request(PORT, token, event("after"))
        log = whole_log(PORT, token)
        return status, record["id"], [name for _, name in log] == [*names, "after"]
    seen = with_server(program, go_on)
    checks.expect("events from before are there, and ids go on", seen == (201, 31, True), seen)
    return program


def refusals_to_start(checks, program):
    psql(program.url, "SELECT undistribute_table('rejects')")
    checks.refuses("a table that is not where it belongs", program, "conn-log migrate --citus", "serve")
    program.run("migrate", "--citus")
    worker = checks.cluster.nodes[1]
    worker.configure("SET fsync = off")
    try:
        checks.refuses("a worker with fsync = off", program, "fsync = off", "serve")
    finally:
        worker.configure("RESET fsync")
    # The setting of the database, which `migrate --citus` makes, comes before that of the node.
    worker.configure("SET synchronous_commit = off")
    try:
        seen = with_server(program, lambda: request(PORT, "none", path="/readyz")[0])
        checks.expect("it starts beside a worker's own synchronous_commit = off", seen == 200, seen)
    finally:
        worker.configure("RESET synchronous_commit")
    role = "ALTER ROLE CURRENT_USER IN DATABASE " + DATABASE
    psql(program.url, f"{role} SET synchronous_commit = off")
    try:
        checks.refuses("workers with synchronous_commit = off for the role", program, "synchronous_commit = off", "serve")
    finally:
        psql(program.url, f"{role} RESET synchronous_commit")
    seen = with_server(program, lambda: request(PORT, "none", path="/readyz")[0])
    checks.expect("it starts once the settings are as before", seen == 200, seen)


def settings_that_change(checks, program):
    """A worker that no longer syncs its files while a server runs."""
    token = program.token()
    shard = "get_shard_id_for_distribution_column('heads', 1)"
    address = psql(program.url, "SELECT nodename || ':' || nodeport FROM pg_dist_placement "
                                f"JOIN pg_dist_node USING (groupid) WHERE shardid = {shard}")
    node = next(node for node in checks.cluster.nodes if node.address == address)

    def status_until(wanted):
        """The last status, and the seconds until it was the wanted one."""
        begun = time.monotonic()
        while True:
            status, _ = request(PORT, token, event(f"durable-{time.monotonic()}"))
            passed = time.monotonic() - begun
            if status == wanted or passed > NOTICED_MAX:
                return status, round(passed, 1)
            time.sleep(0.1)

    def change():
        seen = [status_until(201)]
        for setting, status in (("SET fsync = off", 503), ("RESET fsync", 201)):
            node.configure(setting)
            seen.append(status_until(status))
        return seen
    try:
        seen = with_server(program, change)
    finally:
        node.configure("RESET fsync")
    checks.expect(f"a worker that turns fsync off gets no event until it is on: {seen}",
                  [status for status, _ in seen] == [201, 503, 201], seen)
    with open(f"/tmp/citus-check-{PORT}.log", encoding="utf-8") as log:
        said = log.read()
    checks.expect("the server's log says which worker, and why", f"{address} has fsync = off" in said, said)


def with_server(program, work):
    server = program.serve(PORT)
    try:
        return work()
    finally:
        server.terminate()
        server.wait()


def main():
    begun = time.monotonic()
    checks = Checks(sys.argv[2], Cluster(sys.argv[1]))
    refusals_to_migrate(checks)
    program = log_with_events(checks)
    refusals_to_start(checks, program)
    settings_that_change(checks, program)
    checks.cluster.drop(DATABASE)
    note_result("migrate --citus, starts and settings", f"{checks.count - checks.faults} of {checks.count}", begun)
    sys.exit(1 if checks.faults else 0)


main()
