//! Clients that read and write through all nodes, and judge what they are given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::watch;

use crate::nodes::{Node, Promise};
use crate::record::{Kind, Record, Sample};
use crate::support::Dice;
use crate::support::client::{Broken, Connection, Head};
use crate::world::{ITEMS, LANGUAGES, Lag, Page, Vouched, World};

const CLIENTS: u64 = 12;

/// How often each client asks for something, when the answers do not take longer.
const PACE: Duration = Duration::from_millis(30);

/// For how long most clients are after the same item.
const FASHION: Duration = Duration::from_millis(700);

/// A connection that was not used for so long is left: a server may end it at any time from then on
/// (this one after 30 s), and on a busy machine it does take that long.
const IDLE: Duration = Duration::from_secs(10);

/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(40);

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) nodes: Vec<(Node, SocketAddr)>,
    pub(crate) world: Arc<World>,
    pub(crate) record: Record,
    pub(crate) seed: u64,
}

/// Runs clients until they are told to stop.
pub(crate) async fn drive(scene: Arc<Scene>, stop: watch::Receiver<()>) {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = Client::new(&scene, scene.seed.wrapping_mul(1009).wrapping_add(number));
            tokio::spawn(client.run(stop.clone()))
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

/// Reads through a node that stores nothing, for as long as there is something to compare.
pub(crate) async fn measure(scene: Arc<Scene>, bare: SocketAddr) {
    let mut connection = Connection::open(bare).await.unwrap();
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let request = b"GET /items/0 HTTP/1.1\r\nHost: a\r\nAccept-Language: en\r\n\r\n";
        connection.send(request).await.unwrap();
        let head = connection.head().await.unwrap();
        connection.content(&head, &Method::GET).await.unwrap();
        let measured = (began, began.elapsed());
        scene.record.yardstick.lock().unwrap().push(measured);
    }
}

pub(crate) struct Client {
    scene: Arc<Scene>,
    /// A connection to each node, opened when it is needed, and when it was last used.
    lines: Vec<Option<(Connection, Instant)>>,
    random: Dice,
    began: Instant,
}

/// What a read was answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) version: u64,
    pub(crate) hit: bool,
}

impl Client {
    pub(crate) fn new(scene: &Arc<Scene>, seed: u64) -> Self {
        Self {
            scene: scene.clone(),
            lines: scene.nodes.iter().map(|_| None).collect(),
            random: Dice::new(seed),
            began: Instant::now(),
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<()>) {
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                _ = ticks.tick() => {}
            }
            let item = self.item();
            if self.random.below(14) == 0 {
                self.write(item).await;
                // Who is told of a write goes on to look, and rarely where he was told.
                for _ in 0..2 {
                    self.look(item).await;
                }
            } else {
                self.look(item).await;
            }
        }
    }

    /// An item that others are after too, mostly.
    fn item(&mut self) -> usize {
        let any = self.random.below(ITEMS);
        let fashion = self.began.elapsed().as_millis() / FASHION.as_millis();
        match self.random.below(2) {
            0 => fashion as usize % ITEMS,
            _ => any,
        }
    }

    async fn look(&mut self, item: usize) {
        let page = Page::showing(item, &mut self.random);
        let node = self.random.below(self.lines.len());
        self.read(node, page).await;
    }

    /// Reads a page, and says what came if that was an answer at all.
    pub(crate) async fn read(&mut self, node: usize, page: Page) -> Option<Answer> {
        let language = LANGUAGES[self.random.below(2)];
        let request =
            format!("GET {page} HTTP/1.1\r\nHost: a\r\nAccept-Language: {language}\r\n\r\n");
        let (asked, began) = (self.scene.world.moment(), Instant::now());
        let exchanged = self.exchange(node, &Method::GET, &request).await;
        let took = began.elapsed();
        let name = self.scene.nodes[node].0.name;
        let what = format!("GET {page} ({language}) through {node} ({name})");
        let record = &self.scene.record;
        let (head, content) = match exchanged {
            Ok(answer) => answer,
            Err(broken) => {
                broken.note(record, began, &what);
                return None;
            }
        };
        let answer = match judge(page, page.variant(language), &head, &content) {
            Ok(answer) => answer,
            Err(how) => {
                let what = format!("{how}: {what}: {head:?}");
                match head.status {
                    200 => record.fault(began, |faults| &mut faults.wrong, what),
                    _ => record.fault(began, |faults| &mut faults.failed, what),
                }
                return None;
            }
        };
        record.samples.lock().unwrap().push(Sample {
            node,
            kind: Kind::Read,
            began,
            took,
            hit: answer.hit,
        });
        let lag = self.scene.world.lag(node, page, answer.version, asked);
        self.judge_lag(node, began, lag, || format!("{what}: {head:?}"));
        Some(answer)
    }

    fn judge_lag(&self, node: usize, began: Instant, lag: Lag, what: impl FnOnce() -> String) {
        let record = &self.scene.record;
        if let Some(behind) = lag.acknowledged {
            record.lags.lock().unwrap().push((node, behind));
        }
        let allowed = match self.scene.nodes[node].0.promise {
            Promise::Strict => None,
            Promise::Within(bound) => Some(bound),
        };
        if lag.acknowledged > allowed || lag.waited.is_some() || lag.own.is_some() {
            let what = format!("stale, {lag:?}: {}", what());
            record.fault(began, |faults| &mut faults.stale, what);
        }
    }

    async fn write(&mut self, item: usize) {
        let node = self.random.below(self.lines.len());
        let page = Page::Item(item);
        let request = format!("PUT {page} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let began = Instant::now();
        let exchanged = self.exchange(node, &Method::PUT, &request).await;
        let took = began.elapsed();
        let record = &self.scene.record;
        let name = self.scene.nodes[node].0.name;
        let what = format!("PUT {page} through {node} ({name})");
        let head = match exchanged {
            Ok((head, _)) => head,
            Err(broken) => return broken.note(record, began, &what),
        };
        let (200, Some(version)) = (head.status, head.number("x-wrote")) else {
            let what = format!("{what}: {head:?}");
            return record.fault(began, |faults| &mut faults.failed, what);
        };
        let vouched = match head.field("cache-status").contains("invalidation-pending") {
            true => Vouched::Pending,
            false if self.scene.nodes[node].0.waits => Vouched::Waited,
            false => Vouched::Acknowledged,
        };
        self.scene.world.answer(node, item, version, vouched);
        *record.pending.lock().unwrap() += u64::from(vouched == Vouched::Pending);
        record.samples.lock().unwrap().push(Sample {
            node,
            kind: Kind::Write,
            began,
            took,
            hit: false,
        });
    }

    async fn exchange(
        &mut self,
        node: usize,
        method: &Method,
        request: &str,
    ) -> Result<(Head, Vec<u8>), Trouble> {
        let line = self.lines[node].take();
        let address = self.scene.nodes[node].1;
        let exchanging = async {
            let mut connection = match line {
                Some((connection, used)) if used.elapsed() < IDLE => connection,
                _ => Connection::open(address).await?,
            };
            connection.send(request.as_bytes()).await?;
            let head = connection.head().await?;
            let content = connection.content(&head, method).await?;
            Ok::<_, Broken>((connection, head, content))
        };
        let exchanged = tokio::time::timeout(PATIENCE, exchanging).await;
        let (connection, head, content) = exchanged
            .map_err(|_| Trouble::Hung)?
            .map_err(Trouble::Broken)?;
        let stays = head.field("connection") != "close";
        self.lines[node] = stays.then(|| (connection, Instant::now()));
        Ok((head, content))
    }
}

/// Why there was no answer.
enum Trouble {
    Hung,
    Broken(Broken),
}

impl Trouble {
    fn note(self, record: &Record, began: Instant, what: &str) {
        match self {
            Self::Hung => {
                let what = format!("nothing within {PATIENCE:?}: {what}");
                record.fault(began, |faults| &mut faults.hung, what);
            }
            Self::Broken(broken) => {
                let what = format!("{broken}: {what}");
                record.fault(began, |faults| &mut faults.failed, what);
            }
        }
    }
}

/// Judges an answer by itself: every byte follows from the page, the variant and the version.
fn judge(page: Page, variant: &str, head: &Head, content: &[u8]) -> Result<Answer, String> {
    if head.status != 200 {
        return Err("not the origin's".to_owned());
    }
    let version = head.number("x-version").ok_or("no version")?;
    if content != page.content(version, variant).as_bytes() {
        let start = String::from_utf8_lossy(&content[..content.len().min(40)]);
        return Err(format!("{} other bytes, {start:?}", content.len()));
    }
    if head.field("etag") != page.etag(version, variant) {
        return Err("another's validator".to_owned());
    }
    Ok(Answer {
        version,
        hit: head.field("x-cache") == "HIT",
    })
}
