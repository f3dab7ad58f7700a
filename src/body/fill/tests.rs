//! Every schedule of readers, frames and endings that a network can bring about.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Wake;

use fastrand::Rng;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::reader::FillReader;
use super::*;
use crate::background::Background;

type Script = UnboundedSender<Result<Frame<Bytes>, BoxError>>;

/// A body that the test sends frame by frame.
struct Scripted {
    frames: UnboundedReceiver<Result<Frame<Bytes>, BoxError>>,
    polls: Arc<AtomicUsize>,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.frames.poll_recv(cx)
    }
}

/// A body without end that is always ready.
struct Endless(Bytes);

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

struct Panicking;

impl Body for Panicking {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("a body that panics");
    }
}

/// A fill under test, with what was stored of it.
struct Bench {
    fill: Arc<Fill>,
    script: Script,
    stored: Arc<Mutex<Option<Captured>>>,
    budget: Arc<Budget>,
    polls: Arc<AtomicUsize>,
}

fn limits(max_body: usize) -> Limits {
    Limits {
        max_body,
        expected: None,
        finish_abandoned: None,
        budget: Budget::new(1 << 20),
    }
}

fn bench(limits: Limits) -> Bench {
    let (script, frames) = mpsc::unbounded_channel();
    let (stored, polls) = (Arc::default(), Arc::default());
    let (budget, body) = (
        limits.budget.clone(),
        Scripted {
            frames,
            polls: Arc::clone(&polls),
        },
    );
    let fill = Fill::new(body, limits, keep_in(&stored));
    Bench {
        fill,
        script,
        stored,
        budget,
        polls,
    }
}

fn keep_in(stored: &Arc<Mutex<Option<Captured>>>) -> Commit {
    let stored = Arc::clone(stored);
    Box::new(move |captured| *stored.lock().unwrap() = Some(captured))
}

impl Bench {
    fn send(&self, data: impl Into<Bytes>) {
        // A fill that has ended reads no more.
        let _ = self.script.send(Ok(Frame::data(data.into())));
    }

    fn fail(&self) {
        let _ = self.script.send(Err("broken".into()));
    }

    fn reader(&self) -> FillReader {
        FillReader::of(&self.fill).unwrap()
    }

    fn stored(&self) -> Option<Bytes> {
        let stored = self.stored.lock().unwrap();
        stored.as_ref().map(|captured| captured.body.clone())
    }
}

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn poll(reader: &mut FillReader) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    reader.poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn poll_data(reader: &mut FillReader) -> Option<Bytes> {
    match poll(reader) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        _ => None,
    }
}

async fn read(mut reader: FillReader) -> Result<Vec<u8>, BoxError> {
    let mut body = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| reader.poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            body.extend_from_slice(&data);
        }
    }
    Ok(body)
}

#[test]
fn the_budget_is_given_back_to_the_byte_however_a_fill_ends() {
    type End = fn(Bench, FillReader) -> Bench;
    let endings: [(&str, Limits, End); 9] = [
        ("clean", limits(100), |mut bench, mut reader| {
            bench.script = mpsc::unbounded_channel().0;
            while let Poll::Ready(Some(Ok(_))) = poll(&mut reader) {}
            bench
        }),
        ("failed", limits(100), |bench, mut reader| {
            bench.fail();
            while let Poll::Ready(Some(Ok(_))) = poll(&mut reader) {}
            bench
        }),
        ("abandoned", limits(100), |bench, reader| {
            drop(reader);
            bench
        }),
        ("too large", limits(15), |bench, mut reader| {
            while poll_data(&mut reader).is_some() {}
            bench
        }),
        (
            "too long",
            Limits {
                expected: Some(15),
                ..limits(100)
            },
            |bench, mut reader| {
                while poll_data(&mut reader).is_some() {}
                bench
            },
        ),
        (
            "truncated",
            Limits {
                expected: Some(40),
                ..limits(100)
            },
            |mut bench, mut reader| {
                bench.script = mpsc::unbounded_channel().0;
                while let Poll::Ready(Some(Ok(_))) = poll(&mut reader) {}
                bench
            },
        ),
        (
            "complete and abandoned",
            Limits {
                expected: Some(20),
                ..limits(100)
            },
            |bench, mut reader| {
                while poll_data(&mut reader).is_some() {}
                drop(reader);
                bench
            },
        ),
        (
            "refused",
            Limits {
                budget: Budget::new(15 + Backlog::CHUNK_OVERHEAD),
                ..limits(100)
            },
            |bench, mut reader| {
                while poll_data(&mut reader).is_some() {}
                bench
            },
        ),
        ("never read", limits(100), |mut bench, reader| {
            drop(reader);
            bench.fill = Fill::new(Panicking, limits(1), Box::new(drop));
            bench
        }),
    ];
    for (ending, limits, end) in endings {
        let bench = bench(limits);
        bench.send("0123456789");
        bench.send("0123456789");
        let mut reader = bench.reader();
        assert!(poll_data(&mut reader).is_some(), "{ending}");
        assert_eq!(
            bench.budget.held(),
            10 + Backlog::CHUNK_OVERHEAD,
            "{ending}"
        );
        let bench = end(bench, reader);
        assert_eq!(bench.budget.held(), 0, "{ending}");
    }
}

#[test]
fn a_body_that_panics_fails_every_reader_and_gives_its_budget_back() {
    let budget = Budget::new(100);
    let limits = Limits {
        budget: budget.clone(),
        ..limits(100)
    };
    let stored = Arc::default();
    let fill = Fill::new(Panicking, limits, keep_in(&stored));
    let (mut first, mut second) = (
        FillReader::of(&fill).unwrap(),
        FillReader::of(&fill).unwrap(),
    );
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut first)));
    assert!(polled.is_err());
    for reader in [&mut first, &mut second] {
        assert!(matches!(poll(reader), Poll::Ready(Some(Err(_)))));
        assert!(matches!(poll(reader), Poll::Ready(None)));
    }
    assert!(stored.lock().unwrap().is_none());
    assert_eq!(budget.held(), 0);
}

/// A step of a schedule; readers are named by their number.
fn step(random: &mut Rng, bench: &Bench, run: &mut Run) {
    match random.usize(..10) {
        0 => run.join(&bench.fill),
        1 if !run.readers.is_empty() => {
            let reader = random.usize(..run.readers.len());
            run.readers.swap_remove(reader);
        }
        2..=3 => {
            let data: Vec<u8> = (0..random.usize(..9)).map(|_| random.u8(..)).collect();
            run.sent.extend_from_slice(&data);
            bench.send(data);
        }
        _ if !run.readers.is_empty() => {
            let reader = random.usize(..run.readers.len());
            run.poll(reader);
        }
        _ => {}
    }
}

struct Run {
    sent: Vec<u8>,
    readers: Vec<Watched>,
}

struct Watched {
    reader: FillReader,
    woken: Arc<Woken>,
    asleep: bool,
    over: bool,
    read: Vec<u8>,
}

impl Run {
    fn join(&mut self, fill: &Arc<Fill>) {
        self.readers
            .extend(FillReader::of(fill).map(|reader| Watched {
                reader,
                woken: Arc::default(),
                asleep: false,
                over: false,
                read: Vec::new(),
            }));
    }

    fn poll(&mut self, which: usize) {
        let Watched {
            reader,
            woken,
            asleep,
            over,
            read,
        } = &mut self.readers[which];
        let rung = woken.0.swap(false, Ordering::SeqCst);
        let waker = Waker::from(woken.clone());
        let polled = reader.poll_frame(&mut Context::from_waker(&waker));
        assert!(
            !*asleep || rung || polled.is_pending(),
            "a reader slept through what it waited for"
        );
        *asleep = polled.is_pending();
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                read.extend_from_slice(&frame.into_data().unwrap());
                assert!(self.sent.starts_with(read), "bytes out of order");
            }
            Poll::Ready(None) => *over = true,
            Poll::Ready(Some(Err(error))) => panic!("nobody was cut off, but {error}"),
            Poll::Pending => {}
        }
    }
}

#[test]
fn no_schedule_loses_a_wake_up_a_byte_or_budget() {
    for seed in 1..=3000u64 {
        let mut random = Rng::with_seed(seed);
        let max_body = [16, 64, 1000][random.usize(..3)];
        let mut bench = bench(limits(max_body));
        let mut run = Run {
            sent: Vec::new(),
            readers: Vec::new(),
        };
        run.join(&bench.fill);
        for _ in 0..100 {
            step(&mut random, &bench, &mut run);
            if run.readers.is_empty() {
                break;
            }
            let held = bench.fill.lock().backlog.held();
            assert!(held < max_body + 9, "seed {seed}: {held} bytes held");
        }
        let whole = !run.readers.is_empty();
        bench.script = mpsc::unbounded_channel().0;
        // Batch and round: a reader that waits for another's progress is not left behind.
        while run.readers.iter().any(|watched| !watched.over) {
            let before: usize = run.readers.iter().map(|watched| watched.read.len()).sum();
            let over = run.readers.iter().filter(|watched| watched.over).count();
            for which in 0..run.readers.len() {
                run.poll(which);
            }
            let after: usize = run.readers.iter().map(|watched| watched.read.len()).sum();
            let over_now = run.readers.iter().filter(|watched| watched.over).count();
            assert!(after > before || over_now > over, "seed {seed}: stuck");
        }
        for watched in &run.readers {
            assert_eq!(watched.read, run.sent, "seed {seed}");
        }
        let fits = run.sent.len() <= max_body;
        assert_eq!(bench.stored().is_some(), whole && fits, "seed {seed}");
        run.readers.clear();
        assert_eq!(bench.budget.held(), 0, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_on_many_threads_all_get_every_byte() {
    for round in 0..200 {
        let bench = bench(Limits {
            max_body: if round % 2 == 0 { 1 << 20 } else { 64 },
            ..limits(0)
        });
        let readers: Vec<_> = (0..8).map(|_| tokio::spawn(read(bench.reader()))).collect();
        let script = bench.script.clone();
        let sender = tokio::spawn(async move {
            for chunk in 0..50u8 {
                let _ = script.send(Ok(Frame::data(vec![chunk; 10].into())));
                if chunk % 4 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        drop(bench.script);
        sender.await.unwrap();
        let expected: Vec<u8> = (0..50u8).flat_map(|chunk| [chunk; 10]).collect();
        for reader in readers {
            let body = tokio::time::timeout(Duration::from_secs(20), reader).await;
            assert_eq!(body.expect("hung").unwrap().unwrap(), expected);
        }
        assert_eq!(bench.budget.held(), 0);
    }
}

#[test]
fn a_body_that_has_nothing_yet_is_polled_once_for_all_readers() {
    let bench = bench(limits(100));
    let mut readers: Vec<_> = (0..100).map(|_| bench.reader()).collect();
    for reader in &mut readers {
        assert!(poll(reader).is_pending());
        assert!(poll(reader).is_pending());
    }
    assert_eq!(bench.polls.load(Ordering::Relaxed), 1);
    bench.send("x");
    for reader in &mut readers {
        assert_eq!(poll_data(reader).as_deref(), Some(&b"x"[..]));
    }
    assert_eq!(bench.polls.load(Ordering::Relaxed), 2);
}

/// Wakes by dropping another reader of the same fill, as an executor may that drops a task with
/// its last waker.
struct DropsReader(Mutex<Option<FillReader>>);

impl Wake for DropsReader {
    fn wake(self: Arc<Self>) {
        let reader = self.0.lock().unwrap().take();
        drop(reader);
    }
}

#[test]
fn a_waker_may_drop_another_reader() {
    let bench = bench(limits(100));
    let (mut first, second) = (bench.reader(), bench.reader());
    let waker = Waker::from(Arc::new(DropsReader(Mutex::new(Some(second)))));
    let polled = first.poll_frame(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    bench.send("x");
    assert_eq!(bench.fill.lock().backlog.readers(), 1);
    assert!(poll_data(&mut first).is_some());
}

/// A body that is polled while another reader comes to see what there is, too late to be woken by
/// the body itself.
struct Crowded {
    other: Arc<Mutex<Option<FillReader>>>,
    woken: Arc<Woken>,
    ends: bool,
}

impl Body for Crowded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        cx.waker().wake_by_ref();
        if let Some(other) = self.other.lock().unwrap().as_mut() {
            let waker = Waker::from(self.woken.clone());
            let polled = other.poll_frame(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        match self.ends {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    }
}

fn poll_crowded(ends: bool, commit: Commit) -> bool {
    let (other, woken) = (Arc::default(), Arc::<Woken>::default());
    let body = Crowded {
        other: Arc::clone(&other),
        woken: woken.clone(),
        ends,
    };
    let fill = Fill::new(body, limits(10), commit);
    let mut first = FillReader::of(&fill).unwrap();
    *other.lock().unwrap() = FillReader::of(&fill);
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = poll(&mut first);
    }));
    // Outside the lock that the body takes.
    let other = other.lock().unwrap().take();
    drop(other);
    drop(polled);
    woken.0.load(Ordering::SeqCst)
}

#[test]
fn a_reader_that_comes_while_the_body_is_polled_is_woken_by_the_one_who_polls() {
    assert!(poll_crowded(true, Box::new(drop)));
    assert!(poll_crowded(false, Box::new(drop)));
}

#[test]
fn a_store_that_panics_leaves_no_reader_asleep() {
    assert!(poll_crowded(
        true,
        Box::new(|_| panic!("a store that panics"))
    ));
}

#[test]
fn trailers_reach_every_reader_and_the_store() {
    let bench = bench(Limits {
        expected: Some(1),
        ..limits(10)
    });
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", http::HeaderValue::from_static("7"));
    bench.send("x");
    let _ = bench.script.send(Ok(Frame::trailers(trailers.clone())));
    let mut reader = bench.reader();
    assert!(poll_data(&mut reader).is_some());
    // As hyper does that knows the length: no poll for the end.
    drop(reader);
    let stored = bench.stored.lock().unwrap();
    assert_eq!(stored.as_ref().unwrap().trailers, Some(trailers));
}

#[test]
fn what_is_stored_pins_no_chunk_and_is_shared_with_slow_readers() {
    let mut bench = bench(limits(100));
    let (mut fast, mut slow) = (bench.reader(), bench.reader());
    let network = Bytes::from(vec![b'x'; 4096]);
    bench.send(network.slice(10..13));
    bench.send(network.slice(20..23));
    bench.script = mpsc::unbounded_channel().0;
    while let Poll::Ready(Some(_)) = poll(&mut fast) {}
    assert!(network.is_unique());
    let stored = bench.stored().unwrap();
    let chunk = poll_data(&mut slow).unwrap();
    assert_eq!(chunk.as_ptr(), stored.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_cut_off_only_after_it_had_something_to_take() {
    let bench = bench(limits(10));
    let (mut fast, mut slow) = (bench.reader(), bench.reader());
    bench.send(vec![b'a'; 20]);
    assert!(poll_data(&mut fast).is_some() && poll_data(&mut slow).is_some());
    // Nobody has anything to take for a long while.
    tokio::time::advance(STALL * 3).await;
    bench.send(vec![b'b'; 20]);
    assert!(poll_data(&mut fast).is_some());
    assert!(
        poll(&mut fast).is_pending(),
        "the slow one has a chunk to take"
    );
    bench.fill.cut_off_stalled();
    assert!(
        poll_data(&mut slow).is_some(),
        "cut off though it never stalled"
    );
    bench.send(vec![b'c'; 20]);
    assert!(poll_data(&mut fast).is_some());
    tokio::time::advance(STALL).await;
    bench.fill.cut_off_stalled();
    assert!(matches!(poll(&mut slow), Poll::Ready(Some(Err(_)))));
    assert!(matches!(poll(&mut slow), Poll::Ready(None)));
    bench.send("d");
    assert!(poll_data(&mut fast).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_holds_the_others_back_for_a_bounded_time() {
    let bench = bench(limits(10));
    let stalled = bench.reader();
    let reading = tokio::spawn(read(bench.reader()));
    let began = Instant::now();
    for _ in 0..10 {
        bench.send(vec![b'a'; 10]);
    }
    drop(bench.script);
    assert_eq!(reading.await.unwrap().unwrap().len(), 100);
    assert!(began.elapsed() <= STALL + STALL / 4 + STALL / 4);
    assert!(read(stalled).await.is_err());
}

#[tokio::test]
async fn an_abandoned_body_is_read_no_further_than_it_can_be_stored() {
    let budget = Budget::new(1 << 20);
    let limits = Limits {
        finish_abandoned: Some(Background::new(1)),
        budget: budget.clone(),
        ..limits(1000)
    };
    let stored = Arc::default();
    let fill = Fill::new(
        Endless(Bytes::from_static(&[b'x'; 100])),
        limits,
        keep_in(&stored),
    );
    let mut reader = FillReader::of(&fill).unwrap();
    assert!(poll_data(&mut reader).is_some());
    drop(reader);
    while fill.lock().end.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(fill.lock().received <= 1100);
    assert!(stored.lock().unwrap().is_none());
    assert_eq!(budget.held(), 0);
    assert!(FillReader::of(&fill).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_body_that_hangs_is_given_up_unless_somebody_joined() {
    for joined in [false, true] {
        let bench = bench(Limits {
            finish_abandoned: Some(Background::new(1)),
            ..limits(1000)
        });
        bench.send("x");
        let mut reader = bench.reader();
        assert!(poll_data(&mut reader).is_some());
        drop(reader);
        tokio::task::yield_now().await;
        let joiner = joined.then(|| bench.reader());
        tokio::time::sleep(ABANDONED * 2).await;
        assert_eq!(bench.fill.lock().end.is_some(), !joined);
        if let Some(joiner) = joiner {
            bench.send("y");
            drop(bench.script);
            assert_eq!(read(joiner).await.unwrap(), b"xy");
            assert!(bench.stored.lock().unwrap().is_some());
        }
        assert_eq!(bench.budget.held(), 0);
    }
}

#[test]
fn a_runtime_that_shuts_down_ends_what_it_was_reading() {
    let bench = bench(Limits {
        finish_abandoned: Some(Background::new(1)),
        ..limits(1000)
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let (reader, second) = (bench.reader(), bench.reader());
    runtime.spawn(read(reader));
    runtime.spawn(read(second));
    drop(runtime);
    assert!(bench.fill.lock().end.is_some());
    assert_eq!(bench.budget.held(), 0);
}

#[test]
fn empty_frames_without_end_do_not_keep_a_thread() {
    let fill = Fill::new(Endless(Bytes::new()), limits(10), Box::new(drop));
    let mut reader = FillReader::of(&fill).unwrap();
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    assert!(
        reader
            .poll_frame(&mut Context::from_waker(&waker))
            .is_pending()
    );
    assert!(woken.0.load(Ordering::SeqCst));
}

#[test]
fn many_small_chunks_are_charged_for_what_they_take() {
    let bench = bench(Limits {
        budget: Budget::new(100 * Backlog::CHUNK_OVERHEAD),
        ..limits(1000)
    });
    let mut reader = bench.reader();
    for _ in 0..200 {
        bench.send("x");
        assert!(poll_data(&mut reader).is_some());
    }
    assert!(bench.fill.lock().storing.is_none());
    assert_eq!(bench.fill.lock().backlog.held(), 0);
}

#[test]
fn an_abandoned_body_that_shall_stop_stops_at_once() {
    let bench = bench(limits(1000));
    bench.send("x");
    let mut reader = bench.reader();
    assert!(poll_data(&mut reader).is_some());
    drop(reader);
    assert!(bench.script.is_closed());
    assert!(FillReader::of(&bench.fill).is_none());
    assert!(bench.stored().is_none());
}

#[test]
fn a_backlog_counts_its_readers_like_a_plain_list_of_positions() {
    for seed in 1..=500u64 {
        let mut random = Rng::with_seed(seed);
        let now = Instant::now();
        let mut backlog = Backlog::default();
        let (mut gone, mut chunks) = (0, VecDeque::new());
        let mut readers: Vec<(usize, usize)> = Vec::new();
        for _ in 0..200 {
            match random.usize(..6) {
                0 => readers.push((backlog.join(now), gone)),
                1 if !readers.is_empty() => {
                    let (slot, _) = readers.swap_remove(random.usize(..readers.len()));
                    backlog.leave(slot);
                }
                2 => {
                    let data = Bytes::from(vec![random.u8(..); 1 + random.usize(..4)]);
                    chunks.push_back(data.clone());
                    backlog.push(data, now);
                }
                3 => {
                    backlog.let_go();
                    let slowest = readers.iter().map(|(_, next)| *next).min();
                    while gone < slowest.unwrap_or(usize::MAX) && chunks.pop_front().is_some() {
                        gone += 1;
                    }
                }
                _ if !readers.is_empty() => {
                    let which = random.usize(..readers.len());
                    let (slot, next) = &mut readers[which];
                    let expected = chunks.get(*next - gone);
                    *next += usize::from(expected.is_some());
                    match (backlog.take(*slot, now), expected) {
                        (backlog::Take::Chunk(data), Some(expected)) => assert_eq!(data, expected),
                        (backlog::Take::UpToDate, None) => {}
                        (found, expected) => panic!("seed {seed}: {found:?}, not {expected:?}"),
                    }
                }
                _ => {}
            }
            assert_eq!(backlog.readers(), readers.len());
            assert_eq!(backlog.is_whole(), gone == 0);
            let held: usize = chunks.iter().map(Bytes::len).sum();
            assert_eq!(backlog.held(), held, "seed {seed}");
        }
    }
}
