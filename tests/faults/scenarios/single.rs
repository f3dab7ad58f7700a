//! One Redis, and what can happen to it.

use std::time::Duration;

use crate::nodes::Node;
use crate::record::Kind;
use crate::site::{Harm, Site};
use crate::support::Dice;
use crate::support::redis::{Connection, Redis, Reply};

/// The log of invalidations of the nodes' namespace.
const LOG: &str = "{tower-response-cache}:L";

fn nodes(redis: &Redis) -> Vec<Node> {
    Node::every_kind(&format!("redis://{}", redis.address()))
}

/// Does something at short intervals, for a while.
fn again_and_again(harm: &mut Harm, mut act: impl FnMut(&mut Harm)) {
    for _ in 0..1 + harm.random.below(20) {
        act(harm);
        harm.wait(0, 150);
    }
}

#[test]
fn nothing_happens_to_it() {
    let redis = Redis::start();
    let report = Site::new("nothing").run(&nodes(&redis), |harm| harm.wait(0, 100));
    let writes = report
        .samples
        .iter()
        .filter(|sample| sample.kind == Kind::Write);
    let few = report.pending as usize <= writes.count() / 10;
    assert!(few || report.was_busy(), "{report}");
}

#[test]
fn it_is_killed_and_started_empty() {
    let mut redis = Redis::start();
    Site::new("killed, empty").run(&nodes(&redis), |harm| {
        harm.note("kill -9");
        redis.kill();
        harm.wait(0, 2000);
        harm.note("restart");
        redis.restart();
    });
}

#[test]
fn it_is_killed_and_started_with_what_it_had_some_time_ago() {
    let mut redis = Redis::start();
    Site::new("killed, old").run(&nodes(&redis), |harm| {
        harm.note("SAVE");
        redis.ask("SAVE");
        harm.wait(0, 500);
        harm.note("kill -9");
        redis.kill();
        harm.wait(0, 1500);
        harm.note("restart");
        redis.restart();
    });
}

#[test]
fn it_is_killed_and_started_with_most_of_what_it_had() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "no"]);
    Site::new("killed, all").run(&nodes(&redis), |harm| {
        harm.note("kill -9");
        redis.kill();
        harm.wait(0, 300);
        harm.note("restart");
        redis.restart();
    });
}

#[test]
fn it_is_stalled() {
    let redis = Redis::start();
    Site::new("stalled").run(&nodes(&redis), |harm| {
        harm.note("SIGSTOP");
        redis.stall();
        match harm.random.below(3) {
            0 => harm.wait(1000, 10_000),
            _ => harm.wait(100, 2000),
        }
        harm.note("SIGCONT");
        redis.resume();
    });
}

#[test]
fn it_is_flushed() {
    let redis = Redis::start();
    Site::new("flushed").run(&nodes(&redis), |harm| {
        again_and_again(harm, |harm| {
            harm.note("FLUSHALL");
            redis.ask("FLUSHALL");
        });
    });
}

#[test]
fn its_log_is_deleted() {
    let redis = Redis::start();
    let mut deleted = 0;
    Site::new("no log").run(&nodes(&redis), |harm| {
        again_and_again(harm, |harm| {
            harm.note("DEL of the log");
            deleted += redis.ask(&format!("DEL {LOG}")).number();
        });
    });
    assert!(deleted > 0, "nobody uses this key");
}

/// Fills it with what is not ours, past what it may hold.
fn crowded(name: &'static str, policy: &str) {
    let redis = Redis::with(&["--maxmemory", "5mb", "--maxmemory-policy", policy]);
    let mut filler = redis.connect();
    let (mut number, mut refused) = (0, 0);
    Site::new(name).run(&nodes(&redis), |harm| {
        harm.note("others fill it");
        let rounds = 50 + harm.random.below(100);
        for _ in 0..rounds {
            for _ in 0..20 {
                number += 1;
                let key = format!("others:{number}");
                let reply = filler.send(&[b"SET", key.as_bytes(), &[b'x'; 4000]]);
                refused += u32::from(reply.unwrap().is_error());
            }
            harm.wait(5, 15);
        }
        harm.note("others leave");
        while number > 0 {
            filler.ask(&format!("DEL others:{number}")).unwrap();
            number -= 1;
        }
    });
    let evicted = redis.info("evicted_keys");
    match policy {
        "noeviction" => assert!(refused > 0, "it was never full"),
        _ => assert_ne!(evicted, "0", "it was never full"),
    }
}

#[test]
fn it_is_full_and_evicts_what_was_used_least() {
    crowded("full, lru", "allkeys-lru");
}

#[test]
fn it_is_full_and_evicts_at_random() {
    crowded("full, random", "allkeys-random");
}

#[test]
fn it_is_full_and_evicts_nothing() {
    crowded("full, no eviction", "noeviction");
}

#[test]
fn its_connections_are_killed() {
    let redis = Redis::start();
    Site::new("connections killed").run(&nodes(&redis), |harm| {
        again_and_again(harm, |harm| {
            let killed = match harm.random.below(2) {
                0 => redis.ask("CLIENT KILL TYPE normal SKIPME yes").number(),
                _ => kill_one(&redis, &mut harm.random),
            };
            harm.note(format!("{killed} connections killed"));
        });
    });
}

fn kill_one(redis: &Redis, random: &mut Dice) -> i64 {
    let mut connection = redis.connect();
    let own = connection.ask("CLIENT ID").unwrap().text();
    let clients = connection.ask("CLIENT LIST").unwrap().text();
    let ids = clients
        .lines()
        .filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
    let ids: Vec<_> = ids.filter(|&id| id != own).collect();
    if ids.is_empty() {
        return 0;
    }
    let victim = ids[random.below(ids.len())];
    connection
        .ask(&format!("CLIENT KILL ID {victim}"))
        .unwrap()
        .number()
}

#[test]
fn its_values_are_corrupted() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    let mut corrupted = 0;
    Site::new("corrupted").run(&nodes(&redis), |harm| {
        harm.note("values are corrupted");
        for _ in 0..300 {
            corrupted += u32::from(corrupt(&mut connection, &mut harm.random));
            harm.wait(0, 5);
        }
    });
    assert!(corrupted > 100, "only {corrupted} values were corrupted");
}

/// Spoils a random value, and returns whether there was one.
fn corrupt(connection: &mut Connection, random: &mut Dice) -> bool {
    let Reply::Bytes(name) = connection.ask("RANDOMKEY").unwrap() else {
        return false;
    };
    let Ok(Reply::Bytes(mut value)) = connection.send(&[b"GET", &name]) else {
        return false;
    };
    let at = random.below(value.len().max(1));
    match random.below(8) {
        0 => value.truncate(at),
        1 => value.extend_from_slice(b"more"),
        2 => value.fill(random.number() as u8),
        3 => match connection.ask("RANDOMKEY").unwrap() {
            // Another's value, sound in itself.
            Reply::Bytes(other) => match connection.send(&[b"GET", &other]) {
                Ok(Reply::Bytes(other)) => value = other,
                _ => return false,
            },
            _ => return false,
        },
        4 => {
            // Another kind of value.
            connection.send(&[b"DEL", &name]).unwrap();
            connection.send(&[b"RPUSH", &name, &value]).unwrap();
            return true;
        }
        _ if value.is_empty() => return false,
        _ => value[at] ^= 1 << random.below(8),
    }
    let set = connection.send(&[b"SET", &name, &value, b"KEEPTTL", b"XX"]);
    set.unwrap() != Reply::Nil
}

#[test]
fn it_is_made_a_replica_and_a_master_again() {
    let (redis, other) = (Redis::start(), Redis::start());
    let flip = |of: &Redis, to: &str| of.ask(&format!("REPLICAOF {to}"));
    let address = |of: &Redis| format!("127.0.0.1 {}", of.port());
    Site::new("replica").run(&nodes(&redis), |harm| {
        // Mostly the other has what this one had.
        if harm.random.below(3) > 0 {
            flip(&other, &address(&redis));
            harm.note("it has a replica");
            harm.wait(500, 1500);
            flip(&other, "NO ONE");
            harm.wait(0, 200);
        }
        harm.note("it is a replica");
        flip(&redis, &address(&other));
        harm.wait(0, 2500);
        harm.note("it is a master");
        flip(&redis, "NO ONE");
    });
}

#[test]
fn it_pauses_its_clients() {
    let redis = Redis::start();
    Site::new("paused").run(&nodes(&redis), |harm| {
        again_and_again(harm, |harm| {
            let kind = ["ALL", "WRITE"][harm.random.below(2)];
            let pause = harm.random.below(200);
            harm.note(format!("CLIENT PAUSE {pause} {kind}"));
            redis.ask(&format!("CLIENT PAUSE {pause} {kind}"));
            harm.wait(0, 300);
        });
        redis.ask("CLIENT UNPAUSE");
    });
}

/// As a virtual machine is, or a process that is swapped out.
#[test]
fn it_is_well_and_nodes_are_suspended() {
    let redis = Redis::start();
    Site::new("suspended").run(&nodes(&redis), |harm| {
        for _ in 0..1 + harm.random.below(10) {
            harm.suspend_a_node(20, 400);
            harm.wait(0, 300);
        }
    });
}

/// A stall long enough to see what requests take while the store is given up.
#[test]
fn while_it_is_stalled_requests_take_what_they_take_without_a_cache() {
    let redis = Redis::start();
    let nodes = nodes(&redis);
    let mut spans = Vec::new();
    let report = Site::new("given up").run(&nodes, |harm| {
        harm.note("SIGSTOP");
        redis.stall();
        // By then it is given up.
        harm.wait(1000, 1000);
        let began = std::time::Instant::now();
        harm.wait(4000, 4000);
        spans.push((began, std::time::Instant::now()));
        harm.note("SIGCONT");
        redis.resume();
    });
    for (number, node) in nodes.iter().enumerate() {
        let (times, bare) = (report.reads(number, &spans), report.without_cache(&spans));
        println!("  {}: {times}, without a cache {bare}", node.name);
        assert!(times.count > 100 && bare.count > 50, "too few to tell");
        let (usual, slow) = (bare.median * 3 / 2, bare.longest * 3 / 2);
        let usual = usual + Duration::from_millis(1);
        let slow = slow + Duration::from_millis(5);
        assert!(times.median <= usual, "{}: {times}, {bare}", node.name);
        assert!(times.p99 <= slow, "{}: {times}, {bare}", node.name);
    }
}
