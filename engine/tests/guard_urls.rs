//! Spellings S1-S99 of the hostile URL list: each is refused before anything is resolved, and honest URLs are not.

use vasset_engine::guard::{EgressPolicy, GuardError, GuardedUrl, Host, UrlProblem};

fn policy(allow: &[&str]) -> EgressPolicy {
    let allow: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
    EgressPolicy::new(&allow).unwrap()
}

fn problem(text: &str) -> UrlProblem {
    match policy(&[]).check_url(text) {
        Err(GuardError::InvalidUrl { problem, .. }) => problem,
        other => panic!("{text:?} gave {other:?}"),
    }
}

fn assert_address_denied(text: &str) {
    match policy(&[]).check_url(text) {
        Err(GuardError::AddressDenied { .. }) => {}
        other => panic!("{text:?} gave {other:?}"),
    }
}

fn assert_name_denied(text: &str) {
    match policy(&[]).check_url(text) {
        Err(GuardError::NameDenied { .. }) => {}
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn honest_urls_pass_unchanged() {
    for text in [
        "https://example.com/",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ&list=PL1#t=10",
        "https://rr4---sn-4g5e6nz7.googlevideo.com/videoplayback?expire=1&sig=AB%3D%3D",
        "http://example.com:8080/a%20b/c%2Fd?e=f%26g",
        "https://cdn.example.com:8443/live/index.m3u8",
        "https://8.8.8.8/file.bin",
        "https://[2606:4700:4700::1111]/file.bin",
        "https://user-content.example.com/@creator/video/7",
        "https://xn--bcher-kva.example.com/",
        "https://example.com/path?email=a@b.example",
        "https://mega.nz/#!abc",
    ] {
        assert_eq!(policy(&[]).check_url(text).map(|url| url.to_string()).as_deref(), Ok(text));
    }
}

#[test]
fn one_host_has_one_canonical_form() {
    for (text, canonical) in [
        ("HTTPS://EXAMPLE.com:443/A", "https://example.com/A"),
        ("https://example.com./A", "https://example.com/A"),
        ("https://bücher.example.com/ü", "https://xn--bcher-kva.example.com/%C3%BC"),
        ("https://ｅｘａｍｐｌｅ.com", "https://example.com/"),
        ("https://example.com/a/../b/./c", "https://example.com/b/c"),
        ("https://[2606:4700:4700:0::1111]:443/", "https://[2606:4700:4700::1111]/"),
    ] {
        assert_eq!(policy(&[]).check_url(text).unwrap().as_str(), canonical);
    }
}

#[test]
fn canonical_form_is_a_fixed_point() {
    for text in ["https://EXAMPLE.com.:443/%7Ea?b#c", "http://bücher.example.com:8080/ä?ö#ü"] {
        let once = GuardedUrl::parse(text).unwrap();
        assert_eq!(GuardedUrl::parse(once.as_str()).unwrap(), once);
    }
}

#[test]
fn refuses_this_machine_by_address() {
    // S1, S12, S20-S36, S40, S44-S55.
    for host in [
        "127.0.0.1",
        "0.0.0.0:5432",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:169.254.169.254]",
        "[::127.0.0.1]",
        "[::a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[::ffff:0:127.0.0.1]",
        "[fd00:ec2::254]",
        "[fec0::1]",
        "[ff02::1]",
        "[3fff::1]",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::ffff:8.8.8.8]",
    ] {
        assert_address_denied(&format!("http://{host}/"));
        assert_address_denied(&format!("https://{host}/"));
    }
}

#[test]
fn refuses_local_names() {
    // S2-S4, S18, S43.
    for text in [
        "http://localhost/",
        "http://localhost./",
        "http://a.localhost/",
        "http://LOCALHOST:6379/",
        "http://metadata.google.internal/",
        "http://printer.local/",
        "http://redis/",
        "http://ｌｏｃａｌｈｏｓｔ/",
        "http://nas.home.arpa/",
        "http://x.onion/",
    ] {
        assert_name_denied(text);
    }
}

#[test]
fn refuses_addresses_in_unusual_spellings() {
    // S5-S11, S13-S15, S41, S42.
    for host in [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.01",
        "0",
        "127.0.0.1.",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "2852039166",
        "0xA9FEA9FE",
        "8.8.2056",
        "0x08080808",
        "1.1",
        "１２７.0.0.1",
        "127.0.0.01",
        "0X7F.0.0.1",
        "127.0.0.1．",
    ] {
        assert_eq!(problem(&format!("http://{host}/")), UrlProblem::UnusualAddress, "{host}");
    }
    for host in ["256.1.1.1", "1.2.3.4.5", "0x1ffffffff", "4294967296", "foo.1", "1.2.3.0x", "09.1.1.1"] {
        assert!(matches!(problem(&format!("http://{host}/")), UrlProblem::Host | UrlProblem::UnusualAddress), "{host}");
    }
}

#[test]
fn refuses_what_parsers_disagree_on() {
    // S32, S37, S60-S74.
    for (text, expected) in [
        ("http://[fe80::1%25eth0]/", UrlProblem::EncodedHost),
        ("http://[fe80::1%eth0]/", UrlProblem::EncodedHost),
        ("http://[example.com]/", UrlProblem::Host),
        ("http://[::1/", UrlProblem::Host),
        ("http://[::1]x/", UrlProblem::Host),
        ("http://[v1.a]/", UrlProblem::Host),
        ("http://example.com@127.0.0.1/", UrlProblem::UserInformation),
        ("http://127.0.0.1:80@example.com/", UrlProblem::UserInformation),
        ("http://@example.com/", UrlProblem::UserInformation),
        ("http://:@example.com/", UrlProblem::UserInformation),
        ("http://example.com#@127.0.0.1/", UrlProblem::AmbiguousHost),
        ("http://example.com?@127.0.0.1/", UrlProblem::AmbiguousHost),
        ("http://127.0.0.1\\@example.com/", UrlProblem::Backslash),
        ("http://example.com\\@127.0.0.1/", UrlProblem::Backslash),
        ("http:\\\\example.com/", UrlProblem::Backslash),
        ("http://127.0.0.1%00.example.com/", UrlProblem::ControlCharacter),
        ("http://example.com/a%00b", UrlProblem::ControlCharacter),
        ("http://127.0.0.1\t/", UrlProblem::ControlCharacter),
        ("http://h:6379/\r\nSET a b", UrlProblem::ControlCharacter),
        ("http://exam\u{a0}ple.com/", UrlProblem::ControlCharacter),
        ("http://example.com/\u{85}", UrlProblem::ControlCharacter),
        (" http://127.0.0.1", UrlProblem::ControlCharacter),
        ("http:///127.0.0.1", UrlProblem::Host),
        ("http:127.0.0.1", UrlProblem::Host),
        ("http:/127.0.0.1", UrlProblem::Host),
        ("http:////127.0.0.1", UrlProblem::Host),
        ("//127.0.0.1/", UrlProblem::Scheme),
        ("http://ex%61mple.com", UrlProblem::EncodedHost),
        ("http://127.0.0%2e1/", UrlProblem::EncodedHost),
        ("https://e.com/v#__youtubedl_smuggle=%7B%22http_headers%22%3A1%7D", UrlProblem::SmuggledOptions),
        ("https://e.com/v#%5f_youtubedl_smuggle=%7B%7D", UrlProblem::SmuggledOptions),
        ("http://example.com:0/", UrlProblem::Port),
        ("http://example.com:65536/", UrlProblem::Port),
        ("http://example.com:/", UrlProblem::Port),
        ("http://example.com:+80/", UrlProblem::Port),
        ("http://example.com:8080:80/", UrlProblem::Port),
        ("http://example.com:٨٠/", UrlProblem::Port),
        ("http://", UrlProblem::Host),
        ("http://.", UrlProblem::Host),
        ("http://a..b.com/", UrlProblem::Host),
        ("http://exa<mple.com/", UrlProblem::Host),
        ("http://exam\u{ad}ple.com:80@x/", UrlProblem::UserInformation),
    ] {
        assert_eq!(problem(text), expected, "{text:?}");
    }
    assert_eq!(problem(&format!("http://{}.com/", "a".repeat(64))), UrlProblem::Host);
    assert_eq!(problem(&format!("http://{}com/", "a.".repeat(130))), UrlProblem::Host);
}

#[test]
fn reads_eight_kibibytes_and_not_one_byte_more() {
    let fits = format!("http://example.com/{}", "a".repeat(8192 - 19));
    assert_eq!(fits.len(), 8192);
    assert!(policy(&[]).check_url(&fits).is_ok());
    assert_eq!(problem(&format!("{fits}a")), UrlProblem::TooLong);
}

#[test]
fn refuses_everything_but_http() {
    // S80-S95.
    for text in [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://127.0.0.1/",
        "data:text/plain,hi",
        "gopher://127.0.0.1:6379/_",
        "rtmp://a.com/b",
        "rtsp://a.com/b",
        "concat:a|b",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "pipe:0",
        "tcp://127.0.0.1:6379",
        "unix:/run/x",
        "ytsearch100000:x",
        "--batch-file=/etc/passwd",
        "--exec=id",
        "-o/tmp/x",
        "javascript:alert(1)",
        "httpx://a.com/",
        "http",
        "",
        ":",
        "ws://a.com/",
        "blob:https://a.com/x",
        "view-source:http://a.com/",
    ] {
        assert_eq!(problem(text), UrlProblem::Scheme, "{text:?}");
    }
}

#[test]
fn closes_service_ports_of_public_hosts() {
    for port in [21, 22, 25, 5432, 5672, 6379, 9001, 9004, 15672, 50051] {
        for host in ["example.com", "8.8.8.8", "[2606:4700:4700::1111]"] {
            let error = policy(&[]).check_url(&format!("http://{host}:{port}/")).unwrap_err();
            assert!(matches!(error, GuardError::PortDenied { port: denied, .. } if denied == port), "{error}");
        }
    }
}

#[test]
fn an_error_shows_where_but_never_the_secrets() {
    let error =
        policy(&[]).check_url("https://user:hunter2@example.com/path?token=canary#canary").unwrap_err().to_string();
    assert!(error.contains("example.com/path") && !error.contains("hunter2") && !error.contains("canary"), "{error}");
    let error = policy(&[]).check_url("ftp://u:hunter2@h/x?canary").unwrap_err().to_string();
    assert!(!error.contains("hunter2") && !error.contains("canary"), "{error}");
    let error = policy(&[]).check_url(&format!("http://h/{}", "x".repeat(9000))).unwrap_err().to_string();
    assert!(error.len() < 400);
}

#[test]
fn the_host_is_what_is_dialled() {
    let url = policy(&[]).check_url("https://Example.COM:8443/x").unwrap();
    assert_eq!((url.host(), url.port(), url.is_https()), (&Host::Name("example.com".into()), 8443, true));
    let url = policy(&[]).check_url("http://[2606:4700:4700::1111]/").unwrap();
    assert_eq!((url.host().to_string().as_str(), url.port()), ("2606:4700:4700::1111", 80));
}

#[test]
fn references_are_joined_without_repairing_what_is_suspicious() {
    let base = GuardedUrl::parse("https://example.com/a/b?q").unwrap();
    for (reference, joined) in [
        ("c", "https://example.com/a/c"),
        ("/c d.mp4", "https://example.com/c%20d.mp4"),
        ("../x?y", "https://example.com/x?y"),
        ("?only", "https://example.com/a/b?only"),
        ("//cdn.example.com/x", "https://cdn.example.com/x"),
        ("http://other.example.com:8080/ö", "http://other.example.com:8080/%C3%B6"),
        ("seg:1.ts", "https://example.com/a/seg:1.ts"),
    ] {
        match base.join(reference) {
            Ok(url) => assert_eq!(url.as_str(), joined),
            // A first segment with a colon is a scheme (RFC 3986 §4.2), and not one of ours.
            Err(error) => assert!(reference.starts_with("seg:") && error.is_invalid_url(), "{reference}: {error}"),
        }
    }
    for reference in [
        "http://2130706433/",
        "//127.1/",
        "\\\\evil.example.com/",
        "/\\evil.example.com",
        "http:example.org",
        "file:///etc/passwd",
        "//user@evil.example.com/",
        "http:/\\/x",
        "\tx",
        "x\r\ny",
        "/a%00b",
        "#__youtubedl_smuggle=x",
        "///x",
        "http://exa mple.com/",
    ] {
        assert!(base.join(reference).is_err(), "{reference:?}");
    }
}
