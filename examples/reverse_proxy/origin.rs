//! The origin, as the service inside the cache.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::header::{CONNECTION, DATE, FORWARDED, HOST, UPGRADE, VARY};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;
use tower_response_cache::OriginUnreachable;

use crate::connector::{Answered, Connector};
use crate::fields::{self, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::front::{Notice, RequestBody, notice};
use crate::{interim, tunnel};

/// The time an origin may take to start its response to a request without a body. With a body the
/// client sets the pace, so the client's patience is the limit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The time for which an unused connection to the origin is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

type OriginResponse = Response<Either<Incoming, Notice>>;

/// Sends requests to the origin over a pool of connections.
///
/// It never fails: an origin that does becomes a 502 or 504 response with a `Proxy-Status` field
/// ([RFC 9209](https://www.rfc-editor.org/rfc/rfc9209)) that says how.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    authority: Authority,
    client: Client<Connector, RequestBody>,
}

impl Origin {
    pub(crate) fn new(authority: Authority) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_headers(fields::MOST_FIELDS)
            .build(Connector::new());
        Self(Arc::new(Inner { authority, client }))
    }
}

impl Service<Request<RequestBody>> for Origin {
    type Response = OriginResponse;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<OriginResponse, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let origin = Arc::clone(&self.0);
        Box::pin(async move { Ok(origin.exchange(request).await) })
    }
}

impl Inner {
    async fn exchange(&self, mut request: Request<RequestBody>) -> OriginResponse {
        let relay = interim::relay(&mut request);
        self.address(&mut request);
        let is_write = !request.method().is_safe();
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let answer = if request.body().is_end_stream() {
            tokio::time::timeout(ANSWER_TIMEOUT, self.send_twice_at_most(request)).await
        } else {
            Ok(self.client.request(request).await)
        };
        if let Some(relay) = relay {
            relay.finish().await;
        }
        match answer {
            Ok(Ok(response)) => received(response, upgrade),
            Ok(Err(error)) => {
                let mut response = Failure::of(&error).response();
                if is_write && error.is_connect() {
                    // It was never sent. All other writes that fail may have been made.
                    response.extensions_mut().remove::<OriginUnreachable>();
                }
                response
            }
            Err(_) => Failure::TIMEOUT.response(),
        }
    }

    /// Directs a request to the origin and adds fields that the client does not send itself.
    fn address(&self, request: &mut Request<RequestBody>) {
        let path = request
            .uri_mut()
            .path_and_query()
            .cloned()
            .unwrap_or(PathAndQuery::from_static("/"));
        let mut target = http::uri::Parts::default();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.authority.clone());
        target.path_and_query = Some(path);
        if let Ok(target) = Uri::from_parts(target) {
            *request.uri_mut() = target;
        }
        *request.version_mut() = Version::HTTP_11;
        add_forwarded(request.headers_mut());
    }

    /// Sends a request without a body, and once more if it met a connection that the origin was
    /// just closing after an earlier response
    /// ([RFC 9112 §9.3.1](https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1)).
    async fn send_twice_at_most(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Error> {
        let again = request.method().is_idempotent().then(|| {
            let mut again = Request::new(Either::Right(Empty::new()));
            *again.method_mut() = request.method().clone();
            *again.uri_mut() = request.uri().clone();
            *again.headers_mut() = request.headers().clone();
            *again.extensions_mut() = request.extensions().clone();
            again
        });
        match (self.client.request(request).await, again) {
            (Err(error), Some(again)) if closed_while_idle(&error) => {
                tracing::debug!(?error, "connection closed by the origin; trying once more");
                self.client.request(again).await
            }
            (answer, _) => answer,
        }
    }
}

/// Returns whether a request failed as it does on a connection that was closed meanwhile, and the
/// connection had carried a response before.
fn closed_while_idle(error: &Error) -> bool {
    let mut extras = http::Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut extras);
    }
    let protocol_error = source::<hyper::Error>(error).is_some_and(hyper::Error::is_parse);
    extras.get::<Answered>().is_some_and(Answered::get) && !protocol_error
}

/// Adds the fields for facts that the origin cannot see. They follow from the `Host` and the
/// `X-Forwarded-For` that the cache saw, so a response that varies on one of those is stored correctly.
fn add_forwarded(headers: &mut HeaderMap) {
    let client = headers.get(X_FORWARDED_FOR).and_then(|ip| ip.to_str().ok());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let mut forwarded = String::from("proto=http");
    if let Some(host) = host {
        forwarded = format!("host=\"{host}\";{forwarded}");
    }
    match client {
        Some(ip) if ip.contains(':') => forwarded = format!("for=\"[{ip}]\";{forwarded}"),
        Some(ip) => forwarded = format!("for={ip};{forwarded}"),
        None => {}
    }
    if let Ok(forwarded) = HeaderValue::try_from(forwarded) {
        headers.insert(FORWARDED, forwarded);
    }
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
}

/// Prepares a response of the origin to be stored and passed on.
fn received(mut response: Response<Incoming>, upgrade: Option<OnUpgrade>) -> OriginResponse {
    if let Some(answered) = response.extensions_mut().remove::<Answered>() {
        answered.set();
    }
    let version = std::mem::replace(response.version_mut(), Version::HTTP_11);
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = response.headers_mut().remove(UPGRADE);
    let headers = response.headers_mut();
    if !fields::knows_transfer_coding(headers) || !fields::settle_length(headers) {
        tracing::warn!("the origin framed its response in a way that cannot be passed on");
        return Failure::NOT_HTTP.response();
    }
    fields::remove_hop_by_hop(headers);
    fields::add_via(headers, version);
    // RFC 9110 §6.6.1: a recipient that forwards a response without a Date records when it arrived.
    headers.entry(DATE).or_insert_with(now);
    if fields::has_token(headers, &VARY, "forwarded") {
        // The cache never saw the field, so it could not distinguish requests by it.
        headers.append(VARY, HeaderValue::from_static("*"));
    }
    if !switching {
        return response.map(Either::Left);
    }
    let (Some(client), Some(protocol)) = (upgrade, protocol) else {
        return Failure::UNASKED_UPGRADE.response();
    };
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
    let origin = hyper::upgrade::on(&mut response);
    tokio::spawn(tunnel::join(client, origin));
    response.map(Either::Left)
}

fn now() -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// A failure of the origin: the status for the client, and the error of RFC 9209 §2.3.
struct Failure {
    status: StatusCode,
    status_field: &'static str,
}

impl Failure {
    const TIMEOUT: Self = Self {
        status: StatusCode::GATEWAY_TIMEOUT,
        status_field: "reverse_proxy; error=http_response_timeout",
    };
    const CONNECT_TIMEOUT: Self = Self {
        status: StatusCode::GATEWAY_TIMEOUT,
        status_field: "reverse_proxy; error=connection_timeout",
    };
    const REFUSED: Self = Self {
        status: StatusCode::BAD_GATEWAY,
        status_field: "reverse_proxy; error=connection_refused",
    };
    const UNREACHABLE: Self = Self {
        status: StatusCode::BAD_GATEWAY,
        status_field: "reverse_proxy; error=destination_unavailable",
    };
    const CLOSED: Self = Self {
        status: StatusCode::BAD_GATEWAY,
        status_field: "reverse_proxy; error=connection_terminated",
    };
    const NOT_HTTP: Self = Self {
        status: StatusCode::BAD_GATEWAY,
        status_field: "reverse_proxy; error=http_protocol_error",
    };
    const UNASKED_UPGRADE: Self = Self {
        status: StatusCode::BAD_GATEWAY,
        status_field: "reverse_proxy; error=http_upgrade_failed",
    };

    fn of(error: &Error) -> Self {
        let io = source::<io::Error>(error).map(io::Error::kind);
        let failure = if error.is_connect() {
            match io {
                Some(io::ErrorKind::TimedOut) => Self::CONNECT_TIMEOUT,
                Some(io::ErrorKind::ConnectionRefused) => Self::REFUSED,
                _ => Self::UNREACHABLE,
            }
        } else {
            match source::<hyper::Error>(error) {
                Some(error) if error.is_parse() => Self::NOT_HTTP,
                _ => Self::CLOSED,
            }
        };
        tracing::warn!(?error, status = %failure.status, "the origin failed");
        failure
    }

    fn response(self) -> OriginResponse {
        let line = match self.status {
            StatusCode::GATEWAY_TIMEOUT => "the origin did not answer in time\n",
            _ => "the origin did not answer\n",
        };
        let mut response = notice(self.status, line);
        response.headers_mut().insert(
            HeaderName::from_static("proxy-status"),
            HeaderValue::from_static(self.status_field),
        );
        response.extensions_mut().insert(OriginUnreachable);
        response.map(Either::Right)
    }
}

/// Looks for an error of one type among the causes of another.
fn source<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref())
}
