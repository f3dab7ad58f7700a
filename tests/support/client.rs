//! A client of HTTP/1.1 that takes nothing on trust.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why a response was not read.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection ended in the middle of it.
    Cut,
    /// It is not what RFC 9112 calls a response.
    Malformed(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("cut off"),
            Self::Malformed(how) => write!(f, "malformed: {how}"),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

fn malformed<T>(what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Malformed(what.into()))
}

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// With names in lower case.
    fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.field(name).parse().ok()
    }

    fn parse(text: &str) -> Result<Self, Broken> {
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok());
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        let (Some(status), Some(fields)) = (status, fields.collect::<Option<Vec<_>>>()) else {
            return malformed(text);
        };
        let head = Self { status, fields };
        for once in [
            "content-length",
            "transfer-encoding",
            "date",
            "etag",
            "x-version",
            "age",
        ] {
            let lines = head.fields.iter().filter(|(name, _)| name == once);
            if lines.count() > 1 {
                return malformed(format!("{once} twice in {text}"));
            }
        }
        Ok(head)
    }

    /// How the content is framed (RFC 9112 §6.3).
    fn framing(&self, method: &Method) -> Result<Framing, Broken> {
        let (length, coding) = (
            self.field("content-length"),
            self.field("transfer-encoding"),
        );
        let without = *method == Method::HEAD || matches!(self.status, 204 | 304);
        match (without, length, coding) {
            (true, _, "") => Ok(Framing::Length(0)),
            (false, "", "chunked") => Ok(Framing::Chunked),
            (false, length, "") => match length.parse() {
                Ok(length) => Ok(Framing::Length(length)),
                Err(_) => malformed(format!("{length:?} as length: {self:?}")),
            },
            _ => malformed(format!("framed in two ways: {self:?}")),
        }
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// What was received and belongs to nothing yet.
    received: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    async fn more(&mut self) -> Result<(), Broken> {
        self.received.reserve(16 << 10);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(Broken::Cut),
            _ => Ok(()),
        }
    }

    /// Takes what comes before the next `end`, which is dropped.
    async fn take_until(&mut self, end: &str) -> Result<String, Broken> {
        loop {
            let found = self
                .received
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let taken: Vec<u8> = self.received.drain(..at + end.len()).collect();
                return match String::from_utf8(taken) {
                    Ok(mut text) => {
                        text.truncate(at);
                        Ok(text)
                    }
                    Err(error) => malformed(error.to_string()),
                };
            }
            if self.received.len() > 64 << 10 {
                return malformed(format!("no {end:?} in 64 KiB"));
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        while self.received.len() < length {
            self.more().await?;
        }
        let rest = self.received.split_off(length);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    pub(crate) async fn head(&mut self) -> Result<Head, Broken> {
        Head::parse(&self.take_until("\r\n\r\n").await?)
    }

    /// Reads some of the content and no more, as one does who is about to leave.
    pub(crate) async fn glance(&mut self) {
        // He leaves in any case.
        let _ = self.more().await;
    }

    pub(crate) async fn content(
        &mut self,
        head: &Head,
        method: &Method,
    ) -> Result<Vec<u8>, Broken> {
        let mut content = match head.framing(method)? {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => Vec::new(),
        };
        if head.field("transfer-encoding") == "chunked" {
            loop {
                let size = self.take_until("\r\n").await?;
                let Ok(size) = usize::from_str_radix(&size, 16) else {
                    return malformed(format!("{size:?} as size of a chunk"));
                };
                content.extend(self.take(size).await?);
                if !self.take_until("\r\n").await?.is_empty() {
                    return malformed("something after a chunk");
                }
                if size == 0 {
                    break;
                }
            }
        }
        if !self.received.is_empty() {
            return malformed(format!("{} bytes too many", self.received.len()));
        }
        Ok(content)
    }
}
