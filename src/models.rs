//! Loom models of everything synchronised by hand: each function is one model, explored in every
//! order of two or three threads. `tests/loom` runs them. Only with `--cfg loom_model`.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use loom::future::{AtomicWaker, block_on};
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use loom::thread;

use crate::body::{BoxError, Budget, Fill, FillReader, Limits};
use crate::entry::{Reuse, StoredResponse, Times};
use crate::flight::{FlightResult, Flights, Join, Leader, NoResult, StoredResult};
use crate::invalidate::{Invalidation, Log, Position, Verdict};
use crate::key::{Key, KeyBuilder};
use crate::status::Outcome;
use crate::target::Subject;

fn subject() -> Subject {
    Subject::new("/a", None, [])
}

fn invalidation() -> [Invalidation; 1] {
    [Invalidation::uri("/a")]
}

fn stored(position: Position) -> Arc<StoredResponse> {
    let times = Times {
        received: Instant::now(),
        initial_age: Duration::ZERO,
        lifetime: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    Arc::new(StoredResponse::new(
        StatusCode::OK,
        &HeaderMap::new(),
        Bytes::new(),
        None,
        times,
        Reuse::default(),
        subject(),
        position,
    ))
}

/// Explores every order, or, with a bound, every order with at most that many preemptions.
fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// Models a fill beside a write. The fill takes its position, then reads; the write writes, then
/// records. Whatever the order, data read before the write is refused once the write is acknowledged.
pub fn a_fill_beside_a_write() {
    explore(None, || {
        let log = Arc::new(Log::with_capacity(4));
        let version = Arc::new(AtomicU64::new(1));
        let fill = {
            let (log, version) = (log.clone(), version.clone());
            thread::spawn(move || {
                let position = log.position();
                // Relaxed: only the log may bring order into this.
                (position, version.load(Ordering::Relaxed))
            })
        };
        version.store(2, Ordering::Relaxed);
        log.append(&invalidation());
        let (position, read) = fill.join().unwrap();
        if read == 1 {
            assert_eq!(log.verdict(position, subject().borrow()), Verdict::Invalid);
        }
    });
}

/// Models a verdict after an acknowledgement: a thread that has seen it never judges anything older
/// valid.
pub fn a_verdict_after_an_acknowledgement() {
    explore(None, || {
        let log = Arc::new(Log::with_capacity(4));
        let acknowledged = Arc::new(AtomicBool::new(false));
        let before = log.position();
        let write = {
            let (log, acknowledged) = (log.clone(), acknowledged.clone());
            thread::spawn(move || {
                log.append(&[Invalidation::tag("other")]);
                log.append(&invalidation());
                acknowledged.store(true, Ordering::Release);
            })
        };
        let known = acknowledged.load(Ordering::Acquire);
        let verdict = log.verdict(before, subject().borrow());
        assert!(!known || verdict == Verdict::Invalid);
        write.join().unwrap();
        assert_eq!(log.verdict(before, subject().borrow()), Verdict::Invalid);
    });
}

/// Models two lookups that remember up to which position a response was found valid, while a write is
/// recorded. The remembered position must not lie after the write.
pub fn remembered_verdicts_beside_a_write() {
    explore(Some(3), || {
        let log = Arc::new(Log::with_capacity(4));
        let response = stored(log.position());
        log.append(&[Invalidation::tag("other")]);
        let lookups: Vec<_> = (0..2)
            .map(|_| {
                let (log, response) = (log.clone(), response.clone());
                thread::spawn(move || response.verdict(&log))
            })
            .collect();
        log.append(&invalidation());
        assert_eq!(response.verdict(&log), Verdict::Invalid);
        for lookup in lookups {
            let _ = lookup.join().unwrap();
        }
        assert_eq!(response.verdict(&log), Verdict::Invalid);
    });
}

/// Models a two-phase write beside a lookup: once the write is announced nothing older is valid, not
/// even at the moment when the record takes over.
pub fn a_two_phase_write_beside_a_lookup() {
    explore(None, || {
        let log = Arc::new(Log::with_capacity(4));
        let version = Arc::new(AtomicU64::new(1));
        let before = log.position();
        let write = {
            let (log, version) = (log.clone(), version.clone());
            thread::spawn(move || {
                let intent = log.begin_write(&invalidation());
                version.store(2, Ordering::Release);
                drop(intent);
            })
        };
        let known = version.load(Ordering::Acquire) == 2;
        let verdict = log.verdict(before, subject().borrow());
        assert!(!known || verdict == Verdict::Invalid);
        write.join().unwrap();
    });
}

fn key() -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"/a");
    key.key().to_owned()
}

fn join(flights: &Arc<Flights>, log: &Log) -> Join {
    flights.join(
        &key(),
        Instant::now(),
        || log.position(),
        |flight| log.verdict(flight.position, subject().borrow()) == Verdict::Valid,
    )
}

fn publish(leader: &Leader) {
    leader.publish(FlightResult::Stored(Arc::new(StoredResult {
        stored: stored(leader.position()),
        nominated: Vec::new(),
        request: crate::opaque::Opaque::default(),
        outcome: Outcome::Hit,
    })));
}

/// Polls the result of a flight once. tokio's watch channel is not part of the model: each of its
/// operations counts as one step.
fn result(flight: &crate::flight::Flight) -> Poll<Result<FlightResult, NoResult>> {
    pin!(flight.result()).poll(&mut Context::from_waker(Waker::noop()))
}

/// Models three requests for one key, each of which leads or waits; leaders land or leave. Nobody
/// waits for a flight that nobody leads, and no flight is left behind.
pub fn flights_are_joined_landed_and_left() {
    explore(Some(3), || {
        let flights = Arc::new(Flights::default());
        let log = Arc::new(Log::with_capacity(4));
        let requests: Vec<_> = [true, false]
            .into_iter()
            .map(|lands| {
                let (flights, log) = (flights.clone(), log.clone());
                thread::spawn(move || request(&flights, &log, lands))
            })
            .collect();
        let waits = request(&flights, &log, true);
        let mut waits: Vec<_> = waits.into_iter().collect();
        for request in requests {
            waits.extend(request.join().unwrap());
        }
        for flight in waits {
            assert!(result(&flight).is_ready(), "a flight was left in the air");
        }
        assert!(matches!(join(&flights, &log), Join::Lead(_)));
    });
}

fn request(flights: &Arc<Flights>, log: &Log, lands: bool) -> Option<Arc<crate::flight::Flight>> {
    match join(flights, log) {
        Join::Lead(leader) => {
            if lands {
                publish(&leader);
            }
            None
        }
        Join::Wait(flight) => Some(flight),
        Join::Alone => unreachable!("nothing is remembered"),
    }
}

/// Models a flight overtaken by a write: a request that knows of the write does not wait for a flight
/// from before it, and the old leader does not remove the new flight when it leaves.
pub fn a_flight_overtaken_by_a_write() {
    explore(Some(3), || {
        let flights = Arc::new(Flights::default());
        let log = Arc::new(Log::with_capacity(4));
        let Join::Lead(old) = join(&flights, &log) else {
            unreachable!("the first leads");
        };
        let result = thread::spawn(move || {
            publish(&old);
        });
        log.append(&invalidation());
        let Join::Lead(new) = join(&flights, &log) else {
            panic!("joined a flight from before the write");
        };
        result.join().unwrap();
        assert!(matches!(join(&flights, &log), Join::Wait(_)));
        drop(new);
        assert!(matches!(join(&flights, &log), Join::Lead(_)));
    });
}

/// A body of two frames, each of which arrives when another thread lets it.
struct Slow(Arc<Tap>);

#[derive(Default)]
struct Tap {
    waker: AtomicWaker,
    came: AtomicUsize,
    taken: AtomicUsize,
}

impl Tap {
    fn let_come(&self) {
        self.came.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let tap = &self.0;
        tap.waker.register_by_ref(cx.waker());
        let taken = tap.taken.load(Ordering::Relaxed);
        if tap.came.load(Ordering::Acquire) == taken {
            return Poll::Pending;
        }
        tap.taken.store(taken + 1, Ordering::Relaxed);
        Poll::Ready(match taken {
            0 => Some(Ok(Frame::data(Bytes::from_static(b"all")))),
            _ => None,
        })
    }
}

fn fill(tap: &Arc<Tap>, committed: &Arc<AtomicUsize>) -> Arc<Fill> {
    let limits = Limits {
        max_body: 100,
        expected: None,
        finish_abandoned: None,
        budget: Budget::new(1000),
    };
    let committed = committed.clone();
    let commit = Box::new(move |_| {
        committed.fetch_add(1, Ordering::Relaxed);
    });
    Fill::new(Slow(tap.clone()), limits, commit)
}

fn read(mut reader: FillReader) {
    let mut read = Vec::new();
    while let Some(frame) = block_on(poll_fn(|cx| reader.poll_frame(cx))) {
        let data = frame.expect("no error").into_data().expect("data");
        read.extend_from_slice(&data);
    }
    assert_eq!(read, b"all");
}

/// Models two readers of a slow body: neither sleeps through a frame that the other one pulled.
pub fn readers_wake_each_other() {
    explore(Some(2), || {
        let (tap, committed) = (Arc::<Tap>::default(), Arc::new(AtomicUsize::new(0)));
        let fill = fill(&tap, &committed);
        let other = FillReader::of(&fill).expect("from the beginning");
        let own = FillReader::of(&fill).expect("from the beginning");
        let other = thread::spawn(move || read(other));
        let source = {
            let tap = tap.clone();
            thread::spawn(move || {
                tap.let_come();
                tap.let_come();
            })
        };
        read(own);
        other.join().unwrap();
        source.join().unwrap();
        assert_eq!(committed.load(Ordering::Relaxed), 1);
    });
}

/// Models a reader that polled the body last and then leaves: the other one is still woken.
pub fn a_reader_that_leaves_wakes_the_other() {
    explore(Some(3), || {
        let (tap, committed) = (Arc::<Tap>::default(), Arc::new(AtomicUsize::new(0)));
        let fill = fill(&tap, &committed);
        let mut leaving = FillReader::of(&fill).expect("from the beginning");
        let staying = FillReader::of(&fill).expect("from the beginning");
        let leaving = thread::spawn(move || {
            let polled = leaving.poll_frame(&mut Context::from_waker(Waker::noop()));
            drop(leaving);
            polled.is_ready()
        });
        let source = {
            let tap = tap.clone();
            thread::spawn(move || {
                tap.let_come();
                tap.let_come();
            })
        };
        read(staying);
        let _ = leaving.join().unwrap();
        source.join().unwrap();
        assert_eq!(committed.load(Ordering::Relaxed), 1);
    });
}
