//! Several servers, one of which is the master at a time.

use std::time::{Duration, Instant};

use crate::nodes::Node;
use crate::site::{Harm, Site};
use crate::support::fault_proxy::{Door, FaultProxy, Way};
use crate::support::redis::{Cluster, Redis, Sentinel, wait_for};

fn follow(replica: &Redis, master: &Redis) {
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
    wait_for("a replica that follows", || {
        (replica.info("master_link_status") == "up").then_some(())
    });
}

/// As with an address that moves from one machine to the other.
#[test]
fn the_address_moves_to_a_replica_that_lacks_the_last_writes() {
    let options = ["--repl-diskless-sync-delay", "0"];
    let mut servers = [Redis::with(&options), Redis::with(&options)];
    follow(&servers[1], &servers[0]);
    let site = Site::new("moved");
    let proxy = site.block_on(FaultProxy::start(servers[0].address()));
    let nodes = Node::every_kind(&format!("redis://{}", proxy.address()));
    site.run(&nodes, |harm| {
        // Sooner or later, the replica stops following: what is written from now on is lost.
        harm.note("the replica is cut off");
        servers[1].ask("REPLICAOF NO ONE");
        harm.wait(0, 300);
        harm.note("the address moves");
        proxy.set_door(Door::Refusing);
        proxy.reset();
        harm.wait(0, 500);
        proxy.set_target(servers[1].address());
        proxy.heal();
        servers.swap(0, 1);
        follow(&servers[1], &servers[0]);
    });
}

fn sentinel_url(watched: &Sentinel) -> String {
    let addresses = watched.addresses();
    let others: Vec<_> = addresses[1..]
        .iter()
        .map(|at| format!("&node={at}"))
        .collect();
    let (first, others) = (addresses[0], others.concat());
    format!("redis-sentinel://{first}?sentinelServiceName=main{others}")
}

#[test]
fn sentinels_make_another_one_master() {
    let watched = Sentinel::start(1000, &[]);
    let nodes = Node::every_kind(&sentinel_url(&watched));
    Site::new("failover").run(&nodes, |harm| {
        harm.note("SENTINEL FAILOVER");
        watched.fail_over();
        harm.note("it is over");
        watched.wait_until_agreed();
    });
}

#[test]
fn sentinels_replace_a_master_that_was_killed() {
    let mut watched = Sentinel::start(1000, &[]);
    let nodes = Node::every_kind(&sentinel_url(&watched));
    Site::new("master killed").run(&nodes, |harm| {
        let master = watched.master();
        let killed = &mut watched.servers[master];
        harm.note("the master is killed");
        killed.kill();
        watched.wait_for_other_than(master);
        harm.note("there is another");
        watched.servers[master].restart();
        watched.wait_until_agreed();
    });
}

#[test]
fn a_master_of_a_cluster_is_killed() {
    let mut cluster = Cluster::start(1000);
    let nodes = Node::every_kind(&cluster_url(&cluster));
    Site::new("cluster").run(&nodes, |harm| kill_a_master(harm, &mut cluster));
}

fn cluster_url(cluster: &Cluster) -> String {
    let others = cluster.nodes[1..].iter();
    let others: Vec<_> = others
        .map(|node| format!("node={}", node.address()))
        .collect();
    let (first, others) = (cluster.nodes[0].address(), others.join("&"));
    format!("redis-cluster://{first}?{others}")
}

fn kill_a_master(harm: &mut Harm, cluster: &mut Cluster) {
    let masters = cluster.masters();
    let slot = cluster.slot("{tower-response-cache}:L");
    // The one with the log as often as both others.
    let victim = match harm.random.below(2) {
        0 => cluster.owner(slot),
        _ => masters[harm.random.below(masters.len())],
    };
    harm.note(format!("master {victim} is killed"));
    cluster.nodes[victim].kill();
    let began = Instant::now();
    wait_for("an heir", || (cluster.masters().len() == 3).then_some(()));
    harm.note(format!("it has an heir after {:?}", began.elapsed()));
    harm.wait(0, 500);
    cluster.nodes[victim].restart();
    cluster.wait_until_whole();
}

#[test]
fn the_slot_of_the_log_moves_about_in_a_cluster() {
    // Nobody is to be replaced here, however busy the machine is.
    let cluster = Cluster::start(15_000);
    let nodes = Node::every_kind(&cluster_url(&cluster));
    let slot = cluster.slot("{tower-response-cache}:L");
    Site::new("slot").run(&nodes, |harm| {
        let masters = cluster.masters();
        let to = masters[harm.random.below(masters.len())];
        if to != cluster.owner(slot) {
            harm.note(format!("the slot of the log moves to {to}"));
            cluster.migrate(slot, to);
        }
        std::thread::sleep(Duration::from_millis(100));
    });
}

/// It wakes up and takes itself for the master. As it is to be run: it then sees at once that no
/// replica follows it.
#[test]
fn sentinels_replace_a_master_that_stalls() {
    let recipe = [
        "--min-replicas-to-write",
        "1",
        "--min-replicas-max-lag",
        "1",
    ];
    let watched = Sentinel::start(2000, &recipe);
    let nodes = Node::every_kind(&sentinel_url(&watched));
    Site::new("master stalled").run(&nodes, |harm| {
        let master = watched.master();
        harm.note("the master is stalled");
        watched.servers[master].stall();
        watched.wait_for_other_than(master);
        harm.note("there is another");
        harm.wait(0, 1000);
        harm.note("the old one goes on");
        watched.servers[master].resume();
        watched.wait_until_agreed();
    });
}

#[test]
fn a_master_of_a_cluster_stalls() {
    let cluster = Cluster::start(1000);
    let slot = cluster.slot("{tower-response-cache}:L");
    let nodes = Node::every_kind(&cluster_url(&cluster));
    Site::new("cluster stalled").run(&nodes, |harm| {
        let victim = cluster.owner(slot);
        harm.note(format!("master {victim} is stalled"));
        cluster.nodes[victim].stall();
        // Long enough to be replaced, or not.
        harm.wait(100, 4000);
        harm.note("it goes on");
        cluster.nodes[victim].resume();
        cluster.wait_until_whole();
    });
}

/// The split brain of the page, run as it says: the master is cut off from its replicas and from the
/// sentinels, but not from two of the nodes. It refuses before there is another. Once: led back by
/// `SENTINEL FAILOVER`, both would be masters for a moment, which the recipe does not rule out.
#[test]
fn a_master_is_cut_off_together_with_nodes() {
    let options = [
        "--min-replicas-to-write",
        "1",
        "--min-replicas-max-lag",
        "2",
        "--repl-diskless-sync-delay",
        "0",
    ];
    let site = Site::new("split");
    let master = Redis::with(&options);
    let door = site.block_on(FaultProxy::start(master.address()));
    let beside = site.block_on(FaultProxy::start(master.address()));
    let inside = Node::every_kind(&format!("redis://{}", beside.address()));
    let watched = Sentinel::around(master, door.address().port(), 5000, &options);
    let outside = Node::every_kind(&sentinel_url(&watched));
    let nodes = [&inside[..2], &outside[1..2], &outside[3..]].concat();
    let mut is_over = false;
    site.run(&nodes, |harm| {
        if is_over {
            return harm.wait(500, 1000);
        }
        harm.note("the master is cut off, and some nodes with it");
        door.set_door(Door::BlackHole);
        for way in [Way::ToTarget, Way::ToClient] {
            door.set_stalled(way, true);
        }
        watched.wait_for_other_than(0);
        harm.note("there is another");
        harm.wait(1000, 3000);
        harm.note("healed");
        door.heal();
        watched.wait_until_agreed();
        beside.set_target(watched.servers[watched.master()].address());
        beside.reset();
        is_over = true;
    });
}
