//! The backend through fred, which the other modules know only as a [`Backend`].
//!
//! Only this module, `connect`, `reconnect` and `notifications` name fred's types.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::bytes_utils::Str;
use fred::clients::{Client, WithOptions};
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::Options;
use fred::types::scripts::Script;
use fred::types::{ClusterHash, CustomCommand, Expiration, SetOptions, Value};

use super::backend::{Backend, Followed, Operation, Question, RedisFailure};
use super::connect::Connections;
use super::member::{from_member, to_member};
use super::names::{Name, Names};
use super::reconnect::Reconnector;
use super::replica::{Delta, Epoch, SharedPosition};
use crate::hexadecimal::hexadecimal;

/// The script that records in the log and asks it. Its head describes it.
const FOLLOW: &str = include_str!("follow.lua");

/// The script that adds to a counter. Lua's numbers are exact up to 2^53 only, so the count is returned
/// as text.
const INCREMENT: &str = "
local new = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
local count = redis.call('GET', KEYS[1])
if new and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count";

/// A node that has more invalidations to catch up with than this starts anew instead.
const MOST_REPORTED: usize = 8192;

/// Operations on connections that are open already.
pub(super) struct FredBackend {
    clients: Vec<WithOptions<Client>>,
    /// Keep the clients connected for as long as this lives.
    _reconnectors: Vec<Reconnector>,
    /// The client whose turn it is.
    next: AtomicUsize,
    deadline: Duration,
    log: Arc<LogScript>,
    increment: Arc<CachedScript>,
}

/// The log on the server, and the script that asks it.
struct LogScript {
    follow: CachedScript,
    key: Str,
    slot: ClusterHash,
    channel: Str,
    /// How many different invalidations it tells apart.
    capacity: usize,
}

/// A script, and the name by which a server that has run it once knows it.
struct CachedScript {
    text: &'static str,
    hash: Str,
}

impl FredBackend {
    pub(super) fn new(
        connections: Connections,
        deadline: Duration,
        names: &Names,
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
            clients: connections.clients.iter().map(with_options).collect(),
            _reconnectors: connections.reconnectors,
            next: AtomicUsize::new(0),
            deadline,
            log: Arc::new(LogScript {
                follow: CachedScript::new(FOLLOW),
                slot: ClusterHash::from(names.log().as_bytes()),
                key: names.log().into(),
                channel: names.channel().into(),
                capacity,
            }),
            increment: Arc::new(CachedScript::new(INCREMENT)),
        }
    }

    fn client(&self) -> WithOptions<Client> {
        // Relaxed: any turn will do.
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.clients[turn % self.clients.len()].clone()
    }

    /// Bounds an operation. fred bounds it as well, but not while it is about to reconnect.
    ///
    /// The operation is made where it stays: fred's futures are of many KiB, and would be moved with
    /// all of them.
    fn bounded<T, F>(&self, operation: impl FnOnce() -> F + Send + 'static) -> Operation<T>
    where
        F: Future<Output = Result<T, fred::error::Error>> + Send,
    {
        let deadline = self.deadline;
        Box::pin(async move {
            let operation = pin!(operation());
            match tokio::time::timeout(deadline, operation).await {
                Ok(answer) => answer.map_err(RedisFailure::from),
                Err(_) => Err(RedisFailure::Timeout),
            }
        })
    }
}

impl Backend for FredBackend {
    fn follow(&self, question: Question) -> Operation<Followed> {
        let (client, log) = (self.client(), self.log.clone());
        let known = question.known;
        let asked = self.bounded(async move || {
            let only_asks =
                question.known.is_some() && question.end.is_none() && question.groups.is_empty();
            if only_asks {
                let answer = log.run(&client, log.short_arguments(&question)).await?;
                if !wants_a_name(&answer) {
                    return Ok(answer);
                }
            }
            log.run(&client, log.arguments(&question)).await
        });
        Box::pin(async move { read(asked.await?, known) })
    }

    fn get(&self, name: Name) -> Operation<Option<Bytes>> {
        let client = self.client();
        self.bounded(async move || {
            match client.get(&*name).await {
                // Nothing that this crate stores: the caller refuses it, for it lacks the form.
                Err(error) if error.details().starts_with("WRONGTYPE") => Ok(Some(Bytes::new())),
                answer => answer,
            }
        })
    }

    fn set(&self, name: Name, value: Bytes, ttl: Duration) -> Operation<()> {
        let client = self.client();
        self.bounded(async move || client.set(&*name, value, expiry(ttl), None, false).await)
    }

    fn remove(&self, name: Name) -> Operation<()> {
        let client = self.client();
        self.bounded(async move || client.unlink::<Value, _>(&*name).await.map(drop))
    }

    fn increment(&self, name: Name, by: i64, ttl: Duration) -> Operation<i64> {
        let counted = match by {
            0 => {
                let client = self.client();
                self.bounded(async move || client.get::<Value, _>(&*name).await)
            }
            by => {
                let ttl = match i64::try_from(ttl.as_millis()) {
                    Ok(milliseconds) if milliseconds <= LONGEST => milliseconds.into(),
                    _ => Value::from(""),
                };
                let (client, script) = (self.client(), self.increment.clone());
                let slot = ClusterHash::from(name.as_bytes());
                let arguments = vec![Value::from(&*name), by.into(), ttl];
                self.bounded(async move || script.run(&client, slot, arguments).await)
            }
        };
        Box::pin(async move {
            match counted.await? {
                Value::Null => Ok(0),
                count => count.as_i64().ok_or_else(|| {
                    RedisFailure::Refused("there is something other than a counter".into())
                }),
            }
        })
    }

    fn claim(&self, name: Name, value: Bytes, ttl: Duration) -> Operation<bool> {
        let client = self.client();
        self.bounded(async move || {
            let options = Some(SetOptions::NX);
            let set: Value = client
                .set(&*name, value, expiry(ttl), options, false)
                .await?;
            Ok(!set.is_null())
        })
    }

    fn reconnect(&self) {
        for client in &self.clients {
            let client = client.clone();
            tokio::spawn(async move {
                // A client that is connecting already reports an error, and goes on connecting.
                let _ = client.force_reconnection().await;
            });
        }
    }
}

/// A counter with a longer time to live, in milliseconds, lives forever: a thousand years, which Redis
/// can still count from now.
const LONGEST: i64 = 1_000 * 366 * 86_400 * 1_000;

fn expiry(ttl: Duration) -> Option<Expiration> {
    let milliseconds = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    Some(Expiration::PX(milliseconds.max(1)))
}

impl CachedScript {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: Script::from_lua(text).sha1().clone(),
        }
    }

    /// Runs the script on its one key, the first of the arguments.
    async fn run(
        &self,
        client: &WithOptions<Client>,
        slot: ClusterHash,
        arguments: Vec<Value>,
    ) -> Result<Value, fred::error::Error> {
        let call = |how: &'static str, script: Value| {
            let mut all = Vec::with_capacity(2 + arguments.len());
            all.extend([script, 1.into()]);
            all.extend(arguments.iter().cloned());
            client.custom::<Value, _>(CustomCommand::new_static(how, slot.clone(), false), all)
        };
        match call("EVALSHA", self.hash.clone().into()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                call("EVAL", self.text.into()).await
            }
            answer => answer,
        }
    }
}

impl LogScript {
    async fn run(
        &self,
        client: &WithOptions<Client>,
        arguments: Vec<Value>,
    ) -> Result<Value, fred::error::Error> {
        self.follow.run(client, self.slot.clone(), arguments).await
    }

    /// Returns the arguments of a question that records nothing: as few as possible, for each lookup
    /// sends them.
    fn short_arguments(&self, question: &Question) -> Vec<Value> {
        let (epoch, number) = match question.known {
            Some(known) => (hexadecimal(&known.epoch), known.number),
            None => (String::new(), 0),
        };
        vec![
            self.key.clone().into(),
            epoch.into(),
            integer(number),
            integer(MOST_REPORTED as u64),
        ]
    }

    /// Returns all arguments.
    fn arguments(&self, question: &Question) -> Vec<Value> {
        let end = question.end.map(|epoch| hexadecimal(&epoch));
        let mut arguments = self.short_arguments(question);
        arguments.extend([
            hexadecimal(&question.new_epoch).into(),
            integer(self.capacity as u64),
            end.unwrap_or_default().into(),
            self.channel.clone().into(),
        ]);
        for group in question.groups.iter().filter(|group| !group.is_empty()) {
            arguments.push(integer(group.len() as u64));
            let members = group.iter().map(|it| Bytes::from(to_member(it)).into());
            arguments.extend(members);
        }
        arguments
    }
}

fn integer(number: u64) -> Value {
    // Positions stay far below: the script's own arithmetic is exact up to 2^53.
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
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

/// Returns whether a question without a name for a new epoch was refused, since one has to begin.
fn wants_a_name(answer: &Value) -> bool {
    let Value::Array(words) = answer else {
        return false;
    };
    let first = words.first().and_then(Value::as_bytes);
    first == Some(b"NAME")
}

/// Reads the script's answer.
fn read(answer: Value, known: Option<SharedPosition>) -> Result<Followed, RedisFailure> {
    if let (Value::Integer(now_ms), Some(head)) = (&answer, known) {
        let delta = Delta {
            head,
            floor: 0,
            recorded: Vec::new(),
        };
        return Ok(Followed {
            delta,
            now_ms: *now_ms,
        });
    }
    let mut answer = answer.into_array().into_iter();
    let status = answer.next().and_then(Value::into_string);
    if status.as_deref() == Some("NO") {
        let reason = answer.next().and_then(Value::into_string);
        return Err(RedisFailure::Refused(reason.unwrap_or_default().into()));
    }
    let followed = (status.as_deref() == Some("OK")).then(|| read_log(answer));
    followed
        .flatten()
        .ok_or_else(|| RedisFailure::Refused("the log answered in words unknown here".into()))
}

fn read_log(mut answer: impl Iterator<Item = Value>) -> Option<Followed> {
    let epoch = unhex(&answer.next()?.into_string()?)?;
    let head = count(&answer.next()?)?;
    let floor = count(&answer.next()?)?;
    let now_ms = answer.next()?.as_i64()?;
    let mut recorded = Vec::new();
    while let Some(text) = answer.next() {
        let text = text.into_bytes()?;
        recorded.push((count(&answer.next()?)?, from_member(&text)));
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
        now_ms,
    })
}

/// Reads a number that Redis may have made a floating-point one.
fn count(value: &Value) -> Option<u64> {
    match value.as_i64() {
        Some(number) => u64::try_from(number).ok(),
        None => value.as_f64().map(|number| number as u64),
    }
}

impl From<fred::error::Error> for RedisFailure {
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

impl fmt::Debug for FredBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FredBackend")
            .field("connections", &self.clients.len())
            .field("deadline", &self.deadline)
            .field("log", &&*self.log.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_comes_back_as_it_went_in() {
        let epoch = [0, 1, 15, 16, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(unhex(&hexadecimal(&epoch)), Some(epoch));
        for wrong in ["", "00", &"g".repeat(32), &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_in_other_words_is_refused() {
        let text = |text: &str| Value::from(text);
        let epoch = hexadecimal(&[7; 16]);
        let said = |status, epoch, head| [status, epoch, head, "0", "5"].map(text).to_vec();
        let answers = [
            vec![],
            vec![text("OK")],
            vec![text("NO")],
            said("YES", &epoch, "1"),
            said("OK", "7", "1"),
            said("OK", &epoch, "-1"),
            [said("OK", &epoch, "1"), vec![text("htx")]].concat(),
        ];
        assert!(read(Value::Array(said("OK", &epoch, "1")), None).is_ok());
        // An answer of the time alone says that nothing is new, which needs a known position.
        assert!(read(Value::Integer(5), None).is_err());
        for answer in answers {
            let refused = read(Value::Array(answer.clone()), None);
            assert!(
                matches!(refused, Err(RedisFailure::Refused(_))),
                "{answer:?}"
            );
        }
    }
}
