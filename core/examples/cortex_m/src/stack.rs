//! How much of the stack has ever been used: it is painted at the start, and what is painted still has not been.

const PAINT: u32 = 0xC0DE_5AFE;
/// How far down the paint goes.
const DEPTH: usize = 64 * 1024;

unsafe extern "C" {
    static _stack_start: u32;
}

fn top() -> usize {
    (&raw const _stack_start).addr()
}

/// Paints what lies below the caller.
///
/// # Safety
///
/// Nothing else may lie in the 64 KiB below the beginning of the stack.
pub(crate) unsafe fn paint() {
    let bottom = top() - DEPTH;
    // The frames of this function and its caller stay as they are.
    let mut at = (cortex_m::register::msp::read() as usize) - 256;
    while at > bottom {
        at -= 4;
        // SAFETY: the caller's promise; below the stack pointer nothing is in use.
        unsafe { core::ptr::write_volatile(at as *mut u32, PAINT) };
    }
}

/// The most bytes the stack has ever had.
pub(crate) fn used() -> u32 {
    let mut at = top() - DEPTH;
    // SAFETY: memory of this board; it is only looked at.
    while at < top() && unsafe { core::ptr::read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    (top() - at) as u32
}
