//! A raw TCP server that answers whatever a test wants, also what no HTTP library would let it.
//!
//! Threads, not the runtime under test: a hung download cannot hang its origin. Every wait is bounded and every
//! connection is torn down when the origin is dropped.
//!
//! ```text
//! let origin = Origin::start(|request, wire| wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"));
//! ```

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// No wait of the origin is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How many requests this origin saw before, over all connections.
    pub number: usize,
    /// Which connection it came on, counted from zero.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The target as written in the request line.
    pub target: String,
    /// Header names in lower case with their values, in order.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The value of the first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// First and last byte asked for by `Range: bytes=`.
    pub fn range(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()))
    }

    /// The range asked for within a file of `length` bytes, last byte excluded; the whole file without a range.
    pub fn span(&self, length: usize) -> std::ops::Range<usize> {
        match self.range() {
            Some((first, last)) => first.min(length)..last.map_or(length, |last| (last + 1).min(length)),
            None => 0..length,
        }
    }
}

/// The connection a request came on. Errors are ignored: a client that went away is the client's affair.
#[derive(Debug)]
pub struct Wire {
    /// The only strong reference: dropping it closes the descriptor, which a reset needs.
    stream: Arc<TcpStream>,
    is_open: bool,
}

impl Wire {
    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if self.is_open && (&*self.stream).write_all(bytes.as_ref()).is_err() {
            self.is_open = false;
        }
    }

    /// Ends the connection in order (FIN) after what was sent.
    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.is_open = false;
    }

    /// Ends the connection with a reset (RST); bytes on their way are lost.
    pub fn reset(&mut self) {
        let _ = socket2::SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
        self.is_open = false;
    }

    /// Sends nothing more and waits until the client gives up.
    pub fn stall(&mut self) {
        let mut discarded = [0; 1024];
        while (&*self.stream).read(&mut discarded).is_ok_and(|count| count > 0) {}
        self.close();
    }

    /// Whether the client still reads.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Answers a request for a file honestly: whole, one range, or 416; keeps the connection.
    pub fn serve(&mut self, request: &Request, file: &[u8], etag: Option<&str>) {
        self.send(honest_head(request, file.len(), etag));
        let span = request.span(file.len());
        if request.method != "HEAD" {
            self.send(&file[span]);
        }
    }
}

/// The head an honest origin sends for this request of a file of `length` bytes.
pub fn honest_head(request: &Request, length: usize, etag: Option<&str>) -> String {
    let etag_line = etag.map(|etag| format!("ETag: {etag}\r\n")).unwrap_or_default();
    let span = request.span(length);
    match request.range() {
        Some((first, _)) if first >= length => {
            format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{length}\r\nContent-Length: 0\r\n\r\n"
            )
        }
        Some(_) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{length}\r\nContent-Length: {}\r\n{etag_line}\r\n",
            span.start,
            span.end - 1,
            span.len()
        ),
        None => format!("HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: {length}\r\n{etag_line}\r\n"),
    }
}

type Handler = dyn Fn(&Request, &mut Wire) + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    is_stopping: AtomicBool,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    streams: Mutex<Vec<Weak<TcpStream>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A running origin on 127.0.0.1.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Calls `handler` for every request, one thread per connection; the connection stays open for the next request
    /// unless the handler or `Connection: close` ends it.
    pub fn start(handler: impl Fn(&Request, &mut Wire) + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), handler)
    }

    /// As [`Origin::start`], where another one was before.
    pub fn start_at(at: SocketAddr, handler: impl Fn(&Request, &mut Wire) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            is_stopping: AtomicBool::new(false),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            streams: Mutex::default(),
            threads: Mutex::default(),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// An origin that honestly serves one file under every path.
    pub fn serving(file: Vec<u8>, etag: Option<&'static str>) -> Self {
        Self::start(move |request, wire| wire.serve(request, &file, etag))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path that starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.shared.streams.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let threads: Vec<JoinHandle<()>> = self.shared.threads.lock().unwrap().drain(..).collect();
        let has_failed = threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count() > 0;
        assert!(!has_failed || std::thread::panicking(), "an assertion inside the origin failed; see above");
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        let stream = Arc::new(stream);
        shared.streams.lock().unwrap().push(Arc::downgrade(&stream));
        let thread = std::thread::spawn({
            let shared = Arc::clone(shared);
            move || {
                let _ = converse(stream, connection, &shared);
            }
        });
        shared.threads.lock().unwrap().push(thread);
    }
}

fn converse(stream: Arc<TcpStream>, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(LONGEST_WAIT))?;
    stream.set_write_timeout(Some(LONGEST_WAIT))?;
    stream.set_nodelay(true)?;
    let mut wire = Wire { stream, is_open: true };
    let mut unread = Vec::new();
    while wire.is_open && !shared.is_stopping.load(Ordering::SeqCst) {
        let Some(head) = read_head(&wire.stream, &mut unread)? else { break };
        let request = {
            let mut requests = shared.requests.lock().unwrap();
            let request = parse(&head, requests.len(), connection);
            requests.push(request.clone());
            request
        };
        (shared.handler)(&request, &mut wire);
        if request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            wire.close();
        }
    }
    Ok(())
}

fn read_head(mut stream: &TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = unread.split_off(end + 4);
            let head = std::mem::replace(unread, rest);
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(None);
        }
        unread.extend_from_slice(&piece[..count]);
    }
}

fn parse(head: &str, number: usize, connection: usize) -> Request {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or("").split(' ');
    let method = words.next().unwrap_or("").to_owned();
    let target = words.next().unwrap_or("").to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Request { number, connection, method, target, headers }
}
