//! `POST /purge` and `POST /bypass`: the requests that change something.

use axum::extract::{Request, State};
use serde_json::{Value, json};

use super::answer::{ErrorResponse, JsonResponse, JsonResult};
use super::fields::Fields;
use super::state::Admitted;
use crate::inspect::WouldEvict;
use crate::invalidate::Invalidation;
use crate::pattern::Pattern;

pub(super) async fn purge(State(shared): Admitted, request: Request) -> JsonResult {
    let purge = Purge::read(Fields::of_request(request).await?)?;
    let (what, dry_run) = (purge.what, purge.dry_run);
    let target = what.to_string();
    if dry_run {
        let would = shared.scan(move |handle| handle.would_evict(what)).await?;
        return Ok(JsonResponse(json!({
            "dry_run": true,
            "target": target,
            "would_evict": would.as_ref().map(json),
            "note": would.is_none().then_some("this store cannot list its entries"),
        })));
    }
    shared.handle.invalidate(what).await?;
    tracing::info!(%target, "invalidated by hand");
    Ok(JsonResponse(
        json!({ "dry_run": false, "target": target, "purged": true }),
    ))
}

pub(super) async fn bypass(State(shared): Admitted, request: Request) -> JsonResult {
    let mut fields = Fields::of_request(request).await?;
    let on = fields.flag("on")?;
    fields.finish()?;
    let on = on.ok_or_else(|| {
        ErrorResponse::bad_request(
            "`on` is missing; on=true switches the cache off, on=false on again",
        )
    })?;
    shared.handle.set_bypass(on);
    tracing::info!(on, "bypass switched by hand");
    Ok(JsonResponse(json!({ "bypass": on })))
}

struct Purge {
    what: Invalidation,
    dry_run: bool,
}

impl Purge {
    fn read(mut fields: Fields) -> Result<Self, ErrorResponse> {
        let url = fields.text("url")?.map(|url| Invalidation::parse_uri(&url));
        let pattern = fields
            .text("pattern")?
            .map(|pattern| Pattern::parse(&pattern).map(Invalidation::from));
        let tag = fields.text("tag")?.map(|tag| Ok(Invalidation::tag(tag)));
        let all = fields.flag("all")?.unwrap_or(false);
        let all = all.then(|| Ok(Invalidation::everything()));
        let soft = fields.flag("soft")?.unwrap_or(false);
        let dry_run = fields.flag("dry_run")?.unwrap_or(false);
        fields.finish()?;
        let mut named = [url, pattern, tag, all].into_iter().flatten();
        let (Some(what), None) = (named.next(), named.next()) else {
            return Err(ErrorResponse::bad_request(
                "say what to purge with one of url, pattern, tag and all, for example \
                 pattern=/products/**",
            ));
        };
        let what = what?;
        let what = if soft { what.soft() } else { what };
        Ok(Self { what, dry_run })
    }
}

fn json(would: &WouldEvict) -> Value {
    json!({
        "examined": would.examined,
        "matched": would.matched,
        "examples": would.examples,
    })
}
