//! The same over HTTP/2.

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{PATIENCE, Wire, ask, essence, layer, serve, serve_as, serve_scripts};
use crate::support::{self, Answer, TestBody, chunk, respond_with, scripted};

/// A client of HTTP/2 that knows beforehand what is spoken.
async fn h2(address: SocketAddr) -> SendRequest<TestBody> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send_h2(
    sender: &mut SendRequest<TestBody>,
    method: &str,
    fields: &[(&str, &str)],
    body: TestBody,
) -> Response<TestBody> {
    let mut request = Request::builder().method(method).uri("http://a/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let sending = sender.send_request(request.body(body).unwrap());
    let response = tokio::time::timeout(PATIENCE, sending).await.unwrap();
    let response = response.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

async fn over_h2(
    sender: &mut SendRequest<TestBody>,
    method: &str,
    fields: &[(&str, &str)],
    body: TestBody,
) -> Answer {
    Answer::read(send_h2(sender, method, fields, body).await).await
}

#[tokio::test]
async fn http_2_is_served_and_evicted_as_http_1_is() {
    let address = serve(|| respond_with(200, &[("etag", "\"a\"")], support::whole("0123"))).await;
    let mut sender = h2(address).await;
    let nothing = || support::whole("");
    for (method, fields, status, outcome, content) in [
        ("GET", &[][..], 200, "MISS", "0123"),
        ("GET", &[], 200, "HIT", "0123"),
        ("HEAD", &[], 200, "HIT", ""),
        ("GET", &[("if-none-match", "\"a\"")], 304, "HIT", ""),
        ("GET", &[("range", "bytes=1-2")], 206, "HIT", "12"),
        ("PUT", &[], 200, "BYPASS", "0123"),
        ("GET", &[], 200, "MISS", "0123"),
    ] {
        let answer = over_h2(&mut sender, method, fields, nothing()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.x_cache()),
            (status, outcome)
        );
        assert_eq!((answer.text(), &answer.error), (content, &None));
        for once in ["date", "content-length", "etag"] {
            let lines = answer.headers.get_all(once).iter().count();
            let expected = usize::from(once != "content-length" || status != 304);
            assert_eq!(lines, expected, "{once} of {method} {status}");
        }
    }
    // A write is one for both.
    let mut wire = Wire::to(address).await;
    wire.send(&ask("PUT", "/")).await;
    assert_eq!(essence(&wire.head().await)[2], "x-cache: BYPASS");
    assert_eq!(wire.bytes(4).await, b"0123");
    let answer = over_h2(&mut sender, "GET", &[], nothing()).await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", "0123"));
    // So is what is stored.
    wire.send(&ask("GET", "/")).await;
    assert_eq!(essence(&wire.head().await)[2], "x-cache: HIT");
    assert_eq!(wire.bytes(4).await, b"0123");
}

#[tokio::test]
async fn over_http_2_a_host_that_is_not_the_authority_is_passed_by() {
    let show = async |headers: HeaderMap| {
        let host = headers.get("host");
        host.map_or("a".to_owned(), |host| host.to_str().unwrap().to_owned())
    };
    let app = Router::new().fallback(show).layer(layer());
    let mut sender = h2(serve_as(false, app).await).await;
    for (fields, expected) in [
        (&[("host", "evil.example")][..], ("BYPASS", "evil.example")),
        (&[], ("MISS", "a")),
        (&[("host", "a")], ("HIT", "a")),
        (&[("host", "A:80")], ("HIT", "a")),
        (&[("host", "evil.example")], ("BYPASS", "evil.example")),
    ] {
        let answer = over_h2(&mut sender, "GET", fields, support::whole("")).await;
        assert_eq!((answer.x_cache(), answer.text()), expected, "{fields:?}");
    }
}

#[tokio::test]
async fn a_get_with_content_of_unknown_length_over_http_2_is_passed_by() {
    let echo = async |body: Bytes| body;
    let app = Router::new().fallback(echo).layer(layer());
    let mut sender = h2(serve_as(false, app).await).await;
    for content in ["fat", "other", ""] {
        let (script, body) = scripted();
        script.send(chunk(content)).unwrap();
        drop(script);
        let answer = over_h2(&mut sender, "GET", &[], body).await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", content));
    }
    let answer = over_h2(&mut sender, "GET", &[], support::whole("")).await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", ""));
}

#[tokio::test]
async fn over_http_2_a_body_that_breaks_off_is_an_error_and_trailers_are_kept() {
    let (broken, body) = scripted();
    let (trailing, whole) = scripted();
    let responses = [respond_with(200, &[], body), respond_with(200, &[], whole)];
    let mut sender = h2(serve_scripts(responses).await).await;
    broken.send(chunk("some")).unwrap();
    let response = send_h2(&mut sender, "GET", &[], support::whole("")).await;
    broken.send(Err("broken".into())).unwrap();
    let answer = Answer::read(response).await;
    assert!(answer.error.is_some(), "{answer:?}");
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("checksum"),
        HeaderValue::from_static("1"),
    )]);
    trailing.send(chunk("abc")).unwrap();
    trailing
        .send(Ok(Frame::trailers(trailers.clone())))
        .unwrap();
    drop(trailing);
    for outcome in ["MISS", "HIT"] {
        let answer = over_h2(&mut sender, "GET", &[], support::whole("")).await;
        assert_eq!((answer.x_cache(), answer.text()), (outcome, "abc"));
        assert_eq!(answer.trailers.as_ref(), Some(&trailers));
    }
}
