//! Lists of preferences, each with a weight: the `Accept` fields of a request
//! ([RFC 9110 §12.4](https://www.rfc-editor.org/rfc/rfc9110#section-12.4)).

use std::cmp::Reverse;

use smallvec::SmallVec;

/// One member of a list of preferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighted<'a> {
    /// A coding, language range or charset; never empty.
    pub(crate) item: &'a [u8],
    /// The quality value in thousandths: 1000 where none is given, 0 for what is refused.
    pub(crate) weight: u16,
}

/// A member on its way to a normal form.
type Member = SmallVec<[u8; 32]>;

/// Parses a list of tokens with weights; `None` where anything in it is something else.
pub(crate) fn parse(value: &[u8]) -> Option<SmallVec<[Weighted<'_>; 8]>> {
    let mut list = SmallVec::new();
    for member in value.split(|byte| *byte == b',') {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        let (item, weight) = match member.iter().position(|byte| *byte == b';') {
            Some(end) => (&member[..end], qvalue(member[end + 1..].trim_ascii())?),
            None => (member, 1000),
        };
        let item = item.trim_ascii_end();
        if !is_token(item) {
            return None;
        }
        list.push(Weighted { item, weight });
    }
    Some(list)
}

/// Returns the normal form of language ranges or charsets: in lower case, the most wanted first,
/// those equally wanted in alphabetical order, for their order means nothing
/// ([RFC 9110 §12.5.4](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4)).
pub(crate) fn preferences(value: &[u8]) -> Option<Vec<u8>> {
    let list = parse(value)?;
    let members = list.iter().map(|weighted| {
        let mut member = Member::from_slice(weighted.item);
        member.make_ascii_lowercase();
        (Reverse(weighted.weight), member)
    });
    Some(in_order(members.collect(), value.len()))
}

/// Returns the normal form of media ranges: as [`preferences`], with parameters
/// ([RFC 9110 §12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)).
///
/// Names are case-insensitive and put in lower case; values keep theirs.
pub(crate) fn media_preferences(value: &[u8]) -> Option<Vec<u8>> {
    let mut members = SmallVec::new();
    for member in split_unquoted(value, b',')? {
        let member = member.trim_ascii();
        if !member.is_empty() {
            members.push(media_range(member)?);
        }
    }
    Some(in_order(members, value.len()))
}

fn media_range(member: &[u8]) -> Option<(Reverse<u16>, Member)> {
    let mut parts = split_unquoted(member, b';')?.map(<[u8]>::trim_ascii);
    let kind = parts.next()?;
    let slash = kind.iter().position(|byte| *byte == b'/')?;
    if !is_token(&kind[..slash]) || !is_token(&kind[slash + 1..]) {
        return None;
    }
    let mut normal = Member::from_slice(kind);
    normal.make_ascii_lowercase();
    let mut weight = 1000;
    for part in parts.by_ref() {
        if part
            .get(..2)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"q="))
        {
            weight = qvalue(part)?;
            break;
        }
        let equals = part.iter().position(|byte| *byte == b'=')?;
        if !is_token(&part[..equals]) {
            return None;
        }
        normal.push(b';');
        normal.extend(part[..equals].iter().map(u8::to_ascii_lowercase));
        normal.extend_from_slice(&part[equals..]);
    }
    // Parameters behind the weight were extensions once (RFC 7231 §5.3.2); nobody knows any.
    parts.next().is_none().then_some((Reverse(weight), normal))
}

fn in_order(mut members: SmallVec<[(Reverse<u16>, Member); 8]>, length: usize) -> Vec<u8> {
    members.sort_unstable();
    members.dedup();
    let mut normal = Vec::with_capacity(length);
    for (Reverse(weight), member) in members {
        write_member(&mut normal, &member, weight);
    }
    normal
}

/// Writes a member and, unless it is 1, its weight.
pub(crate) fn write_member(list: &mut Vec<u8>, item: &[u8], weight: u16) {
    if !list.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(item);
    if weight < 1000 {
        list.extend_from_slice(b";q=0");
        let digits = [weight / 100, weight / 10 % 10, weight % 10].map(|digit| b'0' + digit as u8);
        let end = digits.iter().rposition(|digit| *digit != b'0');
        if let Some(end) = end {
            list.push(b'.');
            list.extend_from_slice(&digits[..=end]);
        }
    }
}

/// Parses `q=` and a weight of at most three decimals
/// ([RFC 9110 §12.4.2](https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2)).
fn qvalue(parameter: &[u8]) -> Option<u16> {
    let (b"q=" | b"Q=", value) = parameter.split_at_checked(2)? else {
        return None;
    };
    let (whole, decimals) = value.split_first()?;
    let decimals = match decimals {
        [] => decimals,
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1,
        _ => return None,
    };
    for index in 0..3 {
        let digit = decimals.get(index).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        weight = weight * 10 + u16::from(digit - b'0');
    }
    (weight <= 1000).then_some(weight)
}

/// Splits at a separator outside quoted strings; `None` where a quoted string does not end.
pub(crate) fn split_unquoted(value: &[u8], separator: u8) -> Option<impl Iterator<Item = &[u8]>> {
    let mut quoted = false;
    let mut escaped = false;
    // Runs once over the whole value before the first member is handed out, so that no caller acts
    // on the first half of something malformed.
    let mut ends = SmallVec::<[usize; 16]>::new();
    for (at, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if *byte == separator && !quoted => ends.push(at),
            _ => {}
        }
    }
    ends.push(value.len());
    let mut start = 0;
    let members = ends.into_iter().map(move |end| {
        let member = &value[start..end];
        start = end + 1;
        member
    });
    (!quoted).then_some(members)
}

/// Returns whether this is a token ([RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)).
pub(crate) fn is_token(value: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !value.is_empty() && value.iter().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_by_the_grammar_of_rfc_9110_12_4_2() {
        for (text, weight) in [
            ("q=1", Some(1000)),
            ("Q=1.000", Some(1000)),
            ("q=0.", Some(0)),
            ("q=0.5", Some(500)),
            ("q=0.05", Some(50)),
            ("q=0.001", Some(1)),
            ("q=0.0001", None),
            ("q=1.001", None),
            ("q=2", None),
            ("q=.5", None),
            ("q=-1", None),
            ("q=", None),
            ("q= 1", None),
            ("q", None),
            ("level=1", None),
        ] {
            assert_eq!(qvalue(text.as_bytes()), weight, "{text}");
        }
    }

    #[test]
    fn every_weight_is_written_as_it_is_read() {
        for weight in 0..1000 {
            let mut text = Vec::new();
            write_member(&mut text, b"x", weight);
            assert_eq!(qvalue(&text[2..]), Some(weight));
        }
    }

    #[test]
    fn separators_within_quotes_separate_nothing() {
        let split = |value: &'static str| {
            split_unquoted(value.as_bytes(), b',').map(Iterator::collect::<Vec<_>>)
        };
        assert_eq!(split("a,b"), Some(vec![&b"a"[..], b"b"]));
        assert_eq!(split(""), Some(vec![&b""[..]]));
        assert_eq!(split(r#""a,b",c"#), Some(vec![&br#""a,b""#[..], b"c"]));
        assert_eq!(split(r#""a\",b""#), Some(vec![&br#""a\",b""#[..]]));
        assert_eq!(split(r#""a,b"#), None);
        assert_eq!(split(r#""a\"#), None);
        assert_eq!(split(r"a\,b"), Some(vec![&br"a\"[..], b"b"]));
    }
}
