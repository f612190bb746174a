//! The serial ports: CMSDK APB UARTs.

use core::ptr::{read_volatile, write_volatile};

/// One port.
pub(crate) struct Uart(usize);

const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CONTROL: usize = 0x08;
const BAUD_DIVIDER: usize = 0x10;

const SEND_FULL: u32 = 1;
const RECEIVED: u32 = 2;
const ENABLE_BOTH: u32 = 3;

impl Uart {
    /// The line to the bridge.
    ///
    /// # Safety
    ///
    /// Nobody else may use the port.
    pub(crate) unsafe fn bridge() -> Self {
        Self::at(0x4000_4000)
    }

    /// The line that the log goes out on.
    ///
    /// # Safety
    ///
    /// Nobody else may use the port.
    pub(crate) unsafe fn log() -> Self {
        Self::at(0x4000_5000)
    }

    fn at(base: usize) -> Self {
        let uart = Self(base);
        uart.write(BAUD_DIVIDER, 16);
        uart.write(CONTROL, ENABLE_BOTH);
        uart
    }

    fn read(&self, register: usize) -> u32 {
        // SAFETY: a register of this board, which whoever made `self` has to itself.
        unsafe { read_volatile((self.0 + register) as *const u32) }
    }

    fn write(&self, register: usize, value: u32) {
        // SAFETY: as in `read`.
        unsafe { write_volatile((self.0 + register) as *mut u32, value) }
    }

    /// The next byte, if one has come.
    pub(crate) fn receive(&mut self) -> Option<u8> {
        (self.read(STATE) & RECEIVED != 0).then(|| self.read(DATA) as u8)
    }

    /// Sends bytes, waiting for the line.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        for byte in bytes {
            while self.read(STATE) & SEND_FULL != 0 {}
            self.write(DATA, u32::from(*byte));
        }
    }
}
