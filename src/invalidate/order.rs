//! The order in which numbered things were last touched, as a doubly linked list.

/// Stands for no neighbour.
const NONE: u32 = u32::MAX;

/// Numbers from zero up, from the one touched longest ago to the latest.
#[derive(Debug)]
pub(super) struct Order {
    links: Vec<Links>,
    oldest: u32,
    latest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    older: u32,
    newer: u32,
}

impl Order {
    /// Makes an order with room for numbers below `capacity`.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            links: Vec::with_capacity(capacity),
            oldest: NONE,
            latest: NONE,
        }
    }

    /// Returns the number that was touched longest ago.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Adds the next number, as the latest.
    pub(super) fn push(&mut self) -> u32 {
        // A log's capacity is far below 2³².
        let number = self.links.len() as u32;
        self.links.push(Links {
            older: NONE,
            newer: NONE,
        });
        self.append(number);
        number
    }

    /// Makes a number the latest.
    pub(super) fn touch(&mut self, number: u32) {
        if number == self.latest {
            return;
        }
        let Links { older, newer } = self.links[number as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        // It is not the latest, so there is a newer one.
        self.links[newer as usize].older = older;
        self.append(number);
    }

    fn append(&mut self, number: u32) {
        self.links[number as usize] = Links {
            older: self.latest,
            newer: NONE,
        };
        match self.latest {
            NONE => self.oldest = number,
            latest => self.links[latest as usize].newer = number,
        }
        self.latest = number;
    }
}
