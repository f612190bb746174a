//! The member's log: defmt's frames, made readable with what its ELF file knows.

use std::error::Error;
use std::io::Read;

use defmt_decoder::{DecodeError, Table};

/// Prints a line for each frame, until the stream ends.
pub(crate) fn print(elf: &[u8], mut stream: impl Read) -> Result<(), Box<dyn Error>> {
    let table = Table::parse(elf)?.ok_or("no `.defmt` section in the firmware")?;
    let mut decoder = table.new_stream_decoder();
    let mut buffer = [0; 4096];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        decoder.received(&buffer[..len]);
        loop {
            match decoder.decode() {
                Ok(frame) => println!("member: {}", frame.display(false)),
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => println!("member: (a frame that cannot be decoded)"),
            }
        }
    }
}
