//! The judge of every test that looks for stale answers: it lets pass what is as new as was promised,
//! and nothing older.

use std::time::Duration;

use crate::support::ledger::Audience::{Everyone, Leaseholders, Through};
use crate::support::ledger::{Ledger, Stale};

const NO_TIME: Duration = Duration::ZERO;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn an_answer_from_before_an_acknowledged_write_is_stale() {
    let ledger = Ledger::new(2);
    let version = ledger.write(&[1], NO_TIME);
    let before = ledger.moment(NO_TIME);
    ledger.acknowledge(Everyone, &[1], version, NO_TIME);
    let after = ledger.moment(NO_TIME);
    let stale = Stale {
        subject: 1,
        version: 0,
        owed: version,
    };
    assert_eq!(ledger.judge(Everyone, 1, 0, after), Err(stale));
    let text = "stale: version 0 of 1, but 1 was acknowledged before";
    assert_eq!(stale.to_string(), text);
    // Neither is the new version, nor what was asked for before, nor what nobody wrote.
    assert_eq!(ledger.judge(Everyone, 1, version, after), Ok(()));
    assert_eq!(ledger.judge(Everyone, 1, 0, before), Ok(()));
    assert_eq!(ledger.judge(Everyone, 0, 0, after), Ok(()));
}

#[test]
fn what_was_only_written_is_owed_to_nobody() {
    let ledger = Ledger::new(1);
    let version = ledger.write(&[0], NO_TIME);
    assert_eq!(ledger.current(0), version);
    let asked = ledger.moment(NO_TIME);
    assert_eq!(ledger.judge(Everyone, 0, 0, asked), Ok(()));
}

#[test]
fn an_older_version_that_is_acknowledged_later_takes_nothing_back() {
    let ledger = Ledger::new(1);
    let (one, other) = (ledger.write(&[0], ms(1)), ledger.write(&[0], ms(2)));
    ledger.acknowledge(Everyone, &[0], other, ms(3));
    ledger.acknowledge(Everyone, &[0], one, ms(4));
    let asked = ledger.moment(ms(5));
    assert_eq!(ledger.owed(Everyone, 0, asked, NO_TIME), other);
    assert!(ledger.judge(Everyone, 0, one, asked).is_err());
    assert_eq!(ledger.outdated(Everyone, 0, one, asked), Some(ms(2)));
}

#[test]
fn each_audience_is_owed_what_it_was_promised() {
    let ledger = Ledger::new(1);
    let version = ledger.write(&[0], NO_TIME);
    ledger.acknowledge(Through(1), &[0], version, NO_TIME);
    let asked = ledger.moment(NO_TIME);
    assert!(ledger.judge(Through(1), 0, 0, asked).is_err());
    for audience in [Everyone, Leaseholders, Through(0)] {
        assert_eq!(ledger.judge(audience, 0, 0, asked), Ok(()), "{audience:?}");
        assert_eq!(ledger.outdated(audience, 0, 0, asked), None);
    }
}

#[test]
fn a_promise_that_takes_its_time_is_kept_when_that_is_over() {
    let ledger = Ledger::new(1);
    let version = ledger.write(&[0], NO_TIME);
    ledger.acknowledge(Everyone, &[0], version, ms(100));
    let owed = |at| ledger.owed(Everyone, 0, ledger.moment(ms(at)), ms(20));
    assert_eq!((owed(100), owed(120), owed(121)), (0, 0, version));
    let outdated = |at| ledger.outdated(Everyone, 0, 0, ledger.moment(ms(at)));
    assert_eq!((outdated(100), outdated(121)), (Some(ms(0)), Some(ms(21))));
}

#[test]
fn a_replica_owes_what_it_can_know() {
    let ledger = Ledger::new(1);
    let (one, other) = (ledger.write(&[0], ms(10)), ledger.write(&[0], ms(20)));
    let shown = |at| ledger.as_of(0, ms(at));
    assert_eq!((shown(9), shown(10), shown(20)), (0, one, other));
    for version in [other, one] {
        ledger.acknowledge(Everyone, &[0], version, ms(30));
    }
    let asked = ledger.moment(ms(30));
    let owed = |known| ledger.owed_by_a_replica(Everyone, 0, asked, ms(known));
    assert_eq!((owed(9), owed(19), owed(20)), (0, one, other));
}
