//! The network between the nodes and the server: messages that are late, out of order, or lost.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::server::{Limits, Server};
use crate::store::redis::backend::{Backend, Followed, Operation, Question, RedisFailure};
use crate::store::redis::clocks::now;
use crate::store::redis::names::Name;

pub(super) const DEADLINE: Duration = Duration::from_millis(50);

/// How messages fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// They come within a few milliseconds.
    Calm,
    /// They come soon, and their answers only just in time.
    Slow,
    /// Some come late, some never, and of some that came the answer does not.
    Rough,
    /// No answer comes to any of them; most were carried out.
    Silent,
    /// There is no connection.
    Cut,
}

/// The server, and the ways to it.
#[derive(Debug)]
pub(super) struct Network {
    state: Mutex<State>,
    began: Instant,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) server: Server,
    /// For each node.
    pub(super) weather: Vec<Weather>,
    /// Earlier states of the server.
    past: Vec<Server>,
    histories: u64,
    /// By how many milliseconds its clock is ahead.
    clock_ms: i64,
    dice: Dice,
}

/// The fate of one message.
struct Fate {
    there: Duration,
    back: Option<Duration>,
    arrives: bool,
    /// Set if the sender learns at once that it does not.
    is_noticed: bool,
}

impl Network {
    pub(super) fn new(nodes: usize, dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                server: Server::default(),
                weather: vec![Weather::Calm; nodes],
                past: vec![Server::default()],
                histories: 0,
                clock_ms: 1_000_000,
                dice,
            }),
            began: now(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Returns the connection of one node to the server.
    pub(super) fn line(self: &Arc<Self>, node: usize, limits: Limits) -> Line {
        Line {
            network: self.clone(),
            node,
            limits,
        }
    }
}

impl State {
    pub(super) fn remember(&mut self) {
        self.past.push(self.server.clone());
        if self.past.len() > 4 {
            self.past.remove(0);
        }
    }

    /// Does something to the server, and returns what.
    pub(super) fn strike(&mut self) -> &'static str {
        match self.dice.below(7) {
            0 => {
                self.server.log = None;
                "the log is evicted"
            }
            1 => {
                self.server.log = None;
                self.server.values.clear();
                "everything is flushed"
            }
            2 => {
                self.fail_over();
                self.server.log = None;
                self.server.values.clear();
                "the server is restarted with nothing"
            }
            3 => {
                let names: Vec<_> = self.server.values.keys().cloned().collect();
                for name in names {
                    if self.dice.percent(50) {
                        self.server.values.remove(&name);
                    }
                }
                "entries are evicted"
            }
            4 => {
                self.server.refuses = Some("a replica");
                "the server stops taking writes"
            }
            _ => {
                self.fail_over();
                "a replica, or a file, takes over"
            }
        }
    }

    /// A server with an earlier log goes on, with the values of the same time or of another.
    fn fail_over(&mut self) {
        self.past.push(self.server.clone());
        let (log, values) = (
            self.dice.below(self.past.len()),
            self.dice.below(self.past.len()),
        );
        self.histories += 1;
        self.clock_ms += self.dice.below(2000) as i64 - 1000;
        self.server = Server {
            history: self.histories,
            refuses: None,
            log: self.past[log].log.clone(),
            values: self.past[values].values.clone(),
        };
        // The others copy from this one, and no longer have what they had.
        self.past = vec![self.server.clone()];
    }

    pub(super) fn heal(&mut self) {
        self.server.refuses = None;
        self.weather.fill(Weather::Calm);
    }

    fn fate(&mut self, node: usize) -> Fate {
        let (weather, dice) = (self.weather[node], &mut self.dice);
        let mut within = |most: usize| Duration::from_millis(dice.below(most) as u64);
        let (there, back) = match weather {
            Weather::Calm => (within(3), within(3)),
            Weather::Slow => (within(3), Duration::from_millis(25) + within(20)),
            Weather::Rough | Weather::Silent | Weather::Cut => (within(50), within(40)),
        };
        let (arrives, answered) = match weather {
            Weather::Calm | Weather::Slow => (true, true),
            Weather::Rough => (dice.percent(90), dice.percent(90)),
            Weather::Silent => (dice.percent(80), false),
            Weather::Cut => (false, false),
        };
        Fate {
            there,
            back: answered.then_some(back),
            arrives,
            is_noticed: weather == Weather::Cut || dice.percent(30),
        }
    }
}

/// The connection of one node to the server.
pub(super) struct Line {
    network: Arc<Network>,
    node: usize,
    limits: Limits,
}

impl Line {
    /// Sends a message. Once sent it may be carried out whether or not anybody waits for it.
    fn send<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State, Instant) -> Result<T, RedisFailure> + Send + 'static,
    ) -> Operation<T> {
        let (network, node) = (self.network.clone(), self.node);
        Box::pin(async move {
            let fate = network.lock().fate(node);
            let (answer, answered) = oneshot::channel();
            tokio::spawn(async move {
                pass(fate.there).await;
                let acted = fate.arrives.then(|| act(&mut network.lock(), now()));
                match (acted, fate.back) {
                    (Some(acted), Some(back)) => {
                        pass(back).await;
                        let _ = answer.send(acted);
                    }
                    _ if fate.is_noticed => {}
                    _ => {
                        sleep(2 * DEADLINE).await;
                        drop(answer);
                    }
                }
            });
            match timeout(DEADLINE, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(RedisFailure::Unreachable("the connection broke".into())),
                Err(_) => Err(RedisFailure::Timeout),
            }
        })
    }
}

async fn pass(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

impl Backend for Line {
    fn follow(&self, question: Question) -> Operation<Followed> {
        let (limits, began) = (self.limits, self.network.began);
        self.send(move |state, now| {
            let now_ms = state.clock_ms + (now - began).as_millis() as i64;
            state.server.follow(&question, limits, now_ms)
        })
    }

    fn get(&self, name: Name) -> Operation<Option<Bytes>> {
        self.send(move |state, now| Ok(state.server.get(&name, now)))
    }

    fn set(&self, name: Name, value: Bytes, ttl: Duration) -> Operation<()> {
        self.send(move |state, now| state.server.set(name, value, now, ttl))
    }

    fn remove(&self, name: Name) -> Operation<()> {
        self.send(move |state, _| state.server.remove(&name))
    }

    fn increment(&self, name: Name, by: i64, ttl: Duration) -> Operation<i64> {
        self.send(move |state, now| state.server.increment(name, by, now, ttl))
    }

    fn claim(&self, name: Name, value: Bytes, ttl: Duration) -> Operation<bool> {
        self.send(move |state, now| match state.server.get(&name, now) {
            Some(_) => Ok(false),
            None => state.server.set(name, value, now, ttl).map(|()| true),
        })
    }

    fn reconnect(&self) {}
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
