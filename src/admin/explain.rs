//! `GET /explain`.

use axum::extract::{RawQuery, State};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use serde_json::{Value, json};

use super::answer::{Answer, Json, Refusal};
use super::fields::Fields;
use super::state::Admitted;
use crate::inspect::Explanation;

pub(super) async fn explain(State(shared): Admitted, RawQuery(query): RawQuery) -> Answer {
    let request = read(Fields::of_query(query.as_deref()))?;
    let explanation = shared.handle.explain(&request).await;
    Ok(Json(json(&request, &explanation)))
}

/// Makes the request that is asked about.
fn read(mut fields: Fields) -> Result<Request<()>, Refusal> {
    let url = fields.text("url")?.ok_or_else(|| {
        Refusal::bad_request("`url` is missing; ask for example /explain?url=/products/7")
    })?;
    let method = fields.parsed("method", "a method such as GET")?;
    let http2 = fields.choice("version", &[("1", false), ("2", true)])?;
    let mut request = Request::new(());
    *request.method_mut() = method.unwrap_or(Method::GET);
    for field in fields.all("header") {
        let (name, value) = parse_field(&field)?;
        request.headers_mut().append(name, value);
    }
    fields.finish()?;
    let uri: Uri = url
        .parse()
        .map_err(|error| Refusal::bad_request(format!("`url` is {url:?}: {error}")))?;
    set_target(&mut request, uri, http2.unwrap_or(false))?;
    Ok(request)
}

fn parse_field(field: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let parsed = field.split_once(':').and_then(|(name, value)| {
        let name = name.trim().parse().ok()?;
        Some((name, value.trim().parse().ok()?))
    });
    parsed.ok_or_else(|| {
        Refusal::bad_request(format!(
            "`header` is {field:?}: expected a name and a value, such as Accept-Language: de"
        ))
    })
}

/// Sets the target as a server has it: over HTTP/2 it names scheme and authority, over HTTP/1.1 the
/// authority is stated in `Host` (RFC 9112 §3.2). A key goes by what is there.
fn set_target(request: &mut Request<()>, uri: Uri, http2: bool) -> Result<(), Refusal> {
    let expected = "`url`: expected a path such as /products/7, or http://host/products/7";
    if uri.authority().is_some() && uri.scheme().is_none() {
        return Err(Refusal::bad_request(expected));
    }
    if http2 || uri.authority().is_none() {
        *request.uri_mut() = uri;
        return Ok(());
    }
    if let Some(authority) = uri.authority()
        && !request.headers().contains_key(header::HOST)
    {
        let host = HeaderValue::try_from(authority.as_str())
            .map_err(|_| Refusal::bad_request(expected))?;
        request.headers_mut().insert(header::HOST, host);
    }
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();
    Ok(())
}

fn json(request: &Request<()>, explanation: &Explanation) -> Value {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            [
                name.as_str().into(),
                String::from_utf8_lossy(value.as_bytes()),
            ]
        })
        .collect();
    json!({
        "request": {
            "method": request.method().as_str(),
            "target": request.uri().to_string(),
            "headers": headers,
        },
        "x_cache": explanation.x_cache,
        "cache_status": explanation.cache_status,
        "route": explanation.route,
        "key": explanation.key,
        "age_seconds": explanation.age.map(|age| age.as_secs_f64()),
        "lifetime_seconds": explanation.lifetime.map(|lifetime| lifetime.as_secs_f64()),
        "tags": explanation.tags,
        "variants": explanation.variants,
    })
}
