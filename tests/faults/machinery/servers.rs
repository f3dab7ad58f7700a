//! Redis servers do as they are told.

use std::time::Duration;

use crate::support::redis::{Cluster, Redis, Reply, Sentinel, wait_for};

fn text(text: &str) -> Reply {
    Reply::Bytes(text.into())
}

#[test]
fn a_server_takes_any_bytes_and_gives_them_back() {
    let redis = Redis::start();
    let value: Vec<u8> = (0..=255).chain(*b"\r\n$3\r\n").collect();
    let mut connection = redis.connect();
    assert_eq!(
        connection.send(&[b"SET", b"a key", &value]).unwrap(),
        Reply::Text("OK".into())
    );
    assert_eq!(
        connection.send(&[b"GET", b"a key"]).unwrap(),
        Reply::Bytes(value)
    );
    assert_eq!(connection.ask("GET other").unwrap(), Reply::Nil);
    assert!(connection.ask("NOSUCHTHING").unwrap().is_error());
    assert_eq!(redis.ask("KEYS *").texts(), ["a key"]);
}

#[test]
fn a_killed_server_is_gone_and_comes_back_on_its_port_without_its_data() {
    let mut redis = Redis::start();
    let (port, first) = (redis.port(), redis.info("master_replid"));
    redis.ask("SET a 1");
    redis.kill();
    assert!(std::net::TcpStream::connect(redis.address()).is_err());
    redis.restart();
    assert_eq!(redis.port(), port);
    assert_eq!(redis.ask("GET a"), Reply::Nil);
    // What the store goes by: no two runs of a server have the same.
    assert_ne!(redis.info("master_replid"), first);
}

#[test]
fn a_server_that_keeps_a_log_comes_back_with_its_data() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    redis.ask("SET a 1");
    redis.restart();
    assert_eq!(redis.ask("GET a"), text("1"));
}

#[test]
fn a_stalled_server_answers_when_it_goes_on() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    redis.stall();
    let answer = std::thread::spawn(move || connection.ask("PING").unwrap());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!answer.is_finished());
    redis.resume();
    assert_eq!(answer.join().unwrap(), Reply::Text("PONG".into()));
}

#[test]
fn options_given_reach_the_server() {
    let redis = Redis::with(&["--maxmemory", "5mb", "--maxmemory-policy", "allkeys-lru"]);
    assert_eq!(redis.info("maxmemory"), "5242880");
    assert_eq!(redis.info("maxmemory_policy"), "allkeys-lru");
}

#[test]
fn a_cluster_replaces_a_dead_master_and_moves_slots() {
    // Silent for so long, a node is not merely waiting for a busy processor.
    let mut cluster = Cluster::start(5000);
    let slot = cluster.slot("a");
    let before = cluster.owner(slot);
    cluster.nodes[before].ask("SET a 1");
    let other = cluster.masters().into_iter().find(|&node| node != before);
    cluster.migrate(slot, other.unwrap());
    let owner = cluster.owner(slot);
    assert_eq!(Some(owner), other);
    assert_eq!(cluster.nodes[owner].ask("GET a"), text("1"));

    // Its replica has to have the key before it can take over with it.
    wait_for("a replica that has it", || {
        (cluster.nodes[owner].ask("WAIT 1 1000") == Reply::Integer(1)).then_some(())
    });
    cluster.nodes[owner].kill();
    let heir = wait_for("a failover", || {
        let now = cluster.owner(slot);
        (now != owner).then_some(now)
    });
    wait_for("the heir", || {
        let value = cluster.nodes[heir].connect().ask("GET a").unwrap();
        (value == text("1")).then_some(())
    });
    cluster.nodes[owner].restart();
    cluster.wait_until_whole();
    assert!(!cluster.masters().contains(&owner));
}

#[test]
fn sentinels_replace_a_master_by_command_and_when_it_dies() {
    let mut watched = Sentinel::start(1000, &[]);
    // On a busy machine the sentinels may find whomever silent, and go on to the next: which server
    // they choose, and when, is theirs to say.
    wait_for("a value that all have", || {
        let mut master = watched.servers[watched.master()].connect();
        master.ask("SET a 1").ok()?;
        (master.ask("WAIT 2 1000").ok()? == Reply::Integer(2)).then_some(())
    });
    watched.fail_over();
    watched.wait_until_agreed();
    let master = watched.master();
    assert_eq!(watched.servers[master].ask("GET a"), text("1"));

    watched.servers[master].kill();
    watched.wait_for_other_than(master);
    watched.servers[master].restart();
    watched.wait_until_agreed();
    for server in &watched.servers {
        assert_eq!(server.ask("GET a"), text("1"));
    }
}
