//! The log against a list that is searched from end to end.

use proptest::prelude::*;

use super::*;
use crate::invalidate::invalidation::InvalidationTarget;
use crate::invalidate::state::Latest;
use crate::invalidate::table::Merge;
use crate::pattern::Namespace;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Invalidation>),
    Begin(Vec<Invalidation>),
    /// Closes one of the open intents; `true` for a write that was made.
    Close(usize, bool),
    /// Takes a position, as a fill does.
    Progress,
    /// Judges a subject at one of the positions taken.
    Judge(usize, Subject),
}

/// What was recorded, by when it was recorded last.
#[derive(Default)]
struct Model {
    head: u64,
    recorded: Vec<(InvalidationTarget, Latest)>,
    floor: Latest,
    capacity: usize,
    open: Vec<Vec<Invalidation>>,
}

impl Model {
    fn append(&mut self, invalidations: &[Invalidation]) {
        self.head += u64::from(!invalidations.is_empty());
        for Invalidation { target, soft } in invalidations {
            let mut latest = Latest::at(Position::from(self.head), *soft);
            if *target == Invalidation::everything().target {
                self.floor.absorb(latest);
                continue;
            }
            if let Some(at) = self.recorded.iter().position(|(known, _)| known == target) {
                latest.absorb(self.recorded.remove(at).1);
            }
            self.recorded.push((target.clone(), latest));
            if self.recorded.len() > self.capacity {
                self.floor.absorb(self.recorded.remove(0).1);
            }
        }
    }

    fn judge(&self, position: Position, subject: SubjectRef<'_>) -> Verdict {
        let mut open = self.open.iter().flatten();
        if open.any(|invalidation| matches(&invalidation.target, subject)) {
            return Verdict::Invalid;
        }
        let mut latest = self.floor;
        for (_, other) in self
            .recorded
            .iter()
            .filter(|(target, _)| matches(target, subject))
        {
            latest.absorb(*other);
        }
        match (latest.hard > position, latest.soft > position) {
            (true, _) => Verdict::Invalid,
            (false, true) => Verdict::Soft,
            (false, false) => Verdict::Valid,
        }
    }
}

fn matches(target: &InvalidationTarget, subject: SubjectRef<'_>) -> bool {
    match target {
        InvalidationTarget::Pattern(pattern) => {
            pattern.shape().matches(subject.path, subject.query)
        }
        InvalidationTarget::Tag(tag) => subject.tags.contains(tag),
    }
}

fn strictness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Valid => 0,
        Verdict::Soft => 1,
        Verdict::Invalid => 2,
    }
}

fn invalidation(with_globs: bool) -> impl Strategy<Value = Invalidation> {
    let path = "(/[ab]{0,1}){1,4}";
    let uri = (path, prop::option::of("[ab]{0,1}")).prop_map(|(path, query)| {
        Invalidation::uri(query.map_or(path.clone(), |query| format!("{path}?{query}")))
    });
    let globs = if with_globs { 3 } else { 0 };
    let text = prop_oneof![
        3 => (path, "/[*]{1,2}").prop_map(|(path, end)| path + &end),
        globs => "(/([ab*]|[*][*])){1,4}([?][ab*]{0,2})?",
    ];
    let keys = if with_globs {
        "[ab:*]{0,3}"
    } else {
        "([ab]{0,1}:[*]?|[*])"
    };
    let over_values = ("[ab]", keys)
        .prop_map(|(name, keys)| Invalidation::values(&Namespace::new(&name), &keys).unwrap());
    let target = prop_oneof![
        4 => uri,
        4 => text.prop_map(|text| pattern(&text)),
        3 => over_values,
        2 => "[ab]".prop_map(Invalidation::tag),
        1 => Just(Invalidation::everything()),
    ];
    (target, prop::bool::weighted(0.3)).prop_map(|(invalidation, soft)| match soft {
        true => invalidation.soft(),
        false => invalidation,
    })
}

fn steps(with_globs: bool) -> impl Strategy<Value = Vec<Step>> {
    let invalidations = || prop::collection::vec(invalidation(with_globs), 0..3);
    let tags = prop::collection::vec("[abc]".prop_map(Box::<str>::from), 0..3);
    let response = (
        "(/[ab]{0,1}){1,4}",
        prop::option::of("[ab]{0,1}"),
        tags.clone(),
    )
        .prop_map(|(path, query, tags)| Subject::new(&path, query.as_deref(), tags));
    let value = ("[ab]", "[ab:]{0,3}", tags)
        .prop_map(|(name, key, tags)| Subject::of_value(&Namespace::new(&name), &key, tags));
    let subject = prop_oneof![2 => response, 1 => value];
    let step = prop_oneof![
        3 => invalidations().prop_map(Step::Append),
        1 => invalidations().prop_map(Step::Begin),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, made)| Step::Close(at, made)),
        2 => Just(Step::Progress),
        6 => (any::<usize>(), subject).prop_map(|(at, subject)| Step::Judge(at, subject)),
    ];
    prop::collection::vec(step, 0..60)
}

/// Takes the log and the model through the same steps, and has `compare` look at both verdicts.
fn run(
    capacity: usize,
    steps: Vec<Step>,
    compare: impl Fn(Verdict, Verdict) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let log = Log::with_capacity(capacity);
    let mut model = Model {
        capacity,
        ..Model::default()
    };
    let mut intents = Vec::new();
    let mut positions = vec![log.position()];
    for step in steps {
        match step {
            Step::Append(invalidations) => {
                log.append(&invalidations);
                model.append(&invalidations);
            }
            Step::Begin(invalidations) => {
                intents.push(log.begin_write(&invalidations));
                model.open.push(invalidations);
            }
            Step::Close(at, made) if !intents.is_empty() => {
                let at = at % intents.len();
                let (intent, invalidations) = (intents.remove(at), model.open.remove(at));
                if made {
                    intent.commit();
                    model.append(&invalidations);
                } else {
                    intent.abandon();
                }
            }
            Step::Close(..) => {}
            Step::Progress => positions.push(log.position()),
            Step::Judge(at, subject) => {
                let at = at % positions.len();
                let (verdict, head) = log.verdict_at(positions[at], subject.borrow());
                compare(verdict, model.judge(positions[at], subject.borrow()))?;
                if verdict == Verdict::Valid {
                    // As a stored response remembers it: judging by it later changes nothing.
                    positions[at] = positions[at].max(head);
                    compare(verdict, model.judge(head, subject.borrow()))?;
                    positions[at] = positions[at].min(head);
                }
            }
        }
        prop_assert_eq!(u64::from(log.position()), model.head);
    }
    Ok(())
}

fn cases() -> u32 {
    let cases = std::env::var("LOG_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// `LOG_CASES=100000` for a long run.
    #[test]
    fn a_log_with_room_judges_as_a_list_of_everything_ever_recorded(steps in steps(true)) {
        run(1_000, steps, |log, model| {
            prop_assert_eq!(log, model);
            Ok(())
        })?;
    }

    #[test]
    fn a_log_that_forgets_is_stricter_by_its_floor_and_by_nothing_else(
        capacity in 0usize..6,
        steps in steps(false),
    ) {
        run(capacity, steps, |log, model| {
            prop_assert_eq!(log, model);
            Ok(())
        })?;
    }

    #[test]
    fn a_log_that_forgets_is_never_less_strict_than_a_list_of_everything(
        capacity in 0usize..6,
        steps in steps(true),
    ) {
        let log = Log::with_capacity(capacity);
        let mut everything = Model { capacity: usize::MAX, ..Model::default() };
        for step in steps {
            match step {
                Step::Append(invalidations) => {
                    log.append(&invalidations);
                    everything.append(&invalidations);
                }
                Step::Judge(at, subject) => {
                    let position = Position::from(at as u64 % (everything.head + 1));
                    let verdict = strictness(log.verdict(position, subject.borrow()));
                    let least = strictness(everything.judge(position, subject.borrow()));
                    prop_assert!(verdict >= least);
                }
                _ => {}
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn globs_beyond_the_bound_are_stricter_by_their_beginnings_only(
        globs in prop::collection::vec("/[abcd]{2}/[*]/[abcd]{2}", 300..700),
        probes in prop::collection::vec((any::<usize>(), "/[abcd]{2}", any::<usize>()), 50),
    ) {
        let log = Log::with_capacity(1_000);
        let mut everything = Model { capacity: usize::MAX, ..Model::default() };
        let mut coarse = Model { capacity: usize::MAX, ..Model::default() };
        for glob in &globs {
            log.append(&[pattern(glob)]);
            everything.append(&[pattern(glob)]);
            coarse.append(&[pattern(&format!("{}/**", &glob[..3]))]);
        }
        for (glob, other, at) in probes {
            let position = Position::from(at as u64 % (everything.head + 1));
            let hit = globs[glob % globs.len()].replace('*', "x");
            for path in [format!("{}/x{other}", &hit[..3]), hit] {
                let subject = subject(&path);
                let verdict = strictness(log.verdict(position, subject.borrow()));
                prop_assert!(verdict >= strictness(everything.judge(position, subject.borrow())));
                prop_assert!(verdict <= strictness(coarse.judge(position, subject.borrow())));
            }
        }
    }
}
