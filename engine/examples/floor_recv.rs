//! The least a download can do: receive into one hot buffer that lies as the file's pages do, and write it where it belongs.
//!
//! `floor_recv http://HOST:PORT/PATH FILE` speaks just enough HTTP/1.1 for a server that sends `Content-Length`; it verifies
//! nothing, resumes nothing and hashes nothing. It stands beside the engine in the benchmark, never in its place.

#[path = "floor/exchange.rs"]
mod exchange;

use std::{error::Error, fs::File, io::Read, os::unix::fs::FileExt};

const BUFFER_BYTES: usize = 512 * 1024;
const PAGE_BYTES: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut stream, path) = exchange::ask("floor_recv")?;
    let mut memory = vec![0_u8; BUFFER_BYTES + 2 * PAGE_BYTES];
    let aligned = memory.as_ptr().align_offset(PAGE_BYTES);
    let buffer = &mut memory[aligned..];
    let mut filled = 0;
    let body_at = loop {
        let received = stream.read(&mut buffer[filled..])?;
        if received == 0 {
            return Err("the server closed before its header ended".into());
        }
        filled += received;
        if let Some(at) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let length = exchange::content_length(&buffer[..body_at])?;

    let file = File::create(path)?;
    file.write_all_at(&buffer[body_at..filled], 0)?;
    let mut written = (filled - body_at) as u64;
    while written < length {
        let start = (written % PAGE_BYTES as u64) as usize;
        let received = stream.read(&mut buffer[start..start + BUFFER_BYTES])?;
        if received == 0 {
            return Err(format!("the server closed after {written} of {length} bytes").into());
        }
        file.write_all_at(&buffer[start..start + received], written)?;
        written += received as u64;
    }
    Ok(())
}
