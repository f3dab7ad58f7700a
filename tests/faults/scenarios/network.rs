//! One Redis that is well, and a network that is not.

use std::time::Duration;

use crate::nodes::Node;
use crate::site::{Harm, Site};
use crate::support::fault_proxy::{Door, FaultProxy, Way};
use crate::support::redis::Redis;

/// Runs a scenario with a proxy between the nodes and Redis. `harm` does something to it, which is
/// healed after it.
fn through_a_proxy(name: &'static str, mut harm: impl FnMut(&mut Harm, &FaultProxy)) {
    let (redis, site) = (Redis::start(), Site::new(name));
    let proxy = site.block_on(FaultProxy::start(redis.address()));
    let nodes = Node::every_kind(&format!("redis://{}", proxy.address()));
    site.run(&nodes, |at| {
        harm(at, &proxy);
        at.note("healed");
        proxy.heal();
    });
}

#[test]
fn it_is_slow() {
    through_a_proxy("slow", |harm, proxy| {
        // To and fro, about as long as the store waits, and much longer.
        let latency = [2, 10, 20, 24, 26, 60, 300][harm.random.below(7)];
        harm.note(format!("{latency} ms each way"));
        proxy.set_latency(Duration::from_millis(latency));
        harm.wait(500, 2000);
    });
}

#[test]
fn it_loses_what_goes_one_way() {
    through_a_proxy("one way", |harm, proxy| {
        let way = [Way::ToTarget, Way::ToClient][harm.random.below(2)];
        harm.note(format!("stalled {way:?}"));
        proxy.set_stalled(way, true);
        harm.wait(20, 3000);
    });
}

#[test]
fn it_stutters() {
    through_a_proxy("stutter", |harm, proxy| {
        for _ in 0..10 {
            let way = [Way::ToTarget, Way::ToClient][harm.random.below(2)];
            harm.note(format!("stalled {way:?}"));
            proxy.set_stalled(way, true);
            harm.wait(0, 120);
            proxy.set_stalled(way, false);
            harm.wait(0, 120);
        }
    });
}

#[test]
fn it_cuts_connections_in_the_middle_of_an_answer() {
    through_a_proxy("cut", |harm, proxy| {
        for _ in 0..1 + harm.random.below(10) {
            let bytes = harm.random.below(10_000);
            harm.note(format!("cut after {bytes} bytes"));
            proxy.cut_after(bytes as u32);
            harm.wait(0, 300);
        }
    });
}

#[test]
fn it_resets_connections() {
    through_a_proxy("reset", |harm, proxy| {
        for _ in 0..1 + harm.random.below(10) {
            harm.note("all connections are reset");
            proxy.reset();
            harm.wait(0, 300);
        }
    });
}

#[test]
fn it_refuses_connections() {
    through_a_proxy("refused", |harm, proxy| {
        harm.note("connections are refused");
        proxy.set_door(Door::Refusing);
        proxy.reset();
        harm.wait(50, 3000);
    });
}

#[test]
fn it_swallows_connections() {
    through_a_proxy("swallowed", |harm, proxy| {
        harm.note("connections never answer");
        proxy.set_door(Door::BlackHole);
        proxy.reset();
        harm.wait(50, 3000);
    });
}

#[test]
fn it_forgets_connections() {
    through_a_proxy("forgotten", |harm, proxy| {
        harm.note("connections are forgotten");
        proxy.abandon();
        harm.wait(0, 1000);
    });
}
