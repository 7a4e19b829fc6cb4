//! The least the kernel can do for a download without showing us a byte: socket to pipe to file by `splice`.
//!
//! `floor_splice http://HOST:PORT/PATH FILE`, as `floor_recv`. It cannot hash, decrypt or check anything: a bound, not a way.

#[path = "floor/exchange.rs"]
mod exchange;

use std::{
    error::Error,
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, RawFd},
};

const PIPE_BYTES: usize = 1 << 20;
const F_SETPIPE_SZ: i32 = 1031;
const SPLICE_F_MOVE: u32 = 1;

unsafe extern "C" {
    fn splice(from: RawFd, from_offset: *mut i64, to: RawFd, to_offset: *mut i64, length: usize, flags: u32) -> isize;
    fn fcntl(descriptor: RawFd, command: i32, ...) -> i32;
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut stream, path) = exchange::ask("floor_splice")?;
    // Byte by byte up to the end of the head, so that the body is still in the kernel.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let length = usize::try_from(exchange::content_length(&head)?)?;

    let file = File::create(path)?;
    let (reader, writer) = io::pipe()?;
    // SAFETY: the descriptor is open; a refusal leaves the pipe at its usual size.
    unsafe { fcntl(writer.as_raw_fd(), F_SETPIPE_SZ, PIPE_BYTES) };
    let mut left = length;
    while left > 0 {
        let received = moved(stream.as_raw_fd(), writer.as_raw_fd(), left.min(PIPE_BYTES))?;
        if received == 0 {
            return Err(format!("the server closed with {left} of {length} bytes to come").into());
        }
        let mut waiting = received;
        while waiting > 0 {
            waiting -= moved(reader.as_raw_fd(), file.as_raw_fd(), waiting)?;
        }
        left -= received;
    }
    Ok(())
}

fn moved(from: RawFd, to: RawFd, length: usize) -> io::Result<usize> {
    // SAFETY: both descriptors are open and both offsets may be null: sockets and pipes have none, the file's own counts.
    let count = unsafe { splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), length, SPLICE_F_MOVE) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
