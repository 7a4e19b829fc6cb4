//! What the floor programs have in common: their arguments, the request, and the one header they read.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;

/// Sends the request of `program http://HOST:PORT/PATH FILE` and returns the connection and FILE.
pub fn ask(program: &str) -> Result<(TcpStream, String), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err(format!("usage: {program} http://HOST:PORT/PATH FILE").into());
    };
    let rest = url.strip_prefix("http://").ok_or("only http:// is spoken here")?;
    let (host, name) = rest.split_once('/').ok_or("the address has no path")?;
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "GET /{name} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    Ok((stream, path))
}

/// The `Content-Length` of a head.
pub fn content_length(head: &[u8]) -> Result<u64, Box<dyn Error>> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Ok(value.ok_or("the server did not say a length")?.trim().parse()?)
}
