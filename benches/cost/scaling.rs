//! How much more two threads get done than one, and what they write that may keep them from it.
//!
//! Two cores that write to one line of cache pass it to and fro, which takes some 50 to 100 ns each
//! time. These are the atomic writes of a hit, in the order of its road; how many there are in all is
//! counted and printed.
//!
//! | what | writes | shared with hits |
//! |---|---:|---|
//! | the lock, for reading, of the shard that the memory store keeps the response in | 2 | in one shard of 8 MiB |
//! | the engine's mark that the entry is in use | 0; 1 until it is marked often enough | on one response |
//! | the number of those who hold the stored response | 2 | on one response |
//! | the lock, for reading, of the header section that is kept ready | 2 | on one response |
//! | the number of those who hold a field's value | 2 for each, but none for `X-Cache` | on one response |
//! | the number of those who hold the body | 2 | on one response |
//! | the number of hits | 1 | under one route |
//!
//! Nothing waits: both locks are held for a look, and hits only read under them; the second is given up
//! at once if it is taken. All values that were stored, and a short body, are parts of one buffer and
//! have one count. So a hit writes to seven lines: one of its shard, one of its route, and five of its
//! response (its own count and lock, its buffer's, that of `Age` and that of `Cache-Status`). The table of
//! routes, the policy, the clock and the log of invalidations are only read.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::atomics;
use crate::cases::{self, Requests, Shared};

/// How long each sample takes.
const SAMPLE: Duration = Duration::from_millis(60);

/// Enough that some find the machine idle.
const SAMPLES: usize = 15;

/// Requests between two looks at the time.
const BATCH: u64 = 500;

/// Prints how often a hit writes atomically, and then the throughput of one thread and of two, taken by
/// turns.
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

/// Returns how many requests so many threads get answered in a second.
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
