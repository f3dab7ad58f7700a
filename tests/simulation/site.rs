//! The sites that are simulated. Each has resources which one kind of invalidation alone keeps up to
//! date, so that a cache that does not look at that kind is found out.

use std::time::Duration;

use http::Method;
use tower_response_cache::{Evict, Invalidation, Pattern, Policy, Routes};

use crate::dice::Dice;
use crate::world::LAG;

/// One site: what it serves, and what can be done to it.
pub(crate) struct Site {
    pub name: &'static str,
    pub routes: Routes,
    /// The resources, by their number.
    pub targets: &'static [&'static str],
    pub writes: Vec<Write>,
    /// What can be invalidated by hand, and the resources that this covers.
    pub by_hand: Vec<(Invalidation, &'static [usize])>,
    /// Whether handlers read from a replica.
    pub lags: bool,
    /// Whether handlers tag their responses with the resource's own name.
    pub tagged: bool,
    /// The tags under which handlers keep what they read of each resource as a value; none where they
    /// do not.
    pub value_tags: &'static [&'static [&'static str]],
}

/// A kind of write.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub method: Method,
    pub uri: &'static str,
    /// The resources that it changes, all of which it must evict.
    pub touches: &'static [usize],
    /// What its response names.
    pub names: Names,
    /// Taken out of use from before the handler is called.
    pub two_phase: bool,
    /// Evicts whatever it answers.
    pub even_if_failed: bool,
    /// Marks as stale only, and promises nothing.
    pub soft: bool,
}

/// What the response to a write names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Nothing,
    /// Through an extension.
    Tag(&'static str),
    Pattern(&'static str),
    /// Through fields.
    Location(&'static str),
    Group(&'static str),
    /// It is the representation of what was written.
    Itself,
}

const ALL: &[usize] = &[0, 1, 2];

fn write(uri: &'static str, touches: &'static [usize]) -> Write {
    Write {
        method: Method::PUT,
        uri,
        touches,
        names: Names::Nothing,
        two_phase: false,
        even_if_failed: false,
        soft: false,
    }
}

impl Write {
    fn naming(self, names: Names) -> Self {
        Self { names, ..self }
    }

    fn by(self, method: Method) -> Self {
        Self { method, ..self }
    }
}

fn pattern(text: &str) -> Invalidation {
    Pattern::parse(text).unwrap().into()
}

/// A policy with some of everything that bears on coherence.
fn policy(dice: &mut Dice) -> Policy {
    let seconds = Duration::from_secs;
    let mut policy = Policy::ttl(seconds(dice.pick(&[2, 60, 60])))
        .shared_with_everyone()
        .honour_request_directives();
    if dice.percent(40) {
        policy = policy.stale_while_revalidate(seconds(10));
    }
    let windowed = dice.percent(40);
    if windowed {
        policy = policy.stale_if_error(seconds(30));
    }
    if dice.percent(20) {
        policy = policy.refresh_ahead(seconds(1));
    }
    if windowed && dice.percent(25) {
        policy = policy.soft_timeout(seconds(1));
    }
    if dice.percent(10) {
        policy = policy.hard_timeout(seconds(2));
    }
    if dice.percent(10) {
        policy = policy.without_collapsing();
    }
    if dice.percent(15) {
        policy = policy.stop_when_abandoned();
    }
    if dice.percent(10) {
        policy = policy.max_body(100);
    }
    if dice.percent(10) {
        policy = policy.max_variants(1);
    }
    if dice.percent(10) {
        policy = policy.max_wait(seconds(1));
    }
    policy
}

type MakeSite = fn(&mut Dice) -> Site;

const SITES: &[MakeSite] = &[
    exact,
    prefix,
    glob,
    tag,
    handler_tag,
    handler_tag,
    answered_post,
    two_phase,
    replica,
    named_by_response,
    everything,
    soft,
];

pub(crate) fn any(dice: &mut Dice) -> Site {
    dice.pick(SITES)(dice)
}

fn site(name: &'static str, routes: Routes, targets: &'static [&'static str]) -> Site {
    Site {
        name,
        routes,
        targets,
        writes: Vec::new(),
        by_hand: Vec::new(),
        lags: false,
        tagged: false,
        value_tags: &[],
    }
}

fn exact(dice: &mut Dice) -> Site {
    let routes = Routes::new().route("/x/{id}", policy(dice));
    Site {
        writes: vec![
            write("/x/1", &[0, 2]),
            write("/x/2", &[1]),
            write("/x/1?q=1", &[2]),
            write("/x/1", &[0, 2]).by(Method::DELETE),
        ],
        by_hand: vec![
            (Invalidation::uri("/x/1"), &[0, 2]),
            (Invalidation::uri("/x/1?q=1"), &[2]),
            (Invalidation::uri("http://h/x/2"), &[1]),
        ],
        ..site("exact", routes, &["/x/1", "/x/2", "/x/1?q=1"])
    }
}

fn prefix(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .route("/d/{*rest}", policy(dice))
        .on_write("/w/{id}", Evict::pattern("/d/{id}/**"))
        .on_write("/children", Evict::pattern("/d/1/*"));
    Site {
        writes: vec![
            write("/w/1", &[0, 1]),
            write("/w/2", &[2]),
            write("/children", &[0]),
        ],
        by_hand: vec![
            (pattern("/d/1/**"), &[0, 1]),
            (pattern("/d/*/a"), &[0, 2]),
            (pattern("/d/**"), ALL),
        ],
        ..site("prefix", routes, &["/d/1/a", "/d/1/b/c", "/d/2/a"])
    }
}

fn glob(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .route("/g/{a}/m/{b}", policy(dice))
        .on_write("/w/{id}", Evict::pattern("/g/*/m/{id}"));
    Site {
        writes: vec![write("/w/1", &[0, 1]), write("/w/2", &[2])],
        by_hand: vec![
            (pattern("/*/1/m/**"), &[0, 2]),
            (pattern("/g/**/1"), &[0, 1]),
        ],
        ..site("glob", routes, &["/g/1/m/1", "/g/2/m/1", "/g/1/m/2"])
    }
}

fn tag(dice: &mut Dice) -> Site {
    let policy = policy(dice).tag("t").tag("t:{id}");
    let routes = Routes::new()
        .route("/t/{id}", policy)
        .on_write("/w/{id}", Evict::tag("t:{id}"))
        .on_write("/w", Evict::tag("t"));
    Site {
        writes: vec![
            write("/w/1", &[0]),
            write("/w/2", &[1]),
            write("/w", ALL),
            write("/w/1", &[0]).by(Method::POST),
        ],
        by_hand: vec![
            (Invalidation::tag("t:1"), &[0]),
            (Invalidation::tag("t:2"), &[1]),
            (Invalidation::tag("t"), ALL),
        ],
        value_tags: match dice.percent(50) {
            true => &[&["t", "t:1"], &["t", "t:2"], &["t"]],
            false => &[],
        },
        ..site("tag", routes, &["/t/1", "/t/2", "/t/3"])
    }
}

fn handler_tag(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .route("/h/{id}", policy(dice))
        .on_write("/w/{id}", Evict::tag("h:{id}"));
    Site {
        writes: vec![
            write("/w/0", &[0]),
            write("/w/1", &[1]),
            write("/named", &[0]).naming(Names::Tag("h:0")),
            write("/grouped", &[1]).naming(Names::Group("h:1")),
        ],
        by_hand: vec![
            (Invalidation::tag("h:0"), &[0]),
            (Invalidation::tag("h:1"), &[1]),
        ],
        tagged: true,
        value_tags: match dice.percent(50) {
            true => &[&["h:0"], &["h:1"]],
            false => &[],
        },
        ..site("handler tag", routes, &["/h/0", "/h/1"])
    }
}

fn answered_post(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .route("/p/{id}", policy(dice))
        .on_write("/w/{id}", Evict::tag("h:{id}"))
        .on_write("/all", Evict::pattern("/p/*"));
    Site {
        writes: vec![
            write("/p/0", &[0]).by(Method::POST).naming(Names::Itself),
            write("/p/0", &[0]).by(Method::POST).naming(Names::Itself),
            write("/p/1", &[1]).by(Method::POST).naming(Names::Itself),
            write("/p/0", &[0]),
            write("/w/0", &[0]),
            write("/all", &[0, 1]),
        ],
        by_hand: vec![
            (Invalidation::tag("h:0"), &[0]),
            (Invalidation::uri("/p/1"), &[1]),
        ],
        tagged: true,
        ..site("answered POST", routes, &["/p/0", "/p/1"])
    }
}

fn two_phase(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .route("/2/{id}", policy(dice))
        .on_write("/2/{id}", Evict::nothing().two_phase())
        .on_write("/w", Evict::pattern("/2/**").two_phase())
        .on_write(
            "/g/{id}",
            Evict::pattern("/*/{id}").two_phase().even_if_failed(),
        );
    let two_phase = |write| Write {
        two_phase: true,
        ..write
    };
    Site {
        writes: vec![
            two_phase(write("/2/1", &[0])),
            two_phase(write("/2/2", &[1])),
            two_phase(write("/w", &[0, 1])),
            Write {
                even_if_failed: true,
                ..two_phase(write("/g/1", &[0]))
            },
        ],
        by_hand: vec![(Invalidation::uri("/2/1"), &[0])],
        ..site("two-phase", routes, &["/2/1", "/2/2"])
    }
}

fn replica(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .route("/l/{id}", policy(dice))
        .on_write("/l/{id}", Evict::nothing().hold_after(LAG))
        .on_write("/w", Evict::pattern("/l/**").hold_after(LAG));
    Site {
        writes: vec![
            write("/l/1", &[0]),
            write("/l/2", &[1]),
            write("/w", &[0, 1]),
        ],
        lags: true,
        ..site("replica", routes, &["/l/1", "/l/2"])
    }
}

fn named_by_response(dice: &mut Dice) -> Site {
    let routes = Routes::new().route("/n/{id}", policy(dice));
    Site {
        writes: vec![
            write("/w", &[0]).naming(Names::Location("/n/1")),
            write("/w", &[0, 1]).naming(Names::Pattern("/n/**")),
            // A read as far as HTTP goes, of which the handler knows better.
            write("/w", &[1])
                .by(Method::GET)
                .naming(Names::Pattern("/n/2")),
        ],
        by_hand: vec![(pattern("/n/*"), &[0, 1])],
        ..site("named by the response", routes, &["/n/1", "/n/2"])
    }
}

fn everything(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .otherwise(policy(dice))
        .on_write("/w", Evict::everything())
        .on_write("/failing", Evict::everything().even_if_failed());
    Site {
        writes: vec![
            write("/w", &[0, 1]),
            Write {
                even_if_failed: true,
                ..write("/failing", &[0, 1])
            },
        ],
        by_hand: vec![(Invalidation::everything(), &[0, 1])],
        value_tags: match dice.percent(50) {
            true => &[&[], &[]],
            false => &[],
        },
        ..site("everything", routes, &["/e/1", "/f?x"])
    }
}

fn soft(dice: &mut Dice) -> Site {
    let routes = Routes::new()
        .route("/s/{id}", policy(dice))
        .on_write("/w", Evict::pattern("/s/**").soft());
    let softly = Write {
        soft: true,
        ..write("/w", &[0, 1])
    };
    Site {
        writes: vec![softly.clone(), softly, write("/s/1", &[0])],
        by_hand: vec![(Invalidation::uri("/s/2"), &[1])],
        ..site("soft", routes, &["/s/1", "/s/2"])
    }
}
