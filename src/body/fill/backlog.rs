//! The chunks that were read of a body, and how far each of its readers is.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::entry::StoredResponse;

/// The chunks of a body that are still held, and the place of every reader among them.
///
/// Each operation takes the same time however many readers and chunks there are, but for those
/// whose documentation says otherwise.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Chunk>,
    /// How many chunks were let go before the first of `chunks`.
    gone: usize,
    /// Bytes in `chunks`.
    held: usize,
    /// How many readers have taken all there is.
    up_to_date: usize,
    /// The readers by slot; slots of those that left are used again.
    readers: SmallVec<[Option<ReaderProgress>; 1]>,
    vacant: Vec<usize>,
}

#[derive(Debug)]
struct Chunk {
    data: Bytes,
    came: Instant,
    /// How many readers take this one next.
    wanted_by: usize,
}

#[derive(Debug)]
struct ReaderProgress {
    next: usize,
    /// When it took the chunk before that.
    took: Instant,
    cut_off: bool,
}

/// The next thing that a reader finds.
#[derive(Debug)]
pub(super) enum Take {
    Chunk(Bytes),
    UpToDate,
    CutOff,
}

impl Backlog {
    /// The bytes that a chunk takes besides its own.
    pub(super) const CHUNK_OVERHEAD: usize = size_of::<Chunk>();

    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Returns whether the beginning is still there.
    pub(super) fn is_whole(&self) -> bool {
        self.gone == 0
    }

    pub(super) fn readers(&self) -> usize {
        self.readers.len() - self.vacant.len()
    }

    /// Adds a reader at the beginning of what is held, and returns its slot.
    pub(super) fn join(&mut self, now: Instant) -> usize {
        match self.chunks.front_mut() {
            Some(first) => first.wanted_by += 1,
            None => self.up_to_date += 1,
        }
        let reader = ReaderProgress {
            next: self.gone,
            took: now,
            cut_off: false,
        };
        match self.vacant.pop() {
            Some(slot) => {
                self.readers[slot] = Some(reader);
                slot
            }
            None => {
                self.readers.push(Some(reader));
                self.readers.len() - 1
            }
        }
    }

    pub(super) fn leave(&mut self, slot: usize) {
        let Some(reader) = self.readers.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.vacant.push(slot);
        if !reader.cut_off {
            *self.count_at(reader.next) -= 1;
        }
    }

    pub(super) fn push(&mut self, data: Bytes, now: Instant) {
        self.held += data.len();
        self.chunks.push_back(Chunk {
            data,
            came: now,
            wanted_by: std::mem::take(&mut self.up_to_date),
        });
    }

    /// Gives a reader its next chunk.
    pub(super) fn take(&mut self, slot: usize, now: Instant) -> Take {
        let (gone, newest) = (self.gone, self.gone + self.chunks.len());
        let Some(Some(reader)) = self.readers.get_mut(slot) else {
            return Take::UpToDate;
        };
        if reader.cut_off {
            return Take::CutOff;
        }
        if reader.next == newest {
            return Take::UpToDate;
        }
        let at = reader.next - gone;
        reader.next += 1;
        reader.took = now;
        let next = reader.next;
        let chunk = &mut self.chunks[at];
        chunk.wanted_by -= 1;
        let data = chunk.data.clone();
        *self.count_at(next) += 1;
        Take::Chunk(data)
    }

    /// Lets go of the chunks that every reader has passed.
    pub(super) fn let_go(&mut self) {
        while self
            .chunks
            .front()
            .is_some_and(|first| first.wanted_by == 0)
        {
            if let Some(chunk) = self.chunks.pop_front() {
                self.held -= chunk.data.len();
                self.gone += 1;
            }
        }
    }

    /// Cuts off the readers that have had something to take for `patience` and took nothing. Takes
    /// a look at every reader.
    pub(super) fn cut_off_stalled(&mut self, now: Instant, patience: Duration) {
        let (gone, newest) = (self.gone, self.gone + self.chunks.len());
        for reader in self.readers.iter_mut().flatten() {
            if reader.cut_off || reader.next == newest {
                continue;
            }
            let chunk = &mut self.chunks[reader.next - gone];
            if now >= chunk.came.max(reader.took) + patience {
                reader.cut_off = true;
                chunk.wanted_by -= 1;
            }
        }
    }

    /// Copies all that is held into one buffer of its exact size, which pins nothing else, and
    /// holds slices of that from now on. Takes time for every byte.
    ///
    /// A short body in one chunk is returned as it is: it is [copied](StoredResponse::new) when it is
    /// stored.
    pub(super) fn concatenate(&mut self) -> Bytes {
        if let (1, Some(chunk)) = (self.chunks.len(), self.chunks.front())
            && chunk.data.len() <= StoredResponse::SHORT_BODY
        {
            return chunk.data.clone();
        }
        let mut body = Vec::with_capacity(self.held);
        for chunk in &self.chunks {
            body.extend_from_slice(&chunk.data);
        }
        let body = Bytes::from(body);
        let mut from = 0;
        for chunk in &mut self.chunks {
            let to = from + chunk.data.len();
            chunk.data = body.slice(from..to);
            from = to;
        }
        body
    }

    /// How many readers are at a position, to be changed.
    fn count_at(&mut self, position: usize) -> &mut usize {
        match self.chunks.get_mut(position - self.gone) {
            Some(chunk) => &mut chunk.wanted_by,
            None => &mut self.up_to_date,
        }
    }
}
