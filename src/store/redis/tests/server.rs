//! A server, as far as the store knows it: a log that answers like `follow.lua`, and values.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::invalidate::Invalidation;
use crate::store::redis::backend::{Followed, Question, RedisFailure};
use crate::store::redis::member::{from_member, to_member};
use crate::store::redis::names::Name;
use crate::store::redis::replica::{Delta, Epoch, SharedPosition};

/// The node's settings that `follow.lua` takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) capacity: usize,
    pub(super) most_reported: usize,
}

/// A server. A clone is the copy of a replica, or a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    /// The replication id: another one after each start and each promotion.
    pub(super) history: u64,
    /// Why the log cannot be written to, as on a replica or a full disk.
    pub(super) refuses: Option<&'static str>,
    pub(super) log: Option<SortedSet>,
    pub(super) values: HashMap<Name, (Bytes, Instant)>,
}

/// The one key of the log.
#[derive(Clone, Debug)]
pub(super) struct SortedSet {
    epoch: Epoch,
    history: u64,
    floor: u64,
    head: u64,
    /// By score, then by name, as Redis orders them.
    members: BTreeSet<(u64, Vec<u8>)>,
    scores: HashMap<Vec<u8>, u64>,
}

impl SortedSet {
    fn new(epoch: Epoch, history: u64) -> Self {
        Self {
            epoch,
            history,
            floor: 0,
            head: 0,
            members: BTreeSet::new(),
            scores: HashMap::new(),
        }
    }

    fn add(&mut self, member: Vec<u8>, score: u64) {
        if let Some(before) = self.scores.insert(member.clone(), score) {
            self.members.remove(&(before, member.clone()));
        }
        self.members.insert((score, member));
    }

    /// Records these, and returns each with its number.
    fn record(
        &mut self,
        groups: &[Box<[Invalidation]>],
        limits: Limits,
    ) -> Vec<(u64, Invalidation)> {
        let mut recorded = Vec::new();
        let before = self.members.len();
        for group in groups {
            self.head += 1;
            for one in group {
                self.add(to_member(one), self.head);
                recorded.push((self.head, one.clone()));
            }
        }
        let over = self.members.len().saturating_sub(limits.capacity);
        if over > 0 && self.members.len() > before {
            self.trim(over + limits.capacity / 16);
        }
        recorded
    }

    fn trim(&mut self, many: usize) {
        for _ in 0..many {
            if let Some((score, member)) = self.members.pop_first() {
                self.scores.remove(&member);
                self.floor = score;
            }
        }
    }

    fn report(&self, known: Option<SharedPosition>, limits: Limits) -> Delta {
        let mut delta = Delta {
            head: SharedPosition {
                epoch: self.epoch,
                number: self.head,
            },
            floor: self.floor,
            recorded: Vec::new(),
        };
        let known = known.filter(|known| known.epoch == self.epoch && known.number > self.floor);
        let from = known.map_or(self.floor, |known| known.number);
        let behind = self.members.range((from + 1, Vec::new())..);
        if behind.clone().count() > limits.most_reported {
            delta.floor = self.head;
            return delta;
        }
        delta.recorded = behind
            .map(|(number, member)| (*number, from_member(member)))
            .collect();
        delta
    }
}

impl Server {
    /// Answers like `follow.lua`.
    pub(super) fn follow(
        &mut self,
        question: &Question,
        limits: Limits,
        now_ms: i64,
    ) -> Result<Followed, RedisFailure> {
        if let Some(why) = self.refuses {
            return Err(RedisFailure::Refused(why.into()));
        }
        let kept = self.log.take().filter(|log| self.goes_on(log, question));
        let log = kept.unwrap_or_else(|| SortedSet::new(question.new_epoch, self.history));
        let log = self.log.insert(log);
        let mut delta = log.report(question.known, limits);
        delta.recorded.extend(log.record(&question.groups, limits));
        delta.head.number = log.head;
        delta.floor = delta.floor.max(log.floor);
        Ok(Followed { delta, now_ms })
    }

    fn goes_on(&self, log: &SortedSet, question: &Question) -> bool {
        let same_history = log.history == self.history;
        same_history && question.end != Some(log.epoch)
    }

    pub(super) fn get(&self, name: &Name, now: Instant) -> Option<Bytes> {
        let (value, until) = self.values.get(name)?;
        (now < *until).then(|| value.clone())
    }

    pub(super) fn set(
        &mut self,
        name: Name,
        value: Bytes,
        now: Instant,
        ttl: Duration,
    ) -> Result<(), RedisFailure> {
        if let Some(why) = self.refuses {
            return Err(RedisFailure::Refused(why.into()));
        }
        self.values.insert(name, (value, now + ttl));
        Ok(())
    }

    pub(super) fn increment(
        &mut self,
        name: Name,
        by: i64,
        now: Instant,
        ttl: Duration,
    ) -> Result<i64, RedisFailure> {
        let refused = |why: &str| RedisFailure::Refused(why.into());
        let known = self.get(&name, now);
        let count = known.as_deref().map_or(Ok(0), |text| {
            let count = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            count.ok_or_else(|| refused("not a counter"))
        });
        let count = i64::checked_add(count?, by).ok_or_else(|| refused("too much"))?;
        let until = match known {
            Some(_) => self.values[&name].1,
            None => now + ttl,
        };
        if by != 0 {
            self.remove(&name)?;
            self.values.insert(name, (count.to_string().into(), until));
        }
        Ok(count)
    }

    pub(super) fn remove(&mut self, name: &Name) -> Result<(), RedisFailure> {
        match self.refuses {
            Some(why) => Err(RedisFailure::Refused(why.into())),
            None => {
                self.values.remove(name);
                Ok(())
            }
        }
    }
}
