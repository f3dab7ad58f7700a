//! The judge itself: it finds nothing where there is nothing, and does find what there is.

use std::time::Duration;

use crate::nodes::Node;
use crate::site::Site;

#[test]
fn one_process_is_never_stale() {
    let report = Site::new("one process").run(&[Node::memory()], |harm| harm.wait(0, 100));
    assert!(report.samples.iter().any(|sample| sample.hit));
}

#[test]
fn processes_that_do_not_hear_of_each_other_are_found_stale() {
    let nodes = vec![Node::memory(); 3];
    let report = Site::new("three memories").try_run(&nodes, |harm| harm.wait(0, 100));
    assert!(report.stale > 100, "{report}");
    // And nothing else is held against them.
    for complaint in &report.complaints {
        let known = ["stale, Lag", "such in all", "/"];
        assert!(
            known.iter().any(|known| complaint.contains(known)),
            "{complaint}"
        );
    }
}

#[test]
fn what_stores_nothing_is_never_stale_and_never_hits() {
    let site = Site::new("no store");
    let report = site.try_run(&[Node::bare()], |harm| harm.wait(0, 100));
    assert_eq!(
        report.stale, 1,
        "{report}: it cannot settle, and nothing else is amiss"
    );
    assert!(report.samples.iter().all(|sample| !sample.hit));
    assert!(
        report
            .samples
            .iter()
            .any(|sample| sample.took > Duration::ZERO)
    );
}
