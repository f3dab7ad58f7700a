//! Cache directives meant for caches like this one
//! ([RFC 9213](https://www.rfc-editor.org/rfc/rfc9213)).

use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, ListEntry};

use crate::semantics::cache_control::{Argument, CacheControl};
use crate::semantics::structured;

#[cfg(test)]
mod tests;

/// The directives that decide about a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) cache_control: CacheControl,
    /// They came from a targeted field, so `Cache-Control` and `Expires` are not looked at.
    pub(crate) targeted: bool,
}

/// Returns the directives of the first field of `targets` that has a valid, non-empty value, and
/// else those of `Cache-Control`
/// ([RFC 9213 §2.2](https://www.rfc-editor.org/rfc/rfc9213#section-2.2)).
pub(crate) fn directives(headers: &HeaderMap, targets: &[HeaderName]) -> Directives {
    let targeted = targets
        .iter()
        .find_map(|name| from_dictionary(&structured::dictionary(headers, name)?));
    Directives {
        targeted: targeted.is_some(),
        cache_control: targeted.unwrap_or_else(|| CacheControl::of(headers)),
    }
}

/// Maps a dictionary's members to directives
/// ([RFC 9213 §2.1](https://www.rfc-editor.org/rfc/rfc9213#section-2.1)).
///
/// A directive we know whose value has another type than the mapping gives it makes the field
/// invalid, as a parsing error does: its author meant something that is not known, and the next
/// field may say it better. A value of the right type that is out of range (`max-age=-1`) leaves
/// the field valid and the response stale, as in `Cache-Control`.
fn from_dictionary(dictionary: &Dictionary) -> Option<CacheControl> {
    let mut directives = CacheControl::default();
    for (key, value) in dictionary {
        let name = key.as_str();
        match argument(ArgumentKind::of(name), value)? {
            Some(argument) => directives.add(name.as_bytes(), argument),
            None => directives.present = true,
        }
    }
    Some(directives)
}

/// The type that a directive's value must have.
#[derive(Clone, Copy)]
enum ArgumentKind {
    /// An Integer.
    Seconds,
    /// True, or a String of field names.
    Fields,
    /// True.
    Flag,
    /// Whatever: a directive that is not for us.
    Unknown,
}

impl ArgumentKind {
    /// Request directives have no meaning in a response and are unknown here.
    fn of(name: &str) -> Self {
        match name {
            "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" => Self::Seconds,
            "no-cache" | "private" => Self::Fields,
            "no-store" | "public" | "must-revalidate" | "proxy-revalidate" | "must-understand"
            | "no-transform" | "immutable" => Self::Flag,
            _ => Self::Unknown,
        }
    }
}

/// Returns the argument of a directive, `Some(None)` if the directive says nothing (`no-store=?0`
/// or one that is not known), and `None` if its value has the wrong type. Parameters are ignored.
fn argument(kind: ArgumentKind, value: &ListEntry) -> Option<Option<Argument<'_>>> {
    let item = match value {
        ListEntry::Item(Item { bare_item, .. }) => Some(bare_item),
        ListEntry::InnerList(_) => None,
    };
    match (kind, item) {
        (ArgumentKind::Unknown, _) => Some(None),
        (ArgumentKind::Seconds, Some(BareItem::Integer(seconds))) => {
            let seconds = u64::try_from(i64::from(*seconds));
            Some(Some(seconds.map_or(Argument::Invalid, Argument::Seconds)))
        }
        (ArgumentKind::Fields, Some(BareItem::String(fields))) => {
            Some(Some(Argument::Text(fields.as_str().as_bytes())))
        }
        (ArgumentKind::Fields | ArgumentKind::Flag, Some(BareItem::Boolean(true))) => {
            Some(Some(Argument::Absent))
        }
        (ArgumentKind::Fields | ArgumentKind::Flag, Some(BareItem::Boolean(false))) => Some(None),
        _ => None,
    }
}
