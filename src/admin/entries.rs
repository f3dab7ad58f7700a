//! `GET /entries`.

use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::answer::{ErrorResponse, JsonResponse, JsonResult};
use super::fields::Fields;
use super::state::Admitted;
use crate::inspect::{EntryFilter, EntryInfo, EntryOrder, EntryPage, EntryState, KeyInfo};
use crate::pattern::Pattern;

/// The most entries on a page.
const LARGEST_PAGE: usize = 200;

/// The largest offset: at that point a narrower query serves better.
const FURTHEST: usize = 10_000;

const STATES: [(&str, EntryState); 3] = [
    ("fresh", EntryState::Fresh),
    ("stale", EntryState::Stale),
    ("invalidated", EntryState::Invalidated),
];

const ORDERS: [(&str, EntryOrder); 5] = [
    ("path", EntryOrder::Path),
    ("newest", EntryOrder::Newest),
    ("oldest", EntryOrder::Oldest),
    ("largest", EntryOrder::Largest),
    ("expiring", EntryOrder::Expiring),
];

pub(super) async fn list(State(shared): Admitted, RawQuery(query): RawQuery) -> JsonResult {
    let (filter, offset) = read(Fields::of_query(query.as_deref()))?;
    let page = shared.scan(move |handle| handle.entries(&filter)).await?;
    Ok(JsonResponse(match page {
        Some(page) => json(page, offset),
        None => json!({
            "entries": [],
            "listable": false,
            "note": "this store cannot list its entries; use /explain for a single URL",
        }),
    }))
}

fn read(mut fields: Fields) -> Result<(EntryFilter, usize), ErrorResponse> {
    let mut filter = EntryFilter::new();
    for text in fields.all("path") {
        filter = filter.containing(text);
    }
    if let Some(pattern) = fields.text("pattern")? {
        filter = filter.pattern(Pattern::parse(&pattern)?);
    }
    if let Some(tag) = fields.text("tag")? {
        filter = filter.tag(tag);
    }
    if let Some(status) = fields.parsed("status", "a status code such as 200")? {
        filter = filter.status(status);
    }
    if let Some(state) = fields.choice("state", &STATES)? {
        filter = filter.state(state);
    }
    if let Some(order) = fields.choice("order", &ORDERS)? {
        filter = filter.order(order);
    }
    if let Some(limit) = bounded(&mut fields, "limit", LARGEST_PAGE)? {
        filter = filter.limit(limit);
    }
    let offset = bounded(&mut fields, "offset", FURTHEST)?.unwrap_or(0);
    fields.finish()?;
    Ok((filter.offset(offset), offset))
}

fn bounded(
    fields: &mut Fields,
    name: &'static str,
    most: usize,
) -> Result<Option<usize>, ErrorResponse> {
    let expected = format!("a number up to {most}");
    match fields.parsed::<usize>(name, &expected)? {
        Some(number) if number > most => Err(ErrorResponse::bad_request(format!(
            "`{name}` is {number}: expected {expected}; narrow the query with path, pattern, \
             tag, status or state"
        ))),
        number => Ok(number),
    }
}

fn json(page: EntryPage, offset: usize) -> Value {
    let next = offset + page.entries.len();
    let more = !page.entries.is_empty() && (next as u64) < page.matched && next <= FURTHEST;
    json!({
        "entries": page.entries.iter().map(entry).collect::<Vec<_>>(),
        "listable": true,
        "matched": page.matched,
        "examined": page.examined,
        "next_offset": more.then_some(next),
    })
}

fn entry(entry: &EntryInfo) -> Value {
    let seconds = |duration: std::time::Duration| duration.as_secs_f64();
    json!({
        "uri": entry.uri(),
        "status": entry.status().as_u16(),
        "state": entry.state().as_str(),
        "size": entry.size(),
        "content_type": entry.content_type(),
        "age_seconds": seconds(entry.age()),
        "lifetime_seconds": seconds(entry.lifetime()),
        "ttl_seconds": seconds(entry.lifetime()) - seconds(entry.age()),
        "stale_while_revalidate_seconds": seconds(entry.stale_while_revalidate()),
        "stale_if_error_seconds": seconds(entry.stale_if_error()),
        "tags": entry.tags(),
        "key": key(entry.key()),
    })
}

fn key(key: &KeyInfo) -> Value {
    json!({
        "digest": key.digest,
        "scheme": key.scheme,
        "authority": key.authority,
        "fields": key.fields,
        "other": key.other,
    })
}
