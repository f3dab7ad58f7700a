//! The proxy does to connections what it is asked to.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::fault_proxy::{Door, FaultProxy, Way};

/// Long enough for what comes to have come.
const WHILE: Duration = Duration::from_millis(50);

/// A server that sends back what it receives, after its own name; and a proxy in front of it.
async fn echo(name: &'static str) -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                to.write_all(name.as_bytes()).await?;
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    proxy
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    let reading = stream.read_exact(&mut bytes);
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    read.expect("nothing comes").unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Whether nothing can be read for a while.
async fn is_silent(stream: &mut TcpStream) -> bool {
    let reading = stream.read_u8();
    tokio::time::timeout(WHILE, reading).await.is_err()
}

#[tokio::test]
async fn bytes_go_both_ways_and_so_does_the_end() {
    let proxy = echo("a").await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "hello").await;
    stream.shutdown().await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "ahello");
}

#[tokio::test]
async fn latency_holds_each_way() {
    let proxy = echo("a").await;
    let mut stream = connect(&proxy).await;
    assert_eq!(read(&mut stream, 1).await, "a");
    proxy.set_latency(WHILE);
    let began = Instant::now();
    say(&mut stream, "hello").await;
    assert_eq!(read(&mut stream, 5).await, "hello");
    assert!(began.elapsed() >= 2 * WHILE);
}

#[tokio::test]
async fn what_is_stalled_arrives_later() {
    for way in [Way::ToTarget, Way::ToClient] {
        let proxy = echo("a").await;
        let mut stream = connect(&proxy).await;
        assert_eq!(read(&mut stream, 1).await, "a");
        proxy.set_stalled(way, true);
        say(&mut stream, "hello").await;
        assert!(is_silent(&mut stream).await);
        proxy.set_stalled(way, false);
        assert_eq!(read(&mut stream, 5).await, "hello");
    }
}

#[tokio::test]
async fn a_connection_is_cut_at_a_byte_and_the_next_is_not() {
    let proxy = echo("name").await;
    proxy.cut_after(7);
    let mut stream = connect(&proxy).await;
    assert_eq!(read(&mut stream, 4).await, "name");
    say(&mut stream, "hello").await;
    let mut rest = Vec::new();
    // Whether the end is one or a reset depends on what was still on its way.
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "never cut");
    assert_eq!(rest, b"hel");
    let mut next = connect(&proxy).await;
    say(&mut next, "hello, hello").await;
    assert_eq!(read(&mut next, 16).await, "namehello, hello");
}

#[tokio::test]
async fn a_reset_ends_all_connections_and_none_to_come() {
    let proxy = echo("a").await;
    let mut streams = [connect(&proxy).await, connect(&proxy).await];
    for stream in &mut streams {
        assert_eq!(read(stream, 1).await, "a");
    }
    proxy.reset();
    for stream in &mut streams {
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(read(&mut connect(&proxy).await, 1).await, "a");
}

#[tokio::test]
async fn who_is_refused_can_connect_when_it_heals_and_who_was_connected_stays_so() {
    let proxy = echo("a").await;
    let mut open = connect(&proxy).await;
    assert_eq!(read(&mut open, 1).await, "a");
    proxy.set_door(Door::Refusing);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(proxy.address()).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            _ => assert!(Instant::now() < deadline, "never refused"),
        }
    }
    say(&mut open, "b").await;
    assert_eq!(read(&mut open, 1).await, "b");
    proxy.heal();
    loop {
        match TcpStream::connect(proxy.address()).await {
            Ok(mut stream) => break assert_eq!(read(&mut stream, 1).await, "a"),
            _ => assert!(Instant::now() < deadline, "refused forever"),
        }
    }
}

#[tokio::test]
async fn a_black_hole_accepts_and_never_says_a_word() {
    let proxy = echo("a").await;
    proxy.set_door(Door::BlackHole);
    // Whoever is at the door at that moment may still be let in.
    tokio::task::yield_now().await;
    tokio::time::sleep(WHILE).await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, "hello").await;
    assert!(is_silent(&mut stream).await);
    proxy.heal();
    assert!(is_silent(&mut stream).await);
    assert_eq!(read(&mut connect(&proxy).await, 1).await, "a");
}

#[tokio::test]
async fn another_target_is_for_those_who_come() {
    let (proxy, other) = (echo("a").await, echo("b").await);
    let mut open = connect(&proxy).await;
    assert_eq!(read(&mut open, 1).await, "a");
    proxy.set_target(other.address());
    assert_eq!(read(&mut connect(&proxy).await, 1).await, "b");
    say(&mut open, "c").await;
    assert_eq!(read(&mut open, 1).await, "c");
}

#[tokio::test]
async fn an_abandoned_connection_is_silent_for_ever_and_the_next_is_not() {
    let proxy = echo("a").await;
    let mut open = connect(&proxy).await;
    assert_eq!(read(&mut open, 1).await, "a");
    proxy.abandon();
    proxy.heal();
    say(&mut open, "hello").await;
    assert!(is_silent(&mut open).await);
    assert_eq!(read(&mut connect(&proxy).await, 1).await, "a");
}
