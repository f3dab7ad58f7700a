"""Starts what is monitored, each on a free port of this machine, and stops it again by its pid."""

import glob
import http.client
import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

# A program, and the Debian package that brings it.
PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "redis-server": "redis-server",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "pgbench": "postgresql",
    "psql": "postgresql-client",
    "pgbouncer": "pgbouncer",
    "prometheus-redis-exporter": "prometheus-redis-exporter",
    "prometheus-postgres-exporter": "prometheus-postgres-exporter",
    "prometheus-node-exporter": "prometheus-node-exporter",
}


def find(program):
    """The path of a program; Debian keeps PostgreSQL's own outside of PATH."""
    places = [os.environ["PATH"], "/usr/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"))]
    return shutil.which(program, path=os.pathsep.join(places))


def install_missing():
    """Installs what is missing with apt-get, and returns what is missing still."""
    packages = sorted({package for program, package in PROGRAMS.items() if not find(program)})
    if packages and shutil.which("apt-get"):
        print("installing", *packages, "with apt-get", flush=True)
        root = [] if os.geteuid() == 0 else ["sudo"]
        # In this runlevel Debian starts no service that it installs.
        env = [*root, "env", "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
        subprocess.run([*env, "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        install = [*env, "install", "-y", "-qq", "--no-install-recommends", *packages]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    return {program for program in PROGRAMS if not find(program)}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def wait_for(what, check, seconds=30):
    """Asks until `check` returns something; connections may be refused until then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := check():
                return found
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.2)


class Services:
    """All that was started, and where it writes."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.started = []
        self.targets = {}
        # PostgreSQL and PgBouncer refuse to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            self.folder.chmod(0o755)

    def start(self, name, *args, user=None, env=None):
        log = open(self.folder / f"{name}.log", "w")
        env = {**os.environ, **(env or {})}
        program = subprocess.Popen(
            [str(arg) for arg in args], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            user=user, env=env, cwd=self.folder,
        )
        self.started.append((name, program))
        return program

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def stop(self):
        for _, program in reversed(self.started):
            program.terminate()
        for _, program in reversed(self.started):
            try:
                program.wait(10)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

    def stop_one(self, name):
        program = next(program for other, program in self.started if other == name)
        program.terminate()
        program.wait(10)
        self.started.remove((name, program))

    def ended(self):
        return [name for name, program in self.started if program.poll() is not None]

    def exporter(self, job, check, program, *args, env=None):
        port = free_port()
        self.start(f"{job}-exporter", find(program), *args, f"127.0.0.1:{port}", env=env)
        self.targets[job] = f"127.0.0.1:{port}"
        url = f"http://{self.targets[job]}/metrics"
        wait_for(f"{check!r} of the {job} exporter", lambda: f"\n{check}" in fetch(url))

    def redis(self, port):
        self.start(
            "redis", find("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "",
            "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru",
        )

    def redis_exporter(self, redis):
        self.exporter(
            "redis", "redis_up 1", "prometheus-redis-exporter",
            "-redis.addr", redis, "-web.listen-address",
        )

    def proxy(self, program, origin, store):
        self.start(
            "proxy", program, "--listen", "127.0.0.1:0", "--origin", origin, "--store", store,
            "--admin", "127.0.0.1:0", "--ttl", "/items/**=60", "--on-write", "/items/{id}=/items/{id}",
        )

        def address(line):
            return [part.split("http://")[1] for part in self.said("proxy").splitlines() if part.startswith(line)]

        listening = wait_for("the proxy", lambda: address("listening on "))[0]
        self.targets["cache"] = address("admin on ")[0]
        return listening

    def postgres(self):
        port, data = free_port(), self.folder / "postgres"
        data.mkdir()
        if self.user:
            shutil.chown(data, self.user)
        initdb = [find("initdb"), "-D", data / "data", "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run(initdb, check=True, user=self.user, cwd=data, stdout=subprocess.DEVNULL)
        self.start(
            "postgres", find("postgres"), "-D", data / "data", "-p", port, "-h", "127.0.0.1",
            "-c", "unix_socket_directories=", "-c", "fsync=off", user=self.user,
        )
        wait_for("PostgreSQL", lambda: self.psql(port, "postgres", "CREATE DATABASE app"))
        self.exporter(
            "postgres", "pg_up 1", "prometheus-postgres-exporter", "--web.listen-address",
            env={"DATA_SOURCE_NAME": f"postgresql://postgres@127.0.0.1:{port}/app?sslmode=disable"},
        )
        return port

    def psql(self, port, database, command):
        url = f"postgresql://postgres@127.0.0.1:{port}/{database}"
        done = subprocess.run([find("psql"), "-X", "-q", "-c", command, url], capture_output=True)
        return done.returncode == 0

    def pgbouncer(self, postgres, metrics):
        port, config = free_port(), self.folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\napp = host=127.0.0.1 port={postgres} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\nadmin_users = postgres\nstats_users = postgres\n"
            "pool_mode = transaction\ndefault_pool_size = 2\n"
        )
        self.start("pgbouncer", find("pgbouncer"), config, user=self.user)
        wait_for("PgBouncer", lambda: self.psql(port, "app", "SELECT 1"))
        folder = self.folder / "textfiles"
        folder.mkdir()
        conninfo = f"host=127.0.0.1 port={port} user=postgres dbname=pgbouncer"
        self.start("pgbouncer-metrics", metrics, conninfo, folder / "pgbouncer.prom", 1)
        self.exporter(
            "pgbouncer", "pgbouncer_up 1", "prometheus-node-exporter",
            "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={folder}", "--web.listen-address",
        )
        return port

    def work_past_the_pool(self, postgres):
        """Makes a table, and opens a connection for a query every second."""
        if not self.psql(postgres, "app", "CREATE TABLE items AS SELECT generate_series(1, 1000) id"):
            raise SystemExit("cannot create a table")
        return repeat(1, lambda: self.psql(postgres, "app", "SELECT count(*) FROM items"))

    def work_through_the_pool(self, pgbouncer):
        script = self.folder / "transaction.sql"
        script.write_text("\\set id random(1, 1000)\nSELECT count(*) FROM items WHERE id <= :id;\n")
        self.start(
            "pgbench", find("pgbench"), "-n", "-h", "127.0.0.1", "-p", pgbouncer, "-U", "postgres",
            "-c", 4, "-R", 40, "-T", 600, "-f", script, "app",
        )

    def node(self):
        self.exporter("node", "node_cpu_seconds_total", "prometheus-node-exporter", "--web.listen-address")


def repeat(seconds, action):
    """Does something again and again, until the event that is returned is set."""
    stop = threading.Event()

    def run():
        while not stop.wait(seconds):
            action()

    threading.Thread(target=run, daemon=True).start()
    return stop


class Origin(http.server.BaseHTTPRequestHandler):
    """What the proxy is in front of: ten milliseconds of work for each request."""

    protocol_version = "HTTP/1.1"
    # Else the body waits for the head to be acknowledged.
    wbufsize = -1

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(0.01)
        body = f"{self.path}\n".encode() * 50
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        if self.path == "/items/13":
            # Served stale, and refreshed behind that.
            self.send_header("cache-control", "max-age=1, stale-while-revalidate=60")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def origin():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


class Load:
    """Reads, some eighty a second, and two writes a second.

    While `scattered` nine of ten reads are for what nobody has read before.
    """

    def __init__(self, address):
        self.address = address
        self.scattered = False
        self.failed = 0
        self.stop = threading.Event()
        for number in range(2):
            threading.Thread(target=self.read, args=(number,), daemon=True).start()
        threading.Thread(target=self.write, daemon=True).start()

    def send(self, connection, method, path):
        try:
            connection.request(method, path, body="" if method == "POST" else None)
            answer = connection.getresponse()
            answer.read()
            self.failed += answer.status != 200
        except (OSError, http.client.HTTPException):
            connection.close()
            self.failed += not self.stop.is_set()

    def read(self, number):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        count = 0
        while not self.stop.wait(0.025):
            count += 1
            item = count % 20
            if self.scattered and count % 10:
                item = f"{number}-{count}"
            self.send(connection, "GET", f"/items/{item}")

    def write(self):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        while not self.stop.wait(0.5):
            self.send(connection, "POST", "/items/7")
