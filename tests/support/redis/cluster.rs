//! Three masters and their replicas.

use std::collections::HashSet;

use super::{Redis, Reply, ports, wait_for};

const SLOTS: u16 = 16_384;

/// A cluster of six nodes on this machine.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts three masters with a replica each. A master that is silent for so many milliseconds is
    /// replaced.
    pub fn start(node_timeout: u32) -> Self {
        let nodes = (0..6).map(|_| node(node_timeout)).collect();
        let cluster = Self { nodes };
        cluster.hand_out_slots();
        cluster.introduce();
        let ids: Vec<_> = (0..3).map(|master| cluster.id(master)).collect();
        for (master, id) in ids.iter().enumerate() {
            cluster.nodes[master + 3].ask(&format!("CLUSTER REPLICATE {id}"));
        }
        cluster.wait_until_whole();
        cluster
    }

    fn hand_out_slots(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            // Else all begin with the same one, and have to argue about it.
            node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1));
        }
        let share = SLOTS / 3;
        for (number, first, last) in [
            (0, 0, share - 1),
            (1, share, 2 * share - 1),
            (2, 2 * share, SLOTS - 1),
        ] {
            self.nodes[number].ask(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
        }
    }

    fn introduce(&self) {
        for node in &self.nodes[1..] {
            let (port, bus) = (node.port(), bus(node));
            self.nodes[0].ask(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        }
        for node in &self.nodes {
            wait_for("all nodes to know each other", || {
                let met = node.ask("CLUSTER NODES").text();
                let known = met.lines().filter(|line| !line.contains("handshake"));
                (known.count() == self.nodes.len()).then_some(())
            });
        }
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].ask("CLUSTER MYID").text()
    }

    /// Waits until every node that runs sees every slot served, and every one of them sees three
    /// masters with a replica that follows.
    pub fn wait_until_whole(&self) {
        for node in &self.nodes {
            wait_for("a whole cluster", || {
                let info = node.ask("CLUSTER INFO").text();
                let whole = info.contains("cluster_state:ok") && is_settled(node);
                whole.then_some(())
            });
        }
    }

    /// The numbers of the nodes that are masters and serve slots.
    pub fn masters(&self) -> Vec<usize> {
        let is_master = |node: &Redis| {
            let role = node.connect().ask("ROLE").unwrap_or(Reply::Nil).array();
            role.first().is_some_and(|role| role.text() == "master")
        };
        (0..self.nodes.len())
            .filter(|&number| {
                self.nodes[number].process.is_some() && is_master(&self.nodes[number])
            })
            .collect()
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        let running = self.nodes.iter().find(|node| node.process.is_some());
        let slot = running.unwrap().ask(&format!("CLUSTER KEYSLOT {key}"));
        slot.number() as u16
    }

    /// The master that serves a slot, as the first node that runs sees it.
    pub fn owner(&self, slot: u16) -> usize {
        wait_for("the owner of a slot", || {
            let running = self.nodes.iter().find(|node| node.process.is_some())?;
            let shards = running.ask("CLUSTER SLOTS").array();
            let port = shards.into_iter().find_map(|range| {
                let range = range.array();
                let (first, last) = (range[0].number(), range[1].number());
                let serves = (first..=last).contains(&slot.into());
                serves.then(|| range[2].clone().array()[1].number())
            })?;
            let owns = |node: &Redis| i64::from(node.port()) == port;
            self.nodes.iter().position(owns)
        })
    }

    /// Moves a slot, with the keys in it, to another master.
    pub fn migrate(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let (source_id, target_id) = (self.id(from), self.id(to));
        target.ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}"));
        source.ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}"));
        let port = target.port().to_string();
        loop {
            let keys = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
            let keys = keys.texts();
            if keys.is_empty() {
                break;
            }
            // The empty word says that the keys follow.
            let order = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let words = order.into_iter().chain(keys.iter().map(String::as_str));
            let words: Vec<_> = words.map(str::as_bytes).collect();
            let moved = source.connect().send(&words).unwrap();
            assert!(!moved.is_error(), "{moved:?}");
        }
        for node in [target, source] {
            node.ask(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"));
        }
    }
}

fn node(timeout: u32) -> Redis {
    let bus = ports::take().to_string();
    let timeout = timeout.to_string();
    Redis::with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        &timeout,
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
    ])
}

fn bus(node: &Redis) -> String {
    node.ask("CONFIG GET cluster-port").texts()[1].clone()
}

/// Whether a node sees three masters that serve and three replicas, and, where it is a replica, has
/// caught up with its master.
fn is_settled(node: &Redis) -> bool {
    let nodes = node.ask("CLUSTER NODES").text();
    let mut followed = HashSet::new();
    let mut masters = HashSet::new();
    for line in nodes.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let (flags, linked) = (words[2], words[7] == "connected");
        if flags.contains("fail") || flags.contains("handshake") || !linked {
            return false;
        }
        match flags.contains("master") {
            true if words.len() > 8 => masters.insert(words[0]),
            true => return false,
            false => followed.insert(words[3]),
        };
    }
    let caught_up = node.info("role") == "master" || node.info("master_link_status") == "up";
    masters.len() == 3 && followed == masters && caught_up
}
