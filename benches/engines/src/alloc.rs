//! An allocator that counts calls, and the bytes in use.
#![allow(
    dead_code,
    reason = "two programs share it, and neither asks for everything"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);
static ROUNDED: AtomicU64 = AtomicU64::new(0);
static ROUNDED_PEAK: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

/// Allocations made so far.
pub fn calls() -> u64 {
    CALLS.load(Relaxed)
}

/// The bytes in use, as requested.
pub fn live() -> u64 {
    LIVE.load(Relaxed)
}

/// The most bytes in use since the last call of this function.
pub fn take_peak() -> u64 {
    ROUNDED_PEAK.store(ROUNDED.load(Relaxed), Relaxed);
    PEAK.swap(live(), Relaxed)
}

/// The bytes in use as glibc's malloc rounds them: one word more, in steps of 16, at least 32.
pub fn live_rounded() -> u64 {
    ROUNDED.load(Relaxed)
}

/// Their peak since the last call of [`take_peak`].
pub fn peak_rounded() -> u64 {
    ROUNDED_PEAK.load(Relaxed)
}

fn rounded(bytes: usize) -> u64 {
    (bytes + 8).next_multiple_of(16).max(32) as u64
}

fn grown(bytes: usize) {
    CALLS.fetch_add(1, Relaxed);
    let live = LIVE.fetch_add(bytes as u64, Relaxed) + bytes as u64;
    PEAK.fetch_max(live, Relaxed);
    let live = ROUNDED.fetch_add(rounded(bytes), Relaxed) + rounded(bytes);
    ROUNDED_PEAK.fetch_max(live, Relaxed);
}

fn shrunk(bytes: usize) {
    LIVE.fetch_sub(bytes as u64, Relaxed);
    ROUNDED.fetch_sub(rounded(bytes), Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        shrunk(layout.size());
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The system moves a large block's pages instead of copying it, so two never exist at once.
        shrunk(layout.size());
        grown(size);
        unsafe { System.realloc(ptr, layout, size) }
    }
}
