use super::MAX_LINES;
use crate::invalidate::{Invalidation, Log, Verdict};
use crate::pattern::{Pattern, TagTemplate};
use crate::policy::Evict;
use crate::target::Subject;

/// Reads a path with or without a query, and patterns, templates and tags, one a line.
///
/// - A pattern that is shown and parsed is the same; it matches what a naive matcher matches.
/// - Text that is escaped matches itself.
/// - Text that a template captured is text: the pattern is that with the text escaped in its place.
/// - What is sent to another node arrives there, or more does.
/// - A log that forgets nothing judges as its patterns match, and one that forgets no less strictly.
pub fn patterns(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let mut lines = text.split('\n').take(MAX_LINES);
    let target = lines.next().unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut records = Vec::new();
    for line in lines {
        assert_template(line, path);
        let record = match Pattern::parse(line) {
            Ok(pattern) => {
                assert_pattern(line, &pattern, path, query);
                ExpectedMatch::of_pattern(pattern, path, query)
            }
            Err(_) => ExpectedMatch::of_tag(line, path),
        };
        #[cfg(feature = "redis")]
        assert_member(&record, path, query);
        records.push(record);
    }
    assert_log(&records, path, query);
}

/// Something to invalidate, and whether that should match.
struct ExpectedMatch {
    invalidation: Invalidation,
    tag: Option<Box<str>>,
    verdict: Verdict,
}

impl ExpectedMatch {
    /// Every other pattern is a soft one.
    fn of_pattern(pattern: Pattern, path: &str, query: Option<&str>) -> Self {
        let is_soft = pattern.to_string().len() % 2 == 1;
        let matches = pattern.matches(path, query);
        let invalidation = Invalidation::pattern(pattern);
        Self {
            tag: None,
            verdict: match (matches, is_soft) {
                (true, true) => Verdict::Soft,
                (true, false) => Verdict::Invalid,
                (false, _) => Verdict::Valid,
            },
            invalidation: match is_soft {
                true => invalidation.soft(),
                false => invalidation,
            },
        }
    }

    /// The subject carries the tags that its path contains.
    fn of_tag(tag: &str, path: &str) -> Self {
        let matches = path.contains(tag);
        Self {
            invalidation: Invalidation::tag(tag),
            tag: matches.then(|| tag.into()),
            verdict: match matches {
                true => Verdict::Invalid,
                false => Verdict::Valid,
            },
        }
    }
}

/// Sends an invalidation to another node: it arrives as it is, or as one that matches no less.
#[cfg(feature = "redis")]
fn assert_member(record: &ExpectedMatch, path: &str, query: Option<&str>) {
    let sent = record.invalidation.to_member();
    let received = Invalidation::from_member(&sent);
    assert!(sent.len() <= 512, "{received}");
    if record.invalidation.to_string().len() < 500 {
        assert_eq!(received, record.invalidation);
    }
    let log = Log::with_capacity(1);
    let position = log.position();
    log.append(&[received]);
    let subject = Subject::new(path, query, Vec::from_iter(record.tag.clone()));
    let verdict = log.verdict(position, subject.borrow());
    assert_eq!(strictest(verdict, record.verdict), verdict);
}

fn assert_pattern(text: &str, pattern: &Pattern, path: &str, query: Option<&str>) {
    let shown = pattern.to_string();
    assert_eq!(
        Pattern::parse(&shown).as_ref().ok(),
        Some(pattern),
        "{text} as {shown}"
    );
    let found = pattern.matches(path, query);
    if let (true, true, Some(wanted)) = (
        path.starts_with('/') && is_plain(path),
        is_plain(query.unwrap_or("")),
        plain(text),
    ) {
        let (pattern, query_pattern) = wanted;
        let segments = |text| str::split(text, '/').skip(1).collect::<Vec<_>>();
        let naive = naive_path(&segments(pattern), &segments(path))
            && query_pattern.is_none_or(|pattern| {
                naive_segment(pattern.as_bytes(), query.unwrap_or("").as_bytes())
            });
        assert_eq!(found, naive, "{text} against {path}?{query:?}");
    }
    let escaped = Pattern::escape(text);
    let escaped = Pattern::parse(&format!("/{escaped}")).expect("escaped text is a pattern");
    assert!(
        escaped.matches(&format!("/{}", text.replace('?', "%3F")), query),
        "{text}"
    );
}

/// Short text of characters that have one spelling only, so that a naive matcher can be tried.
fn is_plain(text: &str) -> bool {
    text.len() <= 24 && text.bytes().all(|byte| b"abc/&=-".contains(&byte))
}

fn plain(pattern: &str) -> Option<(&str, Option<&str>)> {
    let stars = pattern.bytes().filter(|byte| *byte == b'*').count();
    if stars > 6 || !is_plain(&pattern.replace(['*', '?'], "")) || !pattern.starts_with('/') {
        return None;
    }
    match pattern.split_once('?') {
        Some((_, query)) if query.contains('?') => None,
        Some((path, query)) => Some((path, Some(query))),
        None => Some((pattern, None)),
    }
}

fn naive_segment(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|run| naive_segment(rest, &text[run..])),
        ([first, rest @ ..], [head, tail @ ..]) => first == head && naive_segment(rest, tail),
        _ => false,
    }
}

fn naive_path(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|run| naive_path(rest, &path[run..])),
        ([first, rest @ ..], [head, tail @ ..]) => {
            naive_segment(first.as_bytes(), head.as_bytes()) && naive_path(rest, tail)
        }
        _ => false,
    }
}

/// Binds a template's captures to text: the path's, with all that means something in a pattern.
fn assert_template(text: &str, captured: &str) {
    // What a template says is the operator's choice: only one of the two grows without bounds.
    if text.len() * captured.len() > 1 << 20 {
        return;
    }
    let captures = [("a", captured), ("b", "*?{c}\\**")];
    let names = ["a", "b"];
    if let Ok(tag) = TagTemplate::compile(text, &names) {
        let bound = tag.bind(&captures);
        assert!(bound.len() <= text.len() * (captured.len() + 10));
    }
    let Ok(template) = Evict::pattern(text).compile(&names) else {
        return;
    };
    let bound = template.bind(&captures);
    assert_eq!(bound.len(), 1);
    if captured.is_empty() || text.contains('\\') {
        return;
    }
    let mut escaped = text.to_owned();
    for (name, text) in captures {
        for braces in [format!("{{{name}}}"), format!("{{*{name}}}")] {
            // No escaped text holds a brace without a backslash before it, so none is replaced twice.
            escaped = escaped.replace(&braces, &Pattern::escape(text));
        }
    }
    let expected = Pattern::parse(&escaped).expect("a template with its captures escaped");
    assert_eq!(
        bound[0],
        Invalidation::pattern(expected),
        "{text} as {escaped}"
    );
}

fn assert_log(records: &[ExpectedMatch], path: &str, query: Option<&str>) {
    let (log, forgetful) = (Log::with_capacity(256), Log::with_capacity(2));
    let tags: Vec<Box<str>> = records
        .iter()
        .filter_map(|record| record.tag.clone())
        .collect();
    let subject = Subject::new(path, query, tags);
    let mut positions = vec![(log.position(), forgetful.position())];
    for record in records {
        let invalidation = std::slice::from_ref(&record.invalidation);
        positions.push((log.append(invalidation), forgetful.append(invalidation)));
    }
    // Long globs are taken by their beginnings, and match long paths whatever they say.
    let is_exact = path.len() + query.unwrap_or_default().len() < 2_000
        && records
            .iter()
            .all(|record| record.invalidation.to_string().len() < 1_000);
    let mut expected = Verdict::Valid;
    for (at, (position, forgotten)) in positions.iter().enumerate().rev() {
        if let Some(record) = records.get(at) {
            expected = strictest(expected, record.verdict);
        }
        let verdict = log.verdict(*position, subject.borrow());
        assert!(
            !is_exact || verdict == expected,
            "{verdict:?} at {at}, not {expected:?}"
        );
        assert_eq!(strictest(verdict, expected), verdict, "at {at}");
        let verdict = forgetful.verdict(*forgotten, subject.borrow());
        assert_eq!(strictest(verdict, expected), verdict, "forgetful, at {at}");
    }
}

fn strictest(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Invalid, _) | (_, Verdict::Invalid) => Verdict::Invalid,
        (Verdict::Soft, _) | (_, Verdict::Soft) => Verdict::Soft,
        (Verdict::Valid, Verdict::Valid) => Verdict::Valid,
    }
}
