//! The simulated server answers like the real script on a real one.

use super::dice::Dice;
use super::real::{Connection, Redis, Reply};
use super::server::{Limits, Server};
use crate::invalidate::Invalidation;
use crate::pattern::Pattern;
use crate::store::redis::backend::{Followed, Question};
use crate::store::redis::member::to_member;
use crate::store::redis::replica::{Epoch, SharedPosition};

const CASES: u64 = 150;
const STEPS: usize = 60;

/// An answer in a form that can be compared: the head, the floor, and the invalidations.
type Answer = Option<(SharedPosition, u64, Vec<(u64, Vec<u8>)>)>;

#[test]
fn the_simulated_server_answers_like_the_script() {
    let redis = Redis::start();
    let mut connection = redis.connect();
    let (mut reported, mut trimmed, mut refused) = (0, 0, 0);
    for seed in 0..CASES {
        let mut pair = Pair::new(seed, &mut connection);
        for step in 0..STEPS {
            let Some((real, simulated)) = pair.step() else {
                continue;
            };
            assert_eq!(real, simulated, "seed {seed}, step {step}");
            match real {
                None => refused += 1,
                Some((_, floor, all)) => {
                    reported += all.len();
                    trimmed += usize::from(floor > 0);
                }
            }
        }
        pair.heal();
    }
    println!("{reported} invalidations, {trimmed} answers with a floor, {refused} refused");
    assert!(reported > 1000 && trimmed > 100 && refused > 100);
}

/// A real server and a simulated one that get the same treatment.
struct Pair<'a> {
    connection: &'a mut Connection,
    server: Server,
    key: String,
    limits: Limits,
    dice: Dice,
    epochs: Vec<Epoch>,
    head: u64,
}

impl<'a> Pair<'a> {
    fn new(seed: u64, connection: &'a mut Connection) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            connection,
            server: Server::default(),
            key: format!("{{case {seed}}}:L"),
            limits: Limits {
                capacity: dice.pick(&[1, 4, 20, 40, 1000]),
                most_reported: dice.pick(&[1, 5, 1000]),
            },
            dice,
            epochs: vec![[0; 16]],
            head: 0,
        }
    }

    fn step(&mut self) -> Option<(Answer, Answer)> {
        match self.dice.below(100) {
            0..3 if self.server.refuses.is_none() => {
                let key = self.key.clone();
                self.order(&["DEL", &key]);
                self.server.log = None;
            }
            3..6 => {
                self.order(&["REPLICAOF", "127.0.0.1", "1"]);
                self.server.refuses = Some("a replica");
            }
            6..8 => {
                self.order(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
                self.server.refuses = Some("too few replicas");
            }
            8..15 => self.heal(),
            _ => return Some(self.ask()),
        }
        None
    }

    fn heal(&mut self) {
        self.order(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        if self.order(&["ROLE"]).array()[0].text() != "master" {
            self.order(&["REPLICAOF", "NO", "ONE"]);
            self.server.history += 1;
        }
        self.server.refuses = None;
    }

    fn order(&mut self, words: &[&str]) -> Reply {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        let reply = self.connection.send(&words).unwrap();
        assert!(!reply.is_error(), "{reply:?}");
        reply
    }

    fn ask(&mut self) -> (Answer, Answer) {
        let question = self.any_question();
        let simulated = self.server.follow(&question, self.limits, 0);
        let real = match self.ask_alone(&question) {
            // Where nothing is new the floor is what it was.
            Some(Reply::Integer(_)) => {
                let floor = simulated.as_ref().map(|followed| followed.delta.floor);
                Some((question.known.unwrap(), floor.unwrap(), Vec::new()))
            }
            Some(reply) => read(reply),
            None => read(self.send(&command(&self.key, &question, self.limits))),
        };
        if let Some((head, ..)) = &real {
            self.head = head.number;
            if self.epochs.last() != Some(&head.epoch) {
                self.epochs.push(head.epoch);
            }
        }
        (real, simulated.ok().map(comparable))
    }

    /// Asks with few arguments, as stores do where they have nothing to record; `None` where more are
    /// needed.
    fn ask_alone(&mut self, question: &Question) -> Option<Reply> {
        let only_asks =
            question.groups.is_empty() && question.end.is_none() && question.known.is_some();
        if !only_asks || self.dice.percent(20) {
            return None;
        }
        let reply = self.send(&short_command(&self.key, question, self.limits));
        let wants_a_name = matches!(&reply, Reply::Array(words) if words[0].text() == "NAME");
        (!wants_a_name).then_some(reply)
    }

    fn send(&mut self, words: &[Vec<u8>]) -> Reply {
        let words: Vec<_> = words.iter().map(Vec::as_slice).collect();
        self.connection.send(&words).unwrap()
    }

    fn any_question(&mut self) -> Question {
        let groups = (0..self.dice.pick(&[0, 0, 1, 1, 2, 3])).map(|_| {
            let many = 1 + self.dice.below(self.dice.clone().pick(&[1, 3, 9]));
            (0..many).map(|_| any(&mut self.dice)).collect()
        });
        let groups = groups.collect();
        let known = self.dice.percent(80).then(|| SharedPosition {
            epoch: self.some_epoch(),
            number: self.dice.below(self.head as usize + 2) as u64,
        });
        Question {
            known,
            end: self.dice.percent(5).then(|| self.some_epoch()),
            groups,
            new_epoch: std::array::from_fn(|_| self.dice.below(256) as u8),
        }
    }

    /// Returns an epoch, mostly the present one.
    fn some_epoch(&mut self) -> Epoch {
        match self.dice.percent(80) {
            true => *self.epochs.last().unwrap(),
            false => self.epochs[self.dice.below(self.epochs.len())],
        }
    }
}

fn any(dice: &mut Dice) -> Invalidation {
    let number = dice.below(30);
    let what = match dice.below(4) {
        0 => Invalidation::uri(format!("/a/{number}")),
        1 => Invalidation::tag(format!("H{number}")),
        2 => Pattern::parse(&format!("/b/{number}/**")).unwrap().into(),
        _ => Invalidation::everything(),
    };
    if dice.percent(20) { what.soft() } else { what }
}

/// Returns the command that asks alone, with the arguments that the script describes.
fn short_command(key: &str, question: &Question, limits: Limits) -> Vec<Vec<u8>> {
    [
        "EVAL",
        include_str!("../follow.lua"),
        "1",
        key,
        &question
            .known
            .map(|known| hex(known.epoch))
            .unwrap_or_default(),
        &question.known.map_or(0, |known| known.number).to_string(),
        &limits.most_reported.to_string(),
    ]
    .map(|word| word.as_bytes().to_vec())
    .into()
}

fn hex(epoch: Epoch) -> String {
    epoch.map(|byte| format!("{byte:02x}")).concat()
}

/// Returns the command that asks and records.
fn command(key: &str, question: &Question, limits: Limits) -> Vec<Vec<u8>> {
    let mut words = short_command(key, question, limits);
    let more = [
        &hex(question.new_epoch),
        &limits.capacity.to_string(),
        &question.end.map(hex).unwrap_or_default(),
        "",
    ];
    words.extend(more.map(|word| word.as_bytes().to_vec()));
    for group in &question.groups {
        words.push(group.len().to_string().into());
        words.extend(group.iter().map(to_member));
    }
    words
}

fn read(reply: Reply) -> Answer {
    assert!(!reply.is_error(), "{reply:?}");
    let reply = reply.array();
    if reply[0].text() == "NO" {
        return None;
    }
    let epoch = reply[1].text();
    let digits = |at: usize| u8::from_str_radix(&epoch[2 * at..2 * at + 2], 16).unwrap();
    let head = SharedPosition {
        epoch: std::array::from_fn(digits),
        number: reply[2].number() as u64,
    };
    let pairs = reply[5..].chunks(2);
    let mut recorded: Vec<_> = pairs
        .map(|pair| (pair[1].number() as u64, pair[0].clone().bytes()))
        .collect();
    recorded.sort();
    Some((head, reply[3].number() as u64, recorded))
}

fn comparable(followed: Followed) -> (SharedPosition, u64, Vec<(u64, Vec<u8>)>) {
    let delta = followed.delta;
    let mut recorded: Vec<_> = delta
        .recorded
        .iter()
        .map(|(number, one)| (*number, to_member(one)))
        .collect();
    recorded.sort();
    (delta.head, delta.floor, recorded)
}
