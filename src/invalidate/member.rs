//! temporary
use super::invalidation::Target;
use super::{Invalidation, Pattern};
pub(crate) fn write(it: &Invalidation) -> Vec<u8> {
    let mut out = vec![if it.soft { b's' } else { b'h' }];
    match &it.target {
        Target::Tag(tag) => {
            out.push(b't');
            out.extend(tag.as_bytes());
        }
        Target::Pattern(p) => {
            out.push(b'p');
            out.extend(p.to_string().into_bytes());
        }
    }
    out
}
pub(crate) fn read(bytes: &[u8]) -> Invalidation {
    let text = || std::str::from_utf8(bytes.get(2..)?).ok();
    let it = match bytes.get(1) {
        Some(b't') => text().map(Invalidation::tag),
        Some(b'p') => text()
            .and_then(|t| Pattern::parse(t).ok())
            .map(Invalidation::pattern),
        _ => None,
    };
    match it {
        Some(it) if bytes[0] == b's' => it.soft(),
        Some(it) => it,
        None => Invalidation::everything(),
    }
}
