//! What every target adds to a parser and its properties: bounds on memory and time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Less than this long, an input may not make a parser take [`MAX_MEMORY`].
const SHORT: usize = 1024;

const MAX_MEMORY: usize = 1 << 20;

/// As long as a header line that common servers let through.
const LONG_LINE: usize = 16 * 1024;

/// Makes a fuzz target of a function of the library.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            $crate::check(input, tower_response_cache::fuzzing::$name);
        });
    };
}

/// Runs a parser and its properties, and panics when they take more memory than a short input
/// justifies. Some inputs run once more with long lines: what takes quadratic time runs into
/// libFuzzer's limit.
pub fn check(input: &[u8], parse: fn(&[u8])) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    parse(input);
    let taken = PEAK.load(Relaxed) - before;
    assert!(
        input.len() >= SHORT || taken < MAX_MEMORY,
        "{} bytes of input took {taken} bytes of memory",
        input.len()
    );
    let sum: usize = input.iter().map(|byte| usize::from(*byte)).sum();
    if sum % 1009 == 0 {
        parse(&stretched(input));
    }
}

/// Repeats what is behind the first byte of each line; numbers stay as they are.
fn stretched(input: &[u8]) -> Vec<u8> {
    let mut long = Vec::new();
    for line in input.split(|byte| *byte == b'\n').take(8) {
        long.extend_from_slice(line);
        if let [_, rest @ ..] = line
            && !rest.is_empty()
            && !line.iter().all(u8::is_ascii_digit)
        {
            for _ in 1..LONG_LINE.div_ceil(rest.len()) {
                long.extend_from_slice(rest);
            }
        }
        long.push(b'\n');
    }
    long
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, with a count of the bytes in use. libFuzzer's own are not among them.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Relaxed);
        grown(size);
        unsafe { System.realloc(ptr, layout, size) }
    }
}
