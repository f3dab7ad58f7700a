//! Measures how throughput grows with a second thread, and the shared writes that may limit it.
//!
//! Two cores that write to one cache line pass it to and fro, which takes some 50 to 100 ns each time.
//! These are the atomic writes of a hit, in their order; the total is counted and printed.
//!
//! | written | writes | shared with hits |
//! |---|---:|---|
//! | the read lock of the memory store's shard | 2 | in one shard of 8 MiB |
//! | the engine's mark that the entry is in use | 0; 1 until it is marked often enough | on one response |
//! | the reference count of the stored response | 2 | on one response |
//! | the read lock of the prepared headers | 2 | on one response |
//! | the reference count of a field's value | 2 for each, but none for `X-Cache` | on one response |
//! | the reference count of the body | 2 | on one response |
//! | the number of hits | 1 | under one route |
//!
//! Nothing waits: both locks are held briefly, and hits only read under them; if the second is taken, a
//! hit does without it. All stored values, and a short body, are parts of one buffer and share one count.
//! So a hit writes to seven cache lines: one of its shard, one of its route, and five of its response
//! (its own count and lock, its buffer's, that of `Age` and that of `Cache-Status`). The table of routes,
//! the policy, the clock and the log of invalidations are only read.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::atomics;
use crate::cases::{self, Requests, Shared};

/// The duration of each sample.
const SAMPLE: Duration = Duration::from_millis(60);

/// The number of samples: enough that some find the machine idle.
const SAMPLES: usize = 15;

/// The number of requests between two readings of the clock.
const BATCH: u64 = 500;

/// Prints the number of atomic writes of a hit, and then the throughput of one thread and of two,
/// measured in turns.
pub(crate) fn print() {
    for name in [
        "hit, static text",
        "hit, 1 KiB and 8 fields",
        "bypass (no route), Router",
        "bare Router, static text",
    ] {
        let case = cases::find(name).expect("it is in the list");
        match atomics::per_request(case) {
            Some(writes) => println!("{name}: {writes:.0} atomic writes"),
            None => println!("{name}: its atomic writes take valgrind and objdump to count"),
        }
    }
    println!();
    println!("| two threads | requests/s of one | of both | ratio |");
    println!("|---|---:|---:|---:|");
    for (name, shared, request) in [
        ("bare Router, one URI", Shared::bare(), Requests::Same),
        ("hits on one key", Shared::cached(), Requests::Same),
        (
            "hits on 10,000 keys by Zipf's law",
            Shared::cached(),
            Requests::Zipf,
        ),
    ] {
        shared.client(request, 0).warm_up();
        let (mut one, mut two) = (0.0_f64, 0.0_f64);
        for _ in 0..SAMPLES {
            one = one.max(throughput(&shared, request, 1));
            two = two.max(throughput(&shared, request, 2));
        }
        println!("| {name} | {one:.0} | {two:.0} | {:.2} |", two / one);
    }
}

/// Returns the requests per second of this many threads.
fn throughput(shared: &Shared, request: Requests, threads: u64) -> f64 {
    let start = Barrier::new(threads as usize);
    let run = |thread| {
        let mut client = shared.client(request, thread);
        start.wait();
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < SAMPLE {
            client.send(BATCH);
            sent += BATCH;
        }
        sent as f64 / began.elapsed().as_secs_f64()
    };
    let run = &run;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        let sum = running.into_iter().map(|thread| thread.join());
        sum.map(|sent| sent.expect("no thread panics")).sum()
    })
}
