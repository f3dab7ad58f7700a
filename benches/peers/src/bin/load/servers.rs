//! The servers and their configuration: one thread, enough memory, an hour of freshness.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use peers::{KIB, LARGE, PEERS, Peer, SMALL};

use crate::process::{self, Folder, Process};
use crate::serve;
use crate::wrk::KEYS;

/// A server that runs.
pub struct Server {
    pub name: &'static str,
    pub port: u16,
    /// The port on which the handlers behind it report how often they were called.
    count: u16,
    pub process: Process,
    /// Dropped after the process that works in it.
    _folder: Folder,
}

/// A server for HTTP that is not part of this package.
struct Proxy {
    name: &'static str,
    program: fn() -> Result<String, String>,
    /// Writes its configuration and returns its arguments.
    arguments: fn(&Folder, u16, u16) -> Result<Vec<String>, String>,
}

const REVERSE_PROXY: &str = "reverse_proxy, from the memory of another process";

const PROXIES: [Proxy; 5] = [
    Proxy {
        name: REVERSE_PROXY,
        program: reverse_proxy,
        arguments: |_, port, origin| {
            Ok(words(&format!(
                "--listen 127.0.0.1:{port} --origin http://127.0.0.1:{origin} --threads 1 --ttl /**=3600"
            )))
        },
    },
    Proxy {
        name: "haproxy",
        program: || installed("haproxy", "-v"),
        arguments: haproxy,
    },
    Proxy {
        name: "trafficserver",
        program: || installed("traffic_server", "--version"),
        arguments: traffic_server,
    },
    Proxy {
        name: "varnish",
        program: || installed("varnishd", "-V"),
        arguments: varnish,
    },
    Proxy {
        name: "nginx",
        program: || installed("nginx", "-v"),
        arguments: nginx,
    },
];

/// Starts all servers wanted, the bare router first; returns them, and those that could not start with
/// the reasons.
pub fn start(wanted: impl Fn(&str) -> bool) -> Result<(Vec<Server>, Vec<String>), String> {
    let mut missing = Vec::new();
    let mut servers = vec![peer(Peer::Bare)?, peer(Peer::BareOfMany)?];
    for one in PEERS
        .into_iter()
        .filter(|&one| one != Peer::Bare && wanted(one.name()))
    {
        servers.push(peer(one)?);
    }
    let (origin, count) = (servers[0].port, servers[0].count);
    for proxy in PROXIES
        .iter()
        .filter(|proxy| wanted(proxy.name) || wanted(short(proxy.name)))
    {
        match (proxy.program)().and_then(|program| proxy.start(&program, origin, count)) {
            Ok(server) => servers.push(server),
            Err(error) => missing.push(format!("{}: {error}", proxy.name)),
        }
    }
    Ok((servers, missing))
}

fn short(name: &str) -> &str {
    name.split(',').next().unwrap_or(name)
}

fn peer(peer: Peer) -> Result<Server, String> {
    let (folder, port, count) = (
        Folder::new(&peer.name().replace(' ', "-"))?,
        process::port()?,
        process::port()?,
    );
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let arguments = [
        serve::ROLE,
        peer.name(),
        &port.to_string(),
        &count.to_string(),
    ]
    .map(str::to_owned);
    let process = Process::start(&folder, &program.to_string_lossy(), &arguments)?;
    let server = Server {
        name: peer.name(),
        port,
        count,
        process,
        _folder: folder,
    };
    server.once_it_listens()
}

impl Proxy {
    fn start(&self, program: &str, origin: u16, count: u16) -> Result<Server, String> {
        let (folder, port) = (Folder::new(short(self.name))?, process::port()?);
        let arguments = (self.arguments)(&folder, port, origin)?;
        let process = Process::start(&folder, program, &arguments)?;
        let server = Server {
            name: self.name,
            port,
            count,
            process,
            _folder: folder,
        };
        server.once_it_listens()
    }
}

impl Server {
    pub fn is_bare(&self) -> bool {
        [Peer::Bare.name(), Peer::BareOfMany.name()].contains(&self.name)
    }

    pub fn is_ours(&self) -> bool {
        [Peer::Ours.name(), REVERSE_PROXY].contains(&self.name)
    }

    fn once_it_listens(mut self) -> Result<Self, String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while get(self.port, &["/none".to_owned()], None).is_err() {
            sleep(Duration::from_millis(50));
            if self.process.has_ended() || Instant::now() > deadline {
                return Err(format!("it does not answer: {}", self.process.log()));
            }
        }
        Ok(self)
    }

    /// Returns how often the handlers behind it were called.
    pub fn handler_calls(&self) -> Result<u64, String> {
        let mut text = String::new();
        let read = TcpStream::connect(("127.0.0.1", self.count))
            .and_then(|mut stream| stream.read_to_string(&mut text));
        read.map_err(|error| format!("{}: {error}", self.name))?;
        text.parse()
            .map_err(|_| format!("{}: {text:?} is not a number", self.name))
    }

    /// Requests everything twice.
    pub fn warm_up(&self) -> Result<(), String> {
        let small: Vec<String> = (1..=KEYS).map(|key| format!("{SMALL}{key}")).collect();
        for _ in 0..2 {
            get(self.port, &small, Some(KIB))
                .and_then(|()| get(self.port, &[format!("{LARGE}7")], Some(64 * KIB)))
                .map_err(|error| format!("{}: {error}", self.name))?;
        }
        Ok(())
    }
}

/// Requests paths, one after the other, and checks the length of each body if one is expected.
fn get(port: u16, paths: &[String], expected: Option<usize>) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .map_err(text)?;
    let mut reader = BufReader::new(stream.try_clone().map_err(text)?);
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(text)?;
        let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
        while reader.read_line(&mut line).map_err(text)? > 2 {
            match line.split_once(':') {
                _ if status.is_empty() => status = line.trim().to_owned(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(|_| line.clone())?;
                }
                _ => {}
            }
            line.clear();
        }
        if status.is_empty() {
            return Err("it has closed the connection".to_owned());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).map_err(text)?;
        if expected.is_some_and(|expected| length != expected || !status.contains(" 200")) {
            return Err(format!("{path}: {status}, {length} bytes"));
        }
    }
    Ok(())
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Returns the program if it is there.
fn installed(program: &str, version: &str) -> Result<String, String> {
    // The directories of daemons are not on everyone's path.
    for folder in ["", "/usr/sbin/", "/usr/local/sbin/", "/opt/homebrew/sbin/"] {
        let path = format!("{folder}{program}");
        let found = Command::new(&path)
            .arg(version)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_ok() {
            return Ok(path);
        }
    }
    Err("not installed".to_owned())
}

/// Builds the crate's example.
fn reverse_proxy() -> Result<String, String> {
    let crate_folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = env::var_os("CARGO_TARGET_DIR").map_or(crate_folder.join("target"), PathBuf::from);
    let built = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--example",
            "reverse_proxy",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(&crate_folder)
        .status();
    let program = fs::canonicalize(target.join("release/examples/reverse_proxy"));
    match (built, program) {
        (Ok(status), Ok(program)) if status.success() => Ok(program.to_string_lossy().into_owned()),
        _ => Err("it could not be built".to_owned()),
    }
}

fn haproxy(folder: &Folder, port: u16, origin: u16) -> Result<Vec<String>, String> {
    let config = format!(
        "global\n nbthread 1\n maxconn 2000\n\
         defaults\n mode http\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n\
         cache hits\n total-max-size 256\n max-object-size 200000\n max-age 3600\n\
         frontend all\n bind 127.0.0.1:{port}\n\
         \x20http-request cache-use hits\n http-response cache-store hits\n default_backend origin\n\
         backend origin\n server origin 127.0.0.1:{origin}\n"
    );
    Ok(vec![
        "-db".into(),
        "-f".into(),
        folder.write("haproxy.cfg", &config)?,
    ])
}

fn varnish(folder: &Folder, port: u16, origin: u16) -> Result<Vec<String>, String> {
    let vcl =
        format!("vcl 4.1;\nbackend origin {{ .host = \"127.0.0.1\"; .port = \"{origin}\"; }}\n");
    let vcl = folder.write("default.vcl", &vcl)?;
    let work = folder.path().join("work");
    let line = format!(
        "-F -j none -a 127.0.0.1:{port} -s malloc,256m -f {vcl} -n {}",
        work.display()
    );
    Ok(words(&line))
}

fn nginx(folder: &Folder, port: u16, origin: u16) -> Result<Vec<String>, String> {
    let here = folder.path().display();
    let mut config = String::new();
    // Its workers drop root's rights, and could then not write to this folder.
    if let Some(user) = env::var_os("USER").or_else(|| root().then(|| "root".into())) {
        let _ = writeln!(config, "user {};", user.to_string_lossy());
    }
    let _ = write!(
        config,
        "worker_processes 1; daemon off; pid {here}/pid; error_log {here}/error;\n\
         worker_rlimit_nofile 20000; events {{ worker_connections 15000; }}\n\
         http {{\n access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
         \x20client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/f;\n\
         \x20uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n\
         \x20proxy_cache_path {here}/cache keys_zone=hits:64m max_size=256m inactive=1h;\n\
         \x20upstream origin {{ server 127.0.0.1:{origin}; keepalive 32; }}\n\
         \x20server {{ listen 127.0.0.1:{port};\n  location / {{ proxy_pass http://origin; proxy_http_version 1.1;\n\
         \x20  proxy_set_header Connection ''; proxy_cache hits; }} }}\n}}\n"
    );
    Ok(vec![
        "-c".into(),
        folder.write("nginx.conf", &config)?,
        "-p".into(),
        here.to_string(),
    ])
}

fn root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

fn traffic_server(folder: &Folder, port: u16, origin: u16) -> Result<Vec<String>, String> {
    let here = folder.path().display().to_string();
    let records = format!(
        "CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1\n\
         CONFIG proxy.config.exec_thread.autoconfig INT 0\nCONFIG proxy.config.exec_thread.limit INT 1\n\
         CONFIG proxy.config.task_threads INT 1\nCONFIG proxy.config.log.logging_enabled INT 0\n\
         CONFIG proxy.config.cache.ram_cache.size INT 268435456\nCONFIG proxy.config.net.connections_throttle INT 15000\n\
         CONFIG proxy.config.admin.user_id STRING #-1\n"
    );
    folder.write("records.config", &records)?;
    folder.write(
        "remap.config",
        &format!("map / http://127.0.0.1:{origin}/\n"),
    )?;
    folder.write("storage.config", &format!("{here} 268435456\n"))?;
    folder.write("plugin.config", "")?;
    let allow =
        "ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: allow\n    methods: ALL\n";
    folder.write("ip_allow.yaml", allow)?;
    let mut root = format!("prefix: {here}\nexec_prefix: {here}\n");
    for what in [
        "bindir",
        "sbindir",
        "sysconfdir",
        "datadir",
        "includedir",
        "libdir",
        "libexecdir",
        "localstatedir",
        "runtimedir",
        "logdir",
        "mandir",
        "infodir",
        "cachedir",
    ] {
        let _ = writeln!(root, "{what}: {here}");
    }
    folder.write("runroot.yaml", &root)?;
    Ok(vec![format!("--run-root={here}/runroot.yaml")])
}
