//! Redis through fred. No other module knows of fred, but the builder that configures it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::{Client, WithOptions};
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::Options;
use fred::types::scripts::Script;
use fred::types::{ClusterHash, CustomCommand, Expiration, SetOptions, Value};

use super::backend::{Ask, Backend, Failure, Followed, Name, Pending};
use super::connected::Connected;
use crate::invalidate::{Delta, Epoch, Invalidation, SharedPosition};

/// See the script.
const FOLLOW: &str = include_str!("follow.lua");

/// Adds to a counter. Numbers of Lua's are exact up to 2^53 only, so that the count is told as text.
const INCREMENT: &str = "
local new = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
local count = redis.call('GET', KEYS[1])
if new and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count";

/// A node that has more to catch up with than this starts anew instead.
const MOST_TOLD: usize = 8192;

/// Operations on connections that are open already.
pub(super) struct Fred {
    clients: Vec<WithOptions<Client>>,
    _connected: Vec<Connected>,
    /// Whose turn it is.
    next: AtomicUsize,
    deadline: Duration,
    follow: Script,
    increment: Script,
    log: Log,
}

/// What is said in every question about the log.
struct Log {
    key: String,
    channel: String,
    /// How many invalidations it tells apart.
    capacity: usize,
}

impl Fred {
    pub(super) fn new(
        clients: &[Client],
        connected: Vec<Connected>,
        deadline: Duration,
        namespace: &str,
        capacity: usize,
    ) -> Self {
        let options = Options {
            timeout: Some(deadline),
            fail_fast: true,
            // One would make every redirection in a cluster an error.
            max_attempts: Some(2),
            ..Options::default()
        };
        let with_options = |client: &Client| client.with_options(&options);
        Self {
            clients: clients.iter().map(with_options).collect(),
            _connected: connected,
            next: AtomicUsize::new(0),
            deadline,
            follow: Script::from_lua(FOLLOW),
            increment: Script::from_lua(INCREMENT),
            log: Log {
                key: log_key(namespace),
                channel: channel(namespace),
                capacity,
            },
        }
    }

    fn client(&self) -> WithOptions<Client> {
        // Relaxed: any turn will do.
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.clients[turn % self.clients.len()].clone()
    }

    /// Runs a script on its one key, the first of the arguments.
    fn eval(&self, script: &Script, text: &'static str, arguments: Vec<Value>) -> Pending<Value> {
        let client = self.client();
        let hash = script.sha1().to_string();
        let key = arguments.first().and_then(Value::as_bytes);
        let slot = ClusterHash::from(key.unwrap_or_default());
        self.bounded(async move {
            let call = |how: &'static str, script: &str| {
                let mut all: Vec<Value> = vec![script.into(), 1.into()];
                all.extend(arguments.iter().cloned());
                client.custom::<Value, _>(CustomCommand::new_static(how, slot.clone(), false), all)
            };
            match call("EVALSHA", &hash).await {
                Err(error) if error.details().starts_with("NOSCRIPT") => call("EVAL", text).await,
                answer => answer,
            }
        })
    }

    /// Bounds an operation. fred bounds it as well, but not while it is about to reconnect.
    fn bounded<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, fred::error::Error>> + Send + 'static,
    ) -> Pending<T> {
        let bounded = tokio::time::timeout(self.deadline, operation);
        Box::pin(async move {
            match bounded.await {
                Ok(answer) => answer.map_err(Failure::from),
                Err(_) => Err(Failure::Timeout),
            }
        })
    }
}

/// The key of a namespace's log.
pub(super) fn log_key(namespace: &str) -> String {
    format!("{{{namespace}}}:L")
}

/// The channel on which new invalidations are announced.
pub(super) fn channel(namespace: &str) -> String {
    format!("{{{namespace}}}:P")
}

impl Backend for Fred {
    fn follow(&self, ask: Ask) -> Pending<Followed> {
        let answer = self.eval(&self.follow, FOLLOW, self.log.arguments(&ask));
        Box::pin(async move { read(answer.await?) })
    }

    fn get(&self, name: Name) -> Pending<Option<Bytes>> {
        let client = self.client();
        self.bounded(async move {
            match client.get(&*name).await {
                // Something else than we store: told apart by the form it does not have.
                Err(error) if error.details().starts_with("WRONGTYPE") => Ok(Some(Bytes::new())),
                answer => answer,
            }
        })
    }

    fn set(&self, name: Name, value: Bytes, keep: Duration) -> Pending<()> {
        let client = self.client();
        self.bounded(async move { client.set(&*name, value, expiry(keep), None, false).await })
    }

    fn remove(&self, name: Name) -> Pending<()> {
        let client = self.client();
        self.bounded(async move { client.unlink::<Value, _>(&*name).await.map(drop) })
    }

    fn increment(&self, name: Name, by: i64, keep: Duration) -> Pending<i64> {
        let counted = match by {
            0 => {
                let client = self.client();
                self.bounded(async move { client.get::<Value, _>(&*name).await })
            }
            by => {
                let keep = match i64::try_from(keep.as_millis()) {
                    Ok(milliseconds) if milliseconds <= LONGEST => milliseconds.into(),
                    _ => Value::from(""),
                };
                let arguments = vec![Value::from(&*name), by.into(), keep];
                self.eval(&self.increment, INCREMENT, arguments)
            }
        };
        Box::pin(async move {
            match counted.await? {
                Value::Null => Ok(0),
                count => count.as_i64().ok_or_else(|| {
                    Failure::Refused("there is something else than a counter".into())
                }),
            }
        })
    }

    fn claim(&self, name: Name, value: Bytes, keep: Duration) -> Pending<bool> {
        let client = self.client();
        self.bounded(async move {
            let options = Some(SetOptions::NX);
            let set: Value = client
                .set(&*name, value, expiry(keep), options, false)
                .await?;
            Ok(!set.is_null())
        })
    }

    fn reconnect(&self) {
        for client in &self.clients {
            let client = client.clone();
            tokio::spawn(async move {
                // Of a client that is connecting already nothing more can be asked.
                let _ = client.force_reconnection().await;
            });
        }
    }
}

/// What is to be kept for longer, in milliseconds, is kept for ever: a thousand years, at which Redis
/// can still count from now.
const LONGEST: i64 = 1_000 * 366 * 86_400 * 1_000;

fn expiry(keep: Duration) -> Option<Expiration> {
    let milliseconds = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    Some(Expiration::PX(milliseconds.max(1)))
}

impl Log {
    fn arguments(&self, ask: &Ask) -> Vec<Value> {
        let epoch = |epoch: Option<Epoch>| epoch.map(hex).unwrap_or_default();
        let mut arguments: Vec<Value> = vec![
            self.key.as_str().into(),
            epoch(ask.known.map(|known| known.epoch)).into(),
            number(ask.known.map_or(0, |known| known.number)),
            hex(ask.new_epoch).into(),
            number(self.capacity as u64),
            number(MOST_TOLD as u64),
            epoch(ask.end).into(),
            self.channel.as_str().into(),
        ];
        for group in ask.groups.iter().filter(|group| !group.is_empty()) {
            arguments.push(number(group.len() as u64));
            let members = group.iter().map(|it| Bytes::from(it.to_member()).into());
            arguments.extend(members);
        }
        arguments
    }
}

fn number(number: u64) -> Value {
    // Of positions the script's own arithmetic is good for 2^53.
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn hex(epoch: Epoch) -> String {
    epoch.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Epoch> {
    let mut epoch = Epoch::default();
    if text.len() != 2 * epoch.len() || !text.is_ascii() {
        return None;
    }
    for (byte, at) in epoch.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(epoch)
}

/// Reads the script's answer.
fn read(answer: Value) -> Result<Followed, Failure> {
    let mut answer = answer.into_array().into_iter();
    let status = answer.next().and_then(Value::into_string);
    if status.as_deref() == Some("NO") {
        let reason = answer.next().and_then(Value::into_string);
        return Err(Failure::Refused(reason.unwrap_or_default().into()));
    }
    let followed = (status.as_deref() == Some("OK")).then(|| read_log(answer));
    followed
        .flatten()
        .ok_or_else(|| Failure::Refused("the log answered in words unknown here".into()))
}

fn read_log(mut answer: impl Iterator<Item = Value>) -> Option<Followed> {
    let epoch = unhex(&answer.next()?.into_string()?)?;
    let head = count(&answer.next()?)?;
    let floor = count(&answer.next()?)?;
    let (seconds, microseconds) = (answer.next()?.as_i64()?, answer.next()?.as_i64()?);
    let mut recorded = Vec::new();
    while let Some(text) = answer.next() {
        let text = text.into_bytes()?;
        recorded.push((count(&answer.next()?)?, Invalidation::from_member(&text)));
    }
    let head = SharedPosition {
        epoch,
        number: head,
    };
    Some(Followed {
        delta: Delta {
            head,
            floor,
            recorded,
        },
        now_ms: seconds.checked_mul(1000)? + microseconds / 1000,
    })
}

/// Reads a number that Redis may have made a floating-point one.
fn count(value: &Value) -> Option<u64> {
    match value.as_i64() {
        Some(number) => u64::try_from(number).ok(),
        None => value.as_f64().map(|number| number as u64),
    }
}

impl From<fred::error::Error> for Failure {
    fn from(error: fred::error::Error) -> Self {
        use fred::error::ErrorKind;
        match error.kind() {
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing => {
                Self::Unreachable(error.details().into())
            }
            _ => Self::Refused(error.details().into()),
        }
    }
}

impl fmt::Debug for Fred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fred")
            .field("connections", &self.clients.len())
            .field("deadline", &self.deadline)
            .field("log", &self.log.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_comes_back_as_it_went_in() {
        let epoch = [0, 1, 15, 16, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(unhex(&hex(epoch)), Some(epoch));
        for wrong in ["", "00", &"g".repeat(32), &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_in_other_words_is_refused() {
        let text = |text: &str| Value::from(text);
        let epoch = hex([7; 16]);
        let said = |status, epoch, head| [status, epoch, head, "0", "5", "9"].map(text).to_vec();
        let answers = [
            vec![],
            vec![text("OK")],
            vec![text("NO")],
            said("YES", &epoch, "1"),
            said("OK", "7", "1"),
            said("OK", &epoch, "-1"),
            [said("OK", &epoch, "1"), vec![text("htx")]].concat(),
        ];
        assert!(read(Value::Array(said("OK", &epoch, "1"))).is_ok());
        for answer in answers {
            let refused = read(Value::Array(answer.clone()));
            assert!(matches!(refused, Err(Failure::Refused(_))), "{answer:?}");
        }
    }
}
