use super::*;
use crate::invalidate::Subject;

fn subject(path: &str) -> Subject {
    Subject::new(path, None, [])
}

#[test]
fn a_fill_that_began_before_a_write_is_refused_however_late_it_is_stored() {
    let log = Log::with_capacity(16);
    let position = log.position();
    assert_eq!(
        log.verdict(position, subject("/a").borrow()),
        Verdict::Valid
    );
    log.append(&[Invalidation::uri("/a")]);
    assert_eq!(
        log.verdict(position, subject("/a").borrow()),
        Verdict::Invalid
    );
    assert_eq!(
        log.verdict(position, subject("/b").borrow()),
        Verdict::Valid
    );
    assert_eq!(
        log.verdict(log.position(), subject("/a").borrow()),
        Verdict::Valid
    );
}
