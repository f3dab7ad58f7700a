//! The judge itself: it finds nothing where there is nothing, and does find what there is.

use crate::nodes::Node;
use crate::site::Site;

#[test]
fn one_process_is_never_stale() {
    let report = Site::brief("one process").run(&[Node::memory()], |harm| harm.wait(0, 100));
    assert!(report.samples.iter().any(|sample| sample.hit));
}

#[test]
fn processes_that_do_not_hear_of_each_other_are_found_stale() {
    let nodes = vec![Node::memory(); 3];
    let report = Site::brief("three memories").try_run(&nodes, |harm| harm.wait(0, 100));
    assert!(report.stale > 5, "{report}");
    // And nothing else is held against them.
    for complaint in &report.complaints {
        let known = ["stale, Lag", "such in all", " is ", "reads in"];
        assert!(
            known.iter().any(|known| complaint.contains(known)),
            "{complaint}"
        );
    }
}
