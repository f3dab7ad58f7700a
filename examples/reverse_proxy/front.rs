//! The checks that every request must pass before it reaches the cache.
//!
//! The cache has to judge the request that the origin will see; otherwise two requests that the
//! origin distinguishes could share one stored response. So everything that is dropped is dropped
//! here.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TE, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use tower::{Service, ServiceExt};

use crate::fields::{self, X_FORWARDED_FOR};

/// A response of the proxy's own, with a line of text.
pub(crate) type Notice = Full<Bytes>;

/// The body of a request: a client's, or an empty one when a request is sent once more.
pub(crate) type RequestBody = Either<Incoming, Empty<Bytes>>;

/// Passes a request on to the cache, or refuses it.
pub(crate) async fn pass<S, B>(
    cache: S,
    client: HeaderValue,
    request: Request<Incoming>,
) -> Result<Response<Either<B, Notice>>, Infallible>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    match prepare(request.map(Either::Left), client) {
        Ok(request) => Ok(cache.oneshot(request).await?.map(Either::Left)),
        Err(refusal) => Ok(refusal.response().map(Either::Right)),
    }
}

/// Formats a client's address for `X-Forwarded-For`; done once per connection.
pub(crate) fn client_field(client: SocketAddr) -> HeaderValue {
    HeaderValue::try_from(client.ip().to_canonical().to_string())
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// The reason for which a request is not passed on, as the answer to it.
#[derive(Debug, PartialEq, Eq)]
struct Refusal(StatusCode, &'static str);

impl Refusal {
    fn response(self) -> Response<Notice> {
        notice(self.0, self.1)
    }
}

fn bad_request(reason: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, reason)
}

/// Makes a response with a line of text.
pub(crate) fn notice(status: StatusCode, line: &'static str) -> Response<Notice> {
    let mut response = Response::new(Full::from(line));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn prepare<B>(mut request: Request<B>, client: HeaderValue) -> Result<Request<B>, Refusal> {
    check_method(request.method())?;
    check_host(&request)?;
    to_origin_form(&mut request)?;
    let (version, options) = (request.version(), *request.method() == Method::OPTIONS);
    let headers = request.headers_mut();
    if options && !fields::may_forward(headers) {
        return Err(Refusal(
            StatusCode::OK,
            "Max-Forwards ends at this proxy, which passes on all but CONNECT and TRACE\n",
        ));
    }
    if fields::needs_cleaning(headers) {
        if !fields::knows_transfer_coding(headers) {
            return Err(Refusal(
                StatusCode::NOT_IMPLEMENTED,
                "no transfer coding but chunked is supported\n",
            ));
        }
        clean(headers);
    }
    headers.insert(X_FORWARDED_FOR, client);
    fields::add_via(headers, version);
    Ok(request)
}

/// Refuses CONNECT and TRACE. This proxy opens no tunnels to other hosts, and TRACE would show a client
/// what proxies add to its requests.
fn check_method(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::CONNECT => Err(Refusal(
            StatusCode::NOT_IMPLEMENTED,
            "CONNECT is not supported\n",
        )),
        Method::TRACE => Err(Refusal(
            StatusCode::NOT_IMPLEMENTED,
            "TRACE is not supported\n",
        )),
        _ => Ok(()),
    }
}

/// Requires one valid `Host`, equal to the authority in the request target if it has one
/// ([RFC 9112 §3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)): the cache and the origin
/// must not disagree about whose page this is.
fn check_host<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(bad_request("more than one Host\n")),
        (None, None) if request.version() >= Version::HTTP_11 => Err(bad_request("no Host\n")),
        (None, None) => Ok(()),
        (Some(host), None) => {
            let host = authority(host).ok_or_else(|| bad_request("not a valid Host\n"))?;
            match request.uri().authority() {
                Some(target) if !same_place(target, &host) => {
                    Err(bad_request("Host and the request target disagree\n"))
                }
                _ => Ok(()),
            }
        }
    }
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    let host = Authority::try_from(host.as_bytes()).ok()?;
    let named = !host.host().is_empty() && !host.as_str().contains('@');
    named.then_some(host)
}

fn same_place(one: &Authority, other: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    one.host().eq_ignore_ascii_case(other.host())
        && port(one) == port(other)
        && !one.as_str().contains('@')
}

/// Turns `GET http://host/path` into `GET /path` with a `Host`, so that the cache treats both alike.
fn to_origin_form<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let uri = request.uri();
    if uri.path() == "*" && *request.method() != Method::OPTIONS {
        return Err(bad_request("only OPTIONS has the target *\n"));
    }
    let Some(authority) = uri.authority() else {
        return Ok(());
    };
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(Refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "only http is served here\n",
        ));
    }
    if authority.as_str().contains('@') {
        return Err(bad_request("a user name in the request target\n"));
    }
    let host = HeaderValue::try_from(authority.as_str())
        .map_err(|_| bad_request("not a valid request target\n"))?;
    let path = uri
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().entry(HOST).or_insert(host);
    Ok(())
}

/// Removes fields meant only for this proxy, and claims that only this proxy can make. It restores the
/// two requests that it can fulfil: trailers, and a WebSocket. Other upgrades are optional, and `h2c`
/// would carry requests past the cache.
fn clean(headers: &mut HeaderMap) {
    let trailers = fields::has_token(headers, &TE, "trailers");
    let websocket = fields::has_token(headers, &CONNECTION, "upgrade")
        && fields::has_token(headers, &UPGRADE, "websocket");
    fields::remove_hop_by_hop(headers);
    fields::remove_forwarded(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Result<Request<()>, StatusCode> {
        let request = fields
            .iter()
            .fold(
                Request::builder().method(method).uri(target),
                |request, &(name, value)| request.header(name, value),
            )
            .body(())
            .unwrap();
        prepare(request, HeaderValue::from_static("192.0.2.1")).map_err(|refusal| refusal.0)
    }

    #[test]
    fn the_cache_sees_one_target_for_each_form_of_it() {
        for (target, seen) in [
            ("/a?b", "/a?b"),
            ("http://shop.example/a?b", "/a?b"),
            ("http://SHOP.example:80/a", "/a"),
            ("http://shop.example", "/"),
            ("http://shop.example?q", "/?q"),
            ("//a", "//a"),
        ] {
            let request = prepared("GET", target, &[("host", "shop.example")]).unwrap();
            assert_eq!(request.uri().to_string(), seen, "{target}");
            assert_eq!(request.headers()[HOST], "shop.example", "{target}");
        }
        let request = prepared("OPTIONS", "*", &[("host", "a")]).unwrap();
        assert_eq!(request.uri().path(), "*");
    }

    #[test]
    fn a_request_that_could_mean_two_places_is_refused() {
        for (method, target, hosts, status) in [
            ("GET", "/", &[][..], 400),
            ("GET", "/", &["a", "a"], 400),
            ("GET", "/", &["a", "b"], 400),
            ("GET", "/", &[""], 400),
            ("GET", "/", &["a/b"], 400),
            ("GET", "/", &["me@a"], 400),
            ("GET", "/", &["a, b"], 400),
            ("GET", "http://a/", &["b"], 400),
            ("GET", "http://a/", &["a:8080"], 400),
            ("GET", "http://me@a/", &["a"], 400),
            ("GET", "http://a/", &[], 400),
            ("GET", "https://a/", &["a"], 421),
            ("GET", "*", &["a"], 400),
            ("CONNECT", "a:443", &["a"], 501),
            ("TRACE", "/", &["a"], 501),
        ] {
            let hosts: Vec<_> = hosts.iter().map(|&host| ("host", host)).collect();
            let refused = prepared(method, target, &hosts).unwrap_err();
            assert_eq!(refused, status, "{method} {target} {hosts:?}");
        }
    }

    #[test]
    fn options_goes_as_far_as_it_may() {
        let forwarded = |method: &str, most: &str| {
            let fields = [("host", "a"), ("max-forwards", most)];
            let passed = prepared(method, "/", &fields);
            passed.map(|request| {
                request.headers()["max-forwards"]
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
        };
        for (most, left) in [
            ("1", "0"),
            ("10", "9"),
            ("010", "9"),
            ("-1", "-1"),
            ("", ""),
        ] {
            assert_eq!(forwarded("OPTIONS", most).unwrap(), left);
        }
        assert_eq!(
            forwarded("OPTIONS", "99999999999").unwrap(),
            (u32::MAX - 1).to_string()
        );
        assert_eq!(forwarded("OPTIONS", "0").unwrap_err(), 200);
        // RFC 9110 §7.6.2: other methods may ignore it.
        assert_eq!(forwarded("GET", "0").unwrap(), "0");
    }

    #[test]
    fn a_body_in_an_unknown_coding_is_refused() {
        let coded = |coding| prepared("POST", "/", &[("host", "a"), ("transfer-encoding", coding)]);
        assert_eq!(coded("gzip, chunked").unwrap_err(), 501);
        assert!(
            coded("chunked")
                .unwrap()
                .headers()
                .get("transfer-encoding")
                .is_none()
        );
    }

    #[test]
    fn an_http_1_0_request_may_do_without_a_host() {
        let request = Request::builder()
            .version(Version::HTTP_10)
            .body(())
            .unwrap();
        let request = prepare(request, HeaderValue::from_static("192.0.2.1")).unwrap();
        assert_eq!(request.headers()["via"], "1.0 reverse_proxy");
    }

    #[test]
    fn the_client_is_who_the_connection_says() {
        let claims = [
            ("host", "a"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("forwarded", "for=10.0.0.3"),
        ];
        let request = prepared("GET", "/", &claims).unwrap();
        let said: Vec<_> = request.headers().get_all(X_FORWARDED_FOR).iter().collect();
        assert_eq!(said, ["192.0.2.1"]);
        assert!(!request.headers().contains_key("forwarded"));
    }

    #[test]
    fn only_the_wishes_that_can_be_fulfilled_are_passed_on() {
        let wishes = [
            ("host", "a"),
            ("connection", "Upgrade, TE, HTTP2-Settings, x-mine"),
            ("upgrade", "h2c, websocket"),
            ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("te", "gzip, trailers"),
            ("x-mine", "1"),
        ];
        let request = prepared("GET", "/", &wishes).unwrap();
        let headers = request.headers();
        assert_eq!(headers[UPGRADE], "websocket");
        assert_eq!(headers[CONNECTION], "upgrade");
        assert_eq!(headers[TE], "trailers");
        assert!(!headers.contains_key("http2-settings") && !headers.contains_key("x-mine"));
    }
}
