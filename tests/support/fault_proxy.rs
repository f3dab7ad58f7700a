//! A TCP proxy that does to connections what networks do to them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A direction in which bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToTarget,
    ToClient,
}

/// What becomes of those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// They are connected to the target.
    Open,
    /// They are refused, as by a machine that is up and has no such service.
    Refusing,
    /// They are accepted and never hear anything.
    BlackHole,
}

#[derive(Clone, Debug)]
struct State {
    target: SocketAddr,
    door: Door,
    latency: Duration,
    stalled: [bool; 2],
    /// Counts the resets: a connection of an earlier count is to end.
    resets: u64,
    /// Counts too: nothing comes through a connection of an earlier count any more.
    abandoned: u64,
}

/// A proxy in front of one target; ends with its runtime. What is asked of it holds at once, for
/// connections that are open and for those to come.
#[derive(Clone, Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    /// How many bytes still go to clients before a connection is cut; huge when none is to be.
    budget: Arc<AtomicI64>,
}

impl FaultProxy {
    /// Listens on a free port.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            target,
            door: Door::Open,
            latency: Duration::ZERO,
            stalled: [false; 2],
            resets: 0,
            abandoned: 0,
        };
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(watch::channel(state).0),
            budget: Arc::new(AtomicI64::new(i64::MAX)),
        };
        tokio::spawn(proxy.clone().listen(listener));
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Delays every byte, each way.
    pub fn set_latency(&self, latency: Duration) {
        self.state.send_modify(|state| state.latency = latency);
    }

    /// Holds back what goes one way, or lets it on; nothing is lost.
    pub fn set_stalled(&self, way: Way, stalled: bool) {
        self.state
            .send_modify(|state| state.stalled[way as usize] = stalled);
    }

    pub fn set_door(&self, door: Door) {
        self.state.send_modify(|state| state.door = door);
    }

    /// Connects those who come from now on to another target.
    pub fn set_target(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Resets all connections: both ends see RST.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Lets nothing more through any connection that is open, without a word: as when a machine in
    /// between forgets them.
    pub fn abandon(&self) {
        self.state.send_modify(|state| state.abandoned += 1);
    }

    /// Lets so many more bytes through to clients, over all connections, and then cuts the connection
    /// that would carry the next one. Once; later connections are not concerned.
    pub fn cut_after(&self, bytes: u32) {
        self.budget.store(bytes.into(), Ordering::SeqCst);
    }

    /// Takes all of it back, except that connections that were reset, cut or abandoned stay so.
    pub fn heal(&self) {
        self.budget.store(i64::MAX, Ordering::SeqCst);
        self.state.send_modify(|state| {
            state.door = Door::Open;
            state.latency = Duration::ZERO;
            state.stalled = [false; 2];
        });
    }

    async fn listen(self, listener: TcpListener) {
        let mut state = self.state.subscribe();
        let mut listener = Some(listener);
        loop {
            let door = state.borrow_and_update().door;
            if door == Door::Refusing {
                drop(listener.take());
                if state.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if listener.is_none() {
                listener = TcpListener::bind(self.address).await.ok();
            }
            let Some(listener) = &listener else {
                // Someone else may have the port for a moment.
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                accepted = listener.accept() => if let Ok((client, _)) = accepted {
                    tokio::spawn(self.clone().connection(client, door));
                },
            }
        }
    }

    async fn connection(self, mut client: TcpStream, door: Door) {
        let mut state = self.state.subscribe();
        let State {
            target,
            resets,
            abandoned,
            ..
        } = state.borrow_and_update().clone();
        let reset = async move {
            // An error says that the proxy is gone.
            let _ = state.wait_for(|state| state.resets > resets).await;
        };
        if door == Door::BlackHole {
            reset.await;
            let _ = client.set_zero_linger();
            return;
        }
        let Ok(mut target) = TcpStream::connect(target).await else {
            // The nearest to being refused that is left.
            let _ = client.set_zero_linger();
            return;
        };
        for stream in [&client, &target] {
            let _ = stream.set_nodelay(true);
        }
        let was_reset = tokio::select! {
            () = reset => true,
            () = self.carry(&mut client, &mut target, abandoned) => false,
        };
        if was_reset {
            let _ = client.set_zero_linger();
            let _ = target.set_zero_linger();
        }
    }

    /// Returns when both sides have ended theirs, or the connection is cut.
    async fn carry(&self, client: &mut TcpStream, target: &mut TcpStream, born: u64) {
        let (from_client, to_client) = client.split();
        let (from_target, to_target) = target.split();
        // An error is the end of both.
        let _ = tokio::try_join!(
            self.pipe(Way::ToTarget, born, from_client, to_target),
            self.pipe(Way::ToClient, born, from_target, to_client),
        );
    }

    async fn pipe(
        &self,
        way: Way,
        born: u64,
        from: ReadHalf<'_>,
        to: WriteHalf<'_>,
    ) -> io::Result<()> {
        // Whoever is not read from has to stop sending at some time.
        let (queue, queued) = mpsc::channel(64);
        tokio::try_join!(self.read(from, queue), self.write(way, born, to, queued)).map(drop)
    }

    async fn read(
        &self,
        mut from: ReadHalf<'_>,
        queue: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> io::Result<()> {
        loop {
            let mut bytes = Vec::with_capacity(16 << 10);
            if from.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let due = Instant::now() + self.state.borrow().latency;
            if queue.send((due, bytes)).await.is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }

    async fn write(
        &self,
        way: Way,
        born: u64,
        mut to: WriteHalf<'_>,
        mut queued: mpsc::Receiver<(Instant, Vec<u8>)>,
    ) -> io::Result<()> {
        let mut state = self.state.subscribe();
        while let Some((due, bytes)) = queued.recv().await {
            tokio::time::sleep_until(due).await;
            let passes = |state: &State| !state.stalled[way as usize] && state.abandoned <= born;
            // An error says that the proxy is gone.
            let _ = state.wait_for(passes).await;
            match self.cuts(way, bytes.len()) {
                None => to.write_all(&bytes).await?,
                Some(at) => {
                    to.write_all(&bytes[..at]).await?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
        to.shutdown().await
    }

    /// Where so many bytes are cut off, if they are.
    fn cuts(&self, way: Way, length: usize) -> Option<usize> {
        if way == Way::ToTarget {
            return None;
        }
        let length = length as i64;
        let left =
            self.budget
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                    i64::MAX => None,
                    left if left < length => Some(i64::MAX),
                    left => Some(left - length),
                });
        left.ok()
            .filter(|&left| left < length)
            .map(|left| left as usize)
    }
}
