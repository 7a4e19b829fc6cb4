//! Whole playlists from nginx over HTTP/2 and TLS.

mod support;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::authority::Authority;
use support::download::Lab;
use support::playlist::{fragment, joined, playlist};
use vasset_engine::request::Source;

struct Nginx {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Nginx {
    /// Serves `folder/root`; a connection takes 50 requests, so that a list of more meets GOAWAY.
    fn start(authority: &Authority, fill: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        fill(&folder.path().join("root"));
        let (certificate, key) = authority.pem();
        std::fs::write(folder.path().join("server.pem"), certificate).unwrap();
        std::fs::write(folder.path().join("server.key"), key).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {path}/nginx.pid; error_log {path}/error.log;
            events {{ worker_connections 256; }}
            http {{
            {temporary}
            log_format protocol '$server_protocol $connection';
            access_log {path}/access.log protocol;
            keepalive_requests 50;
            server {{
            listen 127.0.0.1:{port} ssl http2;
            ssl_certificate {path}/server.pem; ssl_certificate_key {path}/server.key;
            root {path}/root;
            }} }}"
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let process = Command::new("nginx")
            .env("PATH", format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default()))
            .args(["-p", &path, "-e", &format!("{path}/error.log"), "-c", &format!("{path}/nginx.conf")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need nginx: apt-get install nginx-light");
        let nginx = Self { process, folder, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "nginx does not start: {}", nginx.read("error.log"));
            std::thread::yield_now();
        }
        nginx
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn nginx_serves_whole_playlists_by_http2() {
    const COUNT: usize = 300;
    const LENGTH: usize = 100_000;
    let authority = Authority::new();
    let nginx = Nginx::start(&authority, |root| {
        std::fs::write(root.join("i.m3u8"), playlist(COUNT)).unwrap();
        for index in 0..COUNT {
            std::fs::write(root.join(format!("{index}.ts")), fragment(index, LENGTH)).unwrap();
        }
    });
    let lab = Lab::with(|settings| settings.ca_file = Some(authority.path().to_owned()));
    let url = format!("https://127.0.0.1:{}/i.m3u8", nginx.port);
    let mut request = lab.request(&url);
    request.source = Source::Hls { url };
    lab.assert_holds(lab.run(request), &joined(COUNT, LENGTH));
    let log = nginx.read("access.log");
    assert!(log.lines().all(|line| line.starts_with("HTTP/2.0 ")), "{log}");
    let connections: std::collections::HashSet<&str> = log.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(connections.len() >= COUNT / 50, "nginx ended connections on the way");
}
