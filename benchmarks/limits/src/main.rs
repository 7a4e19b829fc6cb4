//! What a download costs that receives, writes and hashes with BLAKE3, and does nothing else.
//!
//! `limit http://HOST:PORT/PATH FILE`, or `limit https://HOST:PORT/PATH FILE AUTHORITY.pem` for TLS in the engine's own way:
//! rustls decrypting in place. One thread, one connection, no check, no resume, no guard. It stands beside the engine in
//! the benchmark (`python -m benchmarks.engine`): what the engine spends above it is the price of everything else.

#[path = "../../../engine/examples/floor/exchange.rs"]
mod exchange;
mod tls;

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;

/// As the engine's: bytes are hashed and written from the cache they were received into.
const BUFFER_BYTES: usize = 512 * 1024;
const PAGE_BYTES: usize = 4096;

/// Where plaintext comes from.
pub trait Source {
    /// Receives what there is, at most as much as fits; 0 at the end.
    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize>;
}

impl Source for TcpStream {
    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.read(into)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [url, path, authority] if url.starts_with("https://") => save(tls::ask(url, authority)?, path),
        [_, _] => {
            let (stream, path) = exchange::ask("limit")?;
            save(stream, &path)
        }
        _ => Err("usage: limit http://HOST:PORT/PATH FILE, or limit https://HOST:PORT/PATH FILE AUTHORITY.pem".into()),
    }
}

fn save(mut source: impl Source, path: &str) -> Result<(), Box<dyn Error>> {
    let mut memory = vec![0_u8; BUFFER_BYTES + 2 * PAGE_BYTES];
    let aligned = memory.as_ptr().align_offset(PAGE_BYTES);
    let buffer = &mut memory[aligned..];
    let mut filled = 0;
    let body_at = loop {
        let received = source.receive(&mut buffer[filled..BUFFER_BYTES])?;
        if received == 0 {
            return Err("the server closed before its header ended".into());
        }
        filled += received;
        if let Some(at) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let length = exchange::content_length(&buffer[..body_at])?;

    let mut hasher = blake3::Hasher::new();
    let file = File::create(path)?;
    hasher.update(&buffer[body_at..filled]);
    file.write_all_at(&buffer[body_at..filled], 0)?;
    let mut written = (filled - body_at) as u64;
    while written < length {
        // A byte lies in memory as it will lie in the file's page; the kernel copies faster so.
        let start = (written % PAGE_BYTES as u64) as usize;
        let received = source.receive(&mut buffer[start..start + BUFFER_BYTES])?;
        if received == 0 {
            return Err(format!("the server closed after {written} of {length} bytes").into());
        }
        hasher.update(&buffer[start..start + received]);
        file.write_all_at(&buffer[start..start + received], written)?;
        written += received as u64;
    }
    println!("{}", hasher.finalize().to_hex());
    Ok(())
}
