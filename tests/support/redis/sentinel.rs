//! A master with replicas, watched by sentinels that replace it.

use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Connection, Redis, Reply, wait_for};

/// The name under which the sentinels know their master.
pub const SERVICE: &str = "main";

/// How long the sentinels are given for a failover before they are asked for it again.
const FAILOVER: Duration = Duration::from_secs(15);

/// A master, two replicas and three sentinels.
#[derive(Debug)]
pub struct Sentinel {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<Redis>,
    /// Under which ports the servers know each other.
    ports: Vec<u16>,
}

impl Sentinel {
    /// Starts all, with these options for the servers. A master that is silent for so many
    /// milliseconds is replaced.
    pub fn start(down_after: u32, options: &[&str]) -> Self {
        let mut options = options.to_vec();
        options.extend(["--repl-diskless-sync-delay", "0"]);
        let master = Redis::with(&options);
        let port = master.port();
        Self::around(master, port, down_after, &options)
    }

    /// Starts all but the master, which the others are to know under another port than its own.
    pub fn around(master: Redis, port: u16, down_after: u32, options: &[&str]) -> Self {
        master.ask(&format!("CONFIG SET replica-announce-port {port}"));
        let known_as = port.to_string();
        let mut following = options.to_vec();
        following.extend(["--replicaof", "127.0.0.1", &known_as]);
        let replicas = [Redis::with(&following), Redis::with(&following)];
        let servers: Vec<_> = [master].into_iter().chain(replicas).collect();
        for replica in &servers[1..] {
            wait_for("a replica that follows", || {
                is_following(replica).then_some(())
            });
        }
        let sentinels = (0..3).map(|_| sentinel(port, down_after)).collect();
        let own = servers[1..].iter().map(Redis::port);
        let ports = [port].into_iter().chain(own).collect();
        let all = Self {
            servers,
            sentinels,
            ports,
        };
        all.wait_until_agreed();
        all
    }

    /// The addresses of the sentinels.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(Redis::address).collect()
    }

    /// The number of the server that the sentinels call master, as soon as they agree. On a busy
    /// machine they may choose another at any time.
    pub fn master(&self) -> usize {
        wait_for("sentinels that agree on a master", || self.agreed())
    }

    fn agreed(&self) -> Option<usize> {
        let mut named = self.sentinels.iter().map(|sentinel| {
            let command = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {SERVICE}");
            let address = ask(sentinel, &command).texts();
            address.get(1).cloned().unwrap_or_default()
        });
        let port = named.next()?;
        let agreed = named.all(|other| other == port);
        let is_it = |known: &u16| known.to_string() == port;
        self.ports.iter().position(is_it).filter(|_| agreed)
    }

    /// Waits until the sentinels know each other and both replicas, agree on the master, and all
    /// three servers play their part.
    pub fn wait_until_agreed(&self) {
        wait_for("sentinels that agree", || {
            let master = self.agreed()?;
            let in_place = |(number, server): (usize, &Redis)| match number == master {
                true => is_master(server),
                false => is_following(server),
            };
            let agreed = self.servers.iter().enumerate().all(in_place)
                && self.sentinels.iter().all(sees_all);
            agreed.then_some(())
        });
    }

    /// Has another server made master, and waits until all sentinels know of it. The old one runs on
    /// and is made a replica when they get to it.
    pub fn fail_over(&self) {
        let before = self.elections();
        wait_for("a failover", || {
            let order = format!("SENTINEL FAILOVER {SERVICE}");
            // Refused while one is under way; one that comes to nothing is begun again.
            ask(&self.sentinels[0], &order);
            let deadline = Instant::now() + FAILOVER;
            while Instant::now() < deadline {
                if self.elections() > before {
                    return Some(());
                }
                sleep(Duration::from_millis(10));
            }
            None
        });
    }

    /// Waits until the sentinels agree on another master than one that is dead or stalled.
    pub fn wait_for_other_than(&self, before: usize) {
        wait_for("another master", || {
            self.agreed().filter(|&now| now != before)
        });
    }

    /// How many elections the sentinel that knows least has heard of the end of.
    fn elections(&self) -> i64 {
        let known = self.sentinels.iter().map(|sentinel| {
            let epoch = field(sentinel, "config-epoch");
            epoch.parse().unwrap_or_default()
        });
        known.min().unwrap_or_default()
    }
}

fn sentinel(master: u16, down_after: u32) -> Redis {
    Redis::made(|port, folder| {
        let config = folder.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile \"\"\n\
             sentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {SERVICE} {down_after}\n\
             sentinel failover-timeout {SERVICE} 3000\n\
             sentinel parallel-syncs {SERVICE} 2\n",
            folder.display()
        );
        fs::write(&config, text).unwrap();
        vec![config.display().to_string(), "--sentinel".to_owned()]
    })
}

fn ask(server: &Redis, command: &str) -> Reply {
    let reply = Connection::open(server.address()).and_then(|mut to| to.ask(command));
    reply.unwrap_or(Reply::Nil)
}

fn is_master(server: &Redis) -> bool {
    let role = ask(server, "ROLE").array();
    role.first().is_some_and(|role| role.text() == "master")
}

fn is_following(server: &Redis) -> bool {
    let role = ask(server, "ROLE").array();
    role.get(3).is_some_and(|state| state.text() == "connected")
}

/// Whether a sentinel knows both others and both replicas, and holds the master for sound.
fn sees_all(sentinel: &Redis) -> bool {
    let field = |name| field(sentinel, name);
    field("num-other-sentinels") == "2" && field("num-slaves") == "2" && field("flags") == "master"
}

/// What a sentinel says of the master.
fn field(sentinel: &Redis, name: &str) -> String {
    let told = ask(sentinel, &format!("SENTINEL MASTER {SERVICE}")).texts();
    let at = told.iter().position(|word| word == name);
    let value = at.and_then(|at| told.get(at + 1));
    value.cloned().unwrap_or_default()
}
