//! Clients that read and write at random, and judge what they are given.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;

use crate::origin;
use crate::support::Dice;
use crate::support::client::{Broken, Connection, Head};
use crate::support::ledger::{Moment, Stale};
use crate::support::programs::Program;
use crate::world::{LANGUAGES, Page, World};

pub(crate) const CLIENTS: u64 = 64;

/// Longer than anything takes that does not hang.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is read and written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mix {
    /// Nearly everything alike: reads are of what is being written.
    Contested,
    /// As most services have it: what is read most is written least.
    Skewed,
}

impl Mix {
    fn items(self) -> usize {
        match self {
            Self::Contested => 192,
            Self::Skewed => 128,
        }
    }

    /// The two runs of the skewed one take different times, which is not to show in their ratios.
    fn ages(self) -> bool {
        matches!(self, Self::Contested)
    }

    fn read(self, random: &mut Dice) -> Page {
        let item = match self {
            Self::Contested => random.below(192),
            Self::Skewed => Self::skewed(random, 63),
        };
        match (self, random.below(8)) {
            (_, 0..2) => Page::View(item),
            (Self::Contested, 2) => Page::Shelf(item % 16),
            _ => Page::Item(item),
        }
    }

    fn written(self, random: &mut Dice) -> usize {
        match self {
            // The last 32 so seldom that they go stale by themselves meanwhile.
            Self::Contested if random.below(256) == 0 => random.below(192),
            Self::Contested => random.below(160),
            Self::Skewed => Self::skewed(random, 1),
        }
    }

    /// One of the popular items in so many of 64 cases, else one of the last 16.
    fn skewed(random: &mut Dice, popular: usize) -> usize {
        if random.below(64) < popular {
            random.below(112)
        } else {
            112 + random.below(16)
        }
    }
}

/// Which way writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    Through,
    /// Beside the proxy, which cannot know of them: that what it answers is stale is counted, and not
    /// held against it.
    Beside,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) reads: u64,
    pub(crate) mix: Mix,
    pub(crate) writes: Writes,
}

macro_rules! tally {
    ($($field:ident: $label:literal,)*) => {
        /// What was counted, over all clients.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $field: AtomicU64,)*
            pub(crate) faults: std::sync::Mutex<Vec<String>>,
        }

        impl fmt::Display for Tally {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "  {:<44}{:>9}", $label, self.$field.load(Ordering::Relaxed))?;)*
                Ok(())
            }
        }
    };
}

tally! {
    reads: "reads that were answered",
    whole: "  200, every byte checked",
    parts: "  206",
    confirmed: "  304",
    heads: "  HEAD",
    failed: "  500 of the origin",
    hits: "hits (HIT or STALE)",
    possible: "hits possible for a cache that knows all",
    joined: "joined another's call",
    revalidated: "revalidated",
    writes: "writes acknowledged",
    writes_failed: "writes the origin answered with 500",
    left: "clients that left a read",
    left_writing: "clients that left a write",
    cut: "broken off by the origin, and seen so",
    cut_early: "  of them before the head arrived",
    stale: "stale",
    wrong: "wrong or truncated",
    hangs: "hangs",
    unsent: "5xx that the origin did not send",
}

impl Tally {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn fault(&self, counter: &AtomicU64, what: String) {
        Self::add(counter);
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < 20 {
            faults.push(what);
        }
    }

    pub(crate) fn percent(&self, part: &AtomicU64) -> f64 {
        let reads = self.reads.load(Ordering::Relaxed);
        100.0 * part.load(Ordering::Relaxed) as f64 / reads as f64
    }

    pub(crate) fn hit_ratio(&self) -> f64 {
        self.percent(&self.hits)
    }
}

/// Runs all clients to their end.
pub(crate) async fn run(plan: Plan) -> Arc<Tally> {
    let world = Arc::new(World::new(plan.mix.items(), plan.mix.ages()));
    let origin = origin::start(world.clone()).await;
    let url = format!("http://{origin}");
    let options = [
        "--origin",
        &url,
        "--origin-decides",
        "--on-write",
        "/items/{id}=/views/{id}/**",
    ];
    let proxy = Program::start_with("reverse_proxy", &options, &[("RUST_LOG", "error")]);
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = Client {
                plan,
                world: world.clone(),
                tally: tally.clone(),
                proxy: Line::to(proxy.address),
                origin: Line::to(origin),
                random: Dice::new(plan.seed.wrapping_mul(1009).wrapping_add(number)),
                known: HashMap::new(),
            };
            tokio::spawn(client.run(plan.reads.div_ceil(CLIENTS)))
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    println!("{plan:?}: {:.1} s", began.elapsed().as_secs_f64());
    println!(
        "{tally}  {:<44}{:>9}",
        "reads that reached the origin",
        world.reads.load(Ordering::Relaxed)
    );
    tally
}

/// A connection that is opened when it is needed.
struct Line {
    address: SocketAddr,
    open: Option<Connection>,
}

impl Line {
    fn to(address: SocketAddr) -> Self {
        let open = None;
        Self { address, open }
    }

    async fn take(&mut self) -> Connection {
        match self.open.take() {
            Some(connection) => connection,
            None => Connection::open(self.address).await.unwrap(),
        }
    }

    fn keep(&mut self, connection: Connection, head: &Head) {
        self.open = Some(connection).filter(|_| head.field("connection") != "close");
    }
}

struct Client {
    plan: Plan,
    world: Arc<World>,
    tally: Arc<Tally>,
    proxy: Line,
    origin: Line,
    random: Dice,
    /// Validators seen last, by path and variant.
    known: HashMap<String, String>,
}

/// A read, and what was known when it began.
struct Read {
    page: Page,
    language: &'static str,
    method: Method,
    etag: Option<String>,
    range: Option<(usize, usize)>,
    asked: Moment,
    possible: bool,
}

impl Read {
    fn request(&self, dice: u64) -> String {
        let Self {
            page,
            language,
            method,
            ..
        } = self;
        let mut request = format!(
            "{method} {page} HTTP/1.1\r\nHost: a\r\nAccept-Language: {language}\r\nX-Dice: {dice}\r\n"
        );
        if let Some(etag) = &self.etag {
            request += &format!("If-None-Match: {etag}\r\n");
        }
        if let Some((first, last)) = self.range {
            request += &format!("Range: bytes={first}-{last}\r\n");
        }
        request + "\r\n"
    }

    fn variant(&self) -> &'static str {
        self.page.variant(self.language)
    }
}

/// What is the matter with a response.
enum Fault {
    Stale(Stale),
    Wrong(String),
    Unsent,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Wrong(what.into()))
}

impl Client {
    async fn run(mut self, reads: u64) {
        let mut done = 0;
        while done < reads {
            let operation = async {
                if self.random.below(5) == 0 {
                    self.write().await;
                    0
                } else {
                    u64::from(self.read().await)
                }
            };
            match tokio::time::timeout(DEADLINE, operation).await {
                Ok(read) => done += read,
                Err(_) => {
                    let what = format!("nothing within {DEADLINE:?}");
                    self.tally.fault(&self.tally.hangs, what);
                    done += 1;
                }
            }
        }
    }

    fn choose(&mut self) -> Read {
        let random = &mut self.random;
        let page = self.plan.mix.read(random);
        let language = LANGUAGES[random.below(LANGUAGES.len())];
        let known = self
            .known
            .get(&format!("{page} {}", page.variant(language)));
        let (mut method, mut range, mut etag) = (Method::GET, None, None);
        match random.below(32) {
            0 => method = Method::HEAD,
            1 => {
                let first = random.below(5);
                range = Some((first, first + random.below(10_000)));
            }
            2..8 => etag = known.cloned(),
            _ => {}
        }
        Read {
            page,
            language,
            method,
            etag,
            range,
            possible: self.world.could_be_stored(page, language),
            asked: self.world.moment(),
        }
    }

    /// Leaves at some point of a request and its answer, one time in 24.
    async fn leaves(&mut self, connection: &mut Connection, request: &[u8]) -> bool {
        let random = &mut self.random;
        if random.below(24) != 0 {
            return false;
        }
        let sent = match random.below(3) {
            0 => random.below(request.len()),
            _ => request.len(),
        };
        if connection.send(&request[..sent]).await.is_err() || sent < request.len() {
            return true;
        }
        match random.below(3) {
            0 => tokio::time::sleep(Duration::from_millis(random.below(8) as u64)).await,
            1 => connection.glance().await,
            _ => {}
        }
        true
    }

    /// Returns whether the read came to an answer.
    async fn read(&mut self) -> bool {
        let mut connection = self.proxy.take().await;
        let read = self.choose();
        let request = read.request(self.random.number());
        if self.leaves(&mut connection, request.as_bytes()).await {
            Tally::add(&self.tally.left);
            return false;
        }
        let head = match connection.send(request.as_bytes()).await {
            Ok(()) => connection.head().await,
            Err(error) => Err(error.into()),
        };
        let head = match head {
            Ok(head) => head,
            Err(broken) => {
                self.judge_end(&read, None, broken);
                return false;
            }
        };
        let content = match connection.content(&head, &read.method).await {
            Ok(content) => content,
            Err(broken) => {
                self.judge_end(&read, Some(&head), broken);
                return false;
            }
        };
        self.proxy.keep(connection, &head);
        self.count(&read, &head);
        if let Err(fault) = self.judge(&read, &head, &content) {
            let what = format!(
                "{} {} ({}): {} bytes, {head:?}",
                read.method,
                read.page,
                read.variant(),
                content.len()
            );
            let tally = &self.tally;
            match fault {
                Fault::Stale(stale) => tally.fault(&tally.stale, format!("{stale}: {what}")),
                Fault::Wrong(how) => tally.fault(&tally.wrong, format!("{how}: {what}")),
                Fault::Unsent => tally.fault(&tally.unsent, format!("not the origin's: {what}")),
            }
        }
        true
    }

    /// Judges a response that did not come to its end.
    fn judge_end(&self, read: &Read, head: Option<&Head>, broken: Broken) {
        let excused = match (head, &broken) {
            (_, Broken::Malformed(_)) => false,
            (Some(head), Broken::Cut) => head
                .number("x-call")
                .is_some_and(|call| self.world.broke_off(call)),
            (None, Broken::Cut) => self.world.broke_off_lately(read.page),
        };
        if !excused {
            let what = format!("{broken}: {} {}, {head:?}", read.method, read.page);
            return self.tally.fault(&self.tally.wrong, what);
        }
        Tally::add(&self.tally.cut);
        if head.is_none() {
            Tally::add(&self.tally.cut_early);
        }
    }

    fn count(&self, read: &Read, head: &Head) {
        let tally = &self.tally;
        Tally::add(&tally.reads);
        match head.field("x-cache") {
            "HIT" | "STALE" => Tally::add(&tally.hits),
            "REVALIDATED" => Tally::add(&tally.revalidated),
            _ => {}
        }
        if head.field("cache-status").contains("collapsed") {
            Tally::add(&tally.joined);
        }
        if read.possible {
            Tally::add(&tally.possible);
        }
    }

    fn judge(&mut self, read: &Read, head: &Head, content: &[u8]) -> Result<(), Fault> {
        let tally = self.tally.clone();
        let Some(call) = head.number("x-call") else {
            return match head.status {
                500.. => Err(Fault::Unsent),
                _ => wrong("nobody's answer"),
            };
        };
        if head.status == 500 && (content == b"out of order" || read.method == Method::HEAD) {
            Tally::add(&tally.failed);
            return Ok(());
        }
        if self.world.broke_off(call) && !content.is_empty() && head.status == 200 {
            return wrong("broken off, and yet with an end");
        }
        let Some(version) = head.number("x-version") else {
            return wrong("no version");
        };
        let (page, variant) = (read.page, read.variant());
        match (head.status, &read.method) {
            (200, &Method::HEAD) => {
                let length = head.number("content-length");
                let expected = page.content(version, variant).len() as u64;
                if length.is_some_and(|length| length != expected) {
                    return wrong("another length than that of its content");
                }
                Tally::add(&tally.heads);
            }
            (200, _) => {
                if content != page.content(version, variant) {
                    return wrong("other content than it should have");
                }
                let from_origin = matches!(head.field("x-cache"), "MISS" | "REVALIDATED");
                let world = &self.world;
                world.deliver(page, read.language, version, from_origin);
                if !head.field("etag").is_empty() {
                    let etag = head.field("etag").to_owned();
                    self.known.insert(format!("{page} {variant}"), etag);
                }
                Tally::add(&tally.whole);
            }
            (206, _) => {
                self.judge_part(read, head, content, version)?;
                Tally::add(&tally.parts);
            }
            (304, _) => {
                let etag = page.etag(version, variant);
                if read.etag.as_ref() != Some(&etag) || head.field("etag") != etag {
                    return wrong("not what was asked about");
                }
                Tally::add(&tally.confirmed);
            }
            (501.., _) => return Err(Fault::Unsent),
            _ => return wrong("a status that the origin did not send"),
        }
        let judged = self.world.judge(read.page, version, read.asked);
        match (judged, self.plan.writes) {
            (Err(stale), Writes::Through) => return Err(Fault::Stale(stale)),
            (Err(_), Writes::Beside) => Tally::add(&tally.stale),
            (Ok(()), _) => {}
        }
        Ok(())
    }

    fn judge_part(
        &self,
        read: &Read,
        head: &Head,
        content: &[u8],
        version: u64,
    ) -> Result<(), Fault> {
        let whole = read.page.content(version, read.variant());
        let Some((first, last)) = read.range else {
            return wrong("a part for the whole");
        };
        let last = last.min(whole.len() - 1);
        let expected = format!("bytes {first}-{last}/{}", whole.len());
        if head.field("content-range") != expected || content != &whole[first..=last] {
            return wrong(format!("not {expected}"));
        }
        Ok(())
    }

    async fn write(&mut self) {
        let item = self.plan.mix.written(&mut self.random);
        let method = [Method::PUT, Method::POST, Method::DELETE][self.random.below(3)].clone();
        let length = match method {
            Method::DELETE => 0,
            _ => [0, 100, 3_000, 60_000][self.random.below(4)],
        };
        let dice = self.random.number();
        let page = Page::Item(item);
        let head = format!(
            "{method} {page} HTTP/1.1\r\nHost: a\r\nX-Dice: {dice}\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + length, b'w');
        let mut connection = match self.plan.writes {
            Writes::Through => self.proxy.take().await,
            Writes::Beside => self.origin.take().await,
        };
        if self.leaves(&mut connection, &request).await {
            return Tally::add(&self.tally.left_writing);
        }
        let answer = async {
            connection.send(&request).await?;
            let head = connection.head().await?;
            connection.content(&head, &method).await?;
            Ok(head)
        };
        let head = match answer.await {
            Ok(head) => head,
            Err::<_, Broken>(broken) => {
                let what = format!("{broken}: {method} {page}");
                return self.tally.fault(&self.tally.wrong, what);
            }
        };
        self.judge_write(item, &head);
        match self.plan.writes {
            Writes::Through => self.proxy.keep(connection, &head),
            Writes::Beside => self.origin.keep(connection, &head),
        }
    }

    /// From here on, whoever reads the item is owed what was written.
    fn judge_write(&self, item: usize, head: &Head) {
        let tally = &self.tally;
        match (head.status, head.number("x-wrote")) {
            (200..300, Some(wrote)) => {
                self.world.acknowledge(item, wrote);
                Tally::add(&tally.writes);
            }
            (500, _) if head.number("x-call").is_some() => Tally::add(&tally.writes_failed),
            (500.., _) => tally.fault(&tally.unsent, format!("write of {item}: {head:?}")),
            _ => tally.fault(&tally.wrong, format!("write of {item}: {head:?}")),
        }
    }
}
