use http::header::{
    DATE, ETAG, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};

use super::{Lines, at, value};
use crate::semantics::entity_tag::{EntityTag, EntityTags};
use crate::semantics::preconditions::{self, Precondition, RangeVerdict, StoredValidators};
use crate::semantics::validation::{self, Validators};

/// Reads the time, the headers of a stored response (`E` for `ETag`, `L` for
/// `Last-Modified`, `D` for `Date`), an empty line, and that of a request (`N` for
/// `If-None-Match`, `M` for `If-Match`, `S` and `U` for `If-Modified-Since` and
/// `If-Unmodified-Since`, `R` for `If-Range`).
///
/// - Members of a list are the same alone, and in a list of them.
/// - What matches strongly matches weakly, and both are symmetric.
/// - A list that holds the stored tag is not modified; conditions nobody stated hold.
/// - The case of a date does not matter.
/// - A validation of the stored response, evaluated here, is answered with a 304 that selects it.
pub fn entity_tags(input: &[u8]) {
    let mut lines = Lines::of(input);
    let now = at(lines.number());
    let response = lines.headers(&[(b'E', ETAG), (b'L', LAST_MODIFIED), (b'D', DATE)]);
    let request = lines.headers(&[
        (b'N', IF_NONE_MATCH),
        (b'M', IF_MATCH),
        (b'S', IF_MODIFIED_SINCE),
        (b'U', IF_UNMODIFIED_SINCE),
        (b'R', IF_RANGE),
    ]);
    let validators = Validators::of(&response);
    let stored = StoredValidators {
        etag: validators.etag,
        last_modified: validators.last_modified,
        date: response.get(DATE).map(|_| now),
    };
    for name in [IF_NONE_MATCH, IF_MATCH] {
        for line in request.get_all(&name) {
            assert_list(line.as_bytes(), validators.etag);
        }
    }
    assert_conditions(&request, &stored, now);
    assert_validation(validators, &stored, now);
}

fn assert_list(line: &[u8], etag: Option<&[u8]>) {
    let tags: Vec<EntityTag<'_>> = EntityTags::parse(line).collect();
    assert!(tags.len() <= line.len());
    let written: Vec<Vec<u8>> = tags.iter().map(|tag| written(*tag)).collect();
    for (tag, text) in tags.iter().zip(&written) {
        assert!(!text.is_empty());
        assert_eq!(EntityTag::parse(text), *tag, "alone");
    }
    let list = written.join(&b", "[..]);
    assert!(EntityTags::parse(&list).eq(tags.iter().copied()), "listed");
    let stored = etag.map(EntityTag::parse);
    for (a, b) in tags.iter().zip(tags.iter().skip(1).copied().chain(stored)) {
        assert_eq!(a.matches_strongly(b), b.matches_strongly(*a));
        assert_eq!(a.matches_weakly(b), b.matches_weakly(*a));
        assert!(!a.matches_strongly(b) || a.matches_weakly(b));
    }
}

fn written(tag: EntityTag<'_>) -> Vec<u8> {
    match tag {
        EntityTag::Strong(text) | EntityTag::Malformed(text) => text.to_vec(),
        EntityTag::Weak(text) => [b"W/", text].concat(),
    }
}

fn assert_conditions(
    request: &HeaderMap,
    stored: &StoredValidators<'_>,
    now: std::time::SystemTime,
) {
    let answer = preconditions::evaluate(request, stored, now);
    if !preconditions::is_conditional(request) {
        assert_ne!(answer, Precondition::NotModified);
    }
    if !request.contains_key(IF_MATCH) && !request.contains_key(IF_UNMODIFIED_SINCE) {
        assert_ne!(answer, Precondition::Failed);
    }
    let lower = request.iter().map(|(name, line)| {
        let is_date = [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE].contains(name);
        let line = match is_date {
            true => value(&line.as_bytes().to_ascii_lowercase()),
            false => line.clone(),
        };
        (name.clone(), line)
    });
    let lower = HeaderMap::from_iter(lower);
    assert_eq!(preconditions::evaluate(&lower, stored, now), answer, "case");
    let tag = stored.etag.map(EntityTag::parse);
    let listed = request.get_all(IF_NONE_MATCH).iter().any(|line| {
        EntityTags::parse(line.as_bytes())
            .any(|listed| tag.is_some_and(|tag| listed.matches_weakly(tag)))
    });
    if listed {
        assert_ne!(answer, Precondition::Proceed);
    }
    let verdict = preconditions::if_range(request, stored, now);
    if let Some(stated) = request.get(IF_RANGE)
        && verdict == RangeVerdict::Use
    {
        let validator = [stored.etag, stored.last_modified];
        let stated = stated.as_bytes().trim_ascii();
        assert!(
            validator
                .iter()
                .any(|text| text.map(<[u8]>::trim_ascii) == Some(stated))
        );
    }
}

fn assert_validation(
    validators: Validators<'_>,
    stored: &StoredValidators<'_>,
    now: std::time::SystemTime,
) {
    let mut request = HeaderMap::new();
    let offered = validation::make_conditional(&mut request, &[validators]);
    assert!(offered <= 1);
    let well_formed = match validators.etag.map(EntityTag::parse) {
        Some(tag) => !matches!(tag, EntityTag::Malformed(_)),
        None => false,
    };
    if !well_formed {
        return;
    }
    assert_eq!(offered, 1);
    let answer = preconditions::evaluate(&request, stored, now);
    assert_eq!(answer, Precondition::NotModified);
    let mut not_modified = HeaderMap::new();
    if let Some(etag) = validators.etag {
        not_modified.insert(ETAG, value(etag));
    }
    assert_eq!(validation::select(&not_modified, &[validators]), Some(0));
}
